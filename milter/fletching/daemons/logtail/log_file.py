"""Follows a log file through its rotations.

Here lives which file comes after which. What the lines say is not known here.

A log is renamed (and its successor created), or copied and truncated; either way the old content
stands beside the log, under its name with a number or a date, perhaps compressed. So whatever
happened while nobody read, the file with the last position is found by its beginning, and the files
after it by their time.

A process may write to the old file for a moment after the new one was created. So the next file is
begun only when it has content, and the end of the old one is read once more after that.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

from fletching.daemons.logtail.lines import Batch, Line
from fletching.daemons.logtail.open_log import LogPosition, OpenLog
from fletching.postfix.logline import LONGEST

MOST = 256 * 1024
"""Bytes that are read at once."""

# What logrotate(8), newsyslog(8) and `postfix logrotate` append to the name.
_ROTATED = re.compile(r"[.-]?\d[\dT:_.-]*(?:\.(?:gz|bz2|xz))?")

_GAP = "the file that was read last is gone, with what was not read of it"


class LogFile:
    """A log file, read from a position on; without a position, from the beginning of the file."""

    def __init__(self, path: Path, position: str = "") -> None:
        self._path = path
        self._at = LogPosition(*json.loads(position)) if position else LogPosition()
        self._file: OpenLog | None = None
        # Whether the rest of a line that is too long is left out.
        self._in_long_line = False

    def read(self) -> Batch:
        """The next lines; none while there is no log. Raises OSError."""
        gap = ""
        if self._file is None:
            self._file = self._found()
        if self._file is None:
            gap = _GAP if self._at.offset else ""
            self._file = self._first()
        if self._file is None:
            return self._batch([], "")
        data = self._file.read(self._at.offset, MOST)
        if not self._file.is_compressed and not self._file.has(self._at):
            # It was truncated, perhaps between the two: this may be what was written after that.
            self.close()
            return self._batch([], "")
        if end := data.rfind(b"\n") + 1:
            return self._batch(self._taken(self._file, data[:end]), gap)
        if len(data) > LONGEST:
            self._taken(self._file, data)
            self._in_long_line = True
            return self._batch([], gap)
        return self._batch(self._last_line(self._file, data), gap)

    def close(self) -> None:
        """Closes the file; the next `read` looks for it again."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._in_long_line = False

    def _found(self) -> OpenLog | None:
        """The file of the position, wherever it is now."""
        if self._at != LogPosition():
            for path in (self._path, *self._rotated()):
                with _opened(path) as file:
                    if file is not None and file.has(self._at):
                        return OpenLog(path)
        return None

    def _first(self) -> OpenLog | None:
        """The log itself, from its beginning; None if there is none yet."""
        try:
            file = OpenLog(self._path)
        except FileNotFoundError:
            return None
        self._at = file.position(0)
        return file

    def _taken(self, file: OpenLog, data: bytes) -> list[Line]:
        """The lines in the next bytes, which are then behind us."""
        lines, offset = [], self._at.offset
        for text in data.split(b"\n"):
            # A file that was truncated under its writer may begin with a hole.
            if line := text.lstrip(b"\0"):
                lines.append(Line(b"%d" % offset, line))
            offset += len(text) + 1
        if self._in_long_line:
            self._in_long_line = False
            del lines[:1]
        self._at = file.position(self._at.offset + len(data))
        return lines

    def _last_line(self, file: OpenLog, data: bytes) -> list[Line]:
        """At the end of a file, where ``data`` is half a line: goes on to the next file."""
        following = self._following(file)
        if following is None:
            return []
        # Now nobody writes to the old file any more.
        if file.read(self._at.offset, MOST) != data:
            return []
        lines = self._taken(file, data)
        self.close()
        self._file = OpenLog(following)
        self._at = self._file.position(0)
        return lines

    def _following(self, file: OpenLog) -> Path | None:
        """The next file; None if this is the log itself, or nothing was written to the next one."""
        try:
            log = os.stat(self._path)
        except FileNotFoundError:
            return None
        if log.st_ino == file.inode or not log.st_size:
            return None
        between = []
        for path in self._rotated():
            with _opened(path) as other:
                if other is None or other.inode == file.inode or other.has(self._at):
                    continue
                if other.modified() > file.modified():
                    between.append((other.modified(), path))
        return min(between)[1] if between else self._path

    def _rotated(self) -> Iterator[Path]:
        """The rotated files beside the log."""
        name = self._path.name
        for path in self._path.parent.iterdir():
            is_ours = path.name.startswith(name) and _ROTATED.fullmatch(path.name[len(name) :])
            if is_ours and path.is_file():
                yield path

    def _batch(self, lines: list[Line], gap: str) -> Batch:
        behind = self._file.left(self._at.offset) if self._file is not None else 0
        return Batch(lines, json.dumps(astuple(self._at)), behind, gap)


@contextmanager
def _opened(path: Path) -> Iterator[OpenLog | None]:
    """A file, closed again; None if it cannot be read, or has vanished."""
    try:
        file = OpenLog(path)
    except OSError:
        yield None
        return
    try:
        yield file
    finally:
        file.close()
