"""Parts with a name, and fields that describe octets: what they are when a body changes."""

from __future__ import annotations

import email

import pytest

from tests.rewriting import done

TEXT = b"\r\nhttp://x/ and more\r\n"
FILE = "Content-Disposition: inline; filename="
NAMED = {
    "inline with a name": ("mixed", FILE + "a.txt", True),
    "upper case": ("mixed", "CONTENT-DISPOSITION: INLINE; FILENAME=A", True),
    "quoted": ("mixed", FILE + '"a b.txt"', True),
    "RFC 2231": ("mixed", "Content-Disposition: inline; filename*=utf-8''a%20b", True),
    "continued": ("mixed", "Content-Disposition: inline; filename*0=a; filename*1=b", True),
    "name of the type": ("mixed", "Content-Type: text/plain; name=a.txt", True),
    "both": ("mixed", f"Content-Type: text/plain; name=a.txt\r\n{FILE}a.txt", True),
    "empty name": ("mixed", FILE + '""', False),
    "no name": ("mixed", "Content-Disposition: inline", False),
    "another parameter": ("mixed", "Content-Disposition: inline; size=3", False),
    "an alternative": ("alternative", FILE + "a.txt", False),
    "what parts are related to": ("related", FILE + "a.txt", False),
    "in a digest": ("report", FILE + "a.txt", True),
}


@pytest.mark.parametrize(("kind", "header", "is_file"), NAMED.values(), ids=NAMED)
def test_part_with_a_name(kind: str, header: str, is_file: bool) -> None:
    raw = f"Content-Type: multipart/{kind}; boundary=b\r\n\r\n--b\r\n{header}\r\n".encode()
    raw += TEXT + b"--b--\r\n"
    (note, *_) = done(raw).notes
    assert note.not_rewritten == ("attachment" if is_file else "")
    assert (TEXT in bytes(done(raw).message)) is is_file


def test_related_part_with_a_name_is_a_file() -> None:
    part = b"--b\r\nContent-Disposition: inline; filename=a\r\n" + TEXT
    raw = b"Content-Type: multipart/related; boundary=b\r\n\r\n" + part * 2 + b"--b--\r\n"
    assert [note.not_rewritten for note in done(raw).notes][:2] == ["", "attachment"]


def test_mail_with_a_name_is_its_body() -> None:
    assert done(b"Content-Type: text/plain; name=a\r\n" + TEXT).notes[0].not_rewritten == ""


DESCRIBING = [
    "Content-MD5: x", "content-md5: x", "Content-Length: 3", "CONTENT-LENGTH: 3", "Lines: 1",
    "Content-Digest: sha-256=:x:", "Repr-Digest: sha-256=:x:", "Digest: sha-256=x",
    "Content-MD5:\r\n x", "Content-MD5: x\r\nContent-MD5: y",
]  # fmt: skip


@pytest.mark.parametrize("field", DESCRIBING)
def test_checksums_of_a_changed_part_are_removed(field: str) -> None:
    raw = f"A: 1\r\n{field}\r\nB: 2\r\n".encode() + TEXT
    assert email.message_from_bytes(bytes(done(raw).message)).keys() == ["A", "B"]
    unchanged = raw.replace(b"http:", b"gopher:")
    assert bytes(done(unchanged).message) == unchanged


@pytest.mark.parametrize("field", DESCRIBING)
def test_checksums_of_other_parts_are_kept(field: str) -> None:
    inner = f"Content-Type: multipart/mixed; boundary=c\r\n{field}\r\n\r\n".encode()
    part = f"{field}\r\nB: 2\r\n".encode()
    other = part + b"\r\nno link\r\n"
    leaves = b"--c\r\n" + part + TEXT + b"--c\r\n" + other + b"--c--\r\n"
    head = f"{field}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n".encode()
    sent = bytes(done(head + inner + leaves + b"--b\r\n" + other + b"--b--\r\n").message)
    assert [entity.keys() for entity in email.message_from_bytes(sent).walk()] == [
        ["Content-Type"],
        ["Content-Type"],
        ["B"],
        email.message_from_bytes(other).keys(),
        email.message_from_bytes(other).keys(),
    ]
    assert sent.count(other) == 2
