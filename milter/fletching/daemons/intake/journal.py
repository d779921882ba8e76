"""Events on this host's disk: before Redis has them, and for some time after that.

Here live the form of the files and the care for them. A journal is a folder; whoever opens it is a
writer of a new name, and adds segments of its own to those of the writers before it:

    <microseconds>-<writer>.recent   a line per event: sequence number, "!" where it suppresses an
                                     address, else a space, CRC-32 of the line, its JSON
    <microseconds>-<writer>.kept     the lines with "!" of that writer's segments that are gone;
                                     in the order of names it stands before the segments
    done                             up to where Redis has everything, and in which of its runs

A segment is written by one process in its life and never again, so no line of it can get another
sequence number. What was appended survives the process; a line that suppresses an address is on the
disk when `append` returns. A line that was cut off was of nobody's answer. What Redis has, and who
writes it there, is not known here.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from fletching.events import Event, parse
from fletching.store.suppression import REASONS
from fletching.store.writing import JournalLine
from fletching.tokens import Facts

LARGEST = 512 * 2**20
"""Octets of one journal. What Redis has takes up to half of it: an hour of 200 events a second has
about 500 million."""

KEPT = 3600
"""Seconds for which events are kept that Redis has; those that suppress an address have longer."""

SEGMENT = 8 * 2**20
SEGMENT_SECONDS = 600
"""A segment that is larger, or older, is followed by another one."""

_DAY = 86400

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

_NAME = re.compile(r"(\d{16})-([0-9a-f]{12})\.(recent|kept)")
_PLACE = re.compile(r"[0-9]+")
_LINE = re.compile(rb"(\d{1,17})([ !])([0-9a-f]{8})")


class Position(NamedTuple):
    """A place in a journal; later ones are greater."""

    segment: str = ""
    offset: int = 0


START = Position()


class Journal:
    """One journal. One thread may append while another does all else. Methods raise OSError."""

    def __init__(self, folder: Path, kept: int, largest: int = LARGEST) -> None:
        """``kept``: seconds for which events are kept that suppress an address."""
        folder.mkdir(parents=True, exist_ok=True)
        self.writer = secrets.token_hex(6)
        self._folder, self._kept, self._largest = folder, kept, largest
        self._note = os.open(folder / "done", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.done, self.runs = self._noted()
        names = self._names()
        self.end = Position(names[-1], self._octets(names[-1])) if names else START
        # A clock that went back makes no segment stand before those that are there, or were.
        self._last = max(_microseconds(self.end.segment), _microseconds(self.done.segment))
        self._size = sum(self._octets(name) for name in names)
        self._file = -1
        self._changing = threading.Lock()

    def append(self, events: Sequence[Event]) -> list[JournalLine]:
        """Keeps events, all of them or none."""
        with self._changing:
            first = max(self._last + 1, time.time_ns() // 1000)
            lines = [
                JournalLine(first + at, event, event.json()) for at, event in enumerate(events)
            ]
            self._last = first + len(lines) - 1
            data = b"".join(map(_octets, lines))
            if self._size + len(data) > self._largest:
                raise OSError(errno.ENOSPC, f"{self._folder} has its {self._largest} octets")
            if self._file < 0 or self._is_over(first):
                self._begin(first)
            self._write(data, any(event.type in REASONS for event in events))
            self._size += len(data)
        return lines

    def read(self, at: Position, count: int) -> tuple[str, list[JournalLine], Position]:
        """The next lines, which are of one writer, that writer, and the position behind them."""
        end = self.end
        for name in self._names():
            if not at.segment <= name <= end.segment:
                continue
            limit = end.offset if name == end.segment else self._octets(name)
            found = []
            at = Position(name, at.offset if name == at.segment else 0)
            for line, behind in self._lines(name, at.offset, limit):
                at = Position(name, behind)
                if (restored := _restored(line)) is not None:
                    found.append(restored)
                if len(found) == count:
                    break
            if found:
                return _writer(name), found, at
        return "", [], max(at, end)

    def note(self, done: Position, runs: frozenset[str]) -> None:
        """Redis has everything before that position, in these of its runs."""
        if (done, runs) != (self.done, self.runs):
            said = " ".join([done.segment or "-", str(done.offset), *sorted(runs)]).encode() + b"\n"
            os.pwrite(self._note, said, 0)
            os.ftruncate(self._note, len(said))
            self.done, self.runs = done, runs

    def tidy(self, done: Position) -> None:
        """Forgets what is too old, and the oldest where room runs out, of that before a position.

        Lines that suppress an address stay for their own time.
        """
        with self._changing:
            if self._file >= 0 and self._is_over(time.time_ns() // 1000):
                os.close(self._file)
                self._file = -1
            written = self.end.segment if self._file >= 0 else ""
        for name in self._names():
            if name == written or name > done.segment:
                break
            if name == done.segment and done.offset < self._octets(name):
                break
            path = self._folder / name
            age = time.time() - path.stat().st_mtime
            if name.endswith(".kept"):
                if age > self._kept:
                    self._forget(path)
            elif age > KEPT or self._size > self._largest // 2:
                self._keep_longer(path)
                self._forget(path)

    def close(self) -> None:
        os.close(self._note)
        if self._file >= 0:
            os.close(self._file)

    def _is_over(self, now: int) -> bool:
        age = now - _microseconds(self.end.segment)
        return self.end.offset >= SEGMENT or age > SEGMENT_SECONDS * 1_000_000

    def _begin(self, first: int) -> None:
        name = f"{first:016}-{self.writer}.recent"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.open(self._folder / name, flags, 0o600)
        _sync_folder(self._folder)
        if self._file >= 0:
            os.close(self._file)
        self._file, self.end = file, Position(name)

    def _write(self, data: bytes, is_to_last: bool) -> None:
        start = self.end.offset
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(self._file, data[done:], start + done)
            if is_to_last:
                os.fdatasync(self._file)
        except OSError:
            # A full disk may have taken half a line.
            os.ftruncate(self._file, start)
            raise
        self.end = Position(self.end.segment, start + len(data))

    def _keep_longer(self, path: Path) -> None:
        """Lines that suppress an address go to the writer's file of the day.

        After a crash before the segment is gone, they are there twice, which does no harm.
        """
        writer, began = _writer(path.name), _microseconds(path.name)
        lines = [line for line, _ in self._lines(path.name, 0, self._octets(path.name))]
        data = b"".join(line for line in lines if (m := _LINE.match(line)) and m[2] == b"!")
        if not data:
            return
        of_day = max(self._folder.glob(f"*-{writer}.kept"), default=path.with_suffix(".kept"))
        if began - _microseconds(of_day.name) > _DAY * 1_000_000:
            of_day = path.with_suffix(".kept")
        # A crash, or a full disk, may have left half a line there: its end comes first.
        data = b"\n" + data
        with of_day.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self._folder)
        with self._changing:
            self._size += len(data)

    def _forget(self, path: Path) -> None:
        size = path.stat().st_size
        path.unlink()
        with self._changing:
            self._size -= size

    def _lines(self, name: str, start: int, limit: int) -> Iterator[tuple[bytes, int]]:
        """Each line, and where it ends."""
        with (self._folder / name).open("rb") as file:
            file.seek(start)
            for line in file:
                start += len(line)
                if start > limit:
                    return
                yield line, start

    def _names(self) -> list[str]:
        return sorted(name for name in os.listdir(self._folder) if _NAME.fullmatch(name))

    def _octets(self, name: str) -> int:
        return (self._folder / name).stat().st_size

    def _noted(self) -> tuple[Position, frozenset[str]]:
        """Nothing, where that is not to be read: then all is written to Redis once more."""
        words = os.pread(self._note, 65536, 0).decode("ascii", "replace").split()
        if len(words) < 2 or not _NAME.fullmatch(words[0]) or not words[1].isdecimal():
            return START, frozenset()
        return Position(words[0], int(words[1])), frozenset(words[2:])


def journal_of(folder: Path, place: int) -> Path:
    """The journal of the process with this number."""
    return folder / str(place)


def prepare(folder: Path, processes: int, kept: int) -> None:
    """Makes the journals of so many processes; the first one gets what others have left behind.

    For the one process above all others, before them. Raises OSError.
    """
    for place in range(processes):
        Journal(journal_of(folder, place), kept).close()
    first = journal_of(folder, 0)
    for path in sorted(folder.iterdir()):
        if not _PLACE.fullmatch(path.name) or int(path.name) < processes or not path.is_dir():
            continue
        segments = sorted(name for name in os.listdir(path) if _NAME.fullmatch(name))
        if segments:
            # Nobody has noted of the first one's journal that these are done.
            (first / "done").unlink(missing_ok=True)
        for name in segments:
            (path / name).rename(first / name)
        (path / "done").unlink(missing_ok=True)
        # What is not ours stays, in its folder.
        with suppress(OSError):
            path.rmdir()


def restored(json: bytes) -> Event:
    """The event of a line: its JSON is the same again. Raises ValueError."""
    told = parse(json)
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


def _octets(line: JournalLine) -> bytes:
    head = b"%d%c" % (line.sequence, b"!" if line.event.type in REASONS else b" ")
    json = line.json.encode()
    return b"%s%08x%s\n" % (head, crc32(json, crc32(head)), json)


def _restored(line: bytes) -> JournalLine | None:
    """None for what the disk has lost or changed: the lines after it are to get on."""
    found = _LINE.match(line)
    json = line[found.end() :].removesuffix(b"\n") if found else b""
    if found is None or crc32(json, crc32(found[1] + found[2])) != int(found[3], 16):
        return None
    try:
        return JournalLine(int(found[1]), restored(json), json.decode())
    except ValueError:
        return None


def _microseconds(name: str) -> int:
    return int(name.partition("-")[0] or 0)


def _writer(name: str) -> str:
    return name.partition("-")[2].partition(".")[0]


def _sync_folder(folder: Path) -> None:
    """A new file is in its folder on the disk, too."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
