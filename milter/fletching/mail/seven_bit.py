"""A mail in a form that no server on the way has a reason to change: 7-bit, and no long lines.

Postfix breaks lines of more than 998 bytes when it sends them, and converts 8-bit parts for servers
without 8BITMIME. Both would break a DKIM signature made before. So parts with 8-bit bytes or long
lines are encoded here, Content-Transfer-Encoding says what is true then, and long lines outside of
parts are folded (RFC 5322 section 2.2.3). What the mail is signed with is not known here.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from fletching.mail import mime, transfer
from fletching.mail.changed_parts import ChangedPart, with_changed_parts
from fletching.mail.message import Header, Message
from fletching.mail.mime import Part

_MANY_BLANKS = re.compile(rb"[ \t]{100,}")
_NOT_7BIT = frozenset({"8bit", "binary"})


class SevenBit(NamedTuple):
    """A converted mail. ``complete``: whether `is_seven_bit` holds for it."""

    message: Message
    complete: bool


def to_seven_bit(message: Message, encodings: frozenset[str] | None = None) -> SevenBit:
    """The mail with all that can be converted in 7-bit form (see `is_seven_bit`).

    Signed and encrypted parts stay as they are, and so do parts that cannot be decoded.
    ``encodings``: the Content-Transfer-Encodings of all parts, if the caller knows them.
    """
    message = Message(tuple(map(_folded, message.headers)), message.body)
    if encodings is None:
        encodings = frozenset(part.encoding for part in mime.parts(message))
    if encodings.isdisjoint(_NOT_7BIT) and transfer.fits(message.body, "7bit"):
        return SevenBit(message, True)
    parts = mime.parts(message)
    leaves = [
        ChangedPart(part, *_converted_leaf(message.body, part))
        for part in parts
        if not (part.container or part.protected_by)
    ]
    changes = [
        leaf
        for leaf in leaves
        if leaf.encoding != leaf.part.encoding
        or leaf.raw != message.body[leaf.part.start : leaf.part.end]
    ]
    changes += _corrected_containers(message.body, parts, leaves)
    message = with_changed_parts(message, parts, changes)
    if not transfer.lines_fit(message.body):
        message = _with_folded_lines(message)
    return SevenBit(message, is_seven_bit(message))


def is_seven_bit(message: Message) -> bool:
    """Whether no server on the way has a reason to change the body.

    Servers leave 8-bit bytes outside of parts alone, as in a file name.
    """
    if transfer.fits(message.body, "7bit"):
        return True
    return transfer.lines_fit(message.body) and all(
        part.container or transfer.fits(message.body[part.start : part.end], "7bit")
        for part in mime.parts(message)
    )


def _converted_leaf(body: bytes, part: Part) -> tuple[bytes, str]:
    raw = body[part.start : part.end]
    if part.content_type.startswith(("multipart/", "message/")):
        # They must not be encoded (RFC 2045 section 6.4), but "8bit" may become "7bit" if it is.
        is_7bit = part.encoding in transfer.IDENTITY and transfer.fits(raw, "7bit")
        return raw, "7bit" if is_7bit else part.encoding
    return transfer.to_seven_bit(raw, part.encoding, part.content_type.startswith("text/"))


def _corrected_containers(
    body: bytes, parts: Sequence[Part], leaves: Iterable[ChangedPart]
) -> Iterator[ChangedPart]:
    """Containers labelled ``8bit`` or ``binary`` in which nothing has 8-bit bytes any more."""
    eightbit = sorted(
        [leaf.part.start for leaf in leaves if not leaf.raw.isascii()]
        + [
            part.start
            for part in parts
            if part.protected_by
            and not part.container
            and not body[part.start : part.end].isascii()
        ]
    )
    for part in parts:
        if part.container and not part.protected_by and part.encoding in _NOT_7BIT:
            following = bisect_left(eightbit, part.start)
            if following == len(eightbit) or eightbit[following] >= part.end:
                yield ChangedPart(part, b"", "7bit")


def _with_folded_lines(message: Message) -> Message:
    """The mail with the long lines between its parts folded as header fields are.

    Of these lines only the header fields of parts are read; Postfix would break all at this point.
    """
    body = message.body
    pieces: list[bytes] = []
    at = 0
    for part in mime.parts(message):
        if part.start >= at and (part.protected_by or not part.container):
            pieces += (_folded_lines(body[at : part.start]), body[part.start : part.end])
            at = part.end
    pieces.append(_folded_lines(body[at:]))
    return Message(message.headers, b"".join(pieces))


def _folded_lines(lines: bytes) -> bytes:
    return b"\r\n".join(piece for line in lines.split(b"\r\n") for piece in _fold(line))


def _folded(header: Header) -> Header:
    """The field without lines of more than 998 bytes.

    A field that is not UTF-8 stays as it is: the milter protocol can only carry text.
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
    return Header(header.name, b"\r\n".join(pieces)[name:], header.position)


def _fold(line: bytes, name: int = 0) -> list[bytes]:
    """The line in pieces of at most 998 bytes; all but the first begin with white space.

    The cut is at white space, but not at that right behind the first ``name`` bytes. Where there is
    none, it is where Postfix would break the line, but never inside a UTF-8 character.
    """
    if len(line) <= transfer.LONGEST_LINE:
        return [line]
    # A piece of nothing but blanks might be taken for the empty line that ends a header.
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
