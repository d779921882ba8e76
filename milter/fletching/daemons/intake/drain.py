"""Draining a journal to Redis: how far each target is, and what is written again.

Here lives the order in which a journal is written to its targets. A target that could not be
written falls behind: it gets its events from the journal, in order, while the others go on. (A
later event would move its mark past an earlier one.) If Redis may have lost something, everything
that the journal still has is written again, and the scripts skip what is there. Threads, batches
and pauses are in `recorder.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from fletching import log
from fletching.daemons.intake.journal import START, Journal, Position
from fletching.daemons.process.log_limit import LogLimit
from fletching.store.connection import StoreUnavailable
from fletching.store.events import EventLog
from fletching.store.writing import EventBatch, JournalLine, WriteResult

MOST_AT_ONCE = 500
"""Events in one batch; Redis serves other clients between two batches."""

TRY_EVERY = 0.5
"""Seconds between two attempts to write events that could not be written."""

LOG_EVERY = 10.0
"""Seconds between two log lines about the same trouble."""

MOST_BEHIND = 10_000
"""Targets that may be behind while the others go on; if there are more, all wait."""


class Drain:
    """Drains one journal. For one thread at a time; methods raise StoreUnavailable and OSError."""

    def __init__(self, journal: Journal, events: EventLog) -> None:
        self._journal, self._events = journal, events
        # Everything before `_at` is written, except to the targets that are behind.
        self._at, self._runs = journal.done, journal.runs
        self._behind: dict[str, Position] = {}
        self._acknowledged: dict[str, int] = {}
        self._next_try = 0.0
        # Events in the next batch, and in the next batch for targets that are behind.
        self._most = self._most_behind = MOST_AT_ONCE
        self._count = 0
        self._away = LogLimit(LOG_EVERY)

    @property
    def done(self) -> Position:
        """The position before which all targets have everything."""
        return min([self._at, *self._behind.values()])

    @property
    def is_done(self) -> bool:
        """Whether all targets have everything in the journal."""
        return self.done >= self._journal.end

    def write_next(self, lines: Sequence[JournalLine], behind: Position) -> bool:
        """Writes the next events; whether all targets have them.

        ``behind``: the position after them. Call it only if everything before them is done.
        """
        outcome = self._write(self._journal.writer, lines, lambda target: True)
        if outcome.is_complete:
            self._at = behind
        return outcome.is_complete

    def drained(self) -> int:
        """How many events `step` has written since the last call."""
        count, self._count = self._count, 0
        return count

    def check(self) -> bool:
        """Whether Redis still has all that it had; if not, everything is to be written again."""
        known = dict(self._acknowledged)
        seen = self._events.state(list(known))
        is_lost = any(seen.last_sequences[writer] < sequence for writer, sequence in known.items())
        runs = self._runs if seen.runs is None else seen.runs
        if is_lost or not runs <= self._runs:
            self._begin_again(runs)
            return self.is_done
        self._runs = runs
        return True

    def note(self) -> None:
        """Notes the position, for the next start."""
        self._journal.note(self.done, self._runs)

    def tidy(self) -> None:
        """Deletes what the journal no longer needs."""
        self._journal.tidy(self.done)

    def step(self) -> bool:
        """Writes the next batch, and tries the targets that are behind; whether there may be more.

        Raises StoreUnavailable if nothing could be written.
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
            raise StoreUnavailable(_why(outcome))
        self._behind |= dict.fromkeys(outcome.failed, self._at)
        self._at = behind
        self._count += len(lines)
        return True

    def _write_behind(self) -> None:
        """Writes to the targets that are behind, as far as each one accepts, up to the others."""
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
    ) -> WriteResult:
        after = self._acknowledged.get(writer, 0)
        outcome = self._events.write(EventBatch(lines, writer, self._runs, after), wanted)
        if outcome.unknown_runs or outcome.lost:
            self._begin_again(self._runs | outcome.unknown_runs)
        elif outcome.last_sequence:
            self._acknowledged[writer] = outcome.last_sequence
        if outcome.failed and self._away.is_due():
            log.redis_unavailable(_why(outcome))
        return outcome

    def _begin_again(self, runs: frozenset[str]) -> None:
        if self._journal.end > START:
            log.journal_replay()
        self._at, self._runs = START, runs
        self._behind.clear()
        self._acknowledged.clear()


def _most_after(most: int, outcome: WriteResult) -> int:
    """Events in the next batch: on a slow line, a large batch takes longer than the time-out."""
    if outcome.failed:
        return most if outcome.written else max(1, most // 2)
    return min(MOST_AT_ONCE, 2 * most)


def _why(outcome: WriteResult) -> str:
    """Why one of the targets does not have a batch."""
    return next(f"{target}: {error}" for target, error in outcome.failed.items())
