"""The journal: events on this host's disk, before Redis has them and for some time after that.

Here live the files and their format. A journal is a folder. Whoever opens it becomes a writer with
a new name, and adds its own segments to those of earlier writers:

    <microseconds>-<writer>.recent   a line per event: sequence number; "!" if the event suppresses
                                     an address, else a space; CRC-32 of the line; the event's JSON
    <microseconds>-<writer>.kept     the lines with "!" from deleted segments of that writer; sorts
                                     before its segments
    done                             the position up to which Redis has everything, and in which of
                                     its runs

Only one process ever writes to a segment, so the sequence number of a line is final. An appended
line survives the process; a line that suppresses an address is on the disk when `append` returns. A
truncated line belongs to a request that was not answered. What Redis has, and who writes to it, is
not known here.
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
"""Bytes of one journal. Events that Redis has may take half of it: an hour of 200 events a second
is about 500 million bytes."""

KEPT = 3600
"""Seconds for which events are kept that Redis has. Those that suppress an address stay longer."""

SEGMENT = 8 * 2**20
SEGMENT_SECONDS = 600
"""Bytes and seconds after which a new segment begins."""

_DAY = 86400

_FACT_FIELDS = {
    "campaign": "campaign",
    "number": "message_number",
    "mail_class": "mail_class",
    "instance_id": "instance_id",
    "listid": "listid",
    "click_tracking_id": "click_tracking_id",
    "email": "email",
    "mtaid": "mtaid",
}
_EVENT_FIELDS = {
    "event_type", "event_time", "timestamp", "event_unique_id", "server_id", "sendid",
    *_FACT_FIELDS.values(), "is_seed",
}  # fmt: skip
_TYPES = {"message_number": int}

_NAME = re.compile(r"(\d{16})-([0-9a-f]{12})\.(recent|kept)")
_NUMBER = re.compile(r"[0-9]+")
# The first one in an event's JSON; nothing from a client comes before it.
_ID = re.compile(rb'"event_unique_id":"([a-z0-9]+)"')
_LINE = re.compile(rb"(\d{1,17})([ !])([0-9a-f]{8})")


class Position(NamedTuple):
    """A position in a journal; later positions are greater."""

    segment: str = ""
    offset: int = 0


START = Position()


class Journal:
    """One journal. One thread may append while another calls the other methods, which raise
    OSError.
    """

    def __init__(
        self,
        folder: Path,
        kept: int,
        *,
        recent: int = KEPT,
        sync: bool = False,
        largest: int = LARGEST,
        segment: int = SEGMENT,
    ) -> None:
        """``kept``: seconds for which events are kept that suppress an address; ``recent``: those
        for the other ones. ``sync``: all events are on the disk when `append` returns. ``largest``
        and ``segment``: bytes of the journal, and of a segment that is full.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.writer = secrets.token_hex(6)
        self._folder, self._kept, self._recent, self._sync = folder, kept, recent, sync
        self._largest, self._full_segment = largest, segment
        self._note = os.open(folder / "done", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.done, self.runs = self._read_note()
        names = self._names()
        self.end = Position(names[-1], self._bytes_of(names[-1])) if names else START
        # Even if the clock went back, new segments sort after all earlier ones.
        self._last = max(_microseconds(self.end.segment), _microseconds(self.done.segment))
        self._size = sum(self._bytes_of(name) for name in names)
        self._file = -1
        self._changing = threading.Lock()

    def append(self, events: Sequence[Event]) -> list[JournalLine]:
        """Appends events, all of them or none."""
        with self._changing:
            first = max(self._last + 1, time.time_ns() // 1000)
            lines = [
                JournalLine(first + at, event, event.json()) for at, event in enumerate(events)
            ]
            self._last = first + len(lines) - 1
            data = b"".join(map(_line_bytes, lines))
            if self._size + len(data) > self._largest:
                raise OSError(errno.ENOSPC, f"{self._folder} has reached its {self._largest} bytes")
            if self._file < 0 or self._is_over(first):
                self._begin(first)
            self._write(data, self._sync or any(event.type in REASONS for event in events))
            self._size += len(data)
        return lines

    def read(self, at: Position, count: int) -> tuple[str, list[JournalLine], Position]:
        """The writer of the next lines, those lines, and the position after them."""
        end = self.end
        for name in self._names():
            if not at.segment <= name <= end.segment:
                continue
            limit = end.offset if name == end.segment else self._bytes_of(name)
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
        """Notes that Redis has everything before a position, in these of its runs."""
        if (done, runs) != (self.done, self.runs):
            note = " ".join([done.segment or "-", str(done.offset), *sorted(runs)]).encode() + b"\n"
            os.pwrite(self._note, note, 0)
            os.ftruncate(self._note, len(note))
            self.done, self.runs = done, runs

    def tidy(self, done: Position) -> None:
        """Deletes segments before a position: those that are too old, and the oldest ones when room
        is short. Lines that suppress an address are kept longer.
        """
        with self._changing:
            if self._file >= 0 and self._is_over(time.time_ns() // 1000):
                os.close(self._file)
                self._file = -1
            written = self.end.segment if self._file >= 0 else ""
        for name in self._names():
            if name == written or name > done.segment:
                break
            if name == done.segment and done.offset < self._bytes_of(name):
                break
            path = self._folder / name
            age = time.time() - path.stat().st_mtime
            if name.endswith(".kept"):
                if age > self._kept:
                    self._delete(path)
            elif age > self._recent or self._size > self._largest // 2:
                self._move_suppressions(path)
                self._delete(path)

    def close(self) -> None:
        os.close(self._note)
        if self._file >= 0:
            os.close(self._file)

    def _is_over(self, now: int) -> bool:
        age = now - _microseconds(self.end.segment)
        return self.end.offset >= self._full_segment or age > SEGMENT_SECONDS * 1_000_000

    def _begin(self, first: int) -> None:
        name = f"{first:016}-{self.writer}.recent"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.open(self._folder / name, flags, 0o600)
        _sync_folder(self._folder)
        if self._file >= 0:
            os.close(self._file)
        self._file, self.end = file, Position(name)

    def _write(self, data: bytes, sync: bool) -> None:
        start = self.end.offset
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(self._file, data[done:], start + done)
            if sync:
                os.fdatasync(self._file)
        except OSError:
            # A full disk may have written half a line.
            os.ftruncate(self._file, start)
            raise
        self.end = Position(self.end.segment, start + len(data))

    def _move_suppressions(self, path: Path) -> None:
        """Copies the lines that suppress an address to the writer's file of the day.

        After a crash before the segment is deleted they are there twice, which does no harm.
        """
        writer, began = _writer(path.name), _microseconds(path.name)
        lines = [line for line, _ in self._lines(path.name, 0, self._bytes_of(path.name))]
        data = b"".join(line for line in lines if (m := _LINE.match(line)) and m[2] == b"!")
        if not data:
            return
        of_day = max(self._folder.glob(f"*-{writer}.kept"), default=path.with_suffix(".kept"))
        if began - _microseconds(of_day.name) > _DAY * 1_000_000:
            of_day = path.with_suffix(".kept")
        # A crash or a full disk may have left half a line there, which is ended first.
        data = b"\n" + data
        with of_day.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self._folder)
        with self._changing:
            self._size += len(data)

    def _delete(self, path: Path) -> None:
        size = path.stat().st_size
        path.unlink()
        with self._changing:
            self._size -= size

    def _lines(self, name: str, start: int, limit: int) -> Iterator[tuple[bytes, int]]:
        """Each line, and the offset of its end."""
        with (self._folder / name).open("rb") as file:
            file.seek(start)
            for line in file:
                start += len(line)
                if start > limit:
                    return
                yield line, start

    def _names(self) -> list[str]:
        return _segments(self._folder)

    def _bytes_of(self, name: str) -> int:
        return (self._folder / name).stat().st_size

    def _read_note(self) -> tuple[Position, frozenset[str]]:
        return _noted(os.pread(self._note, 65536, 0).decode("ascii", "replace"))


def journal_of(folder: Path, number: int) -> Path:
    """The folder of the journal of the process with that number."""
    return folder / str(number)


def prepare(folder: Path, processes: int, kept: int) -> None:
    """Creates the journals of so many processes; the first one inherits those of removed processes.

    For the parent of the processes, before it starts them. Raises OSError.
    """
    for number in range(processes):
        Journal(journal_of(folder, number), kept).close()
    first = journal_of(folder, 0)
    for path in sorted(folder.iterdir()):
        if not _NUMBER.fullmatch(path.name) or int(path.name) < processes or not path.is_dir():
            continue
        segments = sorted(name for name in os.listdir(path) if _NAME.fullmatch(name))
        if segments:
            # The note of the first journal does not cover these segments.
            (first / "done").unlink(missing_ok=True)
        for name in segments:
            (path / name).rename(first / name)
        (path / "done").unlink(missing_ok=True)
        # A folder with other files stays.
        with suppress(OSError):
            path.rmdir()


def waiting_since(folder: Path) -> float | None:
    """Unix time of the oldest event that Redis lacks; None if there is none. Raises OSError."""
    if not (folder / "done").exists():
        return None
    done = _noted((folder / "done").read_text("ascii", "replace"))[0]
    for name in _segments(folder):
        with suppress(FileNotFoundError), (folder / name).open("rb") as file:
            file.seek(done.offset if name == done.segment else 0)
            lines = file if name >= done.segment else ()
            if whole := next(filter(None, map(_whole, lines)), None):
                return whole[0] / 1e6
    return None


def recorded_ids(folder: Path, since: Position) -> Iterator[str]:
    """The ids of the events in a journal since a position, of all writers. Raises OSError."""
    if not folder.is_dir():
        return
    for name in _segments(folder):
        if name < since.segment:
            continue
        with (folder / name).open("rb") as file:
            file.seek(since.offset if name == since.segment else 0)
            for line in file:
                if (whole := _whole(line)) and (found := _ID.search(whole[1])):
                    yield found[1].decode("ascii")


def restored(json: bytes) -> Event:
    """The event with this JSON; its own JSON is the same again. Raises ValueError."""
    fields = parse(json)
    try:
        if not all(isinstance(fields[at], _TYPES.get(at, str)) for at in _FACT_FIELDS.values()):
            raise TypeError("a field of another type")
        when = datetime.fromisoformat(fields["timestamp"])
        facts: dict[str, Any] = {name: fields[at] for name, at in _FACT_FIELDS.items()}
        details = {name: value for name, value in fields.items() if name not in _EVENT_FIELDS}
        return Event(
            fields["event_type"],
            round(when.timestamp() * 1000),
            fields["event_unique_id"],
            fields["server_id"],
            # No event has the time of sending.
            Facts(**facts, sent=0, seed=fields.get("is_seed") is True),
            details,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an event: {error}") from None


def _noted(note: str) -> tuple[Position, frozenset[str]]:
    """What a note says; nothing if it is damaged, and then everything is written to Redis again."""
    words = note.split()
    if len(words) < 2 or not _NAME.fullmatch(words[0]) or not words[1].isdecimal():
        return START, frozenset()
    return Position(words[0], int(words[1])), frozenset(words[2:])


def _line_bytes(line: JournalLine) -> bytes:
    head = b"%d%c" % (line.sequence, b"!" if line.event.type in REASONS else b" ")
    json = line.json.encode()
    return b"%s%08x%s\n" % (head, crc32(json, crc32(head)), json)


def _restored(line: bytes) -> JournalLine | None:
    """The line; None if the disk has lost or changed it, so that the lines after it are still
    read.
    """
    if (whole := _whole(line)) is None:
        return None
    sequence, json = whole
    try:
        return JournalLine(sequence, restored(json), json.decode())
    except ValueError:
        return None


def _whole(line: bytes) -> tuple[int, bytes] | None:
    """Sequence number and JSON of a line; None if the disk has lost or changed some of it."""
    found = _LINE.match(line)
    json = line[found.end() :].removesuffix(b"\n") if found else b""
    if found is None or crc32(json, crc32(found[1] + found[2])) != int(found[3], 16):
        return None
    return int(found[1]), json


def _segments(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if _NAME.fullmatch(name))


def _microseconds(name: str) -> int:
    return int(name.partition("-")[0] or 0)


def _writer(name: str) -> str:
    return name.partition("-")[2].partition(".")[0]


def _sync_folder(folder: Path) -> None:
    """Syncs a folder, so that the entry of a new file is on the disk, too."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
