"""The body of a mail, part by part: which parts are rewritten, and how a part keeps its form.

Here lives what may be touched (docs/tracking.md) and how a changed part goes back among the others,
so that everything else stays as it is to the octet. How a part is read is in `stretches.py`; no
HTML is looked at here.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from fletching.links import api, flowed
from fletching.mail import charsets, mime, transfer
from fletching.mail.message import Header, Message
from fletching.mail.mime import Encoded, Part
from fletching.outgoing.text_parts import LeftAloneError, Reader
from fletching.outgoing.tracking_urls import Urls
from fletching.policy.plan import Tracking

# Parts of other types that readers follow links in, and that nobody may touch.
_WITH_LINKS = {"text/x-amp-html": "AMP", "text/calendar": "calendar"}
_ENDS_OPEN = "no open pixel: the HTML ends inside a tag, a comment or an element such as style"
_MANY_BLANKS = re.compile(rb"[ \t]{100,}")
_NOT_7BIT = frozenset({"8bit", "binary"})


@dataclass(frozen=True, slots=True)
class PartNote:
    """What became of one part: the links in it, or why it was left alone."""

    content_type: str
    left_alone: str
    findings: tuple[api.Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The mail with its links rewritten, and a note for each part that could have been.

    ``labels``: the encodings that its parts had or have; None where nobody had to look.
    """

    message: Message
    notes: tuple[PartNote, ...] = ()
    labels: frozenset[str] | None = None


def rewrite(message: Message, tracking: Tracking, urls: Urls) -> Rewritten:
    """Rewrites the links of all text parts; pixel and trap go into the first HTML part."""
    if not tracking.body:
        return Rewritten(message)
    if len(message.body) > tracking.largest:
        return Rewritten(message, (PartNote("message", "larger than max_rewrite_size"),))
    changes: list[Encoded] = []
    notes: list[PartNote] = []
    pixel, trap = tracking.opens, tracking.trap and tracking.clicks
    no_pixel = "no HTML part that an open pixel may go into"
    parts = mime.parts(message)
    for part in parts:
        if part.content_type not in ("text/html", "text/plain"):
            if part.sealed and not part.container:
                notes.append(PartNote(part.content_type, f"in {part.sealed}"))
            elif part.content_type in _WITH_LINKS and part.disposition in ("", "inline"):
                reason = _untouchable(part) or _WITH_LINKS[part.content_type]
                notes.append(PartNote(part.content_type, reason))
            continue
        try:
            change, findings, ends_open = _part(message.body, part, tracking, urls, pixel, trap)
        except LeftAloneError as reason:
            notes.append(PartNote(part.content_type, str(reason)))
            continue
        notes.append(PartNote(part.content_type, "", findings))
        if part.content_type == "text/html":
            pixel, trap = pixel and ends_open, trap and ends_open
            no_pixel = _ENDS_OPEN if ends_open else no_pixel
        if change is not None:
            changes.append(change)
    if pixel:
        notes.append(PartNote("message", no_pixel))
    labels = {part.encoding for part in parts} | {change.encoding for change in changes}
    return Rewritten(mime.with_parts(message, parts, changes), tuple(notes), frozenset(labels))


class Safe(NamedTuple):
    """A mail, and whether all of it is safe (`is_safe`)."""

    message: Message
    wholly: bool


def made_safe(message: Message, labels: frozenset[str] | None = None) -> Safe:
    """The mail in a form that Postfix and servers behind it have no reason to change.

    Parts with 8-bit octets or lines of over 998 are encoded, labels made true, and longer lines
    elsewhere folded. A signature over the result survives (`transfer.safe`). What is signed or
    encrypted stays, and so does what nobody can decode. ``labels``: as `rewrite` found them.
    """
    message = Message(tuple(map(_folded, message.headers)), message.body)
    if labels is None:
        labels = frozenset(part.encoding for part in mime.parts(message))
    if labels.isdisjoint(_NOT_7BIT) and transfer.fits(message.body, "7bit"):
        return Safe(message, True)
    parts = mime.parts(message)
    leaves = [
        Encoded(part, *_safe_leaf(message.body, part))
        for part in parts
        if not (part.container or part.sealed)
    ]
    changes = [
        leaf
        for leaf in leaves
        if leaf.encoding != leaf.part.encoding
        or leaf.raw != message.body[leaf.part.start : leaf.part.end]
    ]
    changes += _true_labels(message.body, parts, leaves)
    message = mime.with_parts(message, parts, changes)
    if not transfer.lines_fit(message.body):
        message = _with_folded_lines(message)
    return Safe(message, is_safe(message))


def is_safe(message: Message) -> bool:
    """Whether the body has nothing that a server on the way would change.

    8-bit octets round the parts, as in a file name, are left alone by servers.
    """
    if transfer.fits(message.body, "7bit"):
        return True
    return transfer.lines_fit(message.body) and all(
        part.container or transfer.fits(message.body[part.start : part.end], "7bit")
        for part in mime.parts(message)
    )


def _safe_leaf(body: bytes, part: Part) -> tuple[bytes, str]:
    raw = body[part.start : part.end]
    if part.content_type.startswith(("multipart/", "message/")):
        # They must not be encoded (RFC 2045 section 6.4), but may be labelled for what they are.
        is_label = part.encoding in transfer.IDENTITY and transfer.fits(raw, "7bit")
        return raw, "7bit" if is_label else part.encoding
    return transfer.safe(raw, part.encoding, part.content_type.startswith("text/"))


def _true_labels(
    body: bytes, parts: Sequence[Part], leaves: Iterable[Encoded]
) -> Iterator[Encoded]:
    """Containers whose label allows 8-bit octets, when none of what they hold has any now."""
    eightbit = sorted(
        [leaf.part.start for leaf in leaves if not leaf.raw.isascii()]
        + [
            part.start
            for part in parts
            if part.sealed and not part.container and not body[part.start : part.end].isascii()
        ]
    )
    for part in parts:
        if part.container and not part.sealed and part.encoding in _NOT_7BIT:
            next_one = bisect_left(eightbit, part.start)
            if next_one == len(eightbit) or eightbit[next_one] >= part.end:
                yield Encoded(part, b"", "7bit")


def _part(
    body: bytes, part: Part, tracking: Tracking, urls: Urls, pixel: bool, trap: bool
) -> tuple[Encoded | None, tuple[api.Finding, ...], bool]:
    """The part rewritten, None if nothing changes; its links; whether it lacks a place for a pixel.

    Raises `LeftAloneError`.
    """
    if reason := _untouchable(part):
        raise LeftAloneError(reason)
    raw = body[part.start : part.end]
    wanted = _wanted(
        tracking.clicks and (tracking.text or part.content_type == "text/html"),
        tracking.own_hosts,
        tracking.untracked_hosts,
        tracking.preserve_visible_urls,
        _charset(part, raw),
        part.content_type == "text/plain" and flowed.delsp(part.parameters),
    )
    if part.encoding not in transfer.ENCODINGS:
        raise LeftAloneError("unknown Content-Transfer-Encoding")
    reader = _reader(part.content_type, part.encoding, wanted)
    stretches = reader.read(raw)
    ends_open = not api.has_place([stretch.found for stretch in stretches])
    if part.content_type == "text/html":
        stretches = reader.with_pixel(stretches, pixel, trap)
    findings = tuple(finding for stretch in stretches for finding in stretch.found.findings)
    if not any(stretch.found.splices for stretch in stretches):
        return None, findings, ends_open
    content = reader.filled(stretches, urls)
    octets, encoding = transfer.encoded(content, part.encoding, raw.endswith(b"\r\n"))
    return Encoded(part, octets, encoding), findings, ends_open


# The mails of a campaign are read by the same readers, which know what they have read.
_wanted = lru_cache(maxsize=256)(api.Wanted)
_reader = lru_cache(maxsize=256)(Reader)


def _untouchable(part: Part) -> str:
    """Why nothing in the part may be changed, whatever it holds; else empty."""
    return (
        (part.sealed and f"in {part.sealed}")
        or (part.forwarded and "in message/rfc822")
        # RFC 2183 section 2.8: an unknown disposition is one, too.
        or ((part.file or part.disposition not in ("", "inline")) and "attachment")
        or part.doubtful
        or (part.start == part.end and "empty")
        or ""
    )


def _charset(part: Part, raw: bytes) -> str:
    """The codec of a part's charset. Raises `LeftAloneError`."""
    label = part.parameters.get("charset")
    if label is None:
        return _undeclared(part, raw)
    codec = charsets.codec(label)
    if codec is None:
        raise LeftAloneError("unknown charset")
    return codec


def _undeclared(part: Part, raw: bytes) -> str:
    """The same where the header names none: as the HTML does, else UTF-8 if it is that."""
    try:
        content = transfer.decode(raw, part.encoding)
    except transfer.TransferError as error:
        raise LeftAloneError(str(error)) from None
    return charsets.guessed(content, html=part.content_type == "text/html")


def _with_folded_lines(message: Message) -> Message:
    """The mail with the long lines between its parts folded as a header field is.

    Nobody reads them but for the fields of the parts, and Postfix would break them just so.
    """
    body = message.body
    pieces: list[bytes] = []
    at = 0
    for part in mime.parts(message):
        if part.start >= at and (part.sealed or not part.container):
            pieces += (_folded_lines(body[at : part.start]), body[part.start : part.end])
            at = part.end
    pieces.append(_folded_lines(body[at:]))
    return Message(message.headers, b"".join(pieces))


def _folded_lines(lines: bytes) -> bytes:
    return b"\r\n".join(piece for line in lines.split(b"\r\n") for piece in _fold(line))


def _folded(header: Header) -> Header:
    """A field without lines of over 998 octets.

    The milter protocol carries text only: a field with octets that are not UTF-8 stays.
    """
    if len(header.name) + 1 + len(header.value) <= transfer.LONGEST_LINE:
        return header
    line = header.name + b":" + header.value
    if transfer.lines_fit(line):
        return header
    try:
        header.value.decode("utf-8")
    except UnicodeDecodeError:
        return header
    name = len(header.name) + 1
    first, *others = line.split(b"\r\n")
    pieces = [*_fold(first, name), *(piece for other in others for piece in _fold(other))]
    return Header(header.name, b"\r\n".join(pieces)[name:], header.place)


def _fold(line: bytes, name: int = 0) -> list[bytes]:
    """The line in pieces of at most 998 octets, all but the first beginning with white space.

    It is folded at white space, not at that behind its first ``name`` octets, else where Postfix
    would break it, but never within a character of UTF-8.
    """
    if len(line) <= transfer.LONGEST_LINE:
        return [line]
    # A piece of blanks alone might be taken for the empty line that ends a header.
    line = _MANY_BLANKS.sub(b" ", line).rstrip(b" \t") or b" "
    pieces: list[bytes] = []
    at = 0
    space = b""
    while len(space) + len(line) - at > transfer.LONGEST_LINE:
        end = at + transfer.LONGEST_LINE - len(space)
        word = at + name
        while line[word : word + 1] in (b" ", b"\t"):
            word += 1
        cut = max(line.rfind(b" ", word, end + 1), line.rfind(b"\t", word, end + 1))
        if cut < 0:
            cut = end
            while cut > end - 4 and line[cut] & 0xC0 == 0x80:
                cut -= 1
        pieces.append(space + line[at:cut])
        space = b"" if line[cut : cut + 1] in (b" ", b"\t") else b" "
        at, name = cut, 0
    pieces.append(space + line[at:])
    return pieces
