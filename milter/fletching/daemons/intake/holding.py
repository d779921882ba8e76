"""Clicks and opens wait here for a few seconds, until it is known what came with them.

Here lives the wait: in memory, and on disk beside it, so that a process that is killed loses none;
and what processes tell each other meanwhile, by way of Redis. How a burst is judged is in
`returning/bursts.py`. An event leaves with its final verdict, the usual way (`Recorder.record`).

Events that came within `TURN` wait together: they have one file, which is gone when all of them are
kept elsewhere. After a crash in between, some are recorded twice, with the same ids.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Sequence
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
from fletching.store.connection import StoreAway
from fletching.store.touches import LARGEST, Touches

HELD = frozenset({CLICK, OPEN})
"""The types of events that wait. Nobody who unsubscribes waits for anything."""

TURN = 0.5
"""Seconds in which touches are gathered, to be told in one go; and events, to be judged."""

HOLD = 3.5
"""Seconds until events are judged: the longest burst, and the turn in which others tell of it."""

MESSAGES, TOUCHES = 16_384, 100
"""Of so many messages, so many touches each are remembered here, for when Redis is away."""

LEFT_ALONE = 1.0
"""Seconds for which Redis is not asked about touches after it did not answer: readers wait."""

SAY_EVERY = 10.0
"""Seconds between two lines about a full disk."""

_JUDGED_BY = {"click_url", "engine_ip", "is_bot"}

_NAME = re.compile(r"(\d+)-\d+\.held")


class Batch:
    """The events of a turn, and their file. What cannot be written there waits in memory alone."""

    def __init__(self, path: Path) -> None:
        self.events: list[Event] = []
        self.due = time.monotonic() + HOLD
        self._path = path
        self._file: int | None = None

    @classmethod
    def left_behind(cls, path: Path) -> Batch:
        """The events of a process that was killed. Raises OSError."""
        batch = cls(path)
        for line in path.read_bytes().split(b"\n"):
            with suppress(ValueError):
                event = restored(line)
                if event.type in HELD and event.details.keys() >= _JUDGED_BY:
                    batch.events.append(event)
        return batch

    def add(self, event: Event) -> None:
        """Raises OSError where the event is in memory alone."""
        self.events.append(event)
        if self._file is None:
            # There may have been no room for it at the start.
            self._path.parent.mkdir(exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
        # The end of the line before, of which a full disk may have taken half, comes first.
        os.write(self._file, b"\n" + event.json().encode())

    def forget(self) -> None:
        """The events are kept elsewhere by now."""
        if self._file is not None:
            os.close(self._file)
        self._path.unlink(missing_ok=True)


class Holding:
    """The events that wait in one process. All but its thread is of one event loop."""

    def __init__(
        self, recorder: Recorder, touches: Touches, lists: Lists, folder: Path, place: int
    ) -> None:
        """``place``: the number of the process, by which it finds what it has left behind."""
        self._recorder, self._touches, self._lists = recorder, touches, lists
        self._folder, self._place = folder, place
        self._known: OrderedDict[str, list[str]] = OrderedDict()
        self._untold: dict[str, str] = defaultdict(str)
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="touches")
        self._ask_again = 0.0
        self._full = LogLimit(SAY_EVERY)
        self._waiting: deque[Batch] = deque()
        self._take_up()
        self._batch = self._begun()
        self._ends = asyncio.Event()

    def note(self, message: str, touch: Touch) -> None:
        """A client did something with a message."""
        line = touch.line
        if len(self._untold[message]) < LARGEST:
            self._untold[message] += line
        known = self._known.setdefault(message, [])
        known.append(line)
        del known[:-TOUCHES]
        if len(self._known) > MESSAGES:
            self._known.popitem(last=False)

    def hold(self, event: Event) -> None:
        """The event waits from now on."""
        try:
            self._batch.add(event)
        except OSError as error:
            if self._full.is_due():
                log.state_write_failed("held", error)

    async def is_program(self, message: str, touch: Touch) -> bool:
        """Whether a client turns out to be a program by what is known at once."""
        loop = asyncio.get_running_loop()
        lines = await loop.run_in_executor(self._asking, self._lines, [message])
        found = bursts.touches_in(lines[message])
        return bool(bursts.verdict(found, touch.client, touch.milliseconds, self._lists))

    async def run(self) -> None:
        """Until the end, at which everything is judged by what is known then."""
        is_last = False
        while not is_last:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ends.wait(), TURN)
            # The end may come within a turn, and the events of that turn are still to be judged.
            is_last = self._ends.is_set()
            try:
                await self._turn()
            except Exception as error:  # noqa: BLE001 an edge: they wait, and are tried again
                log.recording_failed(error)
        self._asking.shutdown()

    def end(self) -> None:
        """Nothing comes any more."""
        self._ends.set()

    def _take_up(self) -> None:
        """What was left behind waits once more: the one who was killed may have told nobody."""
        for path in sorted(self._folder.glob(f"{self._place}-*.held")):
            try:
                self._waiting.append(Batch.left_behind(path))
            except OSError as error:
                log.state_write_failed("held", error)
        for event in (event for batch in self._waiting for event in batch.events):
            if event.type == CLICK:
                self.note(bursts.message_name(event.facts), bursts.touch_of(event))

    async def _turn(self) -> None:
        if self._batch.events:
            self._batch.due = time.monotonic() + HOLD
            self._waiting.append(self._batch)
            self._batch = self._begun()
        await self._tell()
        while self._waiting and self._is_due(self._waiting[0]):
            await self._release(self._waiting[0])
            self._waiting.popleft()

    def _is_due(self, batch: Batch) -> bool:
        return self._ends.is_set() or batch.due <= time.monotonic()

    async def _tell(self) -> None:
        lines, self._untold = self._untold, defaultdict(str)
        if lines:
            loop = asyncio.get_running_loop()
            # While Redis is away, each process judges by what it knows itself.
            with suppress(StoreAway):
                await loop.run_in_executor(self._asking, self._touches.add, lines)

    async def _release(self, batch: Batch) -> None:
        loop = asyncio.get_running_loop()
        while batch.events:
            some = batch.events[:MOST_AT_ONCE]
            await self._recorder.record(
                *await loop.run_in_executor(self._asking, self._judged, some)
            )
            del batch.events[: len(some)]
        batch.forget()

    def _judged(self, events: Sequence[Event]) -> list[Event]:
        names = [bursts.message_name(event.facts) for event in events]
        # Most messages are touched once. One that is touched often has many events here.
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
        """What was done with messages, as far as it is known."""
        found = {message: set(self._known.get(message, ())) for message in messages}
        if time.monotonic() < self._ask_again:
            return found
        try:
            for message, text in zip(found, self._touches.of(list(found)), strict=True):
                found[message].update(text.splitlines(keepends=True))
        except StoreAway:
            self._ask_again = time.monotonic() + LEFT_ALONE
        return found

    def _begun(self) -> Batch:
        return Batch(self._folder / f"{self._place}-{time.time_ns()}.held")


def prepare(folder: Path, processes: int) -> None:
    """Makes the folder; the first process gets what others have left behind that are no more.

    For the one process above all others, before them. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if (found := _NAME.fullmatch(path.name)) and int(found[1]) >= processes:
            path.rename(folder / f"0-{path.name.partition('-')[2]}")
