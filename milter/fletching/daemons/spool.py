"""Events on disk while Redis is away: one file of a web process, in the order in which they came.

Here live the form of the file and the care for it. An event is a line of JSON; what was appended is
on the disk when `append` returns. A line that a crash has cut off was of nobody's answer, and is
dropped. Who drains the file, and when, is not known here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fletching.events import Event, parse
from fletching.tokens import Facts

LARGEST = 512 * 2**20
"""Octets that one process keeps: an hour of 200 events a second has about 500 million."""

_OF_FACTS = {
    "campaign": "campaign",
    "number": "message_number",
    "mail_class": "mail_class",
    "instance_id": "instance_id",
    "listid": "listid",
    "click_tracking_id": "click_tracking_id",
    "email": "email",
    "mtaid": "mtaid",
}
_OF_EVENT = {
    "event_type", "event_time", "timestamp", "event_unique_id", "server_id", "sendid",
    *_OF_FACTS.values(),
}  # fmt: skip

_TYPES = {"message_number": int}


class Spool:
    """One file. To be used by one thread at a time. Methods raise OSError.

    What was drained is remembered in a second file: after a crash a part may be drained again.
    """

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._largest = largest
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._place = os.open(path.with_suffix(".at"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = self._whole_lines()
        os.ftruncate(self._file, self._end)
        said = os.pread(self._place, 20, 0).strip()
        # A place behind the end is that of a file which was emptied since.
        self._at = int(said) if said.isdigit() and int(said) <= self._end else 0
        if not self._at:
            self._note_none()
        self._lengths: list[int] = []
        _sync_folder(path.parent)

    def __bool__(self) -> bool:
        """Whether there is something to drain."""
        return self._at < self._end

    def append(self, events: Sequence[Event]) -> int:
        """Keeps events; how many of them there was no room for, which are the last ones."""
        kept, size = [], self._end
        for event in events:
            line = event.json().encode() + b"\n"
            if size + len(line) > self._largest:
                break
            kept.append(line)
            size += len(line)
        if kept:
            self._write(b"".join(kept))
        return len(events) - len(kept)

    def first(self, count: int) -> list[Event]:
        """The oldest events, up to so many; they stay until `forget`."""
        self._lengths, found = [], []
        with open(os.dup(self._file), "rb", closefd=True) as file:
            file.seek(self._at)
            for line in file:
                self._lengths.append(len(line))
                found.append(line)
                if len(found) == count:
                    break
        return list(_restored(found))

    @property
    def gave_all(self) -> bool:
        """Whether there is nothing behind the events that `first` gave."""
        return self._at + sum(self._lengths) >= self._end

    def forget(self) -> None:
        """The events that `first` gave are kept elsewhere by now."""
        self._at += sum(self._lengths)
        self._lengths = []
        if self._at < self._end:
            # On a full disk there may be no room for it; then more is drained again after a crash.
            with contextlib.suppress(OSError):
                os.pwrite(self._place, b"%-20d" % self._at, 0)
            return
        # First the place: an old one would skip what comes into the emptied file.
        self._note_none()
        os.ftruncate(self._file, 0)
        self._at = self._end = 0

    def _note_none(self) -> None:
        """Nothing of the file is drained; to say so takes no room."""
        os.ftruncate(self._place, 0)
        os.fdatasync(self._place)

    def close(self) -> None:
        os.close(self._file)
        os.close(self._place)

    def _write(self, data: bytes) -> None:
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(self._file, data[done:], self._end + done)
            os.fdatasync(self._file)
        except OSError:
            # A full disk may have taken half a line.
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(data)

    def _whole_lines(self) -> int:
        """Where the last whole line ends."""
        end = os.fstat(self._file).st_size
        while end:
            start = max(0, end - 65536)
            found = os.pread(self._file, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0


def prepare(folder: Path, processes: int) -> None:
    """Makes the files of so many processes; the first one gets what others have left behind.

    For the one process above all others, before them. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(processes):
        Spool(spool_of(folder, place)).close()
    _adopt(folder, processes)


def _adopt(folder: Path, processes: int) -> None:
    for path in sorted(folder.glob("*.events")):
        if not path.stem.isdigit() or int(path.stem) < processes:
            continue
        # However much it is: it was kept before.
        left, first = Spool(path), Spool(spool_of(folder, 0), largest=2**62)
        while left:
            first.append(left.first(1000))
            left.forget()
        left.close()
        first.close()
        path.unlink()
        path.with_suffix(".at").unlink()


def spool_of(folder: Path, place: int) -> Path:
    """The file of the process with this number."""
    return folder / f"{place}.events"


def restored(line: bytes) -> Event:
    """The event of a line: its JSON is the line again. Raises ValueError."""
    told = parse(line)
    try:
        if not all(isinstance(told[at], _TYPES.get(at, str)) for at in _OF_FACTS.values()):
            raise TypeError("a field of another type")
        when = datetime.fromisoformat(told["timestamp"])
        facts: dict[str, Any] = {name: told[at] for name, at in _OF_FACTS.items()}
        details = {name: value for name, value in told.items() if name not in _OF_EVENT}
        return Event(
            told["event_type"],
            round(when.timestamp() * 1000),
            told["event_unique_id"],
            told["server_id"],
            # The time of sending is in no event.
            Facts(**facts, sent=0),
            details,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an event: {error}") from None


def _restored(lines: Iterable[bytes]) -> Iterable[Event]:
    for line in lines:
        try:
            yield restored(line)
        except ValueError:
            # A block that the disk has lost: the lines after it are to get on.
            continue


def _sync_folder(folder: Path) -> None:
    """A new file is in its folder on the disk, too."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
