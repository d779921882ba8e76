"""The counts of sent mails that are not in Redis yet, in a file that survives a killed worker.

A worker writes its counts a moment after the reply to Postfix (`afterwards.py`). If it is killed
before, the next worker finds them here. Each line is a count as it was after one more mail; the
highest one of a name counts, and Redis counts no name twice (`store/sent.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from fletching import log
from fletching.daemons.process.log_limit import LogLimit
from fletching.store.sent import Counted

_LOG_EVERY = 600.0
"""Seconds between two lines about a file that cannot be written."""

_LARGEST = 1_000_000
"""Bytes from which on the file gets no more lines: Redis has not accepted any for a long time."""


class SentFile:
    """The file of one worker. ``number``: that of its counters. For one thread at a time."""

    def __init__(self, state_dir: Path, number: int) -> None:
        self._path = _path(state_dir, number)
        self._seldom = LogLimit(_LOG_EVERY)
        self._file: int | None = None
        self._size = 0

    def read(self) -> list[Counted]:
        """What a killed worker has left."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return []
        self._size = len(data)
        return [*_counts(data)]

    def append(self, counted: Counted) -> None:
        """Adds a count. It is not forced to the disk: only a crash of the machine loses it."""
        if self._size > _LARGEST:
            return
        # The line end comes first: what a full disk has cut off stays a line of its own.
        line = b"\n" + json.dumps(counted).encode("utf-8", "surrogatepass")
        try:
            if self._file is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                self._file = os.open(self._path, flags, 0o600)
            self._size += os.write(self._file, line)
        except OSError as error:
            if self._seldom.is_due():
                log.state_write_failed("sent", error)

    def clear(self) -> None:
        """Empties the file, when everything in it is in Redis."""
        if not self._size:
            return
        try:
            os.truncate(self._path, 0)
        except OSError as error:
            if self._seldom.is_due():
                log.state_write_failed("sent", error)
        else:
            self._size = 0


def gather(state_dir: Path) -> None:
    """Moves what all workers have left to the file of the first one. Raises OSError.

    For the first process of the daemon, when no worker is running: there may be fewer of them now.
    """
    first = _path(state_dir, 0)
    for path in sorted(state_dir.glob(f"{_NAME}.*")):
        if path != first:
            with first.open("ab") as file:
                file.write(path.read_bytes())
            path.unlink()


_NAME = "sent"


def _path(state_dir: Path, number: int) -> Path:
    return state_dir / f"{_NAME}.{number}"


def _counts(data: bytes) -> Iterator[Counted]:
    for line in data.splitlines():
        try:
            campaign, cell, step, name, mails = json.loads(line)
            yield Counted(str(campaign), str(cell), str(step), str(name), int(mails))
        except (ValueError, TypeError):  # cut off by a full disk
            continue
