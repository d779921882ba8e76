"""The loop of the log reader: lines in, events out, and the position noted after that.

Here lives the order of these steps. A batch of lines is noted when its events are safe; after a
kill in between, the same lines give the same events, and those that are in the journal already are
left out. While Redis is away, the reader waits with the batch in hand: it cannot know what the
messages are, and the lines wait in Postfix's log. What lines mean is in `deliveries.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from fletching import log
from fletching.daemons.intake.drain import MOST_AT_ONCE
from fletching.daemons.intake.once import Once
from fletching.daemons.intake.recorder import NotSafeError, Recorder
from fletching.daemons.logtail.deliveries import Walk, WalkSettings
from fletching.daemons.logtail.lines import Batch, Source
from fletching.daemons.logtail.memory import Memory, Noted
from fletching.daemons.process.log_limit import LogLimit
from fletching.events import Event
from fletching.metrics.export import EVERY
from fletching.metrics.log_lines import LogLines
from fletching.store.bounce_claims import BounceClaims
from fletching.store.bounce_records import BounceRecords
from fletching.store.connection import StoreUnavailable

T = TypeVar("T")

LOOK_EVERY = 0.05
"""Seconds between two looks at the end of a log. What Postfix was refused should be known before
its bounce arrives."""

TRY_EVERY = 0.5
"""Seconds between two attempts at what did not work."""

LOG_EVERY = 60.0
"""Seconds between two log lines about the same trouble."""

TIDY_EVERY = 3600.0


class Ended(Exception):
    """The daemon ends, with a batch in hand that is read again at the next start."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Where events go, and where facts come from."""

    once: Once
    recorder: Recorder
    records: BounceRecords
    claims: BounceClaims


@dataclass(frozen=True, slots=True)
class Settings:
    """What a reload changes. ``kept``: seconds for which claims of failures are kept."""

    walk: WalkSettings
    kept: int


class Reader:
    """Reads one log. For one event loop."""

    def __init__(
        self, source: Source, memory: Memory, targets: Targets, settings: Settings, counts: LogLines
    ) -> None:
        self.settings = settings
        self._source, self._memory, self._targets = source, memory, targets
        self._counts = counts
        self._position = memory.noted().log
        self._ended = asyncio.Event()
        self._unreadable, self._away, self._full = (LogLimit(LOG_EVERY) for _ in range(3))
        self._tidying, self._writing = LogLimit(TIDY_EVERY), LogLimit(EVERY)

    def end(self) -> None:
        """Ends `run` soon."""
        self._ended.set()

    async def run(self) -> None:
        """Reads until `end`."""
        with suppress(Ended):
            while not self._ended.is_set():
                if not await self.step():
                    await self._wait(LOOK_EVERY)
                if self._writing.is_due():
                    self._write_counts()
        self._write_counts()

    async def step(self) -> bool:
        """Reads the next lines; whether there were any. Raises Ended."""
        batch = self._read()
        if batch.gap:
            log.log_gap(batch.gap)
        if batch.position == self._position and not batch.lines:
            return False
        walk = Walk(batch.lines, self.settings.walk)
        known = self._memory.in_queue(walk.ids())
        arrived = self._memory.arrived(walk.next_ids())
        messages = walk.messages(known)
        facts = await self._when_redis_answers(lambda: self._targets.records.facts(messages))
        several = [message for message, each in facts.items() if not each.email]
        named = await self._when_redis_answers(lambda: self._targets.records.recipients(several))
        found = walk.go(known, arrived, facts, datetime.now(), named)
        claims = [claim for _, claim in found if claim is not None]
        kept = self.settings.kept
        results = await self._when_redis_answers(
            lambda: self._targets.claims.claim("log", claims, kept)
        )
        owned = {claim for claim, is_ours in zip(claims, results, strict=True) if is_ours}
        await self._record([event for event, claim in found if claim is None or claim in owned])
        await self._note(batch.position, walk)
        self._targets.once.forget()
        self._counts.read(len(batch.lines), walk.ours, batch.behind)
        return bool(batch.lines)

    def _read(self) -> Batch:
        try:
            return self._source.read()
        except OSError as error:
            if self._unreadable.is_due():
                log.log_unreadable(str(error))
            return Batch([], self._position)

    async def _when_redis_answers(self, ask: Callable[[], T]) -> T:
        while True:
            try:
                return ask()
            except StoreUnavailable as error:
                if self._away.is_due():
                    log.redis_unavailable(str(error))
            await self._wait(TRY_EVERY)

    async def _record(self, events: Sequence[Event]) -> None:
        for start in range(0, len(events), MOST_AT_ONCE):
            while not await self._are_safe(events[start : start + MOST_AT_ONCE]):
                await self._wait(TRY_EVERY)

    async def _are_safe(self, events: Sequence[Event]) -> bool:
        try:
            await self._targets.once.record(*events)
        except NotSafeError as error:
            if self._full.is_due():
                log.state_write_failed("journal", error)
            return False
        return True

    async def _note(self, position: str, walk: Walk) -> None:
        """The events are safe; until this is noted, a kill repeats them."""
        now = round(time.time())
        noted = Noted(position, self._targets.recorder.position)
        while True:
            try:
                self._memory.note(noted, walk.queue, walk.arrivals, now)
                if self._tidying.is_due():
                    self._memory.tidy(now)
                break
            except OSError as error:
                if self._full.is_due():
                    log.state_write_failed("position in Postfix's log", error)
            await self._wait(TRY_EVERY)
        self._position = position

    def _write_counts(self) -> None:
        try:
            self._counts.write()
        except OSError as error:
            if self._full.is_due():
                log.state_write_failed("logtail.prom", error)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)
            raise Ended
