"""The file of counts that are not in Redis yet: what the next worker finds in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fletching.daemons.milter.sent_file import SentFile, gather
from fletching.store.sent import Counted

A = Counted("a" * 12, "1|a|t100", "3", "name-a", 1)
B = Counted("b" * 12, "1|b|\u00fc", "", "name-b", 7)


def test_next_worker_finds_the_counts(tmp_path: Path) -> None:
    file = SentFile(tmp_path, 0)
    assert file.read() == []
    for each in (A, B, A._replace(mails=2)):
        file.append(each)
    assert SentFile(tmp_path, 0).read() == [A, B, A._replace(mails=2)]
    assert SentFile(tmp_path, 1).read() == []
    assert (tmp_path / "sent.0").stat().st_mode & 0o777 == 0o600


def test_file_is_empty_when_all_is_in_redis(tmp_path: Path) -> None:
    SentFile(tmp_path, 0).append(A)
    file = SentFile(tmp_path, 0)
    assert file.read() == [A]
    file.clear()
    assert file.read() == []
    file.append(B)
    assert SentFile(tmp_path, 0).read() == [B]


def test_line_that_a_full_disk_cut_off_spoils_no_other(tmp_path: Path) -> None:
    file = SentFile(tmp_path, 0)
    file.append(A)
    with (tmp_path / "sent.0").open("ab") as raw:
        raw.write(b'\n["bbbb')
    file.append(B)
    assert SentFile(tmp_path, 0).read() == [A, B]


def test_file_does_not_grow_without_end(tmp_path: Path) -> None:
    file = SentFile(tmp_path, 0)
    for number in range(30_000):
        file.append(A._replace(mails=number))
    assert (tmp_path / "sent.0").stat().st_size < 1_100_000


def test_first_worker_gets_the_counts_of_all(tmp_path: Path) -> None:
    SentFile(tmp_path, 0).append(A)
    SentFile(tmp_path, 3).append(B)
    gather(tmp_path)
    assert SentFile(tmp_path, 0).read() == [A, B]
    assert [path.name for path in tmp_path.iterdir()] == ["sent.0"]


def test_file_that_cannot_be_written_stops_no_mail(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = SentFile(tmp_path / "missing", 0)
    for _ in range(3):
        file.append(A)
    file.clear()
    assert file.read() == []
    assert capfd.readouterr().err.count("state_write_failed what=sent") == 1
