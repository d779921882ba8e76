"""From a journal to Redis: how far each target is, and what is written once more.

Here lives the order in which a journal is written out. A target that could not be written is
behind: it gets its events in their order from the journal, while the others go on; else a later
event would set the mark over an earlier one. Where Redis may have forgotten something, all that the
journal still has is written again, and the scripts skip what is there. Threads, batches and waiting
are in `recorder.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from fletching import log
from fletching.daemons.intake.journal import START, Journal, Position
from fletching.daemons.process.log_limit import LogLimit
from fletching.store.connection import StoreAway
from fletching.store.events import EventLog
from fletching.store.writing import Batch, JournalLine, Outcome

MOST_AT_ONCE = 500
"""Events in one batch: Redis answers others between two of them."""

TRY_EVERY = 0.5
"""Seconds between two attempts to write what could not be written."""

SAY_EVERY = 10.0
"""Seconds between two lines about targets that cannot be written, and the like."""

MOST_BEHIND = 10_000
"""Targets that are behind while others go on; where there are more, all wait."""


class Drain:
    """Writes out one journal. For one thread at a time; methods raise StoreAway and OSError."""

    def __init__(self, journal: Journal, events: EventLog) -> None:
        self._journal, self._events = journal, events
        # What is before `_at` is written to all targets that are not behind.
        self._at, self._runs = journal.done, journal.runs
        self._behind: dict[str, Position] = {}
        self._acknowledged: dict[str, int] = {}
        self._next_try = 0.0
        # How many events are tried at once; behind, of those that are behind.
        self._most = self._most_behind = MOST_AT_ONCE
        self._count = 0
        self._away = LogLimit(SAY_EVERY)

    @property
    def done(self) -> Position:
        """All targets have everything before that."""
        return min([self._at, *self._behind.values()])

    @property
    def is_done(self) -> bool:
        """Whether there is nothing in the journal that a target has not."""
        return self.done >= self._journal.end

    def write_next(self, lines: Sequence[JournalLine], behind: Position) -> bool:
        """Writes the events that follow; whether all targets have them.

        ``behind``: the position behind them. To be called where all before them is done.
        """
        outcome = self._write(self._journal.writer, lines, lambda target: True)
        if outcome.is_whole:
            self._at = behind
        return outcome.is_whole

    def drained(self) -> int:
        """How many events were written by `step` since this was asked last."""
        count, self._count = self._count, 0
        return count

    def look(self) -> bool:
        """Whether Redis has all that it had; if not, all is to be written once more."""
        known = dict(self._acknowledged)
        seen = self._events.look(list(known))
        is_lost = any(seen.marks[writer] < sequence for writer, sequence in known.items())
        runs = self._runs if seen.runs is None else seen.runs
        if is_lost or not runs <= self._runs:
            self._begin_again(runs)
            return self.is_done
        self._runs = runs
        return True

    def note(self) -> None:
        """Writes down how far it is, for the next start."""
        self._journal.note(self.done, self._runs)

    def tidy(self) -> None:
        """Forgets what the journal need not have any more."""
        self._journal.tidy(self.done)

    def step(self) -> bool:
        """Writes the next batch, and tries those that are behind; whether there may be more.

        Raises StoreAway where nothing could be written.
        """
        if self._behind and time.monotonic() >= self._next_try:
            self._write_behind()
            self._next_try = time.monotonic() + TRY_EVERY
        writer, lines, behind = self._journal.read(self._at, self._most)
        if not lines:
            self._at = behind
            return False
        outcome = self._write(writer, lines, lambda target: target not in self._behind)
        self._most = _most_after(self._most, outcome)
        if outcome.unknown_runs or outcome.lost:
            return True
        if outcome.failed and (
            not outcome.written or len(self._behind) + len(outcome.failed) > MOST_BEHIND
        ):
            raise StoreAway(_why(outcome))
        self._behind |= dict.fromkeys(outcome.failed, self._at)
        self._at = behind
        self._count += len(lines)
        return True

    def _write_behind(self) -> None:
        """Brings those that are behind to where the others are, as far as each of them goes."""
        left, at = set(self._behind), self.done
        while left and at < self._at:
            writer, lines, behind = self._journal.read(at, self._most_behind)
            outcome = self._write(writer, lines, left.__contains__)
            self._most_behind = _most_after(self._most_behind, outcome)
            if outcome.unknown_runs or outcome.lost:
                return
            for target in left & outcome.failed.keys():
                self._behind[target] = max(self._behind[target], at)
            left -= outcome.failed.keys()
            at = behind
        for target in left:
            del self._behind[target]

    def _write(
        self, writer: str, lines: Sequence[JournalLine], wanted: Callable[[str], bool]
    ) -> Outcome:
        after = self._acknowledged.get(writer, 0)
        outcome = self._events.write(Batch(lines, writer, self._runs, after), wanted)
        if outcome.unknown_runs or outcome.lost:
            self._begin_again(self._runs | outcome.unknown_runs)
        elif outcome.mark:
            self._acknowledged[writer] = outcome.mark
        if outcome.failed and self._away.is_due():
            log.redis_unavailable(_why(outcome))
        return outcome

    def _begin_again(self, runs: frozenset[str]) -> None:
        if self._journal.end > START:
            log.journal_replay()
        self._at, self._runs = START, runs
        self._behind.clear()
        self._acknowledged.clear()


def _most_after(most: int, outcome: Outcome) -> int:
    """How many events are tried next: on a slow line, many take longer than a time-out."""
    if outcome.failed:
        return most if outcome.written else max(1, most // 2)
    return min(MOST_AT_ONCE, 2 * most)


def _why(outcome: Outcome) -> str:
    """Why some target has not got a batch."""
    return next(f"{target}: {error}" for target, error in outcome.failed.items())
