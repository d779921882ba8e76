"""mime.py, judged by Python's email package over its own mails and over trees made up."""

from __future__ import annotations

import email
from collections.abc import Iterator
from email.message import Message as TheirMessage
from pathlib import Path

from fletching.mail.changed_parts import ChangedPart, with_changed_parts
from fletching.mail.message import Message, parse
from fletching.mail.mime import parts
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every
from tests.corpora import cpython_mails

Leaves = list[tuple[str, bytes]]


def leaves(message: Message) -> Leaves:
    return [
        (part.content_type, message.body[part.start : part.end])
        for part in parts(message)
        if not part.container
    ]


def their_leaves(message: Message) -> Leaves:
    return [*_their_leaves(email.message_from_bytes(bytes(message)))]


def _their_leaves(part: TheirMessage) -> Iterator[tuple[str, bytes]]:
    kind = part.get_content_type()
    content = part.get_payload()
    if isinstance(content, str):
        yield kind, content.encode("ascii", "surrogateescape")
    elif opaque(kind):
        yield kind, b""
    else:
        assert isinstance(content, list)
        for inner in content:
            assert isinstance(inner, TheirMessage)
            yield from _their_leaves(inner)


def opaque(content_type: str) -> bool:
    """What they look into, and we do not."""
    return content_type in ("message/delivery-status", "message/external-body")


DIFFERENT = {
    "msg_15.txt": "nested multiparts have the same boundary: they close the outer one first",
    "msg_17.txt": "a multipart with no delimiter is a text to them",
    "msg_31.txt": "a multipart with no delimiter is a text to them",
    "msg_37.txt": "they take delimiters in a row for one, we for parts of nothing",
    "msg_39.txt": "nested multiparts have the same boundary: they lose the parts behind",
    "msg_42.txt": "a multipart closed at once is a text to them",
}


@for_every({path.name: path for path in cpython_mails()})
def test_parts_of_cpythons_mails_are_those_of_its_email_package(path: Path) -> None:
    message = parse(path.read_bytes())
    ours = [(kind, b"" if opaque(kind) else content) for kind, content in leaves(message)]
    if path.name in DIFFERENT:
        assert ours != their_leaves(message)
    else:
        assert ours == their_leaves(message)


BOUNDARIES = "b", "b1", "bb", "-", "b b", "=_1"
# No line that begins with a blank: as the first line of a message in a digest they drop it.
LINES = "", "Hi", "--", "--x", "-- ", "x --b", "--=", "=", "a: b", "b", "--B"
lines = st.lists(st.sampled_from(LINES), max_size=4)


@st.composite
def entities(draw: st.DrawFn, unused: tuple[str, ...] = BOUNDARIES) -> str:
    """A header, an empty line and a content; nested ones have other boundaries."""
    kind = draw(st.sampled_from(["text/plain", "text/html", "mixed", "rfc822", "digest", "none"]))
    if kind in ("mixed", "digest") and unused:
        boundary, *others = draw(st.permutations(unused))
        inner = draw(st.lists(entities(tuple(others)), min_size=1, max_size=3))
        blanks = draw(st.sampled_from(["", " ", "\t "]))
        body = "".join(f"--{boundary}{blanks}\n{entity}\n" for entity in inner)
        close = draw(st.sampled_from([f"--{boundary}--\n", f"--{boundary}--{blanks}\nepi\n"]))
        preamble = draw(st.sampled_from(["", "pre\n", "\n"]))
        return f'Content-Type: multipart/{kind}; boundary="{boundary}"\n\n{preamble}{body}{close}'
    if kind == "rfc822":
        return "Content-Type: message/rfc822\n\n" + draw(entities(unused))
    header = f"Content-Type: {kind}\n" if "/" in kind else ""
    return header + "\n" + "\n".join(draw(lines))


@given(entities())
def test_parts_are_those_of_pythons_email_package(text: str) -> None:
    message = parse(text.encode())
    assert leaves(message) == their_leaves(message)


def check(message: Message) -> None:
    """What holds for the parts of every mail."""
    last = 0
    for part in parts(message):
        assert 0 <= part.head <= part.start <= part.end <= len(message.body)
        assert part.head >= last
        last = part.start if part.container else part.end


PIECES = [
    b"\r\n", b"--b", b"--c", b"--", b" ", b"Content-Type: ", b"multipart/mixed; boundary=b",
    b"multipart/digest; boundary=c", b"message/rfc822", b"text/html", b"x", b":", b"\r", b"\0",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join))
def test_broken_mails_raise_nothing(raw: bytes) -> None:
    message = parse(b"Content-Type: multipart/mixed; boundary=b\r\n" + raw)
    check(message)
    assert with_changed_parts(message, parts(message), []) == message
    same = [ChangedPart(p, message.body[p.start : p.end], p.encoding) for p in parts(message)]
    assert with_changed_parts(message, parts(message), same) == message
