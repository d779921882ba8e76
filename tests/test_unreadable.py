"""Returned mail that is kept in files: their form, their number and their size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fletching.daemons.lmtp.unreadable import Unreadable
from fletching.returning.kept import KeptMail, packed, unpacked
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every

MAIL = KeptMail("joe@example.net", "bounces@example.com", b"Subject: x\r\n\r\nbody\r\n")
ADDRESSES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cc", "Cs"]))


@given(ADDRESSES, ADDRESSES, st.binary())
def test_kept_mail_is_read_as_it_was(sender: str, recipient: str, content: bytes) -> None:
    mail = KeptMail(sender, recipient, content)
    assert unpacked(packed(mail)) == mail


@for_every(["a\r\nX-Fletching-Recipient: b", "a\nb", "a\0b", "a\x1bb"])
def test_address_cannot_add_a_field(address: str) -> None:
    kept = unpacked(packed(KeptMail(address, "r@example.com", MAIL.content)))
    assert kept.recipient == "r@example.com"
    assert kept.content == MAIL.content
    assert kept.sender.isprintable()


FILES = {
    "X-Original-To before Delivered-To": (
        b"Return-Path: <a@e>\nDelivered-To: d@e\nX-Original-To: o@e\n\nx\n",
        ("a@e", "o@e"),
    ),
    "Delivered-To": (b"Return-Path: <>\r\nDelivered-To: d@e\r\n\r\n", ("", "d@e")),
    "nothing": (b"Subject: x\r\n\r\n", ("", "")),
    "no header": (b"\xff\0", ("", "")),
    "empty": (b"", ("", "")),
}


@for_every(FILES)
def test_file_of_another_origin_has_the_envelope_in_its_header(
    data: bytes, envelope: tuple[str, str]
) -> None:
    mail = unpacked(data)
    assert (mail.sender, mail.recipient) == envelope
    assert b"\n" not in mail.content.replace(b"\r\n", b"")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_oldest_mails_are_deleted_above_the_number(tmp_path: Path) -> None:
    kept = Unreadable(tmp_path / "kept", most=3)
    assert [kept.keep(name, MAIL) for name in "abcd"] == [0, 0, 0, 1]
    assert names(tmp_path / "kept") == ["b", "c", "d"]
    assert kept.keep("b", MAIL) == 0, "it replaces itself"
    assert kept.keep("e", MAIL) == 1
    assert names(tmp_path / "kept") == ["b", "d", "e"]


def test_oldest_mails_are_deleted_above_the_size(tmp_path: Path) -> None:
    size = len(packed(MAIL))
    kept = Unreadable(tmp_path / "kept", largest=3 * size)
    assert [kept.keep(name, MAIL) for name in "abcd"] == [0, 0, 0, 1]
    large = KeptMail("", "r@e", bytes(2 * size))
    assert kept.keep("large", large) == 3, "a mail that alone is almost too large"
    assert names(tmp_path / "kept") == ["large"]


def test_mails_of_a_former_process_are_the_oldest(tmp_path: Path) -> None:
    first = Unreadable(tmp_path / "kept", most=3)
    for age, name in enumerate("cab"):
        first.keep(name, MAIL)
        os.utime(tmp_path / "kept" / name, (age, age))
    second = Unreadable(tmp_path / "kept", most=3)
    second.keep("d", MAIL)
    assert names(tmp_path / "kept") == ["a", "b", "d"]


def test_mail_that_the_operator_has_removed_is_no_error(tmp_path: Path) -> None:
    kept = Unreadable(tmp_path / "kept", most=1)
    kept.keep("a", MAIL)
    (tmp_path / "kept" / "a").unlink()
    kept.keep("b", MAIL)
    assert names(tmp_path / "kept") == ["b"]


def test_mail_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    kept = Unreadable(tmp_path / "kept")
    (tmp_path / "kept" / "a").mkdir()
    with pytest.raises(OSError, match="directory"):
        kept.keep("a", MAIL)
    assert names(tmp_path / "kept") == ["a"]
