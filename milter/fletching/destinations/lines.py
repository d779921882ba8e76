"""A file that gets one JSON object a line, whole lines only, on the disk when they are done.

Here live the file, its rotation and what a crash may have left. What a line says is the event's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fletching.destinations.answers import ARRIVED, Answer, Queued, failed

KEPT = 10
"""Files that rotation leaves: NAME.1, the youngest, to NAME.10."""

_MODE = 0o640
_READ_BACK = 64 * 1024


class Lines:
    """One file. ``rotate``: octets from which on it becomes NAME.1; None leaves it to others."""

    most = 1000

    def __init__(self, path: Path, rotate: int | None) -> None:
        self._path = path
        self._rotate = rotate
        self._file = -1

    def deliver(self, batch: Sequence[Queued], attempt: int) -> Answer:
        """Adds all of them, or none."""
        try:
            if self._file >= 0 and not os.fstat(self._file).st_nlink:
                # Somebody has removed it: what we wrote there, nobody would read.
                self.close()
            if self._file < 0:
                self._open()
            size = os.fstat(self._file).st_size
            if self._rotate is not None and size and size >= self._rotate:
                self._turn()
                size = 0
            self._add(b"".join(event.json.encode() + b"\n" for event in batch), size)
        except OSError as error:
            self.close()
            return failed(f"{self._path}: {error.strerror or error}")
        return ARRIVED

    def close(self) -> None:
        """It is opened again when it is needed, under its name: somebody may have moved it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(self._path, flags, _MODE)
        _sync_folder(self._path)
        os.ftruncate(self._file, _whole_lines(self._file))

    def _add(self, octets: bytes, size: int) -> None:
        try:
            left = memoryview(octets)
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError:
            # A full disk may have taken a part of it.
            os.ftruncate(self._file, size)
            raise

    def _turn(self) -> None:
        """NAME.9 becomes NAME.10, and so on; NAME becomes NAME.1."""
        self.close()
        names = [self._path, *(Path(f"{self._path}.{number}") for number in range(1, KEPT + 1))]
        for older, younger in zip(reversed(names), reversed(names[:-1]), strict=False):
            if younger.exists():
                younger.replace(older)
        self._open()


def _whole_lines(file: int) -> int:
    """The size without half a last line, which comes again, and whole."""
    end = os.fstat(file).st_size
    while end:
        begin = max(0, end - _READ_BACK)
        found = os.pread(file, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _sync_folder(path: Path) -> None:
    """So that the file's name is on the disk, too."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
