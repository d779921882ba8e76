"""charsets.py: what a label means, judged by a table of the Encoding standard that is not ours."""

from __future__ import annotations

import codecs

from fletching.mail import charsets
from webencodings.labels import LABELS  # type: ignore[import-untyped]

from tests.cases import for_every

SUPERSETS = {
    "windows-874": "cp874",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc-kr": "cp949",
    "macintosh": "mac_roman",
    "x-mac-cyrillic": "mac_cyrillic",
    "iso-8859-8-i": "iso8859-8",
}
# Never decoded by the standard, or not with ASCII as its own octets.
NOT_READ = {"replacement", "x-user-defined", "utf-16le", "utf-16be"}
READ = {label: name for label, name in LABELS.items() if name not in NOT_READ}


@for_every(READ.keys())
def test_labels_of_the_encoding_standard(label: str) -> None:
    expected = codecs.lookup(SUPERSETS.get(READ[label], READ[label])).name
    assert charsets.codec(label) == expected
    assert charsets.codec(f" {label.upper()}\t") == expected


@for_every(LABELS.keys() - READ.keys())
def test_charset_without_ascii_is_unknown(label: str) -> None:
    assert charsets.codec(label) is None


UTF8, LATIN = "é".encode(), b"\xe9"
GUESSED = {
    "ASCII": (b"x", "ascii"),
    "UTF-8": (UTF8, "utf-8"),
    "neither": (LATIN, "ascii"),
    "meta": (b"<meta charset=utf-8>" + UTF8, "utf-8"),
    "quoted": (b"<META Charset = 'windows-1251'>" + LATIN, "cp1251"),
    "http-equiv": (b'<meta http-equiv=x content="text/html; charset=koi8-r">' + LATIN, "koi8-r"),
    "superset": (b'<meta charset="iso-8859-1"/>' + LATIN, "cp1252"),
    "ASCII with meta": (b"<meta charset=koi8-r>", "koi8-r"),
    "in a comment": (b"<!-- <meta charset=koi8-r> -->" + UTF8, "utf-8"),
    "too late": (b" " * 1024 + b"<meta charset=koi8-r>" + UTF8, "utf-8"),
    "unknown": (b"<meta charset=x-none>" + UTF8, "utf-8"),
    "none": (b"<meta name=charset>" + UTF8, "utf-8"),
    "another tag": (b"<metal charset=koi8-r>" + UTF8, "utf-8"),
}


@for_every(GUESSED)
def test_charset_of_unlabelled_text(content: bytes, expected: str) -> None:
    assert charsets.guessed(content, html=True) == expected


def test_meta_counts_only_in_html() -> None:
    assert charsets.guessed(b"<meta charset=koi8-r>" + LATIN, html=False) == "ascii"


@for_every(["cp874", *(f"cp{number}" for number in range(1250, 1259))])
def test_windows_codecs_keep_c1_controls(name: str) -> None:
    octets = bytes(range(0xA0))
    kept = charsets.errors(name)
    assert octets.decode(name, kept).encode(name, kept) == octets
