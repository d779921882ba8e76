"""rewrite.py: a part that is rewritten keeps its encoding and its charset, or says what is new."""

from __future__ import annotations

from encodings.aliases import aliases
from itertools import product

import pytest
from fletching.mail import mime
from fletching.mail.message import parse

from tests.cases import for_every
from tests.rewriting import PIXEL, TRACKER, done, entity, longest_line, many, not_rewritten, read

PAGE = '<p>{}</p>\r\n<a href="http://x.example/?a=1&amp;b=2">x</a>\r\n'
SENT_PAGE = '<p>{}</p>\r\n<a href="' + TRACKER + '/1?25">x</a>\r\n' + PIXEL
TEXT = "{} http://x.example/?a=1&b=2 end\r\n"
SENT_TEXT = "{} " + TRACKER + "/2?25 end\r\n"


# M1: a single part, in each encoding.

ENCODINGS = ["7bit", "8bit", "binary", "quoted-printable", "base64", None]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("kind", "before", "after"), [("text/html", PAGE, SENT_PAGE), ("text/plain", TEXT, SENT_TEXT)]
)
def test_links_of_a_single_part(encoding: str | None, kind: str, before: str, after: str) -> None:
    word = "Hi = \\" if encoding in ("7bit", None) else "Grüße = €"
    raw = entity(kind, before.format(word).encode(), encoding)
    rewritten = done(raw).message
    ((_, content),) = read(rewritten)
    assert content == after.format(word).encode()
    # The encoding still fits, so the header is as it was.
    assert rewritten.headers == parse(raw).headers


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "binary", None])
def test_line_that_becomes_too_long_is_encoded(encoding: str | None) -> None:
    page = "x" * 970 + '<a href="http://x/">' + "y\r\n"
    rewritten = done(entity("text/html", page.encode(), encoding)).message
    ((_, content),) = read(rewritten)
    assert content == page.replace("http://x/", f"{TRACKER}/1?9").encode() + PIXEL.encode()
    assert longest_line(rewritten.body) <= 76
    labels = rewritten.all(b"content-transfer-encoding")
    assert [header.text for header in labels] == [b"quoted-printable"]
    assert rewritten.has(b"mime-version")


def test_8_bit_bytes_labelled_7bit_are_encoded() -> None:
    page = PAGE.format("Grüße")
    rewritten = done(entity("text/html", page.encode(), "7bit")).message
    assert rewritten.body.isascii()
    assert read(rewritten) == [("text/html", SENT_PAGE.format("Grüße").encode())]


def test_encoded_part_of_a_multipart_gets_its_own_encoding_field() -> None:
    page = ("x" * 980 + PAGE.replace("</p>\r\n", "")).encode()
    raw = many(entity("text/html", page, None), entity("text/plain", b"Hi\r\n", "7bit"))
    rewritten = done(raw).message
    assert rewritten.headers == parse(raw).headers
    html, text = mime.parts(rewritten)[1:]
    assert (html.encoding, text.encoding) == ("quoted-printable", "7bit")


def test_quoted_printable_around_a_change_is_unchanged() -> None:
    """L19: marks and soft breaks within a URL are no part of it."""
    before = (
        "<p>Gr=fc=DFe =\r\n =41</p>  \r\n"
        '<a=20href=3D"http://x.exam=\r\nple/?a=3D1&amp;b=3d2">x=\r\n</a>\r\n'
        "</body>=0A\r\n"
    )
    after = (
        "<p>Gr=fc=DFe =\r\n =41</p>  \r\n"
        f'<a=20href=3D"=\r\n{TRACKER}=\r\n/=\r\n1?25=\r\n">x=\r\n</a>\r\n'
        f'<img src=3D"{TRACKER}=\r\n/=\r\n'
        '3?0" width=3D"1" height=3D"1" alt=3D"" border=3D"0" style=3D"border:0;width=\r\n'
        ':1px;height:1px">=\r\n'
        "</body>=0A\r\n"
    )
    raw = b"Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: "
    raw += b"quoted-printable\r\n\r\n"
    assert done(raw + before.encode()).message.body.decode() == after


# M2: the charset is kept.

WORDS = {
    "us-ascii": "Hi",
    "utf-8": "Grüße €",
    "UTF8": "Grüße €",
    "iso-8859-1": "Grüße",
    "ISO_8859-15": "Grüße €",
    "windows-1252": "Grüße €",
    "windows-1251": "Привет",
    "koi8-r": "Привет",
    "iso-2022-jp": "日本語",
    "shift_jis": "表示ソ",
    "Shift-JIS": "表示ソ",
    "euc-jp": "日本語",
    "euc-kr": "한국어",
    "big5": "許功蓋",
    "gb2312": "中文",
    "gb18030": "中文€",
    "iso-8859-8": "שלום",
    "windows-1256": "سلام",
    "ibm850": "Grüße",
    "macintosh": "Grüße",
    "tis-620": "สวัสดี",
}


@for_every([*product(WORDS, ("8bit", "quoted-printable", "base64"))])
def test_charset_of_the_part_is_kept(charset: str, encoding: str) -> None:
    word = WORDS[charset]
    page = PAGE.format(word).encode(charset)
    rewritten = done(entity("text/html", page, encoding, charset)).message
    (part,) = mime.parts(rewritten)
    assert part.parameters["charset"] == charset
    ((_, content),) = read(rewritten)
    assert content.replace(b"\r\n", b"\n") == SENT_PAGE.format(word).encode(charset).replace(
        b"\r\n", b"\n"
    )


def test_byte_order_mark_is_kept() -> None:
    raw = entity("text/html", b"\xef\xbb\xbf<p>", "8bit")
    assert done(raw).message.body == b"\xef\xbb\xbf<p>" + PIXEL.encode()


def test_character_outside_of_the_charset_becomes_a_reference() -> None:
    """The reader of HTML writes such a URL anew where it was written with references."""
    page = '<a href="https&#43;notrack://b&#x4e2d;.example/">x</a>'
    rewritten = done(entity("text/html", page.encode(), "7bit", "us-ascii"))
    assert b"https://b&#20013;.example/" in rewritten.message.body
    assert rewritten.notes[0].not_rewritten == ""


NO_CHARSETS = [
    "utf-16", "utf-16le", "utf-32", "utf-7", "x-unknown", "", "unicode_escape",
    "raw_unicode_escape", "punycode", "idna", "rot13", "rot_13", "base64", "hex", "uu", "bz2",
    "zip", "quopri", "mbcs", "undefined", "charmap", "cp037", "cp500", "cp1026", "cp864", "hz",
    "iso-2022-kr", "utf-8-sig", "../utf_8", "aliases", "x" * 5000, "ü", "utf_8_sig",
]  # fmt: skip
BINARY = {
    "base64_codec",
    "bz2_codec",
    "hex_codec",
    "quopri_codec",
    "rot_13",
    "uu_codec",
    "zlib_codec",
}


@pytest.mark.parametrize("charset", NO_CHARSETS)
def test_part_with_an_unknown_charset_is_unchanged(charset: str) -> None:
    raw = entity("text/html", PAGE.format("Hi").encode(), "7bit", f'"{charset}"')
    not_rewritten(raw, "unknown charset")


@pytest.mark.parametrize(
    ("charset", "word"),
    [
        ("utf-8", b"\xfc"),
        ("iso-2022-jp", b"\x1b$B\xff"),
        ("gb2312", b"\xff"),
    ],
)
def test_part_with_bytes_outside_of_its_charset_is_unchanged(charset: str, word: bytes) -> None:
    not_rewritten(
        entity("text/html", word + PAGE.encode(), "8bit", charset), "invalid bytes for its charset"
    )


def test_part_that_cannot_be_encoded_again_is_unchanged() -> None:
    # In JIS X 0208, then at once back and in again: no encoder would write it so.
    odd = b"\x1b$B\x46\x7c\x1b(B\x1b$B\x4b\x5c\x1b(B"
    not_rewritten(
        entity("text/html", odd + PAGE.encode(), "7bit", "iso-2022-jp"),
        "charset cannot be encoded again without changes",
    )
    # Without a link nothing is to come out.
    assert done(entity("text/plain", odd, "7bit", "iso-2022-jp")).notes[0].not_rewritten == ""


@for_every(sorted({*aliases.values()} - BINARY))
def test_part_in_any_python_encoding_is_unchanged_or_kept(codec: str) -> None:
    """Among them are some in which ASCII is not its own octets."""
    try:
        before, after = PAGE.format("Hi").encode(codec), SENT_PAGE.format("Hi").encode(codec)
    except (LookupError, UnicodeError):
        return
    # parse() as well, since it makes CRLF of what looks like a bare LF in UTF-16.
    before, after = (entity("text/html", page, "binary", codec) for page in (before, after))
    assert done(before).message.body in (parse(before).body, parse(after).body)
