"""One log file, plain or compressed, and how it is recognized after it was renamed or copied.

Here lives what is known of a single file. Which file comes after it is known in `log_file.py`.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_HEAD = 1024
"""Bytes at the beginning of a file by which it is recognized."""

_COMPRESSED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A position in a file. ``digest``: of the first ``head`` bytes of the file."""

    inode: int = 0
    head: int = 0
    digest: str = ""
    offset: int = 0


class OpenLog:
    """An open log file. All methods raise OSError, but `has`."""

    def __init__(self, path: Path) -> None:
        self.is_compressed = path.suffix in _COMPRESSED
        opened = _COMPRESSED.get(path.suffix, open)
        self._file: IO[bytes] = opened(path, "rb")
        self.inode = os.fstat(self._file.fileno()).st_ino
        self._head = b""

    def read(self, offset: int, count: int) -> bytes:
        """Up to so many bytes. A compressed file that is damaged ends there."""
        if not self.is_compressed:
            return os.pread(self._file.fileno(), count, offset)
        try:
            self._file.seek(offset)
            return self._file.read(count)
        except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error):
            return b""

    def position(self, offset: int) -> LogPosition:
        """The position before a byte. The bytes before it were read."""
        length = min(_HEAD, offset)
        if len(self._head) < length:
            self._head = self.read(0, length)
        return LogPosition(self.inode, length, _digest(self._head[:length]), offset)

    def has(self, position: LogPosition) -> bool:
        """Whether the position is in this file, or in the file of which it is a copy."""
        if not position.head:
            return self.inode == position.inode
        try:
            is_same = _digest(self.read(0, position.head)) == position.digest
            return is_same and bool(self.read(position.offset - 1, 1))
        except OSError:
            return False

    def left(self, offset: int) -> int:
        """Bytes after an offset; of a compressed file, 0, since they are not known."""
        if self.is_compressed:
            return 0
        return max(0, os.fstat(self._file.fileno()).st_size - offset)

    def modified(self) -> int:
        """When it was last written to, in nanoseconds."""
        return os.fstat(self._file.fileno()).st_mtime_ns

    def close(self) -> None:
        self._file.close()


def _digest(head: bytes) -> str:
    return hashlib.blake2b(head, digest_size=12).hexdigest()
