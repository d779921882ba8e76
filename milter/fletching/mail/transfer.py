"""Content-Transfer-Encodings: decoding, encoding, and changes within encoded content
(RFC 2045 section 6).

Here lives how a byte of the content is found again in its encoded form, so that a change replaces
only what it must: in quoted-printable all other lines stay as they were written. What a link or a
charset is may not be known here.
"""

from __future__ import annotations

import base64
import binascii
import re
import string
from collections.abc import Sequence
from typing import NamedTuple

LONGEST_LINE = 998
"""Bytes of a line without its CRLF (RFC 5322 section 2.1.1). Postfix breaks longer lines."""

IDENTITY = frozenset({"7bit", "8bit", "binary"})
"""The encodings that change nothing."""

ENCODINGS = IDENTITY | {"quoted-printable", "base64"}
"""The encodings that can be decoded."""

_QP_LINE = 76
# An equals sign that neither escapes a byte nor breaks a line softly. The CRLF of a soft line break
# may belong to the delimiter behind the part.
_QP_STRAY_EQUALS = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r\n|\Z)")
# What a server on the way may have put behind a soft line break (RFC 2045 section 6.7, rule 3).
_QP_PADDING = re.compile(rb"=[ \t]+(?=\r\n|\Z)")
_BASE64_SPACE = b" \t\r\n"
# In place of what will fill a gap: a line that is neither empty nor full.
_GAP = b"x"
_FULL_LINES = re.compile(rb".{%d}" % (_QP_LINE - 1), re.DOTALL).findall
# What URLs and their quotes consist of; none of it needs an escape.
_SAFE = (string.ascii_letters + string.digits + "-._~:/?&\"'").encode()


class TransferError(Exception):
    """The content cannot be decoded. The message says why."""


class Patch(NamedTuple):
    """Bytes that replace ``start`` to ``end`` of the decoded content.

    None: a gap. What fills it comes later, and is not empty.
    """

    start: int
    end: int
    octets: bytes | None


def decode(raw: bytes, encoding: str) -> bytes:
    """The content behind an encoding. Raises `TransferError`."""
    if encoding in IDENTITY:
        return raw
    if encoding == "quoted-printable":
        if _QP_STRAY_EQUALS.search(raw) and _QP_STRAY_EQUALS.search(raw := _without_padding(raw)):
            # Mail programs differ in how they decode it.
            raise TransferError("broken quoted-printable")
        return binascii.a2b_qp(raw)
    if encoding == "base64":
        try:
            return binascii.a2b_base64(raw.translate(None, _BASE64_SPACE), strict_mode=True)
        except binascii.Error:
            raise TransferError("broken base64") from None
    raise TransferError("unknown Content-Transfer-Encoding")


def patched(raw: bytes, encoding: str, patches: Sequence[Patch]) -> list[bytes]:
    """The content with ``patches`` in it (in order, not overlapping), in pieces between the gaps.

    It is still encoded if ``encoding`` is quoted-printable; else it has to go through `encoded`.
    """
    if encoding == "quoted-printable":
        return _patched_quoted_printable(raw, patches)
    return _spliced(decode(raw, encoding), patches)


def filling(octets: bytes, encoding: str) -> bytes:
    """The octets, encoded to fill a gap between two pieces of `patched`.

    In quoted-printable they begin a line, and the last line has room for a soft line break.
    """
    if encoding != "quoted-printable":
        return octets
    escaped = _escaped(octets)
    if escaped.startswith(b"--"):
        escaped = b"=2D" + escaped[1:]
    return b"=\r\n".join(_soft_lines(escaped, _QP_LINE - 1))


def encoded(content: bytes, encoding: str, ends_line: bool) -> tuple[bytes, str]:
    """The result of `patched` with its gaps filled, as it can be sent, and its encoding.

    The encoding stays if it can carry the result; else it becomes quoted-printable. ``ends_line``:
    whether base64 ends with a line end.
    """
    if encoding == "quoted-printable":
        return content, encoding
    if encoding == "base64":
        return _base64(content, ends_line=ends_line), encoding
    if fits(content, encoding):
        return content, encoding
    return quoted_printable(content), "quoted-printable"


def fits(content: bytes, encoding: str) -> bool:
    """Whether an identity encoding can carry the content to any server unchanged."""
    if encoding == "7bit" and not (content.isascii() and b"\0" not in content):
        return False
    return lines_fit(content)


def to_seven_bit(raw: bytes, encoding: str, text: bool) -> tuple[bytes, str]:
    """The content in a form that no server on the way has a reason to change, and its encoding.

    That is 7-bit, and lines of at most 998 bytes. Text becomes quoted-printable, anything else
    base64. What cannot be decoded stays as it is.
    """
    if fits(raw, "7bit"):
        return raw, "7bit" if encoding in IDENTITY else encoding
    if encoding == "quoted-printable":
        # Mail programs show a stray equals sign as it is.
        repaired = _QP_STRAY_EQUALS.sub(b"=3D", _without_padding(raw))
        return quoted_printable(binascii.a2b_qp(repaired)), encoding
    try:
        content = decode(raw, encoding)
    except TransferError:
        return raw, encoding
    if text and encoding != "base64":
        return quoted_printable(content), "quoted-printable"
    return _base64(content, ends_line=raw.endswith(b"\r\n")), "base64"


def lines_fit(content: bytes) -> bool:
    """Whether no line is longer than `LONGEST_LINE`."""
    at = 0
    # Jumps to the last line end that is near enough: most lines need not be searched.
    while len(content) - at > LONGEST_LINE:
        end = content.rfind(b"\r\n", at, at + LONGEST_LINE + 2)
        if end < 0:
            return False
        at = end + 2
    return True


def quoted_printable(content: bytes) -> bytes:
    """Text with CRLF line ends in quoted-printable, with the same line ends."""
    return b"\r\n".join(
        b"=\r\n".join(_soft_lines(_escaped(line), _QP_LINE)) for line in content.split(b"\r\n")
    )


def _without_padding(raw: bytes) -> bytes:
    return _QP_PADDING.sub(b"=", raw)


def _escaped(octets: bytes) -> bytes:
    """The octets in quoted-printable, on one line of any length."""
    if not octets.translate(None, _SAFE):
        return octets
    # Encoded as binary: as text, a CR or LF by itself would stay as it is.
    encoded = binascii.b2a_qp(octets, istext=False)
    return encoded.replace(b"=\r\n", b"").replace(b"=\n", b"")


def _soft_lines(escaped: bytes, room: int) -> list[bytes]:
    """The pieces between soft line breaks: up to 75 bytes, and the last one up to ``room``."""
    if b"=" not in escaped and b"--" not in escaped:
        full = _QP_LINE - 1
        last = max(0, -((room - len(escaped)) // full) * full)
        return [*_FULL_LINES(escaped, 0, last), escaped[last:]]
    lines: list[bytes] = []
    at = 0
    while True:
        # A new line must not look like the delimiter of a multipart.
        dash = b"=2D" if at and escaped.startswith(b"--", at) else b""
        at += 1 if dash else 0
        if len(dash) + len(escaped) - at <= room:
            lines.append(dash + escaped[at:])
            return lines
        cut = at + _QP_LINE - 1 - len(dash)
        # Never within an escape.
        escape = escaped.rfind(b"=", max(at, cut - 2), cut)
        cut = escape if escape >= 0 else cut
        lines.append(dash + escaped[at:cut])
        at = cut


def _base64(content: bytes, ends_line: bool) -> bytes:
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return encoded if ends_line else encoded.removesuffix(b"\r\n")


def _spliced(content: bytes, patches: Sequence[Patch]) -> list[bytes]:
    pieces: list[bytes] = []
    made = bytearray()
    at = 0
    for patch in patches:
        made += content[at : patch.start]
        at = patch.end
        if patch.octets is None:
            pieces.append(bytes(made))
            made.clear()
        else:
            made += patch.octets
    return [*pieces, bytes(made + content[at:])]


def _patched_quoted_printable(raw: bytes, patches: Sequence[Patch]) -> list[bytes]:
    """The patches within the encoded content, each on lines of its own between soft breaks."""
    raw = _without_padding(raw)
    open_break = raw.endswith(b"=")
    # At the very end, the CRLF of a soft break is outside of the content.
    whole = raw + b"\r\n" if open_break else raw
    made = bytearray()
    gaps: list[int] = []
    at = end = place = 0
    for patch in patches:
        start = min(_forward(whole, end, patch.start - place), len(raw))
        end = min(_forward(whole, start, patch.end - patch.start), len(raw))
        place = patch.end
        made += _begun(raw, at, start)
        if open_break and at < start == len(raw):
            made += b"\r\n"
        _break_line(made)
        at = end
        if patch.octets is None:
            gaps.append(len(made))
            made += _GAP
        elif patch.octets:
            made += filling(patch.octets, "quoted-printable")
        # The last of these lines has room for the equals sign.
        if patch.octets != b"" and raw[at : at + 2] not in (b"", b"\r\n"):
            made += b"=\r\n"
    made += _begun(raw, at, len(raw))
    ends = [*gaps, len(made)]
    begins = [0, *(at + len(_GAP) for at in gaps)]
    return [bytes(made[begin:end]) for begin, end in zip(begins, ends, strict=True)]


def _forward(raw: bytes, at: int, octets: int) -> int:
    """The offset in ``raw`` that is so many decoded octets behind ``at``, soft breaks skipped.

    It jumps ahead by the number that is missing, then counts how much of that was escapes and soft
    breaks. So the work for all patches together is linear.
    """
    while octets:
        end = at + octets
        equals = raw.count(b"=", at, end)
        if equals == 0:
            at = end
            break
        # The last escape may go beyond the end: it is skipped as a whole.
        end = max(end, raw.rfind(b"=", at, end) + 3)
        octets -= end - at - 2 * equals - raw.count(b"=\r\n", at, end)
        at = end
    while raw.startswith(b"=\r\n", at):
        at += 3
    return at


def _begun(raw: bytes, start: int, end: int) -> bytes:
    """The octets from ``start`` to ``end``, as they may begin a line.

    A line that is new must not look like the delimiter of a multipart.
    """
    if raw.startswith(b"--", start, end) and raw[max(0, start - 2) : start] not in (b"", b"\r\n"):
        return b"=2D" + raw[start + 1 : end]
    return raw[start:end]


def _break_line(made: bytearray) -> None:
    """End the last line with a soft break, unless it is empty."""
    if not made or made.endswith(b"\r\n"):
        return
    newline = made.rfind(b"\r\n", -_QP_LINE - 2)
    if len(made) - (newline + 2 if newline >= 0 else 0) == _QP_LINE:
        # No column is left for the "=": the last character or escape goes to the next line.
        last = made[-3:] if made[-3:-2] == b"=" else made[-1:]
        del made[-len(last) :]
        made += b"=\r\n" + last
    made += b"=\r\n"
