"""Charsets of texts: what a label means, and the charset of a text without a label.

Labels are those of the WHATWG Encoding standard (section 4.2), which browsers and mail programs
follow: several mean a superset of the charset that they name. Labels that only Python knows are
accepted, too. Here live labels, codecs and how bytes survive decoding. Where a mail says its
charset is not known here.
"""

from __future__ import annotations

import codecs
import re
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import lru_cache

# Charsets of mail that ASCII is a part of, by Python's names. Python has other encodings, some of
# which are no charsets at all, and it searches its files for a name that it does not know.
_CHARSET = re.compile(
    r"ascii|utf_8|latin_1|iso8859_([2-9]|1[013-6])|koi8_[rtu]|tis_620|kz1048|ptcp154"
    r"|cp(437|720|737|775|85[02578]|86[0-35-69]|874|1125|125[0-8])"
    r"|mac_(roman|cyrillic|greek|iceland|latin2|turkish)"
    r"|gb2312|gbk|gb18030|big5(hkscs)?|cp9(32|49|50)|johab|shift_jis(_2004|x0213)?"
    r"|euc_(jp|kr|jis_2004|jisx0213)|iso2022_jp(_1|_2|_3|_2004|_ext)?"
)
_LONGEST_CHARSET = 40
# The standard's labels that Python has no alias for, without UTF-16 and what the standard never
# decodes.
_LABELS = {
    label: codec
    for codec, labels in {
        "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 x-unicode20utf8",
        "iso8859-2": "iso88592",
        "iso8859-3": "iso88593",
        "iso8859-4": "iso88594",
        "iso8859-5": "iso88595",
        "iso8859-6": "csiso88596e csiso88596i iso-8859-6-e iso-8859-6-i iso88596",
        "iso8859-7": "iso88597 sun_eu_greek",
        "iso8859-8": "csiso88598e csiso88598i iso-8859-8-e iso-8859-8-i iso88598 logical visual",
        "iso8859-10": "iso885910",
        "iso8859-13": "iso885913",
        "iso8859-14": "iso885914",
        "iso8859-15": "csisolatin9 iso885915",
        "koi8-r": "koi koi8",
        "koi8-u": "koi8-ru",
        "mac-roman": "csmacintosh mac x-mac-roman",
        "mac-cyrillic": "x-mac-cyrillic x-mac-ukrainian",
        "cp874": "dos-874 iso885911 windows-874",
        "cp1250": "x-cp1250",
        "cp1251": "x-cp1251",
        "cp1252": "iso88591 x-cp1252",
        "cp1253": "x-cp1253",
        "cp1254": "iso88599 x-cp1254",
        "cp1255": "x-cp1255",
        "cp1256": "x-cp1256",
        "cp1257": "x-cp1257",
        "cp1258": "x-cp1258",
        "gb18030": "csgb2312 gb_2312 gb_2312-80 x-gbk",
        "big5hkscs": "cn-big5 x-x-big5",
        "euc_jp": "cseucpkdfmtjapanese x-euc-jp",
        "cp932": "windows-31j x-sjis",
        "cp949": "cseuckr csksc56011987 iso-ir-149 ks_c_5601-1989 ksc_5601 windows-949",
    }.items()
    for label in labels.split()
}
# The superset that the standard decodes a charset as, by Python's names.
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
}
_META = re.compile(rb"<meta[\s/][^>]*?charset\s*=\s*[\"']?\s*([^\s\"'/>;]+)", re.IGNORECASE)
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_PRESCANNED = 1024
_C1 = "fletching.c1"


@lru_cache(maxsize=256)  # A pure function of a short text, and mails name few charsets.
def codec(label: str) -> str | None:
    """Python's codec for a label; None if it is unknown, or no charset that ASCII is a part of."""
    label = label.strip("\t\n\f\r ").lower()
    if len(label) > _LONGEST_CHARSET:
        return None
    if label in _LABELS:
        return _LABELS[label]
    name = normalize_encoding(label)
    name = aliases.get(name, name)
    if not _CHARSET.fullmatch(name):
        return None
    name = codecs.lookup(name).name
    return _SUPERSETS.get(name, name)


def guessed(content: bytes, *, html: bool) -> str:
    """The codec of a text whose header names no charset.

    HTML may name one in its first 1,024 bytes (HTML standard, section 13.2.3.2). A text that is not
    UTF-8 either is taken for ASCII, in which 8-bit bytes are an error.
    """
    if html and (meta := _META.search(_COMMENT.sub(b"", content[:_PRESCANNED]))):
        label = meta[1].decode("latin-1")
        if (named := codec(label)) is not None:
            return named
    if content.isascii():
        return "ascii"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "ascii"
    return "utf-8"


def errors(name: str) -> str:
    """The codec's error handler: Windows codecs leave undefined C1 controls as they are."""
    return _C1 if name.startswith(("cp125", "cp874")) else "strict"


def _c1(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError) and error.object[error.start] in range(0x80, 0xA0):
        return chr(error.object[error.start]), error.start + 1
    if isinstance(error, UnicodeEncodeError) and "\x80" <= error.object[error.start] < "\xa0":
        return bytes((ord(error.object[error.start]),)), error.start + 1
    raise error


codecs.register_error(_C1, _c1)
