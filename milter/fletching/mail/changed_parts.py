"""Changed parts put back into a mail, so that everything else stays as it is, byte for byte.

Here lives how the new content and Content-Transfer-Encoding of a part replace the old ones
(RFC 2045 sections 4 and 6), and which header fields no longer hold then. Where a part begins and
ends is in `mime.py`; what its new content is, is decided elsewhere.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fletching.mail.message import Header, Message
from fletching.mail.mime import Part

# Fields that describe the encoded bytes below them: RFC 1864, RFC 9530, RFC 3230, and mbox's own.
_OF_BYTES = frozenset(
    (b"content-md5", b"content-digest", b"repr-digest", b"digest", b"content-length", b"lines")
)


@dataclass(frozen=True, slots=True)
class ChangedPart:
    """A part, its new content as sent, and the encoding of that. A container keeps its content."""

    part: Part
    raw: bytes
    encoding: str


@dataclass(frozen=True, slots=True)
class _Replacement:
    """Bytes that replace ``start`` to ``end`` of the body."""

    start: int
    end: int
    new: bytes


def with_changed_parts(
    message: Message, parts: Sequence[Part], changes: Sequence[ChangedPart]
) -> Message:
    """The mail with the changed parts in it. ``parts``: all parts of the mail, in order.

    Checksums and lengths of what is changed are removed from the headers: they would be wrong.
    """
    if not changes:
        return message
    headers = tuple(header for header in message.headers if header.key not in _OF_BYTES)
    replacements = _without_checksums(parts, changes)
    for change in changes:
        part = change.part
        if change.encoding != part.encoding:
            if part.root:
                headers = _root_relabelled(headers, change.encoding)
            else:
                replacements += _relabelled(part, change.encoding)
        if not part.container:
            replacements.append(_Replacement(part.start, part.end, change.raw))
    # What stays is copied only once, into the new body.
    body = memoryview(message.body)
    pieces: list[bytes | memoryview] = []
    at = 0
    for replacement in sorted(replacements, key=lambda replacement: replacement.start):
        pieces += (body[at : replacement.start], replacement.new)
        at = replacement.end
    pieces.append(body[at:])
    return Message(headers, b"".join(pieces))


def _without_checksums(parts: Sequence[Part], changes: Iterable[ChangedPart]) -> list[_Replacement]:
    """The removal of `_OF_BYTES` from the parts that are changed, or that hold a changed part."""
    changed = sorted(change.part.start for change in changes)
    removed: list[_Replacement] = []
    for part in parts:
        if part.root or _OF_BYTES.isdisjoint(header.key for header in part.headers):
            continue
        first = bisect_left(changed, part.start)
        if first == len(changed) or changed[first] > part.end:
            continue
        at = part.head
        for header in part.headers:
            end = min(at + len(header.name) + 1 + len(header.value) + 2, part.start)
            if header.key in _OF_BYTES:
                removed.append(_Replacement(at, end, b""))
            at = end
    return removed


def _root_relabelled(headers: tuple[Header, ...], encoding: str) -> tuple[Header, ...]:
    """The mail's header with another Content-Transfer-Encoding."""
    name = b"content-transfer-encoding"
    value = b" " + encoding.encode()
    changed = tuple(
        Header(header.name, value, header.position) if header.key == name else header
        for header in headers
    )
    names = {header.key for header in headers}
    if name not in names:
        changed += (Header(b"Content-Transfer-Encoding", value),)
    if b"mime-version" not in names:
        changed += (Header(b"MIME-Version", b" 1.0"),)
    return changed


def _relabelled(part: Part, encoding: str) -> list[_Replacement]:
    """The replacements that give a part within the body another Content-Transfer-Encoding."""
    field = b"Content-Transfer-Encoding: " + encoding.encode()
    replaced: list[_Replacement] = []
    at = part.head
    for header in part.headers:
        end = at + len(header.name) + 1 + len(header.value)
        if header.key == b"content-transfer-encoding":
            replaced.append(_Replacement(at, end, field))
        at = end + 2
    # Without an empty line behind the header, the first line of content would join the new field.
    added = field + (b"\r\n" if at < part.start else b"\r\n\r\n")
    return replaced or [_Replacement(at, at, added)]
