"""How old an entry of the stream is, by Redis' own clock and without the jumps of that clock.

Redis has when a courier looked last, and from where to where the clock jumped meanwhile. A clock
that is set right or wrong makes nothing older, nor does the time in which nobody was there to
deliver: both look the same from here.
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
"""Milliseconds between two looks of couriers that are no wait, but a jump."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The time at one look, and the jumps before it, the oldest first; unix milliseconds."""

    now: int
    jumps: tuple[tuple[int, int], ...] = ()

    def age(self, since: int) -> int:
        """Milliseconds since an entry got this time as its id, without the jumps after that.

        A clock that went back gives no smaller id than before: which entries are younger than that,
        nobody can tell, so all are taken for those.
        """
        jumps = ((start, to) for start, to in self.jumps if since <= min(start, to))
        return self.now - since - sum(to - start for start, to in jumps)

    def before(self, age: int) -> int:
        """The least id of entries that may be younger than so many milliseconds."""
        at = self.now
        for start, to in reversed(self.jumps):
            if at - to >= age:
                break
            age -= at - to
            at = start
        return at - age


class Clock:
    """Redis' clock, as one process looks at it. Any number of threads may use it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._script = Script("clock.lua")
        self._looking = threading.Lock()
        self._looked: float | None = None

    def look(self) -> Reading:
        """Looks, and says in the log where it has jumped. Raises StoreAway."""
        with self._looking:
            at = time.monotonic()
            since = 0 if self._looked is None else int((at - self._looked) * 1000)
            now, jumped, jumps = self._store.ask(
                lambda client: self._script.run(client.execute_command, [keys.CLOCK], [JUMP, since])
            )
            self._looked = at
        reading = Reading(int(now), tuple(_jump(each) for each in jumps.split()))
        if jumped:
            start, to = reading.jumps[-1]
            log.clock_jumped(start // 1000, to // 1000)
        return reading


def _jump(text: str) -> tuple[int, int]:
    start, _, to = text.partition(":")
    return int(start), int(to)
