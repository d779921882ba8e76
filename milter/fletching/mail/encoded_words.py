"""Encoded words (RFC 2047): text that is not ASCII in a header field, read and written.

Here lives the encoding of a whole value, and its folding. What a field means is not known here.
Nothing raises for any bytes, and the work is linear in the size.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from fletching.mail import charsets

_WORD = re.compile(rb"=\?([!-)+->@-~]{1,40})(?:\*[!->@-~]*)?\?([bBqQ])\?([^?]*)\?=")
_HEX = re.compile(rb"=([0-9A-Fa-f]{2})")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^ \t]+')
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)

_LINE = 78
_WORD_BYTES = 36
"""Bytes of text in an encoded word: 48 characters of base64, which leave room for the name."""


def decoded(value: bytes) -> str:
    """The text of a field's value: unfolded, encoded words decoded, blanks at its ends removed.

    Bytes that are in no known charset become replacement characters. An encoded word that cannot be
    decoded stays as it is.
    """
    value = value.replace(b"\r\n", b"").strip(b" \t\r\n")
    if b"=?" not in value:
        return value.decode("utf-8", "replace")
    # A character may be divided between two words, so their bytes are joined before decoding.
    runs: list[tuple[str, bytes]] = []
    for codec, text in _pieces(value):
        if runs and runs[-1][0] == codec:
            runs[-1] = (codec, runs[-1][1] + text)
        else:
            runs.append((codec, text))
    return "".join(text.decode(codec, "replace") for codec, text in runs)


def _pieces(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Codecs and texts, without the blanks between two encoded words."""
    at, after_word = 0, False
    for match in _WORD.finditer(value):
        codec = charsets.codec(match[1].decode("ascii"))
        if codec is None:
            continue
        between = value[at : match.start()]
        if not (after_word and not between.strip(b" \t")):
            yield "utf-8", between
        yield codec, _octets(match[2], match[3])
        at, after_word = match.end(), True
    yield "utf-8", value[at:]


def _octets(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"qQ":
        return _HEX.sub(lambda match: bytes.fromhex(match[1].decode("ascii")), text).replace(
            b"_", b" "
        )
    digits = _NOT_BASE64.sub(b"", text)
    digits = digits[: len(digits) - (len(digits) % 4 == 1)]
    try:
        return base64.b64decode(digits + b"=" * (-len(digits) % 4))
    except binascii.Error:
        return text


def encoded(name: bytes, text: str) -> bytes:
    """The value of a field of that name, as in `Header.value`: with the leading space, in ASCII,
    and folded at blanks before byte 78.

    Words that are not ASCII become encoded words. ``text`` has neither line ends nor surrogates.
    """
    if len(name) + 2 + len(text) <= _LINE and text.isascii():
        return b" " + text.encode("ascii")
    words = [text] if text.isascii() else list(_encoded_words(text))
    pieces = re.split(r"(?<=[^ ])(?= )", " " + " ".join(words))
    lines, room = [""], _LINE - len(name) - 1
    for piece in pieces:
        if lines[-1] and len(lines[-1]) + len(piece) > room:
            lines.append("")
            room = _LINE
        lines[-1] += piece
    return "\r\n".join(lines).encode("ascii")


def _encoded_words(text: str) -> Iterator[str]:
    """The words of a text; neighbors that are not ASCII, and the blanks between them, together."""
    run: list[str] = []
    for token in _TOKEN.findall(text):
        if not token.isascii():
            is_quoted = len(token) > 1 and token.startswith('"') and token.endswith('"')
            # An encoded word must not be in a quoted string (RFC 2047 section 5).
            run.append(_QUOTED_PAIR.sub(r"\1", token[1:-1]) if is_quoted else token)
            continue
        yield from _run(run)
        run = []
        yield token
    yield from _run(run)


def _run(tokens: list[str]) -> Iterator[str]:
    piece = b""
    for character in " ".join(tokens):
        octets = character.encode("utf-8", "replace")
        if len(piece) + len(octets) > _WORD_BYTES:
            yield _word(piece)
            piece = b""
        piece += octets
    if piece:
        yield _word(piece)


def _word(octets: bytes) -> str:
    return f"=?utf-8?B?{base64.b64encode(octets).decode('ascii')}?="
