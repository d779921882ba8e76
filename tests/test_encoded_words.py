"""encoded_words.py: text that is not ASCII in header fields."""

from __future__ import annotations

import email.header
import email.policy
from email.parser import BytesParser

from fletching.mail.encoded_words import decoded, encoded
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every

READ = {
    "plain": (b" Offers", "Offers"),
    "folded": (b" one\r\n two", "one two"),
    "raw utf-8": (" Gr\u00fc\u00dfe".encode(), "Gr\u00fc\u00dfe"),
    "raw latin-1": (b" Gr\xfc\xdfe", "Gr\ufffd\ufffde"),
    "base64": (b" =?utf-8?B?R3LDvMOfZQ==?=", "Gr\u00fc\u00dfe"),
    "base64 without padding": (b" =?utf-8?b?R3LDvMOfZQ?=", "Gr\u00fc\u00dfe"),
    "quoted-printable": (b" =?ISO-8859-1?Q?Gr=FC=DFe_an_alle?= now", "Gr\u00fc\u00dfe an alle now"),
    "with a language": (b" =?us-ascii*en?q?Keith?=", "Keith"),
    "blanks between words are dropped": (b" =?utf-8?Q?a?= \r\n =?utf-8?Q?b?= c", "ab c"),
    "a character in two words": (b" =?utf-8?B?R3LD?= =?utf-8?B?vMOfZQ==?=", "Gr\u00fc\u00dfe"),
    "spaces in a word": (b" =?utf-8?Q?a b?=", "a b"),
    "unknown charset": (b" =?klingon?Q?a?=", "=?klingon?Q?a?="),
    "never closed": (b" =?utf-8?Q?a", "=?utf-8?Q?a"),
    "base64 of an odd length": (b" =?utf-8?B?YWJjR?=", "abc"),
    "empty": (b" ", ""),
}


@for_every(READ)
def test_decoded(value: bytes, text: str) -> None:
    assert decoded(value) == text


@given(st.binary(max_size=300))
def test_decoding_never_fails(value: bytes) -> None:
    decoded(b"=?utf-8?Q?" + value + b"?= =?utf-8?B?" + value + b"?=")


TEXT = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=300)


@given(TEXT)
def test_what_is_encoded_is_decoded_alike(text: str) -> None:
    text = " ".join(text.replace('"', "").replace("=?", "").split())
    assert decoded(encoded(b"X-Note", text)) == text


@given(TEXT)
def test_encoded_is_ascii_and_no_line_is_empty(text: str) -> None:
    value = encoded(b"X-Note", text)
    assert value.isascii()
    first, *others = value.split(b"\r\n")
    assert all(line[:1] == b" " and line.strip() for line in others)
    assert first[:1] == b" "


def test_lines_are_short_where_blanks_allow_it() -> None:
    value = encoded(b"X-Note", "\u00fc" * 200 + " and plain words" * 20)
    lines = (b"X-Note:" + value).split(b"\r\n")
    assert max(map(len, lines)) <= 78


def test_a_quoted_name_is_encoded_without_its_quotes() -> None:
    value = encoded(b"List-ID", '"M\u00fcller \\"News\\"" <news.example.com>')
    assert value.endswith(b" <news.example.com>")
    assert b'"' not in value
    assert decoded(value) == 'M\u00fcller "News" <news.example.com>'


def test_python_reads_what_is_encoded() -> None:
    text = "Gr\u00fc\u00dfe aus K\u00f6ln \U0001f600 und weiter " * 8
    raw = b"Subject:" + encoded(b"Subject", text.strip()) + b"\r\n\r\n"
    parsed = BytesParser(policy=email.policy.default).parsebytes(raw)
    assert parsed["Subject"] == text.strip()
