"""mime.py: where the parts of a mail begin and end, and how another content goes back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fletching.mail import mime
from fletching.mail.changed_parts import ChangedPart, with_changed_parts
from fletching.mail.message import Message, parse
from fletching.mail.mime import Part, parts
from fletching.mail.parameters import parameters

from tests.cases import for_every
from tests.effort import is_linear


def mail(text: str) -> Message:
    return parse(text.encode("latin-1"))


def shape(message: Message) -> str:
    """The parts in order: a container by its type alone, a leaf with its content."""
    return "; ".join(
        part.content_type
        if part.container
        else f"{part.content_type}={message.body[part.start : part.end].decode('latin-1')}"
        for part in parts(message)
    )


MIXED = "Content-Type: multipart/mixed; boundary=b\n\n"
ALTERNATIVE = "Content-Type: multipart/alternative; boundary=c\n\n"
HTML = "Content-Type: text/html\n\n"

TREES = {
    "no header at all": ("\nHi", "text/plain=Hi"),
    "one part": (HTML + "<p>\n", "text/html=<p>\r\n"),
    "nothing in it": (HTML, "text/html="),
    "two parts": (
        MIXED + "--b\n\none\n--b\n" + HTML + "two\n--b--\n",
        "multipart/mixed; text/plain=one; text/html=two",
    ),
    "preamble and epilogue": (
        MIXED + "pre\n--b\n\none\n--b--\nepi\n--b\n\nnot a part\n",
        "multipart/mixed; text/plain=one",
    ),
    "empty lines belong to the part, but for the last": (
        MIXED + "--b\n\n\none\n\n\n--b--",
        "multipart/mixed; text/plain=\r\none\r\n\r\n",
    ),
    "close delimiter is missing": (MIXED + "--b\n\none\n", "multipart/mixed; text/plain=one\r\n"),
    "all delimiters are missing": (MIXED + "one\n", "multipart/mixed"),
    "closed at once": (MIXED + "--b--\n", "multipart/mixed"),
    "delimiter at the end": (
        MIXED + "--b\n\none\n--b", "multipart/mixed; text/plain=one; text/plain="),
    "blanks behind delimiters": (
        MIXED + "--b \t\n\none\n--b  \n\ntwo\n--b-- \n",
        "multipart/mixed; text/plain=one; text/plain=two",
    ),
    "more behind the delimiter": (MIXED + "--b\n\none\n--bc\n--b c\n--b---\n--b--\n",
                                  "multipart/mixed; text/plain=one\r\n--bc\r\n--b c\r\n--b---"),
    "delimiter within a line": (
        MIXED + "--b\n\none --b\n--b--", "multipart/mixed; text/plain=one --b"),
    "quoted boundary": (
        'Content-Type: multipart/mixed; boundary="b c"\n\n--b c\n\none\n--b c--',
        "multipart/mixed; text/plain=one",
    ),
    "blanks at the end of the boundary": (
        'Content-Type: multipart/mixed; boundary="b "\n\n--b\n\none\n--b --\n--b--',
        "multipart/mixed; text/plain=one\r\n--b --",
    ),
    "brackets in a bare boundary": (
        "Content-Type: multipart/mixed; boundary=b_(1)\n\n--b_(1)\n\none\n--b_(1)--",
        "multipart/mixed; text/plain=one",
    ),
    "boundary of dashes": (
        "Content-Type: multipart/mixed; boundary=--\n\n----\n\none\n--\n---\n------",
        "multipart/mixed; text/plain=one\r\n--\r\n---",
    ),
    "nested": (
        MIXED + "--b\n" + ALTERNATIVE + "--c\n\none\n--c\n" + HTML + "two\n--c--\n"
        "--b\n\nthree\n--b--",
        "multipart/mixed; multipart/alternative; text/plain=one; text/html=two; text/plain=three",
    ),
    "nested and not closed": (
        MIXED + "--b\n" + ALTERNATIVE + "--c\n\none\n--b\n\ntwo\n--b--",
        "multipart/mixed; multipart/alternative; text/plain=one; text/plain=two",
    ),
    "three deep": (
        MIXED + "--b\n" + ALTERNATIVE + "--c\nContent-Type: multipart/related; boundary=d\n\n"
        "--d\n" + HTML + "one\n--d--\n--c--\n--b--",
        "multipart/mixed; multipart/alternative; multipart/related; text/html=one",
    ),
    "outer delimiter within the inner one's epilogue": (
        MIXED + "--b\n" + ALTERNATIVE + "--c\n\none\n--c--\nepi\n--c\n--b\n\ntwo\n--b--",
        "multipart/mixed; multipart/alternative; text/plain=one; text/plain=two",
    ),
    "one boundary begins the other": (
        MIXED + "--b\nContent-Type: multipart/mixed; boundary=b1\n\n--b1\n\none\n--b1--\n"
        "--b\n\ntwo\n--b--",
        "multipart/mixed; multipart/mixed; text/plain=one; text/plain=two",
    ),
    "one boundary is the other with dashes": (
        MIXED + "--b\nContent-Type: multipart/mixed; boundary=b--\n\n--b--\n\none\n--b----\n--b--",
        "multipart/mixed; multipart/mixed; text/plain=one",
    ),
    "same boundary nested (as Outlook Express wrote it)": (
        MIXED + "--b\n" + MIXED + "--b\n\none\n--b--\n--b\n\ntwo\n--b--",
        "multipart/mixed; multipart/mixed; text/plain=one; text/plain=two",
    ),
    "digest": (
        "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: a\n\none\n--b\n"
        "Content-Type: text/plain\n\ntwo\n--b--",
        "multipart/digest; message/rfc822; text/plain=one; text/plain=two",
    ),
    "forwarded": (
        "Content-Type: message/rfc822\n\nSubject: a\n" + HTML + "one",
        "message/rfc822; text/html=one",
    ),
    "forwarded multipart": (
        MIXED + "--b\nContent-Type: message/rfc822\n\n" + ALTERNATIVE + "--c\n\none\n--c--\n"
        "--b\n\ntwo\n--b--",
        "multipart/mixed; message/rfc822; multipart/alternative; text/plain=one; text/plain=two",
    ),
    "forwarded and forwarded again": (
        "Content-Type: message/rfc822\n\n" * 2 + "Content-Type: text/x\n\none",
        "message/rfc822; message/rfc822; text/x=one",
    ),
    "forwarded without a header": (
        MIXED + "--b\nContent-Type: message/rfc822\n\n--b\n\ntwo\n--b--",
        "multipart/mixed; message/rfc822; text/plain=; text/plain=two",
    ),
    "forwarded in base64": (
        "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nAAAA",
        "message/rfc822=AAAA",
    ),
    "signed": (
        "Content-Type: multipart/signed; boundary=b\n\n--b\n" + HTML + "one\n--b\n"
        "Content-Type: application/pgp-signature\n\ntwo\n--b--",
        "multipart/signed; text/html=one; application/pgp-signature=two",
    ),
    "part without header": (MIXED + "--b\n\none\n--b--", "multipart/mixed; text/plain=one"),
    "part without header and empty line": (
        MIXED + "--b\none\n--b--", "multipart/mixed; text/plain=one"),
    "part of nothing": (MIXED + "--b\n--b\n\n--b--",
                        "multipart/mixed; text/plain=; text/plain="),
    "header without empty line": (
        MIXED + "--b\nContent-Type: text/html\n<p>\n--b--",
        "multipart/mixed; text/html=<p>",
    ),
    "header and nothing else": (
        MIXED + "--b\nContent-Type: text/html\n--b--", "multipart/mixed; text/html="),
    "delimiter that looks like a field": (
        'Content-Type: multipart/mixed; boundary="b: c"\n\n--b: c\n--b: c\n\none\n--b: c--',
        "multipart/mixed; text/plain=; text/plain=one",
    ),
    "Content-Type twice": (
        "Content-Type: text/html\nContent-Type: text/plain\n\none", "text/html=one"),
    "boundary twice": (
        "Content-Type: multipart/mixed; boundary=b; boundary=c\n\n--b\n\none\n--c--\n--b--",
        "multipart/mixed; text/plain=one\r\n--c--",
    ),
    "no boundary": ("Content-Type: multipart/mixed\n\none", "multipart/mixed=one"),
    "empty boundary": (
        'Content-Type: multipart/mixed; boundary=""\n\n--\none', "multipart/mixed=--\r\none"),
    "8-bit boundary": (
        "Content-Type: multipart/mixed; boundary=\xfc\n\n--\xfc\n\none\n--\xfc--",
        "multipart/mixed; text/plain=one",
    ),
    "no type": ("Content-Type: html\n\none", "text/plain=one"),
    "upper case": (
        "CONTENT-TYPE: MULTIPART/MIXED; BOUNDARY=B\n\n--B\nCONTENT-TYPE: TEXT/HTML\n\none\n--b--\n"
        "--B--",
        "multipart/mixed; text/html=one\r\n--b--",
    ),
}  # fmt: skip


@for_every(TREES)
def test_tree_of_parts(text: str, wanted: str) -> None:
    assert shape(mail(text)) == wanted


def only(text: str) -> Part:
    """The part of that content."""
    message = mail(text)
    (found,) = (p for p in parts(message) if message.body[p.start : p.end] == b"this")
    return found


SIGNED = "Content-Type: multipart/signed; boundary=b\n\n--b\n"
ENCRYPTED = "Content-Type: multipart/encrypted; boundary=c\n\n--c\n"
SIGNED_D = "Content-Type: multipart/signed; boundary=d\n\n--d\n"


def test_type_parameters_encoding_and_disposition_of_a_part() -> None:
    part = only(
        MIXED + '--b\nContent-Type: Text/HTML; Charset="UTF-8"\nX: 1\n 2\n'
        "Content-Disposition: INLINE; filename=a\nContent-Transfer-Encoding: QUOTED-Printable\n\n"
        "this\n--b--"
    )
    assert part.content_type == "text/html"
    assert part.parameters == {"charset": "UTF-8"}
    assert part.disposition == "inline"
    assert part.encoding == "quoted-printable"
    assert part.fault == part.protected_by == ""
    assert not part.root
    assert not part.forwarded
    assert only("\nthis").root
    assert only("\nthis").encoding == "7bit"


@pytest.mark.parametrize(
    ("text", "protected_by", "forwarded"),
    [
        (SIGNED + "\nthis\n--b--", "multipart/signed", False),
        (SIGNED + ALTERNATIVE + "--c\n\nthis\n--c--\n--b--", "multipart/signed", False),
        (SIGNED + "\none\n--b--\n\nthis", None, False),
        (MIXED + "--b\n" + SIGNED_D + "\nthis", "multipart/signed", False),
        (ENCRYPTED + "\nthis", "multipart/encrypted", False),
        ("Content-Type: application/pkcs7-mime\n\nthis", "application/pkcs7-mime", False),
        ("Content-Type: application/X-PKCS7-mime\n\nthis", "application/x-pkcs7-mime", False),
        (SIGNED + ENCRYPTED + "\nthis", "multipart/signed", False),
        (SIGNED + "Content-Type: message/rfc822\n\n\nthis\n--b--", "multipart/signed", True),
        ("Content-Type: message/rfc822\n\n\nthis", "", True),
        ("Content-Type: message/rfc822\n\n" + MIXED + "--b\n\nthis", "", True),
        (MIXED + "--b\nContent-Type: message/rfc822\n\n\none\n--b\n\nthis", "", False),
        (MIXED + "--b\n" + ALTERNATIVE + "--c\n" + SIGNED_D + "\none\n--c\n\nthis\n--c--\n--b--",
         "", False),
    ],
)  # fmt: skip
def test_protected_by_and_forwarded(text: str, protected_by: str | None, forwarded: bool) -> None:
    if protected_by is None:
        assert "this" not in shape(mail(text))
    else:
        assert (only(text).protected_by, only(text).forwarded) == (protected_by, forwarded)


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("Content-Type: text/html\nContent-Type: text/plain", "conflicting Content-Type fields"),
        ("Content-Type: text/html\nContent-type:  text/html", ""),
        ("Content-Transfer-Encoding: 8bit\nContent-Transfer-Encoding: base64",
         "conflicting Content-Transfer-Encoding fields"),
        ("Content-Disposition: inline\nContent-Disposition: attachment",
         "conflicting Content-Disposition fields"),
        ("MIME-Version: 1.0\nMIME-Version: 1.1", ""),
        ("Content-Type: multipart/mixed", "multipart without boundary"),
    ],
)  # fmt: skip
def test_fault_in_a_header(header: str, fault: str) -> None:
    assert parts(mail(header + "\n\none"))[0].fault == fault


@pytest.mark.parametrize(
    ("encodings", "wanted"),
    [
        ((), "7bit"),
        (("8BIT",), "8bit"),
        (("base64 (of course)",), "base64"),
        (("7bit", "8bit"), "8bit"),
        (("binary", "7bit"), "binary"),
        (("base64", "BASE64"), "base64"),
        (("base64", "7bit"), ""),
        (("",), ""),
    ],
)
def test_encoding_of_repeated_fields(encodings: tuple[str, ...], wanted: str) -> None:
    header = "".join(f"Content-Transfer-Encoding: {word}\n" for word in encodings)
    assert parts(mail(header + "\none"))[0].encoding == wanted


PARAMETERS: dict[str, tuple[str, dict[str, str]]] = {
    "text/html": ("text/html", {}),
    " Text/HTML ; Charset = UTF-8 ": ("text/html", {"charset": "UTF-8"}),
    'a/b; c="d;e=f"; g=h': ("a/b", {"c": "d;e=f", "g": "h"}),
    r'a/b; c="d\"e\\f"': ("a/b", {"c": r'd"e\f'}),
    "a/b;c=d;e=f": ("a/b", {"c": "d", "e": "f"}),
    r"a/b; c=d\;e=f": ("a/b", {"c": "d\\", "e": "f"}),
    "(c) a/b; d=e": ("a/b", {"d": "e"}),
    'a/b; c="d': ("a/b", {"c": "d"}),
    'a/b; c="d\\"': ("a/b", {"c": 'd"'}),
    'a/b; c="d\\': ("a/b", {"c": "d\\"}),
    "a/b; c=d; C=e": ("a/b", {"c": "d"}),
    "a/b; c=d (e; f=g)": ("a/b", {"c": "d"}),
    "a/b (c; d=(e)f=g) ; h=i": ("a/b", {"h": "i"}),
    "a/b; c=(d)e": ("a/b", {"c": "e"}),
    "a/b; c=d(e)": ("a/b", {"c": "d(e)"}),
    "a/b; c=(d": ("a/b", {"c": ""}),
    r"a/b; c=(d\)e)f": ("a/b", {"c": "f"}),
    r"a/b; c=(d\(e)f": ("a/b", {"c": "f"}),
    "a/b;;; c=d;": ("a/b", {"c": "d"}),
    "a/b; c": ("a/b", {}),
    "a/b; c=": ("a/b", {"c": ""}),
    "a/b; c=d=e": ("a/b", {"c": "d=e"}),
    'a/b;\r\n\tc="d\r\n e"': ("a/b", {"c": "d e"}),
    "": ("", {}),
    ";": ("", {}),
    "a/b; c*=utf-8''d%20e": ("a/b", {"c": "d e"}),
    "a/b; c*=d%3B": ("a/b", {"c": "d;"}),
    "a/b; c*=''d'e": ("a/b", {"c": "d'e"}),
    "a/b; c*0=d; c*1=e": ("a/b", {"c": "de"}),
    'a/b; c*1="e;"; C*0="--d"': ("a/b", {"c": "--de;"}),
    "a/b; c*0*=utf-8'en'd%2D; c*1=%2D; c*2*=%2D": ("a/b", {"c": "d-%2D-"}),
    "a/b; c*0=d; c*2=e": ("a/b", {"c": "d"}),
    "a/b; c*0*=utf-8''d; c*1*=e'f'g": ("a/b", {"c": "de'f'g"}),
    "a/b; c*1=d": ("a/b", {}),
    "a/b; c*00=d": ("a/b", {}),
    "a/b; c*0=d; c=e": ("a/b", {"c": "e"}),
    "a/b; c*=utf-8''%C3%BC": ("a/b", {"c": "\u00c3\u00bc"}),
    "a/b; c*=%zz; *=x; c**=y": ("a/b", {"c": "%zz", "": "x"}),
    "; ".join(["a/b", *(f"c*{n}=d" for n in range(300))]): ("a/b", {"c": "d" * 300}),
    "a/b; c=\\": ("a/b", {"c": "\\"}),
}


@pytest.mark.parametrize(("value", "wanted"), PARAMETERS.items())
def test_parameters_of_content_type(value: str, wanted: tuple[str, dict[str, str]]) -> None:
    assert parameters(value.encode("latin-1")) == wanted


# Another content.


def changed(text: str, content: bytes, encoding: str) -> bytes:
    message = mail(text)
    change = ChangedPart(only(text), content, encoding)
    return bytes(with_changed_parts(message, parts(message), [change])).replace(b"\r\n", b"\n")


QP = "Content-Transfer-Encoding: quoted-printable\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A: 1\n\nthis", "A: 1\n" + QP + "MIME-Version: 1.0\n\nthat"),
        ("Mime-version: 1.0\nB: 1\n\nthis", "Mime-version: 1.0\nB: 1\n" + QP + "\nthat"),
        ("content-transfer-encoding:8bit\nMIME-Version: 1.0\nB: 1\n\nthis",
         "content-transfer-encoding: quoted-printable\nMIME-Version: 1.0\nB: 1\n\nthat"),
        (MIXED + "--b\n\nthis\n--b--", MIXED + "--b\n" + QP + "\nthat\n--b--"),
        (MIXED + "--b\nA: 1\n\nthis\n--b--", MIXED + "--b\nA: 1\n" + QP + "\nthat\n--b--"),
        (MIXED + "--b\nA: 1\nCONTENT-TRANSFER-ENCODING: 8bit\nB: 2\n\nthis\n--b--",
         MIXED + "--b\nA: 1\n" + QP + "B: 2\n\nthat\n--b--"),
        (MIXED + "--b\nContent-Transfer-Encoding:\n 8bit\nContent-transfer-encoding \t:\n\nthis",
         MIXED + "--b\n" + QP + QP + "\nthat"),
        (MIXED + "--b\nthis\n--b--", MIXED + "--b\n" + QP + "\nthat\n--b--"),
        (MIXED + "--b\nA: 1\nthis\n--b--", MIXED + "--b\nA: 1\n" + QP + "\nthat\n--b--"),
    ],
)  # fmt: skip
def test_changed_part_gets_its_new_encoding_field(before: str, after: str) -> None:
    assert changed(before, b"that", "quoted-printable") == after.encode()


def test_encoding_field_is_unchanged_if_the_encoding_is() -> None:
    text = MIXED + "pre\n--b\nContent-Transfer-Encoding:  8BIT\n\nthis\n--b\n\nother\n--b--\nepi"
    assert changed(text, b"that", "8bit") == text.replace("this", "that").encode()


# The work.


def nested(size: int) -> str:
    kind = "Content-Type: multipart/mixed; boundary"
    opened = "".join(f"{kind}=b{n}\n\n--b{n}\n" for n in range(size))
    return opened + "\nthis\n" + "".join(f"--b{n}--\n" for n in reversed(range(size)))


LARGE: dict[str, Callable[[int], str]] = {
    "parts": lambda size: MIXED + "--b\n\nx\n" * size,
    "nested": nested,
    "nested with one boundary": lambda size: (MIXED + "--b\n") * size,
    "nested and forwarded": lambda size: "Content-Type: message/rfc822\n\n" * size,
    "nested and not closed": lambda size: nested(size).partition("this")[0] + "--b0--\n" * size,
    "lines that begin with dashes": lambda size: MIXED + "--b\n\n" + "--\n--bb\n" * size,
    "fields": lambda size: MIXED + "--b\n" + "X: 1\n" * size,
    "labels": lambda size: MIXED + "--b\n" + "Content-Transfer-Encoding: 8bit\n" * size,
    "quotes": lambda size: "Content-Type: text/html; a=" + '"' * size,
    "brackets": lambda size: "Content-Type: text/html; a=" + " (" * size,
    "parameters": lambda size: "Content-Type: text/html" + ";a=b" * size,
}


@pytest.mark.parametrize("made", LARGE.values(), ids=LARGE)
def test_work_is_linear(made: Callable[[int], str]) -> None:
    def work(size: int) -> Callable[[], object]:
        message = mail(made(size))

        def find_parts() -> None:
            # Nothing is known from the mail before.
            mime._cached_description.cache_clear()
            parts(message)

        return find_parts

    assert is_linear(work, 50)


def test_ten_thousand_nested_parts() -> None:
    assert len(parts(mail(nested(10_000)))) == 10_001
