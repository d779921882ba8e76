"""seven_bit.py: nothing is left that Postfix or a server behind it would change, and the content is
the same.

Postfix changes this when it sends: lines of more than 998 bytes anywhere, and parts labelled 8bit
or binary, if the other server has no 8BITMIME.
"""

from __future__ import annotations

import base64
import email
import re
from collections.abc import Callable
from email import policy

import pytest
from fletching.mail import mime
from fletching.mail.message import Header, Message, parse
from fletching.mail.seven_bit import is_seven_bit, to_seven_bit
from hypothesis import given
from hypothesis import strategies as st

from tests.effort import is_linear
from tests.rewriting import entity, longest_line, many, read

EIGHTBIT = b"Content-Transfer-Encoding: 8bit\r\n"
LONG = b"x" * 999


def converted(raw: bytes) -> Message:
    return to_seven_bit(parse(raw)).message


def labels(message: Message) -> list[str]:
    return [part.encoding for part in mime.parts(message)]


def kept(raw: bytes) -> Message:
    """The converted mail; checks that it is in 7-bit form and has the same content."""
    made = converted(raw)
    assert is_seven_bit(made)
    assert read(made) == read(parse(raw))
    assert not {"8bit", "binary"} & set(labels(made))
    return made


PLAIN = b"\r\nHi\r\n"
GRUSS = "\r\nGrüße\r\n".encode()
IMAGE = b"Content-Type: image/png\r\n"


def test_mail_in_seven_bit_form_is_unchanged() -> None:
    for raw in (
        PLAIN,
        many(PLAIN, b"x" * 998),
        entity("text/html", "ü".encode(), "quoted-printable"),
    ):
        message = parse(raw)
        assert to_seven_bit(message) == (message, True)
        assert is_seven_bit(message)
    # The words alone, in the wrong place, do not matter.
    message = parse(b"Subject: 8bit\r\n\r\nContent-Transfer-Encoding: 8bit\r\n")
    assert to_seven_bit(message) == (message, True)


@pytest.mark.parametrize(
    ("raw", "encodings"),
    [
        (EIGHTBIT + GRUSS, ["quoted-printable"]),
        (b"Content-Transfer-Encoding: binary\r\n" + GRUSS, ["quoted-printable"]),
        (GRUSS, ["quoted-printable"]),
        (EIGHTBIT + PLAIN, ["7bit"]),
        (b"Content-Transfer-Encoding: binary\r\n" + PLAIN, ["7bit"]),
        (b"\r\n" + LONG, ["quoted-printable"]),
        (b"\r\na\0b", ["quoted-printable"]),
        (b"Content-Type: text/calendar\r\n" + GRUSS, ["quoted-printable"]),
        (IMAGE + EIGHTBIT + b"\r\n\x89PNG\r\n\x1a\n", ["base64"]),
        (IMAGE + b"\r\n" + LONG, ["base64"]),
        (b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(LONG), ["base64"]),
        (b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=3D" + LONG, ["quoted-printable"]),
        (b"Content-Transfer-Encoding: quoted-printable\r\n" + GRUSS, ["quoted-printable"]),
        (many(PLAIN, GRUSS, IMAGE + GRUSS), ["7bit", "7bit", "quoted-printable", "base64"]),
        (EIGHTBIT + many(EIGHTBIT + GRUSS, EIGHTBIT + PLAIN), ["7bit", "quoted-printable", "7bit"]),
        (EIGHTBIT + many(PLAIN), ["7bit", "7bit"]),
        (many(EIGHTBIT + many(EIGHTBIT + GRUSS, boundary="c")),
         ["7bit", "7bit", "quoted-printable"]),
        (many(EIGHTBIT + b"Content-Type: message/rfc822\r\n\r\nSubject: a\r\n" + EIGHTBIT + GRUSS),
         ["7bit", "7bit", "quoted-printable"]),
        (EIGHTBIT + b"content-transfer-encoding: 7bit\r\n" + GRUSS, ["quoted-printable"]),
        (b"content-transfer-encoding: 7bit\r\n" + EIGHTBIT + PLAIN, ["7bit"]),
        (many(b"content-transfer-encoding: 7bit\r\n" + EIGHTBIT + GRUSS),
         ["7bit", "quoted-printable"]),
        (b"Content-Type: message/delivery-status\r\n" + EIGHTBIT + b"\r\nA: 1\r\n", ["7bit"]),
        (b"Content-Type: multipart/mixed\r\n" + EIGHTBIT + b"\r\nHi\r\n", ["7bit"]),
    ],
)  # fmt: skip
def test_eight_bit_parts_and_long_lines_are_encoded(raw: bytes, encodings: list[str]) -> None:
    assert labels(kept(raw)) == encodings


def test_new_encoding_field_comes_with_a_mime_version() -> None:
    made = converted(b"Subject: a\r\n" + GRUSS)
    assert made.headers[1:] == (
        Header(b"Content-Transfer-Encoding", b" quoted-printable"),
        Header(b"MIME-Version", b" 1.0"),
    )
    with_one = converted(b"Mime-Version: 1.0\r\n" + GRUSS)
    assert [header.key for header in with_one.headers] == [
        b"mime-version",
        b"content-transfer-encoding",
    ]


def test_other_parts_and_fields_stay_byte_for_byte() -> None:
    raw = b"Subject:  a\r\n" + many(PLAIN, EIGHTBIT + b"X: 1" + GRUSS, IMAGE + b"\r\nAAAA")
    made = bytes(converted(raw))
    label = b"Content-Transfer-Encoding: quoted-printable\r\n"
    assert made == raw.replace(EIGHTBIT, label).replace("Grüße".encode(), b"Gr=C3=BC=C3=9Fe")


# What must not change stays, and the result says so.


@pytest.mark.parametrize(
    "raw",
    [
        many(EIGHTBIT + GRUSS, kind="multipart/signed"),
        many(PLAIN + LONG, kind="multipart/signed"),
        many(many(EIGHTBIT + GRUSS, boundary="c"), kind="multipart/signed"),
        many(EIGHTBIT + GRUSS, kind="multipart/encrypted"),
        b"Content-Type: application/pkcs7-mime\r\n" + EIGHTBIT + GRUSS,
        b"Content-Type: message/delivery-status\r\n" + EIGHTBIT + GRUSS,
        b"Content-Type: multipart/mixed\r\n" + GRUSS,
        b"Content-Transfer-Encoding: base64\r\n" + GRUSS,
        b"Content-Transfer-Encoding: x-unknown\r\n" + GRUSS,
        b"Content-Transfer-Encoding: base64\r\n" + EIGHTBIT + GRUSS,
    ],
)
def test_signed_encrypted_and_undecodable_parts_are_unchanged(raw: bytes) -> None:
    assert converted(raw) == parse(raw)
    assert not is_seven_bit(parse(raw))


def test_parts_beside_a_signed_part_are_converted() -> None:
    signed = EIGHTBIT + many(EIGHTBIT + GRUSS, kind="multipart/signed", boundary="c")
    beside = EIGHTBIT + many(EIGHTBIT + GRUSS, boundary="d")
    raw = EIGHTBIT + many(signed, EIGHTBIT + GRUSS, beside)
    made = converted(raw)
    assert signed in made.body
    assert labels(made) == ["8bit", "8bit", "8bit", "quoted-printable", "7bit", "quoted-printable"]
    assert not is_seven_bit(made)
    assert is_seven_bit(
        converted(EIGHTBIT + many(signed.replace("Grüße".encode(), b"Hi"), EIGHTBIT + GRUSS))
    )


def test_eight_bit_bytes_outside_of_parts_are_allowed() -> None:
    name = 'Content-Disposition: attachment; filename="Grüße.png"\r\n'.encode()
    raw = EIGHTBIT + many(IMAGE + name + b"\r\nAAAA").replace(
        b"\r\n\r\n", "\r\n\r\nprä\r\n".encode(), 1
    )
    made = kept(raw)
    assert name in made.body
    assert "prä\r\n".encode() in made.body


# Long lines outside of parts.


def test_long_fields_of_parts_are_folded() -> None:
    name = b'Content-Disposition: attachment; filename="' + b"x" * 900 + b" " + b"y" * 900 + b'"'
    made = kept(many(IMAGE + name + b"\r\n\r\nAAAA"))
    assert name.replace(b" y", b"\r\n y") in made.body
    theirs = email.message_from_bytes(bytes(made), policy=policy.default)
    names = [part.get_filename() for part in theirs.walk()]
    assert names == [None, "x" * 900 + " " + "y" * 900]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (LONG + b" y\r\n", LONG[:998] + b"\r\n x y\r\n"),
        (b"a " + LONG[:998] + b"\r\n", b"a\r\n " + LONG[:997] + b"\r\n x\r\n"),
        (b" " * 1000 + b"\r\n", b" \r\n"),
        (b"a" + b" " * 1000 + b"b\r\n", b"a b\r\n"),
    ],
)
def test_long_lines_before_and_behind_parts_are_folded(before: bytes, after: bytes) -> None:
    raw = many(PLAIN).replace(b"\r\n\r\n", b"\r\n\r\n" + before, 1) + before
    assert bytes(kept(raw)) == raw.replace(before, after)


def test_long_delimiter_is_still_a_delimiter() -> None:
    made = kept(many(PLAIN, PLAIN).replace(b"--=_b\r\n", b"--=_b" + b" \t" * 600 + b"\r\n"))
    assert made == parse(many(PLAIN, PLAIN))


def test_field_of_blanks_does_not_end_the_header() -> None:
    made = kept(many(IMAGE + b"X: a\r\n" + b" " * 2000 + b"\r\nY: b\r\n\r\nAAAA"))
    assert IMAGE + b"X: a\r\n \r\nY: b\r\n\r\nAAAA" in made.body


# Fields of the mail.

WORD = b"w" * 99


@pytest.mark.parametrize(
    ("value", "folded"),
    [
        (b" " + b" ".join([WORD] * 20), b" " + b" ".join([WORD] * 9) + b"\r\n "
         + b" ".join([WORD] * 9) + b"\r\n " + b" ".join([WORD] * 2)),
        (b"\t" + b"\t".join([WORD] * 12), b"\t" + b"\t".join([WORD] * 9) + b"\r\n\t"
         + b"\t".join([WORD] * 3)),
        (b" " + LONG, b" " + LONG[:995] + b"\r\n xxxx"),
        (LONG, LONG[:996] + b"\r\n xxx"),
        (b"  " + LONG, b"  " + LONG[:994] + b"\r\n xxxxx"),
        (b" a " + LONG[:998], b" a\r\n " + LONG[:997] + b"\r\n x"),
        (b" a\r\n " + b" ".join([WORD] * 11), b" a\r\n " + b" ".join([WORD] * 9) + b"\r\n "
         + b" ".join([WORD] * 2)),
        (b" a" + b" " * 2000 + b"b", b" a b"),
        (b" a\r\n" + b" " * 2000 + b"b", b" a\r\n b"),
        (b" a" + b" " * 2000, b" a"),
        (b" " + "ü".encode() * 600, b" " + "ü".encode() * 497 + b"\r\n " + "ü".encode() * 103),
        (b" x" + "€".encode() * 400, b" x" + "€".encode() * 331 + b"\r\n " + "€".encode() * 69),
    ],
)  # fmt: skip
def test_long_fields_are_folded(value: bytes, folded: bytes) -> None:
    message = Message((Header(b"A", b" 1", 0), Header(b"X", value, 1)), b"")
    assert to_seven_bit(message).message.headers == (
        Header(b"A", b" 1", 0),
        Header(b"X", folded, 1),
    )


def test_field_that_is_not_utf_8_is_unchanged() -> None:
    message = Message((Header(b"X", b" \xfc" + LONG, 0),), b"")
    assert to_seven_bit(message) == (message, True)


words = st.lists(
    st.sampled_from([b" ", b"\t", b"\r\n ", b"a", "€".encode(), LONG, WORD, b" " * 150])
)


@given(st.sampled_from([b"X", b"Subject"]), words.map(b"".join))
def test_folded_fields_have_the_same_words(name: bytes, value: bytes) -> None:
    (header,) = to_seven_bit(Message((Header(name, value, 0),), b"")).message.headers
    assert longest_line(name + b":" + header.value) <= 998
    assert re.sub(rb"\s", b"", header.value) == re.sub(rb"\s", b"", value)
    header.value.decode()
    first, *others = header.value.split(b"\r\n")
    assert all(line.startswith((b" ", b"\t")) for line in others)
    if longest_line(name + b":" + value) <= 998:
        assert header.value == value
    else:
        assert len(others) <= value.count(b"\r\n") + 2 * len(value) // 998
        blank = [line for line in (first, *others) if not line.strip()]
        assert len(blank) <= sum(not line.strip() for line in value.split(b"\r\n"))


# Any mail.

LEAVES = [
    PLAIN, GRUSS, EIGHTBIT + GRUSS, EIGHTBIT + PLAIN, IMAGE + EIGHTBIT + b"\r\n\x89PNG\0\r\n\xff",
    b"\r\n" + LONG, b"no header", "kein Kopf ü".encode(), b"", b"\r\n", EIGHTBIT,
    EIGHTBIT + b"\r\n",
    entity("text/html", "Grüße = €\r\n".encode(), "base64"),
    entity("text/html", "Grüße = €\r\n".encode(), "quoted-printable"),
    b"X: " + b"y " * 600 + b"\r\n\r\n" + LONG,
    b"\r\n" + b"-" * 2000 + b"\r\n-- \r\n", b"\r\n" + b"x" * 75 + b"--=_b" + b"\xfc",
]  # fmt: skip


@st.composite
def mails(draw: st.DrawFn, boundaries: tuple[str, ...] = ("=_b", "=_bc", "-")) -> bytes:
    kind = draw(st.sampled_from(["leaf", "multipart", "rfc822"]))
    if kind == "leaf" or not boundaries:
        return draw(st.sampled_from(LEAVES))
    label = draw(st.sampled_from([b"", EIGHTBIT, b"Content-Transfer-Encoding: binary\r\n"]))
    if kind == "rfc822":
        return label + b"Content-Type: message/rfc822\r\n\r\n" + draw(mails(boundaries[1:]))
    inner = draw(st.lists(mails(boundaries[1:]), min_size=1, max_size=3))
    made = many(*inner, boundary=boundaries[0])
    around = draw(st.sampled_from([b"", b"pre\r\n", LONG + b"\r\n", b"\xfc\r\n"]))
    return label + made.replace(b"\r\n\r\n", b"\r\n\r\n" + around, 1) + around


@given(mails())
def test_every_unsigned_mail_becomes_seven_bit(raw: bytes) -> None:
    message = parse(raw)
    made = to_seven_bit(message).message
    assert is_seven_bit(made)
    assert not {"8bit", "binary"} & set(labels(made))
    assert contents(made) == contents(message)
    assert to_seven_bit(made) == (made, True)


def contents(message: Message) -> list[tuple[str, bytes]]:
    """As Python's email package reads them; without parts, it takes a preamble for the content."""
    return [(kind, content.strip(b"\r\n")) for kind, content in read(message)]


# The work.

LARGE: dict[str, Callable[[int], bytes]] = {
    "parts": lambda size: many(*[EIGHTBIT + GRUSS] * size),
    "labels": lambda size: EIGHTBIT + many(*[EIGHTBIT + PLAIN] * size),
    "nested": lambda size: b"".join(
        EIGHTBIT + b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
        for n in range(size)
    ) + EIGHTBIT + GRUSS,
    "long line": lambda size: b"\r\n" + LONG * size,
    "long field": lambda size: b"X: " + b"a" * 999 * size + b"\r\n\r\n",
    "long field of words": lambda size: b"X: " + b"a " * 500 * size + b"\r\n\r\n",
    "long field of blanks": lambda size: b"X: " + b"  \t" * 500 * size + b"a\r\n\r\n",
    "long line of no part": lambda size: many(PLAIN) + LONG * size,
}  # fmt: skip


@pytest.mark.parametrize("made", LARGE.values(), ids=LARGE)
def test_work_is_linear(made: Callable[[int], bytes]) -> None:
    def work(size: int) -> Callable[[], object]:
        message = parse(made(size))

        def once() -> object:
            mime._cached_description.cache_clear()
            return to_seven_bit(message)

        return once

    assert is_linear(work, 20)
