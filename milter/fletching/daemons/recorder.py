"""From an event to its being kept: the events of a moment go to Redis together.

Here live the batches, and the way round by the spool while Redis is away. An event is kept when
`record` returns: in Redis, or on this host's disk. What an event means is not known here.

One thread writes, and while the spool has something, another drains it. All that comes meanwhile
goes to the spool, too, so that events reach Redis in the order in which they came.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from fletching import log
from fletching.daemons.seldom import Seldom
from fletching.daemons.spool import Spool
from fletching.events import Event
from fletching.store.connection import StoreAway

MOST_AT_ONCE = 500
"""Events in one batch: Redis answers others between two of them."""

TRY_EVERY = 0.5
"""Seconds between two questions whether Redis is back."""

TELL_EVERY = 10.0
"""Seconds between two lines about Redis that is away, a full disk, events that are lost."""


class Log(Protocol):
    """Where events go: `store.events.EventLog`."""

    def append(self, events: Sequence[Event]) -> None:
        """Keeps them. Raises StoreAway."""


class Recorder:
    """Keeps the events of one process. All but its threads is of one event loop."""

    def __init__(self, events: Log, opened_spool: Callable[[], Spool]) -> None:
        """``opened_spool`` raises OSError where a disk has no room even for an empty file."""
        self._events = events
        self._opened_spool = opened_spool
        self._spool: Spool | None = None
        self._waiting: list[tuple[Sequence[Event], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._changing = threading.Lock()
        self._ended = threading.Event()
        self._drainer: threading.Thread | None = None
        self._lost = 0
        self._away, self._full, self._losing = (Seldom(TELL_EVERY) for _ in range(3))
        try:
            self._spool = opened_spool()
        except OSError as error:
            log.not_kept("spool", error)
        if self._spool:
            with self._changing:
                self._begin_draining()

    async def record(self, *events: Event) -> None:
        """Returns when the events are kept, or there was no room for them even on disk.

        Raises what went wrong with us; the events may be lost then.
        """
        kept = asyncio.get_running_loop().create_future()
        self._waiting.append((events, kept))
        if self._task is None:
            self._task = asyncio.create_task(self._write())
        await kept

    def close(self) -> None:
        """Ends the threads; what the spool has by now waits for the next start."""
        self._ended.set()
        self._writing.shutdown()
        if self._drainer is not None:
            self._drainer.join()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._waiting[:MOST_AT_ONCE]
            del self._waiting[:MOST_AT_ONCE]
            events = [event for each, _ in batch for event in each]
            error: Exception | None = None
            try:
                await loop.run_in_executor(self._writing, self._keep, events)
            except Exception as raised:  # noqa: BLE001 an edge: those who wait have to hear of it
                error = raised
            for _, kept in batch:
                if not kept.done():  # the reader waits
                    kept.set_exception(error) if error else kept.set_result(None)
        self._task = None

    def _keep(self, events: Sequence[Event]) -> None:
        with self._changing:
            if self._drainer is not None:
                self._to_spool(events)
                return
        try:
            self._events.append(events)
            return
        except StoreAway as error:
            if self._away.is_due():
                log.store_away(str(error))
        except Exception as error:  # noqa: BLE001 an edge: whatever it is, no event is lost by it
            log.not_recorded(error)
        with self._changing:
            self._to_spool(events)
            self._begin_draining()

    def _to_spool(self, events: Sequence[Event]) -> None:
        try:
            if self._spool is None:
                self._spool = self._opened_spool()
            lost = self._spool.append(events)
        except OSError as error:
            if self._full.is_due():
                log.not_kept("spool", error)
            lost = len(events)
        self._lost += lost
        if lost and self._losing.is_due():
            log.events_lost(self._lost)

    def _begin_draining(self) -> None:
        """To be called with the lock, which the drainer's end waits for."""
        drainer = threading.Thread(target=self._drain, name="drainer", daemon=True)
        drainer.start()
        self._drainer = drainer

    def _drain(self) -> None:
        drained, is_over = 0, False
        while not is_over and not self._ended.wait(0 if drained else TRY_EVERY):
            try:
                count, is_over = self._drain_some()
                drained += count
            except StoreAway:
                self._ended.wait(TRY_EVERY)
            except Exception as error:  # noqa: BLE001 an edge: it waits on disk, and is tried again
                log.not_recorded(error)
                self._ended.wait(TELL_EVERY)
        if drained:
            log.spool_drained(drained, self._lost)

    def _drain_some(self) -> tuple[int, bool]:
        """How many went to Redis, and whether they were the last ones."""
        with self._changing:
            spool = self._spool
            events = spool.first(MOST_AT_ONCE) if spool is not None else []
            if spool is None or spool.gave_all:
                # Nobody may add to it meanwhile: the next event goes straight to Redis.
                if events:
                    self._events.append(events)
                if spool is not None:
                    spool.forget()
                self._drainer = None
                return len(events), True
        self._events.append(events)
        with self._changing:
            spool.forget()
        return len(events), False
