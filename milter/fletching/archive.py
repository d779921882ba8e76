"""The files of the archive: names, writing, listing, deletion (docs/archive.md).

Which messages are archived is decided in `policy/archive.py`; when they are written, in
`daemons/milter/archiving.py`.

A directory of `archive` has one directory per campaign, with files named CAMPAIGN-NUMBER.eml. All
other names are left alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fletching.encoding import from_base32

_FOLDER_MODE, _FILE_MODE = 0o750, 0o640

_CAMPAIGN = re.compile(r"[a-z2-7]{1,12}")
_FILE = re.compile(r"([a-z2-7]{1,12})-([1-9][0-9]{0,18})\.eml")
_UNFINISHED = re.compile(r"\.[a-z2-7]{1,12}-[0-9]+\.eml\.[0-9]+")

_UNFINISHED_FOR = 3600.0
"""Seconds after which an unfinished file is that of a process that died."""

_PRUNED = ".pruned"
"""The file whose time says when old files of a directory were last deleted."""

_TOGETHER, _PAUSE = 200, 0.002
"""After so many files, the deletion of old ones rests for so many seconds: mail goes first."""


@dataclass(frozen=True, slots=True)
class Archived:
    """One file. ``written``: unix seconds; ``size``: bytes."""

    campaign: str
    number: int
    written: float
    size: int
    path: Path


def write(folder: Path, campaign: str, number: int, mail: bytes) -> None:
    """Writes a message atomically; directories are created as needed. Raises OSError."""
    final = folder / campaign / f"{campaign}-{number}.eml"
    unfinished = final.with_name(f".{final.name}.{os.getpid()}")
    try:
        with _created(unfinished) as file:
            file.write(mail)
        unfinished.replace(final)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def files(folder: Path, campaign: str | None = None) -> Iterator[Archived]:
    """The files of a directory, by campaign, oldest campaign first, and number. Raises OSError."""
    for each in _campaigns(folder):
        if campaign in (None, each.name):
            yield from sorted(_files_of(each), key=lambda file: file.number)


def prune(folder: Path, keep: float, now: float) -> int:
    """Deletes files that were written more than ``keep`` seconds before ``now``, and directories
    that are empty then; how many files. Raises OSError.

    One process at a time does it; in others, nothing happens.
    """
    deleted = 0
    with _alone(folder) as is_alone:
        for each in _campaigns(folder) if is_alone else ():
            deleted += _prune(each, keep, now)
    return deleted


def is_pruned(folder: Path, since: float) -> bool:
    """Whether old files were deleted since that time, unix seconds, by any process; then notes
    that they are deleted now, if they were not."""
    mark = folder / _PRUNED
    try:
        if mark.stat().st_mtime > since:
            return True
        os.utime(mark)
    except FileNotFoundError:
        # There may be no room for the mark. Then the deletion makes room.
        with contextlib.suppress(OSError):
            _open(mark, os.O_CREAT | os.O_WRONLY).close()
    except OSError:
        pass
    return False


def _created(path: Path) -> contextlib.AbstractContextManager[IO[bytes]]:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    for _ in range(3):
        with contextlib.suppress(FileNotFoundError):
            return _open(path, flags)
        # Another worker may delete the empty directory at once.
        _make(path.parent)
    return _open(path, flags)


def _open(path: Path, flags: int) -> IO[bytes]:
    return os.fdopen(os.open(path, flags, _FILE_MODE), "wb")


def _make(folder: Path) -> None:
    """Creates a directory and those above it."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):
            each.mkdir(_FOLDER_MODE)


def _campaigns(folder: Path) -> list[Path]:
    """The directories of campaigns, oldest campaign first."""
    try:
        with os.scandir(folder) as entries:
            names = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    found = (name for name in names if _CAMPAIGN.fullmatch(name))
    return [folder / name for name in sorted(found, key=from_base32)]


def _files_of(folder: Path) -> Iterator[Archived]:
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            named = _FILE.fullmatch(entry.name)
            if named is None or named[1] != folder.name:
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield Archived(named[1], int(named[2]), found.st_mtime, found.st_size, Path(entry.path))


def _prune(folder: Path, keep: float, now: float) -> int:
    deleted = 0
    for count, file in enumerate(_files_of(folder), 1):
        if file.written < now - keep:
            file.path.unlink(missing_ok=True)
            deleted += 1
        if count % _TOGETHER == 0:
            time.sleep(_PAUSE)
    for each in folder.glob(".*"):
        if _UNFINISHED.fullmatch(each.name):
            # Another worker may finish it meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if each.stat().st_mtime < now - _UNFINISHED_FOR:
                    each.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
    return deleted


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Locks a directory; false if another process has the lock, or there is no directory."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
