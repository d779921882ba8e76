"""A log file is read once, line by line, through every way of rotating it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fletching.daemons.logtail.log_file import MOST, LogFile
from fletching.postfix.logline import LONGEST

MANY = 2000


class Log:
    """A log, who writes it, and who reads it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "mail.log"
        self.written: list[bytes] = []
        self.read: list[bytes] = []
        self.places: set[bytes] = set()
        self.gaps: list[str] = []
        self._file = LogFile(self.path)
        self._position = ""

    def write(self, count: int = 3, path: Path | None = None, end: bytes = b"\n") -> None:
        with (path or self.path).open("ab") as file:
            for _ in range(count):
                line = b"line %d of the log" % len(self.written)
                self.written.append(line)
                file.write(line + end)

    def follow(self) -> None:
        """Reads all that is there."""
        quiet = 0
        while quiet < 3:
            batch = self._file.read()
            self.read += [line.text for line in batch.lines]
            self.gaps += [batch.gap] if batch.gap else []
            self._position = batch.position
            quiet = 0 if batch.lines else quiet + 1

    def restart(self) -> None:
        self._file.close()
        self._file = LogFile(self.path, self._position)

    def beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def is_complete(self) -> bool:
        self.follow()
        return self.read == self.written and not self.gaps


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_lines_are_read_as_they_come(log: Log) -> None:
    log.follow()
    for _ in range(3):
        log.write()
        assert log.is_complete()


def test_half_a_line_waits_for_its_end(log: Log) -> None:
    log.write(1)
    log.write(1, end=b"")
    log.follow()
    assert log.read == log.written[:1]
    with log.path.open("ab") as file:
        file.write(b"\n")
    assert log.is_complete()


def test_large_log_is_read_in_pieces(log: Log) -> None:
    log.write(3 * MOST // 20)
    assert log.is_complete()


def test_line_that_is_too_long_is_left_out(log: Log) -> None:
    log.write()
    with log.path.open("ab") as file:
        file.write(b"x" * (LONGEST + MOST))
    log.follow()
    with log.path.open("ab") as file:
        file.write(b"x" * MOST + b"\n")
    log.write()
    assert log.is_complete()


def test_hole_of_a_truncated_file_is_no_line(log: Log) -> None:
    """It is left by a writer that does not append."""
    log.path.write_bytes(bytes(5000))
    log.write()
    assert log.is_complete()


# Ways of rotating; each is given the log.


def rename(log: Log) -> None:
    log.path.rename(log.beside(".1"))
    log.path.touch()


def rename_to_date(log: Log) -> None:
    """`postfix logrotate`, dateext of logrotate."""
    log.path.rename(log.beside(".20261130-155450"))


def copytruncate(log: Log) -> None:
    shutil.copyfile(log.path, log.beside(".1"))
    os.truncate(log.path, 0)


def compressed(opened: Callable[..., object], suffix: str) -> Callable[[Log], None]:
    def rotate(log: Log) -> None:
        rename(log)
        old = log.beside(".1")
        with opened(log.beside(f".1{suffix}"), "wb") as file:  # type: ignore[attr-defined]
            file.write(old.read_bytes())
        status = old.stat()
        os.utime(log.beside(f".1{suffix}"), ns=(status.st_atime_ns, status.st_mtime_ns))
        old.unlink()

    return rotate


WAYS = {
    "rename": rename,
    "rename to a date": rename_to_date,
    "copy and truncate": copytruncate,
    "gzip": compressed(gzip.open, ".gz"),
    "bzip2": compressed(bz2.open, ".bz2"),
    "xz": compressed(lzma.open, ".xz"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [3, MANY])
def test_rotation_loses_and_doubles_nothing(log: Log, way: str, count: int) -> None:
    log.write(count)
    assert log.is_complete()
    log.write(count)
    WAYS[way](log)
    log.write(count)
    assert log.is_complete()
    log.write(count)
    assert log.is_complete()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [3, MANY])
def test_rotation_while_nobody_reads(log: Log, way: str, count: int) -> None:
    log.write(count)
    log.follow()
    log.write(count)
    WAYS[way](log)
    log.write(count)
    log.restart()
    assert log.is_complete()
    log.write(count)
    assert log.is_complete()


@pytest.mark.parametrize("way", WAYS)
def test_rotation_of_a_log_of_which_nothing_was_read(log: Log, way: str) -> None:
    log.follow()
    log.write()
    WAYS[way](log)
    log.write()
    log.follow()
    # Where it began is not known: the log itself is read from its beginning.
    assert log.read in (log.written, log.written[3:])
    log.write()
    log.follow()
    assert log.read in (log.written, log.written[3:])


@pytest.mark.parametrize("is_down", [False, True])
def test_several_rotations_while_nobody_reads(log: Log, is_down: bool) -> None:
    log.write()
    log.follow()
    log.write()
    for _ in range(3):
        for number in (3, 2, 1):
            old = log.beside(f".{number}")
            if old.exists():
                old.rename(log.beside(f".{number + 1}"))
        rename(log)
        log.write()
    # Another program's file.
    log.beside(".err").write_bytes(b"not a line of the log\n")
    log.beside("-old").write_bytes(b"not a line of the log\n")
    if is_down:
        log.restart()
    assert log.is_complete()


def test_old_file_is_read_to_its_end_although_there_is_a_new_one(log: Log) -> None:
    """Between the renaming and the signal, syslogd writes to the old file."""
    log.write()
    log.follow()
    rename(log)
    log.write(path=log.beside(".1"))
    log.follow()
    log.write(path=log.beside(".1"))
    assert log.is_complete()
    log.write()
    assert log.is_complete()


def test_last_line_of_an_old_file_needs_no_end(log: Log) -> None:
    log.write()
    log.follow()
    log.write(1, end=b"")
    rename(log)
    log.write()
    assert log.is_complete()


def test_truncation_without_a_copy_is_a_gap(log: Log) -> None:
    log.write()
    log.follow()
    os.truncate(log.path, 0)
    log.write()
    log.follow()
    assert log.read == log.written
    assert len(log.gaps) == 1
    log.follow()
    assert len(log.gaps) == 1


def test_missing_file_is_a_gap_when_the_log_comes_back(log: Log) -> None:
    log.write()
    log.follow()
    log.path.unlink()
    log.restart()
    log.follow()
    assert log.gaps == []
    log.write()
    log.follow()
    assert log.read == log.written
    assert len(log.gaps) == 1


def test_new_file_with_the_inode_of_the_old_one_is_recognized(log: Log) -> None:
    """A file system may give a number again at once."""
    log.write(100)
    log.follow()
    copytruncate(log)
    log.write(200)
    assert log.is_complete()


def test_damaged_compressed_file_ends_there(log: Log) -> None:
    log.write(MANY)
    log.follow()
    log.write(MANY)
    WAYS["gzip"](log)
    whole = log.beside(".1.gz").read_bytes()
    log.beside(".1.gz").write_bytes(whole[: len(whole) // 2] + b"\0" * 100)
    log.write()
    log.restart()
    log.follow()
    assert log.read[-3:] == log.written[-3:]
    assert len(set(log.read)) == len(log.read)


def test_unreadable_log_raises_and_is_read_later(log: Log) -> None:
    log.path.mkdir()
    with pytest.raises(IsADirectoryError):
        log.follow()
    log.path.rmdir()
    log.write()
    assert log.is_complete()
