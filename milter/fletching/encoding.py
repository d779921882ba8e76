"""Numbers and texts as bytes and as characters, and back.

Here live base32, base64url and the numbers of variable length that tokens, tags and campaign ids
are made of, and queue ids of Postfix in few bytes. What they mean is not known here. Pure.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import cache

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ALPHABETS = (
    (re.compile(r"[0-9A-F]{1,20}"), _DIGITS[:16]),
    (re.compile(r"[0-9A-Za-z]{1,20}"), _DIGITS),
)


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


def packed_id(queue_id: str) -> bytes:
    """A queue id: its length, its alphabet (short ids are hexadecimal, long ones have letters and
    digits), and the number that it is in that alphabet.
    """
    for code, (pattern, alphabet) in enumerate(_ALPHABETS):
        if pattern.fullmatch(queue_id):
            number = 0
            for character in queue_id:
                number = number * len(alphabet) + alphabet.index(character)
            size = _packed_size(len(queue_id), alphabet)
            return varint(len(queue_id) * 4 + code) + number.to_bytes(size, "big")
    data = queue_id.encode("utf-8", "surrogateescape")
    return varint(len(data) * 4 + len(_ALPHABETS)) + data


def unpacked_id(line: bytes, at: int) -> tuple[str, int]:
    """The queue id that begins at an offset, and the offset behind it. Raises IndexError."""
    head, at = read_varint(line, at)
    length, code = head >> 2, head % 4
    if code >= len(_ALPHABETS):
        return line[at : at + length].decode("utf-8", "surrogateescape"), at + length
    alphabet = _ALPHABETS[code][1]
    end = at + _packed_size(length, alphabet)
    number, characters = int.from_bytes(line[at:end], "big"), ""
    for _ in range(length):
        number, digit = divmod(number, len(alphabet))
        characters = alphabet[digit] + characters
    return characters, end


@cache
def _packed_size(length: int, alphabet: str) -> int:
    return -(-int(len(alphabet) ** length - 1).bit_length() // 8)
