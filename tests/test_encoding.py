"""encoding.py: numbers and texts as bytes and as characters, and back."""

from __future__ import annotations

import pytest
from fletching.encoding import (
    base32,
    base64url,
    from_base32,
    from_base64url,
    length_and_text,
    read_text,
    read_varint,
    varint,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("number", "bits", "text"),
    [(0, 5, "a"), (31, 5, "7"), (32, 10, "ba"), (1023, 10, "77"), (1, 30, "aaaaab")],
)
def test_base32_has_5_bits_a_character(number: int, bits: int, text: str) -> None:
    assert base32(number, bits) == text
    assert from_base32(text) == number


@pytest.mark.parametrize(("number", "bits"), [(-1, 5), (32, 5), (1024, 10), (2**60, 60)])
def test_base32_refuses_a_number_that_does_not_fit(number: int, bits: int) -> None:
    with pytest.raises(ValueError, match=f"{number} does not fit in {bits} bits"):
        base32(number, bits)


@pytest.mark.parametrize("text", ["A", "1", "a8", "a=", "\u00e4"])
def test_base32_refuses_other_characters(text: str) -> None:
    with pytest.raises(ValueError, match="not found"):
        from_base32(text)


@pytest.mark.parametrize(
    ("number", "data"),
    [
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (300, b"\xac\x02"),
        (16_383, b"\xff\x7f"),
        (16_384, b"\x80\x80\x01"),
        (1_234_567, b"\x87\xadK"),
    ],
)
def test_varint_has_7_bits_a_byte_and_no_byte_too_many(number: int, data: bytes) -> None:
    assert varint(number) == data
    assert read_varint(b"x" + data + b"x", 1) == (number, 1 + len(data))


def test_a_varint_without_its_last_byte_is_an_error() -> None:
    with pytest.raises(IndexError):
        read_varint(b"\x80\x80", 0)


@given(st.binary(max_size=60))
def test_base64url_of_any_bytes(data: bytes) -> None:
    text = base64url(data)
    assert not set(text) & set("+/=")
    assert from_base64url(text) == data


@pytest.mark.parametrize("text", ["A", "AB", "AA==", "A A", "+/+/", "AAAA\n", "\u00e4AAA"])
def test_another_spelling_of_base64url_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what it says is not shown to anybody
        from_base64url(text)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary(max_size=5))
def test_a_text_of_any_length_is_read_after_its_length(text: str, after: bytes) -> None:
    data = b"x" + length_and_text(text)
    assert read_text(data + after, 1) == (text, len(data))


def test_bytes_that_are_not_utf_8_survive() -> None:
    assert length_and_text("\udcff") == b"\x01\xff"
    assert read_text(b"\x01\xff", 0) == ("\udcff", 2)
