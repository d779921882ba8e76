"""A file that gets one JSON object on each line.

Here live the file, its rotation, and the repair after a crash. Events are on disk, as whole lines,
before they count as delivered.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fletching.destinations.answers import ARRIVED, Answer, QueuedEvent, failed

KEPT = 10
"""Files that rotation keeps: NAME.1, the newest, to NAME.10."""

_MODE = 0o640
_READ_BACK = 64 * 1024


class JsonLines:
    """One file. ``rotate``: its size in bytes when it becomes NAME.1; None disables rotation."""

    batch_size = 1000

    def __init__(self, path: Path, rotate: int | None) -> None:
        self._path = path
        self._rotate = rotate
        self._file = -1

    def deliver(self, batch: Sequence[QueuedEvent], attempt: int) -> Answer:
        """Appends all events of the batch, or none."""
        try:
            if self._file >= 0 and not self._is_at_its_name():
                # The file was moved (logrotate), or deleted: nobody could read what we write to it.
                self.close()
            if self._file < 0:
                self._open()
            size = os.fstat(self._file).st_size
            if self._rotate is not None and size and size >= self._rotate:
                self._rotate_files()
                size = 0
            self._append(b"".join(event.json.encode() + b"\n" for event in batch), size)
        except OSError as error:
            self.close()
            return failed(f"{self._path}: {error.strerror or error}")
        return ARRIVED

    def _is_at_its_name(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file), os.stat(self._path))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Closes the file. The next delivery opens it by its name."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(self._path, flags, _MODE)
        _sync_folder(self._path)
        os.ftruncate(self._file, _whole_lines(self._file))

    def _append(self, data: bytes, size: int) -> None:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError:
            # A full disk may have stored a part of it.
            os.ftruncate(self._file, size)
            raise

    def _rotate_files(self) -> None:
        """NAME.9 becomes NAME.10, and so on; NAME becomes NAME.1."""
        self.close()
        names = [self._path, *(Path(f"{self._path}.{number}") for number in range(1, KEPT + 1))]
        for older, younger in zip(reversed(names), reversed(names[:-1]), strict=False):
            if younger.exists():
                younger.replace(older)
        self._open()


def _whole_lines(file: int) -> int:
    """The size without an incomplete last line. Its event is delivered again."""
    end = os.fstat(file).st_size
    while end:
        begin = max(0, end - _READ_BACK)
        found = os.pread(file, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _sync_folder(path: Path) -> None:
    """Makes sure that the file's name is on disk, too."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
