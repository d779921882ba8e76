"""transfer.py: what an encoding means, a change in the encoded octets, and forms safe to send."""

from __future__ import annotations

import base64
import binascii
import email
import quopri
import re
from collections.abc import Callable

import pytest
from fletching.mail.transfer import (
    LONGEST_LINE,
    Patch,
    TransferError,
    decode,
    encoded,
    filling,
    fits,
    patched,
    quoted_printable,
    to_seven_bit,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.effort import is_linear
from tests.rewriting import longest_line

QP = "quoted-printable"


def put(raw: bytes, encoding: str, patches: list[Patch], later: bool = False) -> tuple[bytes, str]:
    """The content with its patches. ``later``: what has octets goes into gaps."""
    gaps = [patch.octets for patch in patches if later and patch.octets]
    given = [patch._replace(octets=None) if later and patch.octets else patch for patch in patches]
    first, *pieces = patched(raw, encoding, given)
    for octets, piece in zip(gaps, pieces, strict=True):
        first += filling(octets, encoding) + piece
    return encoded(first, encoding, raw.endswith(b"\r\n"))


def spliced(content: bytes, patches: list[Patch]) -> bytes:
    for patch in reversed(patches):
        assert patch.octets is not None
        content = content[: patch.start] + patch.octets + content[patch.end :]
    return content


def as_email_reads(raw: bytes, encoding: str) -> bytes:
    message = email.message_from_bytes(
        b"Content-Transfer-Encoding: " + encoding.encode() + b"\n\n" + raw
    )
    content = message.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


# Decoding.

DECODED: dict[tuple[str, bytes], bytes | None] = {
    ("7bit", b"=41"): b"=41",
    ("8bit", b"\xfc"): b"\xfc",
    ("binary", b"\0\r\n"): b"\0\r\n",
    (QP, b""): b"",
    (QP, b"a=3Db=3db"): b"a=b=b",
    (QP, b"=C3=bc=E2=82=aC"): "ü€".encode(),
    (QP, b"a=\r\nb"): b"ab",
    (QP, b"a= \t\r\nb"): b"ab",
    (QP, b"a=0D=0Ab\r\nc"): b"a\r\nb\r\nc",
    (QP, b"a =\r\n\r\nb"): b"a \r\nb",
    (QP, b"a="): b"a",
    (QP, b"a\r\n= "): b"a\r\n",
    (QP, b"\xfc=FC"): b"\xfc\xfc",
    (QP, b"a=XY"): None,
    (QP, b"a=4"): None,
    (QP, b"a==41"): None,
    (QP, b"a=\nb"): None,
    (QP, b"a=\rb"): None,
    (QP, b'<a href="http://x/?a=41">'): None,
    ("base64", b""): b"",
    ("base64", b"SGk="): b"Hi",
    ("base64", b" S\r\nGk\t=\r\n"): b"Hi",
    ("base64", b"SGk"): None,
    ("base64", b"SGk=SGk="): None,
    ("base64", b"S!Gk="): None,
    ("base64", b"SGk=\r\n-- \r\na footer"): None,
    ("base64", b"="): None,
    ("base64", b"\xfc"): None,
    ("x-uuencode", b"a"): None,
    ("", b"a"): None,
}


@pytest.mark.parametrize(("given", "wanted"), DECODED.items())
def test_decode(given: tuple[str, bytes], wanted: bytes | None) -> None:
    encoding, raw = given
    if wanted is None:
        with pytest.raises(TransferError):
            decode(raw, encoding)
    else:
        assert decode(raw, encoding) == wanted


QP_PIECES = [
    b"=3D", b"=3d", b"=C3=BC", b"=20", b"=09", b"=0D=0A", b"=0D", b"=2D", b"=\r\n", b"\r\n", b"a",
    b" ", b"\t", b"--b", b"-", b"\xfc", b"x" * 70, b"0123456789" * 8, b"\0",
]  # fmt: skip
encoded_qp = st.lists(st.sampled_from(QP_PIECES), max_size=25).map(b"".join)
broken = st.lists(st.sampled_from([*QP_PIECES, b"=", b"\r", b"\n"]), max_size=25).map(b"".join)


@given(encoded_qp)
def test_quoted_printable_decodes_as_in_other_programs(raw: bytes) -> None:
    # quopri goes by lines and would drop a CR that stands alone.
    assert decode(raw, QP) == binascii.a2b_qp(raw) == as_email_reads(raw, QP)


@given(st.binary(max_size=200) | broken, st.sampled_from([QP, "base64", "7bit", "x"]))
def test_decoding_raises_only_transfer_errors(raw: bytes, encoding: str) -> None:
    try:
        content = decode(raw, encoding)
    except TransferError:
        return
    assert len(content) <= len(raw)
    if encoding == "base64":
        assert content == base64.b64decode(raw)


# A change in the encoded octets.


PATCHED = [
    b"", b"a", b"=", b"a=b", b"-", b"a--b", b" ", b"y" * 74, b"=" * 80, b"\xfc", b"a\r\nb",
    b"https://x.example/click?" + b"T_-" * 60,
]  # fmt: skip


@st.composite
def patches_for(draw: st.DrawFn, content: bytes) -> list[Patch]:
    places = [at for at in range(len(content) + 1) if content[at - 1 : at + 1] != b"\r\n"]
    cuts = sorted(draw(st.lists(st.sampled_from(places), max_size=6)))
    octets = st.sampled_from(PATCHED)
    return [Patch(*cut, draw(octets)) for cut in zip(cuts[::2], cuts[1::2], strict=False)]


@st.composite
def qp_and_patches(draw: st.DrawFn) -> tuple[bytes, list[Patch]]:
    raw = draw(encoded_qp | encoded_qp.map(lambda raw: raw + b"="))
    return raw, draw(patches_for(decode(raw, QP)))


@given(qp_and_patches())
def test_patching_encoded_content_equals_patching_the_decoded(
    pair: tuple[bytes, list[Patch]],
) -> None:
    raw, patches = pair
    made, encoding = put(raw, QP, patches)
    assert encoding == QP
    wanted = spliced(decode(raw, QP), patches)
    assert decode(made, QP) == binascii.a2b_qp(made) == as_email_reads(made, QP) == wanted


@given(qp_and_patches())
def test_patch_keeps_other_lines_and_makes_none_too_long(
    pair: tuple[bytes, list[Patch]],
) -> None:
    raw, patches = pair
    lines = raw.split(b"\r\n")
    made = put(raw, QP, patches)[0].split(b"\r\n")
    for line in made:
        # One octet more: the soft break behind a line that was too long before.
        assert len(line) <= 76 or line.removesuffix(b"=") in raw or line.startswith(b"=2D-")
        # No delimiter comes into being.
        begin = line.removesuffix(b"=")
        assert not line.startswith(b"--") or any(each.startswith(begin) for each in lines)
    for line, first, last in decoded_lines(raw):
        if all(patch.end < first or patch.start > last for patch in patches):
            assert line in made


def decoded_lines(raw: bytes) -> list[tuple[bytes, int, int]]:
    """The raw lines, and the places of the content from and to which each of them reaches."""
    found, at = [], 0
    for line in re.split(rb"(?<=\r\n)", raw):
        length = len(decode(line, QP))
        found.append((line.removesuffix(b"\r\n"), at, at + length))
        at += length
    return found


@given(st.data(), st.binary(max_size=300))
def test_base64_with_patches(data: st.DataObject, content: bytes) -> None:
    patches = data.draw(patches_for(content))
    raw = base64.encodebytes(content).replace(b"\n", b"\r\n")
    raw = data.draw(st.sampled_from([raw, raw.strip()]))
    made, encoding = put(raw, "base64", patches)
    assert encoding == "base64"
    assert base64.b64decode(made) == spliced(content, patches)
    assert longest_line(made) <= 76
    assert made.endswith(b"\r\n") == raw.endswith(b"\r\n") or not made


TEXTS = [
    b"a", b" ", b"\t", b"\r\n", b"\r", b"\n", b".", b"\0", b"=", b"=41", b"--b", b"-" * 90, b"\xfc",
    b"From ", b"x" * 75, b"x" * 997, b" " * 80, b"\xe2\x82\xac" * 30,
]  # fmt: skip
texts = st.lists(st.sampled_from(TEXTS), max_size=12).map(b"".join)


@given(st.data(), encoded_qp, st.sampled_from(["7bit", "base64", QP]))
def test_filled_gap_equals_a_patch_with_the_same_bytes(
    data: st.DataObject, content: bytes, encoding: str
) -> None:
    raw = base64.encodebytes(content) if encoding == "base64" else content
    patches = data.draw(patches_for(decode(raw, encoding)))
    assert put(raw, encoding, patches, later=True) == put(raw, encoding, patches)


@given(st.data(), texts, st.sampled_from(["7bit", "8bit", "binary"]))
def test_identity_with_patches(data: st.DataObject, content: bytes, encoding: str) -> None:
    patches = data.draw(patches_for(content))
    wanted = spliced(content, patches)
    made, now = put(content, encoding, patches)
    assert decode(made, now) == wanted
    if fits(wanted, encoding):
        assert (made, now) == (wanted, encoding)
    else:
        assert now == QP
        assert longest_line(made) <= 76


@pytest.mark.parametrize(
    ("raw", "patch", "wanted"),
    [
        (b"abc", Patch(1, 2, b"X"), b"a=\r\nX=\r\nc"),
        (b"abc", Patch(0, 2, b"X"), b"X=\r\nc"),
        (b"abc", Patch(1, 3, b"X"), b"a=\r\nX"),
        (b"abc", Patch(0, 3, b"X"), b"X"),
        (b"abc", Patch(3, 3, b"X"), b"abc=\r\nX"),
        (b"abc=", Patch(3, 3, b"X"), b"abc=\r\nX"),
        (b"abc= ", Patch(3, 3, b"X"), b"abc=\r\nX"),
        (b"abc=", Patch(1, 2, b"X"), b"a=\r\nX=\r\nc="),
        (b"a=\r\nbc\r\n", Patch(1, 3, b"X"), b"a=\r\nX\r\n"),
        (b"a=3Db", Patch(1, 2, b"="), b"a=\r\n=3D=\r\nb"),
        (b"a=3Db", Patch(2, 3, b"X"), b"a=3D=\r\nX"),
        (b"a=3Db", Patch(0, 1, b"X"), b"X=\r\n=3Db"),
        (b"a b\r\nc", Patch(2, 3, b""), b"a =\r\n\r\nc"),
        (b"a b", Patch(2, 3, b"X "), b"a =\r\nX=20"),
        (b"a\r\nb\r\nc", Patch(3, 4, b"X"), b"a\r\nX\r\nc"),
        (b"a<>--b", Patch(1, 3, b""), b"a=\r\n=2D-b"),
        (b"<>--b", Patch(0, 2, b""), b"=2D-b"),
        (b"x" * 76, Patch(76, 76, b"X"), b"x" * 75 + b"=\r\nx=\r\nX"),
        (b"x" * 73 + b"=3D", Patch(74, 74, b"X"), b"x" * 73 + b"=\r\n=3D=\r\nX"),
        (b"x" * 80, Patch(80, 80, b"X"), b"x" * 80 + b"=\r\nX"),
        (b"a", Patch(1, 1, b"X" * 76), b"a=\r\n" + b"X" * 75 + b"=\r\nX"),
        (b"a", Patch(1, 1, b"X" * 74 + b"="), b"a=\r\n" + b"X" * 74 + b"=\r\n=3D"),
    ],
)
def test_patched_quoted_printable(raw: bytes, patch: Patch, wanted: bytes) -> None:
    assert put(raw, QP, [patch]) == (wanted, QP)


# Forms that are safe to send.


@given(texts)
def test_encoded_quoted_printable_decodes_in_other_programs(content: bytes) -> None:
    made = quoted_printable(content)
    assert made.isascii()
    assert longest_line(made) <= 76
    assert decode(made, QP) == binascii.a2b_qp(made) == as_email_reads(made, QP) == content
    assert made.count(b"\r\n") - made.count(b"=\r\n") == content.count(b"\r\n")
    for line in made.split(b"\r\n"):
        assert not line.endswith((b" ", b"\t"))
        assert not line.startswith(b"--") or any(
            each.startswith(b"--") for each in content.split(b"\r\n")
        )


def test_encoded_quoted_printable_decodes_with_quopri() -> None:
    content = "Grüße = \r\n.\r\n tab\t\r\n".encode() * 9
    assert quopri.decodestring(quoted_printable(content)) == content


def test_long_line_of_dashes_becomes_no_delimiter() -> None:
    lines = quoted_printable(b"-" * 300).split(b"\r\n")
    assert lines[0] == b"-" * 75 + b"="
    assert all(line.startswith(b"=2D-") for line in lines[1:])


@given(texts, st.sampled_from(["7bit", "8bit", "binary", QP, "base64"]), st.booleans())
def test_to_seven_bit_keeps_the_content(content: bytes, encoding: str, text: bool) -> None:
    raw = content
    if encoding == QP:
        raw = quoted_printable(content)
    elif encoding == "base64":
        raw = base64.b64encode(content)
    made, now = to_seven_bit(raw, encoding, text)
    assert fits(made, "7bit")
    assert now not in ("8bit", "binary")
    assert decode(made, now) == as_email_reads(made, now) == content
    if fits(raw, "7bit"):
        assert made is raw
    elif encoding in (QP, "base64"):
        assert now == encoding
    else:
        assert now == (QP if text else "base64")


@pytest.mark.parametrize(
    ("raw", "encoding", "text", "wanted"),
    [
        (b"Hi\r\n", "8bit", True, (b"Hi\r\n", "7bit")),
        (b"Hi\r\n", "binary", False, (b"Hi\r\n", "7bit")),
        (b"a=3D", QP, True, (b"a=3D", QP)),
        (b"x" * 998, "7bit", True, (b"x" * 998, "7bit")),
        (b"\xfc\r\n", "7bit", True, (b"=FC\r\n", QP)),
        (b"\xfc\r\n", "binary", False, (b"/A0K\r\n", "base64")),
        (b"\xfc", "8bit", False, (b"/A==", "base64")),
        (b"a\0", "7bit", True, (b"a=00", QP)),
        (b"=3D\xfc", QP, True, (b"=3D=FC", QP)),
        (b'href="\xfc"', QP, True, (b"href=3D\"=FC\"", QP)),
        (b"\xfc", "base64", True, (b"\xfc", "base64")),
        (b"\xfc", "x-uuencode", True, (b"\xfc", "x-uuencode")),
        (b"", "7bit", False, (b"", "7bit")),
    ],
)  # fmt: skip
def test_to_seven_bit(raw: bytes, encoding: str, text: bool, wanted: tuple[bytes, str]) -> None:
    assert to_seven_bit(raw, encoding, text) == wanted


def test_to_seven_bit_breaks_long_lines() -> None:
    for encoding in ("7bit", QP):
        made, now = to_seven_bit(b"x" * 999, encoding, True)
        assert (longest_line(made), now, decode(made, QP)) == (76, QP, b"x" * 999)
    made, now = to_seven_bit(base64.b64encode(b"x" * 999), "base64", True)
    assert (longest_line(made), now, base64.b64decode(made)) == (76, "base64", b"x" * 999)


@given(texts, st.sampled_from(["7bit", "8bit", "binary"]))
def test_fits(content: bytes, encoding: str) -> None:
    short = all(len(line) <= LONGEST_LINE for line in content.split(b"\r\n"))
    clean = encoding != "7bit" or (content.isascii() and b"\0" not in content)
    assert fits(content, encoding) == (short and clean)


# The work.

LARGE: dict[str, tuple[bytes, str]] = {
    "equals signs": (b"=", QP),
    "escapes": (b"=3D", QP),
    "soft breaks": (b"=\r\n", QP),
    "soft breaks with blanks": (b"= \t", QP),
    "lines": (b"a\r\n", QP),
    "dashes": (b"-", QP),
    "8-bit": (b"\xfc", "8bit"),
    "base64": (b"QUFB", "base64"),
    "no base64": (b"!", "base64"),
}


@pytest.mark.parametrize(("repeated", "encoding"), LARGE.values(), ids=LARGE)
def test_work_is_linear(repeated: bytes, encoding: str) -> None:
    def work(size: int) -> Callable[[], object]:
        raw = repeated * size
        patches = [Patch(place, place, b"x" * 80) for place in range(0, size // 4, 9)]

        def patch_and_make_safe() -> None:
            to_seven_bit(raw, encoding, True)
            try:
                content = decode(raw, encoding)
            except TransferError:
                return
            put(raw, encoding, [patch for patch in patches if patch.end <= len(content)])

        return patch_and_make_safe

    assert is_linear(work, 2_000)
