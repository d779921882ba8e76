"""Clicks and opens are held for a few seconds, until the rest of their burst is known.

Here lives the wait: in memory, and in a file, so that a killed process loses none; and the exchange
of touches between processes, through Redis. How a burst is judged is in `returning/bursts.py`. Then
an event is recorded with its final verdict (`Recorder.record`).

Events of the same turn wait together, in one file, which is deleted when all of them are recorded.
After a crash in between, some are recorded twice, with the same ids.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from fletching import log
from fletching.daemons.intake.drain import MOST_AT_ONCE
from fletching.daemons.intake.journal import restored
from fletching.daemons.intake.recorder import Recorder
from fletching.daemons.process.log_limit import LogLimit
from fletching.events import CLICK, OPEN, Event
from fletching.returning import bursts
from fletching.returning.bots import Lists
from fletching.returning.bursts import HIDDEN, Touch
from fletching.store.connection import StoreUnavailable
from fletching.store.touches import LARGEST, Touches

HELD = frozenset({CLICK, OPEN})
"""The types of events that are held. Unsubscribes are recorded at once."""

TURN = 0.5
"""Seconds between two exchanges of touches, and between two judgements of events."""

HOLD = 3.5
"""Seconds until events are judged: the longest burst, and a turn for other processes to share
it."""

MESSAGES, TOUCHES = 16_384, 100
"""Messages, and touches of each, that this process remembers for when Redis is down; at most."""

REMEMBERED = bursts.SLOWLY / 1000
"""Seconds for which a message is remembered after its last touch, and up to twice that."""

RETRY_AFTER = 1.0
"""Seconds without a question to Redis after it did not answer: clients are waiting."""

LOG_EVERY = 10.0
"""Seconds between two lines about a full disk."""

_NEEDED = {"click_url", "engine_ip", "is_bot"}

_NAME = re.compile(r"(\d+)-\d+\.held")


class Batch:
    """The events of a turn, and their file. What cannot be written there is in memory only."""

    def __init__(self, path: Path, due: float) -> None:
        """``due``: when its events are judged (monotonic time)."""
        self.events: list[Event] = []
        self.due = due
        self._path = path
        self._file: int | None = None

    @classmethod
    def left_behind(cls, path: Path, due: float) -> Batch:
        """The events of a killed process. Raises OSError."""
        batch = cls(path, due)
        for line in path.read_bytes().split(b"\n"):
            with suppress(ValueError):
                event = restored(line)
                if event.type in HELD and event.details.keys() >= _NEEDED:
                    batch.events.append(event)
        return batch

    def add(self, event: Event) -> None:
        """Adds an event. Raises OSError if it is in memory only."""
        self.events.append(event)
        if self._file is None:
            # The disk may have been full at the start.
            self._path.parent.mkdir(exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
        # A newline first: a full disk may have cut the previous line.
        os.write(self._file, b"\n" + event.json().encode())

    def delete(self) -> None:
        """Deletes the file: the events are recorded."""
        if self._file is not None:
            os.close(self._file)
        self._path.unlink(missing_ok=True)


class KnownTouches:
    """What clients did with messages lately. ``clock``: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = clock() + REMEMBERED
        # Messages with touches since the last change, and those with touches before that only.
        self._newer: OrderedDict[str, list[str]] = OrderedDict()
        self._older: OrderedDict[str, list[str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def add(self, message: str, line: str) -> None:
        """Adds a touch, and forgets what is too old or too much."""
        self.forget()
        lines = self._newer.setdefault(message, self._older.get(message, []))
        self._older.pop(message, None)  # Only now: another thread may be reading.
        lines.append(line)
        del lines[:-TOUCHES]
        if len(self) > MESSAGES:
            (self._older or self._newer).popitem(last=False)

    def of(self, message: str) -> Sequence[str]:
        """The touches of a message."""
        return self._newer.get(message) or self._older.get(message) or ()

    def forget(self) -> None:
        """Forgets what is too old."""
        if (now := self._clock()) >= self._until:
            self._older = self._newer if now < self._until + REMEMBERED else OrderedDict()
            self._newer, self._until = OrderedDict(), now + REMEMBERED


class Holding:
    """The events that one process holds. Its methods are for one event loop."""

    def __init__(
        self,
        recorder: Recorder,
        touches: Touches,
        lists: Lists,
        folder: Path,
        number: int,
        *,
        turn: float = TURN,
        hold: float = HOLD,
    ) -> None:
        """``number``: that of the process, by which it finds the files of a killed predecessor."""
        self._recorder, self._touches, self._lists = recorder, touches, lists
        self._folder, self._number = folder, number
        self._turn_seconds, self._hold_seconds = turn, hold
        self._known = KnownTouches()
        self._unshared: dict[str, str] = defaultdict(str)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="touches")
        self._retry_at = 0.0
        self._full = LogLimit(LOG_EVERY)
        self._waiting: deque[Batch] = deque()
        self._recover()
        self._batch = self._new_batch()
        self._ends = asyncio.Event()

    def note(self, message: str, touch: Touch) -> None:
        """Notes what a client did with a message."""
        line = touch.line
        if len(self._unshared[message]) < LARGEST:
            self._unshared[message] += line
        self._known.add(message, line)

    def hold(self, event: Event) -> None:
        """Holds an event from now on."""
        try:
            self._batch.add(event)
        except OSError as error:
            if self._full.is_due():
                log.state_write_failed("held", error)

    async def is_program(self, message: str, touch: Touch) -> bool:
        """Whether a client is a program, by what is known now."""
        loop = asyncio.get_running_loop()
        lines = await loop.run_in_executor(self._thread, self._lines, [message])
        found = bursts.touches_in(lines[message])
        return bool(bursts.verdict(found, touch.client, touch.milliseconds, self._lists))

    async def run(self) -> None:
        """Runs until `end`; then everything is judged by what is known."""
        is_last = False
        while not is_last:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ends.wait(), self._turn_seconds)
            # The end may come during a turn, and then the events of that turn are still to be
            # judged.
            is_last = self._ends.is_set()
            try:
                await self._turn()
            except Exception as error:  # noqa: BLE001 an edge: the events are held and tried again
                log.recording_failed(error)
        self._thread.shutdown()

    def end(self) -> None:
        """No more events will come."""
        self._ends.set()

    def _recover(self) -> None:
        """Holds the events of a killed process again: it may not have shared its touches."""
        for path in sorted(self._folder.glob(f"{self._number}-*.held")):
            try:
                self._waiting.append(Batch.left_behind(path, self._due()))
            except OSError as error:
                log.state_write_failed("held", error)
        for event in (event for batch in self._waiting for event in batch.events):
            if event.type == CLICK:
                self.note(bursts.message_name(event.facts), bursts.touch_of(event))

    async def _turn(self) -> None:
        if self._batch.events:
            self._batch.due = self._due()
            self._waiting.append(self._batch)
            self._batch = self._new_batch()
        await self._share()
        self._known.forget()
        while self._waiting and self._is_due(self._waiting[0]):
            await self._release(self._waiting[0])
            self._waiting.popleft()

    def _due(self) -> float:
        return time.monotonic() + self._hold_seconds

    def _is_due(self, batch: Batch) -> bool:
        return self._ends.is_set() or batch.due <= time.monotonic()

    async def _share(self) -> None:
        lines, self._unshared = self._unshared, defaultdict(str)
        if lines:
            loop = asyncio.get_running_loop()
            # While Redis is down, each process judges by what it knows itself.
            with suppress(StoreUnavailable):
                await loop.run_in_executor(self._thread, self._touches.add, lines)

    async def _release(self, batch: Batch) -> None:
        loop = asyncio.get_running_loop()
        while batch.events:
            some = batch.events[:MOST_AT_ONCE]
            await self._recorder.record(
                *await loop.run_in_executor(self._thread, self._judged, some)
            )
            del batch.events[: len(some)]
        batch.delete()

    def _judged(self, events: Sequence[Event]) -> list[Event]:
        names = [bursts.message_name(event.facts) for event in events]
        # Most messages are touched once; one that is touched often has many events here.
        touches = {
            name: bursts.touches_in(lines)
            for name, lines in self._lines(names).items()
            if len(lines) > 1 or any(f" {HIDDEN} " in line for line in lines)
        }
        return [
            bursts.judged(event, touches[name], self._lists) if name in touches else event
            for event, name in zip(events, names, strict=True)
        ]

    def _lines(self, messages: Sequence[str]) -> dict[str, set[str]]:
        """The touches of messages, as far as they are known."""
        found = {message: set(self._known.of(message)) for message in messages}
        if time.monotonic() < self._retry_at:
            return found
        try:
            for message, text in zip(found, self._touches.of(list(found)), strict=True):
                found[message].update(text.splitlines(keepends=True))
        except StoreUnavailable:
            self._retry_at = time.monotonic() + RETRY_AFTER
        return found

    def _new_batch(self) -> Batch:
        return Batch(self._folder / f"{self._number}-{time.time_ns()}.held", self._due())


def prepare(folder: Path, processes: int) -> None:
    """Creates the folder; the first process inherits the files of removed processes.

    For the parent of the processes, before it starts them. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if (found := _NAME.fullmatch(path.name)) and int(found[1]) >= processes:
            path.rename(folder / f"0-{path.name.partition('-')[2]}")
