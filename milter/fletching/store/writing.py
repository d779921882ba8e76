"""What is to be written to Redis: events with their sequence numbers, and the places they go to.

Here live the values that go from a journal to the scripts, and what comes back. A target is a place
that can be written or not by itself: the stream, the counters of a campaign, a suppression list. It
has the name of its first key. What a target keeps of a writer beside its data, in the same slot of
a cluster, is a mark: the sequence number of that writer's last event there. So a script skips what
is there already, and any number of attempts write an event once.

A run is the life of a Redis as a master (its replication id): it ends where Redis starts again or
another server takes over, and may have forgotten its last seconds then. A script that finds itself
in a run that the writer does not know does nothing and says so. Else a new event would set the mark
over those that are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fletching.events import Event
from fletching.store.connection import Ask


@dataclass(frozen=True, slots=True)
class JournalLine:
    """An event in a journal. ``sequence``: greater than that of any line before it."""

    sequence: int
    event: Event
    json: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines of one writer in their order; without a writer, events that no journal has.

    ``runs``: those that the writer knows. ``after``: the sequence number that the stream must have.
    """

    lines: Sequence[JournalLine]
    writer: str = ""
    runs: frozenset[str] = frozenset()
    after: int = 0

    @property
    def writer_and_runs(self) -> tuple[str, str]:
        """Writer and runs, as scripts take them."""
        return self.writer, " ".join(sorted(self.runs))


@dataclass(frozen=True, slots=True)
class Write:
    """What writes a part of a batch to a target."""

    target: str
    ask: Callable[[Ask], Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch. ``failed``: why, by the targets that may not have it.

    ``written``: some target has it. ``mark``: the stream's by now; 0 where that is not known.
    ``unknown_runs``: those that the writer does not know. ``lost``: the stream has not what it must
    have.
    """

    failed: Mapping[str, Exception] = field(default_factory=dict)
    written: bool = False
    mark: int = 0
    unknown_runs: frozenset[str] = frozenset()
    lost: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether every target has the batch."""
        return not (self.failed or self.unknown_runs or self.lost)


@dataclass(frozen=True, slots=True)
class Look:
    """What Redis is and has. ``runs``: of its masters, None where one does not answer.

    ``marks``: the sequence number of the last event in the stream, by writer; 0 for none.
    """

    runs: frozenset[str] | None
    marks: Mapping[str, int]
