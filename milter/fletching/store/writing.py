"""Values that go from a journal to the scripts in Redis, and what the scripts answer.

A target is something that is written by itself: the stream, the counters of a campaign, a
suppression list. It is named after its first key. Beside its data, in the same slot of a cluster, a
target keeps the sequence number of the last event that it has from each journal. So a script skips
the events that are already there, and an event that is sent any number of times is written once.

A run is the life of a Redis as a master, named by its replication id. It ends when Redis restarts
or another server takes over, and then Redis may have lost its last seconds. A script that finds
itself in a run that the journal does not know does nothing but say so. Otherwise a new event would
raise the sequence number above those of events that were lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from fletching import log
from fletching.events import Event
from fletching.store import keys
from fletching.store.connection import Ask


@dataclass(frozen=True, slots=True)
class JournalLine:
    """An event in a journal. ``sequence``: greater than that of any line before it."""

    sequence: int
    event: Event
    json: str


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Lines of one journal, in order; or, without a journal, events that are in none.

    ``runs``: those that the journal knows. ``after``: the sequence number that the stream must have
    reached.
    """

    lines: Sequence[JournalLine]
    journal: str = ""
    runs: frozenset[str] = frozenset()
    after: int = 0

    @property
    def journal_and_runs(self) -> tuple[str, str]:
        """Journal and runs, as arguments of scripts."""
        return self.journal, " ".join(sorted(self.runs))


@dataclass(frozen=True, slots=True)
class Write:
    """Writes a part of a batch to a target."""

    target: str
    ask: Callable[[Ask], Any]


def command(*words: str | int | bytes) -> Callable[[Ask], Any]:
    """A single command, for a `Write`. It must do no harm if it is sent again."""
    return lambda ask: ask(*words)


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What became of a batch. ``failed``: the error by target; such a target may have it or not.

    ``written``: at least one target has it. ``last_sequence``: the stream's now; 0 if unknown.
    ``unknown_runs``: runs that the journal does not know. ``lost``: the stream lacks events that it
    must have.
    """

    failed: Mapping[str, Exception] = field(default_factory=dict)
    written: bool = False
    last_sequence: int = 0
    unknown_runs: frozenset[str] = frozenset()
    lost: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether every target has the batch."""
        return not (self.failed or self.unknown_runs or self.lost)


@dataclass(frozen=True, slots=True)
class StreamState:
    """``runs``: those of all masters; None if one does not answer.

    ``last_sequences``: by journal, the sequence number of its last event in the stream; 0 for none.
    """

    runs: frozenset[str] | None
    last_sequences: Mapping[str, int]


def result_of(batch: EventBatch, writes: Sequence[Write], answers: Sequence[Any]) -> WriteResult:
    """The result of the writes of a batch. Logs counters that can never be written."""
    failed: dict[str, Exception] = {}
    unknown: set[str] = set()
    lost, last = False, 0
    for write, answer in zip(writes, answers, strict=True):
        if isinstance(answer, Exception):
            if keys.is_derived(write.target) and _is_permanent(answer):
                log.counting_failed(write.target, answer)
            else:
                failed[write.target] = answer
        elif isinstance(answer, list) and batch.journal:
            run, sequence_before = str(answer[0]), int(answer[1])
            unknown |= {run} - batch.runs - {""}
            if write.target == keys.EVENTS:
                lost = sequence_before < batch.after
                last = max(sequence_before, batch.lines[-1].sequence)
    return WriteResult(failed, len(failed) < len(writes), last, frozenset(unknown), lost)


def _is_permanent(error: Exception) -> bool:
    """Whether the stored data is at fault. Errors about the server's state have a name and pass."""
    name = str(error).partition(" ")[0]
    return type(error) is ResponseError and (name == "WRONGTYPE" or not name.isupper())
