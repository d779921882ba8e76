"""Numbers and texts as bytes and as characters, and back.

Here live base32, base64url and the numbers of variable length that tokens, tags and campaign ids
are made of. What they mean is not known here. Pure.
"""

from __future__ import annotations

import base64
import binascii

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def base32(number: int, bits: int) -> str:
    """A number as text, 5 bits a character. Raises ValueError if it does not fit in ``bits``."""
    if not 0 <= number < 1 << bits:
        raise ValueError(f"{number} does not fit in {bits} bits")
    return "".join(_BASE32[number >> shift & 31] for shift in range(bits - 5, -1, -5))


def from_base32(text: str) -> int:
    """The number of a text of a-z and 2-7. Raises ValueError for other characters."""
    number = 0
    for character in text:
        number = number << 5 | _BASE32.index(character)
    return number


def base64url(data: bytes) -> str:
    """Base64 with `-` and `_` (RFC 4648 section 5), without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE, b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """The bytes of a text. Raises ValueError unless it is spelled as `base64url` spells them."""
    data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    # The last character has bits to spare, and the decoder skips foreign characters: without this,
    # the same bytes would have several spellings.
    if base64url(data) != text:
        raise ValueError("not in the usual spelling")
    return data


def varint(number: int) -> bytes:
    """A number of any size, 7 bits a byte, the lowest first; only the last byte is below 128."""
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)
    return bytes(data)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at this offset, and the offset after it. Raises IndexError where it has no end."""
    number = shift = 0
    while data[at] > 127:
        number |= (data[at] & 127) << shift
        shift += 7
        at += 1
    return number | data[at] << shift, at + 1


def text_bytes(text: str) -> bytes:
    """A text as UTF-8; surrogate escapes become the bytes that they stand for."""
    return text.encode("utf-8", "surrogateescape")


def bytes_text(data: bytes) -> str:
    """The reverse of `text_bytes`; bytes that are not UTF-8 become surrogate escapes."""
    return data.decode("utf-8", "surrogateescape")


def length_and_text(text: str) -> bytes:
    """A text behind its length in bytes."""
    data = text_bytes(text)
    return varint(len(data)) + data


def read_text(data: bytes, at: int) -> tuple[str, int]:
    """The text of `length_and_text` at this offset, and the offset after it."""
    length, at = read_varint(data, at)
    return bytes_text(data[at : at + length]), at + length
