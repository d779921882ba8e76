"""How old an entry of the stream is, by Redis' own clock, without the jumps of that clock.

Redis keeps the time when a courier last read the clock, and the jumps since then. An event does not
get older when the clock is set, nor while no courier runs: both look the same from here.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from fletching import log
from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.script import Script

JUMP = 3_600_000
"""Milliseconds between two readings that are taken for a jump of the clock."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The time, and the jumps before it (from, to), oldest first; in unix milliseconds."""

    now: int
    jumps: tuple[tuple[int, int], ...] = ()

    def age(self, since: int) -> int:
        """Milliseconds since an entry got this time as its id, without later jumps.

        When the clock goes back, ids do not: then it is unknown which entries are newer than the
        jump, and all are taken to be.
        """
        jumps = ((start, to) for start, to in self.jumps if since <= min(start, to))
        return self.now - since - sum(to - start for start, to in jumps)

    def before(self, age: int) -> int:
        """The lowest id of entries that may be younger than so many milliseconds."""
        at = self.now
        for start, to in reversed(self.jumps):
            if at - to >= age:
                break
            age -= at - to
            at = start
        return at - age


class Clock:
    """Redis' clock. Any number of threads may use it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._script = Script("clock.lua")
        self._reading = threading.Lock()
        self._read_at: float | None = None

    def read(self) -> Reading:
        """Reads the clock, and logs a jump. Raises StoreUnavailable."""
        with self._reading:
            at = time.monotonic()
            since = 0 if self._read_at is None else int((at - self._read_at) * 1000)
            now, jumped, jumps = self._store.ask(
                lambda client: self._script.run(client.execute_command, [keys.CLOCK], [JUMP, since])
            )
            self._read_at = at
        reading = Reading(int(now), tuple(_jump(each) for each in jumps.split()))
        if jumped:
            start, to = reading.jumps[-1]
            log.clock_jumped(start // 1000, to // 1000)
        return reading


def _jump(text: str) -> tuple[int, int]:
    start, _, to = text.partition(":")
    return int(start), int(to)
