"""Recording events: those that arrive together go to disk and to Redis together.

Here live the batches and the threads. An event is safe when `record` returns: in the journal on
this host's disk, and in Redis, too, unless Redis is down or behind. If the disk is full, Redis
alone has it. What an event means is not known here.

One thread writes new events. Another one watches Redis: while Redis is behind, only that thread
writes to it, from the journal, so that each target gets the events in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from fletching import log
from fletching.daemons.intake.drain import LOG_EVERY, MOST_AT_ONCE, TRY_EVERY, Drain
from fletching.daemons.intake.journal import START, Journal, Position
from fletching.daemons.process.log_limit import LogLimit
from fletching.events import Event
from fletching.store.connection import StoreUnavailable
from fletching.store.events import EventLog
from fletching.store.writing import JournalLine

LOOK_EVERY = 1.0
"""Seconds between two checks that Redis still has all that it had."""

TIDY_EVERY = 60.0
"""Seconds between two deletions of old segments."""


class NotSafeError(Exception):
    """There is room for the events neither on disk nor in Redis, or only for some of them."""


class Recorder:
    """Records the events of one process. Its methods are for one event loop."""

    def __init__(
        self, events: EventLog, opened_journal: Callable[[], Journal], *, repeatable: bool = False
    ) -> None:
        """``opened_journal`` raises OSError if the disk has no room even for an empty file.

        ``repeatable``: events that are not safe come again, so they are not lost.
        """
        self._events = events
        self._repeatable = repeatable
        self._opened_journal = opened_journal
        self._journal: Journal | None = None
        self._drain: Drain | None = None
        self._waiting: list[tuple[Sequence[Event], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._lost = 0
        self._away, self._full, self._losing = (LogLimit(LOG_EVERY) for _ in range(3))
        self._tidying = LogLimit(TIDY_EVERY)
        # Whether Redis lacks something that the journal has; then only one thread writes to it.
        self._is_behind = True
        # The first guards the end of the journal and whether it is reached; whoever writes to Redis
        # holds the second.
        self._changing, self._draining = threading.Lock(), threading.Lock()
        self._ended, self._woken = threading.Event(), threading.Event()
        self._watching = threading.Thread(target=self._watch, name="drainer", daemon=True)
        try:
            self._opened()
        except OSError as error:
            log.state_write_failed("journal", error)
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._writing.submit(self._begin)

    async def record(self, *events: Event) -> None:
        """Returns when the events are safe, or there is room for them neither on disk nor in Redis.

        Raises unexpected errors; the events may be lost then. Events that are repeatable are safe
        when it returns; else it raises NotSafeError.
        """
        kept = asyncio.get_running_loop().create_future()
        self._waiting.append((events, kept))
        if self._task is None:
            self._task = asyncio.create_task(self._write())
        await kept

    @property
    def position(self) -> Position:
        """The end of the journal: all events whose `record` has returned are before it."""
        return self._journal.end if self._journal is not None else START

    def close(self) -> None:
        """Ends the threads. What Redis does not have by now waits for the next start."""
        self._writing.shutdown()
        self._ended.set()
        self._woken.set()
        self._watching.join()
        if self._journal is not None and self._drain is not None:
            self._note(self._drain)
            self._journal.close()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._waiting[:MOST_AT_ONCE]
            del self._waiting[:MOST_AT_ONCE]
            events = [event for each, _ in batch for event in each]
            error: Exception | None = None
            try:
                await loop.run_in_executor(self._writing, self._keep, events)
            except Exception as raised:  # noqa: BLE001 an edge: raised in each `record`
                error = raised
            for _, kept in batch:
                if not kept.done():  # the client is still there
                    kept.set_exception(error) if error else kept.set_result(None)
        self._task = None

    def _opened(self) -> tuple[Journal, Drain]:
        if self._journal is None or self._drain is None:
            self._journal = self._opened_journal()
            self._drain = Drain(self._journal, self._events)
            self._is_behind = True
        return self._journal, self._drain

    def _keep(self, events: Sequence[Event]) -> None:
        try:
            with self._changing:
                journal, drain = self._opened()
                lines, end = journal.append(events), journal.end
        except OSError as error:
            if self._full.is_due():
                log.state_write_failed("journal", error)
            self._keep_in_redis_alone(events)
            return
        if not self._is_behind and self._is_written(drain, lines, end):
            return
        self._woken.set()

    def _is_written(self, drain: Drain, lines: Sequence[JournalLine], end: Position) -> bool:
        with self._draining:
            if not self._is_behind:
                try:
                    self._is_behind = not drain.write_next(lines, end)
                except Exception as error:  # noqa: BLE001 an edge: no event is lost by it
                    self._is_behind = True
                    log.recording_failed(error)
            return not self._is_behind

    def _keep_in_redis_alone(self, events: Sequence[Event]) -> None:
        try:
            self._events.append(events)
            return
        except StoreUnavailable as error:
            if self._away.is_due():
                log.redis_unavailable(str(error))
        except Exception as error:  # noqa: BLE001 an edge: the next event may fare better
            log.recording_failed(error)
        if self._repeatable:
            raise NotSafeError("no room on disk, and Redis is unavailable")
        self._lost += len(events)
        if self._losing.is_due():
            log.events_lost(self._lost)

    def _begin(self) -> None:
        """Runs before the first event, which then need not wait for the other thread."""
        try:
            if self._drain is not None:
                self._is_behind = not (self._drain.check() and self._drain.is_done)
        except StoreUnavailable:
            pass
        except Exception as error:  # noqa: BLE001 an edge: the thread below tries it again
            log.recording_failed(error)
        self._watching.start()

    def _watch(self) -> None:
        """Watches Redis, and writes what it lacks."""
        while not self._ended.is_set():
            self._woken.clear()
            try:
                if self._drain is None or not self._step(self._drain):
                    self._woken.wait(TRY_EVERY if self._is_behind else LOOK_EVERY)
            except StoreUnavailable as error:
                if self._away.is_due():
                    log.redis_unavailable(str(error))
                self._ended.wait(TRY_EVERY)
            except Exception as error:  # noqa: BLE001 an edge: it waits on disk, and is tried again
                log.recording_failed(error)
                self._ended.wait(LOG_EVERY)

    def _step(self, drain: Drain) -> bool:
        """Whether it has written something, and there may be more."""
        with self._draining:
            if not self._is_behind:
                self._is_behind = not drain.check()
        has_written = self._is_behind and drain.step()
        with self._changing:
            if self._is_behind and drain.is_done:
                self._is_behind = False
                if drained := drain.drained():
                    log.journal_drained(drained, self._lost)
        self._note(drain)
        return has_written

    def _note(self, drain: Drain) -> None:
        # A full disk may have no room; then more is written again at the next start.
        with contextlib.suppress(OSError):
            drain.note()
            if self._tidying.is_due():
                drain.tidy()
