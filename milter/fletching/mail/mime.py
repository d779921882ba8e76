"""The tree of a mail's MIME parts, as places in its body (RFC 2045, RFC 2046).

Here lives where each part begins and ends, what its header says of it, and how another content goes
back into its place. Nothing is decoded here, and nothing raises: what is broken is a part that says
so. One pass over the delimiter lines, no recursion, so that ten thousand nested parts cost what ten
thousand parts in a row cost.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from fletching.mail.message import Header, Message, content_start, header_block
from fletching.mail.parameters import parameters
from fletching.mail.transfer import IDENTITY

_SEALED = {
    "multipart/signed",
    "multipart/encrypted",
    "application/pkcs7-mime",
    "application/x-pkcs7-mime",
}
_LONGEST_KNOWN = 300
# Of the octets of what they stand over: RFC 1864, RFC 9530, RFC 3230, and mailboxes' own.
_OF_OCTETS = frozenset(
    (b"content-md5", b"content-digest", b"repr-digest", b"digest", b"content-length", b"lines")
)
_DESCRIBING = (b"content-type", b"content-transfer-encoding", b"content-disposition")
# Twice as fast in a long attachment as `find`.
_DASHES = re.compile(rb"\r\n--")


@dataclass(frozen=True, slots=True)
class Part:
    """One entity of a mail.

    ``headers`` stand from ``head`` on, the content from ``start`` to ``end``, all counted in octets
    of the mail's body; the root's headers are the mail's, and its ``head`` is 0. ``sealed`` names
    the signed or encrypted type that the part is or stands in, else it is empty. ``forwarded``:
    within a message/rfc822. ``container``: it consists of other parts. ``file``: it has a name, and
    mail programs show it as a file. ``doubtful`` says what is wrong with its header, else it is
    empty.
    """

    headers: tuple[Header, ...]
    head: int
    start: int
    end: int
    content_type: str
    parameters: Mapping[str, str]
    encoding: str
    disposition: str
    sealed: str
    forwarded: bool
    container: bool
    file: bool
    doubtful: str
    root: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """A part's new content, with the encoding that it now has. A container keeps its content."""

    part: Part
    raw: bytes
    encoding: str


@dataclass(frozen=True, slots=True)
class _Splice:
    """Octets to stand in the place of ``start`` to ``end`` of the body."""

    start: int
    end: int
    octets: bytes


def parts(message: Message) -> tuple[Part, ...]:
    """All parts of a mail in the order they stand in it, containers before what they hold."""
    return _Walk(message).run()


def with_parts(message: Message, parts: Sequence[Part], changes: Sequence[Encoded]) -> Message:
    """The mail with changed parts in it, and their labels with them. ``parts``: all it has.

    Fields that describe the octets of what is changed go: they would be wrong.
    """
    if not changes:
        return message
    headers = tuple(header for header in message.headers if header.key not in _OF_OCTETS)
    splices = _descriptions_removed(parts, changes)
    for change in changes:
        part = change.part
        if change.encoding != part.encoding:
            if part.root:
                headers = _labelled(headers, change.encoding)
            else:
                splices += _labels(part, change.encoding)
        if not part.container:
            splices.append(_Splice(part.start, part.end, change.raw))
    # What stays is copied once, into the new body.
    body = memoryview(message.body)
    pieces: list[bytes | memoryview] = []
    at = 0
    for splice in sorted(splices, key=lambda splice: splice.start):
        pieces += (body[at : splice.start], splice.octets)
        at = splice.end
    pieces.append(body[at:])
    return Message(headers, b"".join(pieces))


def _descriptions_removed(parts: Sequence[Part], changes: Iterable[Encoded]) -> list[_Splice]:
    """The splices that take `_OF_OCTETS` off all parts within the body that a change stands in."""
    changed = sorted(change.part.start for change in changes)
    removed: list[_Splice] = []
    for part in parts:
        if part.root or _OF_OCTETS.isdisjoint(header.key for header in part.headers):
            continue
        first = bisect_left(changed, part.start)
        if first == len(changed) or changed[first] > part.end:
            continue
        at = part.head
        for header in part.headers:
            end = min(at + len(header.name) + 1 + len(header.value) + 2, part.start)
            if header.key in _OF_OCTETS:
                removed.append(_Splice(at, end, b""))
            at = end
    return removed


@dataclass(frozen=True, slots=True)
class _Description:
    """What a part's header says of it.

    ``word`` of Content-Type, None where it has none; ``named``: as a file is; ``contradictory``:
    the field that is there twice and says two things, or nothing.
    """

    word: str | None
    parameters: Mapping[str, str]
    encoding: str
    disposition: str
    named: bool
    contradictory: str


def _describe(fields: tuple[tuple[bytes, bytes], ...]) -> _Description:
    """``fields``: the keys and values of those that are in `_DESCRIBING`."""
    named = {name: [Header(*field) for field in fields if field[0] == name] for name in _DESCRIBING}
    types, encodings, dispositions = named.values()
    word, found = parameters(types[0].value) if types else (None, {})
    disposition, about = parameters(dispositions[0].value) if dispositions else ("", {})
    twice = (name for name, same in named.items() if len({header.text for header in same}) > 1)
    return _Description(
        word=word,
        parameters=found,
        encoding=_encoding(encodings),
        disposition=disposition,
        named=bool(about.get("filename") or found.get("name")),
        contradictory=next(twice, b"").decode().title(),
    )


# Most parts say of themselves what many others say.
_known_description = lru_cache(maxsize=1024)(_describe)


def _described(headers: tuple[Header, ...]) -> _Description:
    fields = tuple((header.key, header.value) for header in headers if header.key in _DESCRIBING)
    known = sum(len(value) for _, value in fields) < _LONGEST_KNOWN
    return _known_description(fields) if known else _describe(fields)


class _Open:
    """A part whose end is not known yet. It becomes a `Part` when it is."""

    __slots__ = ("boundary", "container", "content_type", "described", "file", "forwarded", "head",
                 "headers", "index", "root", "sealed", "start")  # fmt: skip

    def __init__(
        self, headers: tuple[Header, ...], head: int, start: int, parent: _Open | None, index: int
    ) -> None:
        self.headers = headers
        self.head = head
        self.start = start
        self.root = parent is None
        self.index = index
        self.content_type: str
        self.sealed: str
        self.forwarded: bool
        self.described = _described(headers)
        digest = parent is not None and parent.content_type == "multipart/digest"
        word = self.described.word
        if word is None:
            word = "message/rfc822" if digest else "text/plain"
        # RFC 2045 section 5.2: what cannot be read is taken for plain text.
        self.content_type = word if "/" in word else "text/plain"
        self.file = self.described.named and not _shown(parent, index)
        self.sealed = parent.sealed if parent else ""
        if self.content_type in _SEALED:
            self.sealed = self.sealed or self.content_type
        self.forwarded = parent is not None and (
            parent.forwarded or parent.content_type == "message/rfc822"
        )
        # A delimiter line may have blanks at its end (RFC 2046 section 5.1.1).
        boundary = self.described.parameters.get("boundary", "").rstrip(" \t")
        multipart = self.content_type.startswith("multipart/") and boundary
        self.boundary = boundary.encode("latin-1") if multipart else None
        self.container = self.boundary is not None or (
            self.content_type == "message/rfc822" and self.described.encoding in IDENTITY
        )

    def part(self, end: int) -> Part:
        return Part(
            headers=self.headers,
            head=self.head,
            start=self.start,
            end=max(self.start, end),
            content_type=self.content_type,
            parameters=self.described.parameters,
            encoding=self.described.encoding,
            disposition=self.described.disposition,
            sealed=self.sealed,
            forwarded=self.forwarded,
            container=self.container,
            file=self.file,
            doubtful=_doubt(self),
            root=self.root,
        )


def _shown(parent: _Open | None, index: int) -> bool:
    """Whether a part with a name is the text that a mail program shows, and no file.

    The mail itself is, each alternative, and what related parts belong to (RFC 2387).
    """
    if parent is None or parent.content_type == "multipart/alternative":
        return True
    return parent.content_type == "multipart/related" and index == parent.index + 1


class _Walk:
    """One pass over a body. ``stack`` holds the open parts, outermost first."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.body = message.body
        self.stack: list[_Open] = []
        self.done: list[Part | None] = []
        self.depths: dict[bytes, list[int]] = {}
        """Depths in the stack of the multiparts that have this boundary, outermost first."""

    def run(self) -> tuple[Part, ...]:
        self._enter(self.message.headers, 0, 0)
        at = self._line(0) if self.depths else -1
        while at >= 0:
            at = self._delimiter(at)
        self._leave(0, len(self.body))
        return tuple(part for part in self.done if part is not None)

    def _line(self, start: int) -> int:
        """The next line from ``start`` on that begins with ``--``; -1 without one."""
        if start == 0 and self.body.startswith(b"--"):
            return 0
        found = _DASHES.search(self.body, max(0, start - 2))
        return found.end() - 2 if found else -1

    def _delimiter(self, at: int) -> int:
        """Takes the line at ``at``, if it is a delimiter; answers with the next line to look at."""
        end = self.body.find(b"\r\n", at)
        end = len(self.body) if end < 0 else end
        line = self.body[at:end].rstrip(b" \t")
        name, closing = line[2:], False
        if name not in self.depths and name.endswith(b"--"):
            name, closing = name[:-2], True
        if name not in self.depths:
            return self._line(end)
        depth = self.depths[name][-1]
        before = at - 2 if at >= 2 else 0
        self._leave(depth + 1, before)
        if closing:
            # The parent ends further down, but no delimiter of its own can follow.
            self._forget(depth)
            return self._line(end)
        return self._line(self._child(min(end + 2, len(self.body))))

    def _child(self, head: int) -> int:
        return self._enter(*self._header(head))

    def _header(self, head: int) -> tuple[tuple[Header, ...], int, int]:
        """The fields from ``head`` on, ``head``, and where the content begins.

        A delimiter may follow a header at once, and one with a colon in it looks like a field.
        """
        fields, end = header_block(self.body, head, before=b"--")
        headers = tuple(Header(name, value) for name, value in fields)
        return headers, head, content_start(self.body, end)

    def _enter(self, headers: tuple[Header, ...], head: int, start: int) -> int:
        """Opens a part, and the message in it where it is one; answers where content begins."""
        while True:
            parent = self.stack[-1] if self.stack else None
            opened = _Open(headers, head, start, parent, len(self.done))
            self.done.append(None)
            self.stack.append(opened)
            if opened.boundary is not None:
                self.depths.setdefault(opened.boundary, []).append(len(self.stack) - 1)
            if not opened.container or opened.boundary is not None:
                return start
            headers, head, start = self._header(start)

    def _leave(self, depth: int, end: int) -> None:
        """Ends all open parts from ``depth`` on."""
        while len(self.stack) > depth:
            self._forget(len(self.stack) - 1)
            opened = self.stack.pop()
            self.done[opened.index] = opened.part(end)

    def _forget(self, depth: int) -> None:
        boundary = self.stack[depth].boundary
        depths = self.depths.get(boundary, []) if boundary is not None else []
        if boundary is not None and depths and depths[-1] == depth:
            depths.pop()
            if not depths:
                del self.depths[boundary]


def _field(headers: tuple[Header, ...], name: bytes) -> Header | None:
    return next((header for header in headers if header.key == name), None)


def _encoding(fields: list[Header]) -> str:
    """The Content-Transfer-Encoding; empty where there are several that contradict each other.

    Those that change nothing do not; of them, one that allows 8-bit octets counts.
    """
    words = [parameters(field.value)[0] for field in fields]
    if len(set(words)) > 1 and not IDENTITY.issuperset(words):
        return ""
    return next((word for word in words if word != "7bit"), "7bit")


def _doubt(opened: _Open) -> str:
    if opened.described.contradictory:
        return f"{opened.described.contradictory} given twice"
    if opened.content_type.startswith("multipart/") and opened.boundary is None:
        return "multipart without boundary"
    return ""


def _labelled(headers: tuple[Header, ...], encoding: str) -> tuple[Header, ...]:
    """The mail's header with another Content-Transfer-Encoding (RFC 2045 sections 4 and 6)."""
    name = b"content-transfer-encoding"
    value = b" " + encoding.encode()
    changed = tuple(
        Header(header.name, value, header.place) if header.key == name else header
        for header in headers
    )
    if _field(headers, name) is None:
        changed += (Header(b"Content-Transfer-Encoding", value),)
    if _field(headers, b"mime-version") is None:
        changed += (Header(b"MIME-Version", b" 1.0"),)
    return changed


def _labels(part: Part, encoding: str) -> list[_Splice]:
    """The splices that give a part within the body another Content-Transfer-Encoding."""
    field = b"Content-Transfer-Encoding: " + encoding.encode()
    replaced: list[_Splice] = []
    at = part.head
    for header in part.headers:
        end = at + len(header.name) + 1 + len(header.value)
        if header.key == b"content-transfer-encoding":
            replaced.append(_Splice(at, end, field))
        at = end + 2
    # Without an empty line behind the header, the first line of content would join it.
    added = field + (b"\r\n" if at < part.start else b"\r\n\r\n")
    return replaced or [_Splice(at, at, added)]
