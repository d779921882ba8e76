"""The stream of events in Redis, and how far each destination has read it.

A destination is a consumer group of the stream, under its name. Here nothing is known of what an
event means (`counting.py`, `suppression.py`), or of how it is delivered.

The id of an entry in the stream is the time when Redis got it, in milliseconds, a hyphen and a
number. That is about the event's own time, or later if the event had to wait in a journal.

The backlog of a destination is counted by positions: the entry at the end of the stream minus the
last one that was read. Redis has a number of its own for that, the lag of XINFO GROUPS. But a
replica does not learn how far a group has read, nor does a server that starts from its append-only
file, and their lag stays too high for ever.

To redeliver events, a destination is set back in the stream (`rewind`). It then gets all later
events again, in order. The courier does not notice, and no second queue is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from fletching import log
from fletching.events import Event
from fletching.store import keys
from fletching.store.bad_addresses import FailureCounts, ThresholdsOf
from fletching.store.connection import TROUBLE, Store, StoreUnavailable
from fletching.store.counting import Counting, ProvidersOf
from fletching.store.script import Script
from fletching.store.sending import SilentNodes, answers
from fletching.store.suppression import Suppression
from fletching.store.write_traces import EventTraces
from fletching.store.writing import (
    EventBatch,
    JournalLine,
    StreamState,
    Write,
    WriteResult,
    result_of,
)

MOST_DEAD_LETTERS = 100_000
"""Dead letters that are kept for each destination, approximately. The oldest are deleted."""

_STREAM = (keys.EVENTS, keys.JOURNALS)
_PAGE = 1000
_MOST_COUNTED = 10_000

Entry = tuple[str, str]
"""An event in the stream: its id there, and its JSON."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Events that a destination has still to read, events that it has in hand, dead letters.

    ``waiting`` may include entries that were deleted by hand. It ends at 10,000 if entries were
    added by hand, without a position. ``oldest``: when Redis got the oldest event that is not
    acknowledged, in unix milliseconds; 0 for none.
    """

    waiting: int
    in_hand: int
    dead: int
    oldest: int

    @property
    def undone(self) -> int:
        """Events that are not acknowledged."""
        return self.waiting + self.in_hand


class EventLog:
    """The stream of events of a fleet. Any number of threads may use it.

    Every method raises StoreUnavailable if Redis does not answer.
    """

    def __init__(
        self,
        store: Store,
        left_out: frozenset[str] = frozenset(),
        trace_memory: int = 0,
        thresholds: ThresholdsOf | None = None,
        providers: ProvidersOf | None = None,
    ) -> None:
        """``left_out``: event types that are counted, but stay out of the stream.

        ``trace_memory``: seconds for which events are kept in traces; 0 for no traces.
        ``thresholds``: for processes that record bounces and deliveries; None judges no address.
        ``providers``: for those, too: the mailbox providers; None for the built-in table.
        """
        self._store = store
        self._failures = FailureCounts(thresholds) if thresholds is not None else None
        self.left_out = left_out
        self._append = Script("append.lua")
        self._trim = Script("trim.lua")
        self._counting = Counting(providers)
        self._traces = EventTraces(trace_memory)
        self._suppression = Suppression(store)
        # A wait in Redis has to end before the socket's time-out.
        self._silent: SilentNodes = {}

    def append(self, events: Sequence[Event]) -> None:
        """Stores and counts events that are in no journal. They are in Redis when it returns.

        If it raises, some of them may be there. Appending the same events again makes duplicates in
        the stream, with the same event ids, but counts no message as unique twice.
        """
        result = self.write(EventBatch([JournalLine(0, event, event.json()) for event in events]))
        for target, error in result.failed.items():
            if not keys.is_derived(target):
                raise StoreUnavailable(str(error) or type(error).__name__) from error
            # The events are in the stream. Another attempt would duplicate them.
            log.counting_failed(target, error)

    def write(
        self, batch: EventBatch, wanted: Callable[[str], bool] = lambda _: True
    ) -> WriteResult:
        """Writes a batch to all its targets, or to those that are wanted. Raises nothing.

        Events of a journal may be written any number of times.
        """
        writes = [write for write in self._writes(batch) if wanted(write.target)]
        try:
            found = self._store.ask(lambda client: answers(client, writes, self._silent))
        except StoreUnavailable as unavailable:
            found = [unavailable] * len(writes)
        result = result_of(batch, writes, found)
        if result.failed:
            self._traces.forget()
        return result

    def _writes(self, batch: EventBatch) -> Iterator[Write]:
        yield from self._suppression.writes(batch)
        if batch.lines:
            words = [word for line in batch.lines for word in (line.sequence, self._text(line))]
            arguments = [*batch.journal_and_runs, batch.after, *words]
            yield Write(keys.EVENTS, partial(self._append.run, keys=_STREAM, arguments=arguments))
        yield from self._counting.writes(batch)
        yield from self._traces.writes(batch)
        if self._failures is not None:
            yield from self._failures.writes(batch)

    def _text(self, line: JournalLine) -> str:
        """The event as it is in the stream; empty if it stays out."""
        return "" if line.event.type in self.left_out else line.json

    def state(self, journals: Sequence[str]) -> StreamState:
        """The runs of all masters, and how far the stream is for these journals."""
        runs = self._store.ask(_runs)
        found: list[str | None] = []
        if journals:
            found = self._store.ask(lambda client: client.hmget(keys.JOURNALS, journals))
        last = {name: int(number or 0) for name, number in zip(journals, found, strict=True)}
        return StreamState(runs, last)

    def read(self, after: str, count: int) -> list[Entry]:
        """The next events after an id, oldest first. All come after "0"."""
        return self._range(f"({after}", "+", count)

    def last_id(self) -> str:
        """The id of the newest event; "0-0" if there is none."""
        found = self._store.ask(lambda client: client.xrevrange(keys.EVENTS, count=1))
        return str(found[0][0]) if found else "0-0"

    def length(self) -> int:
        """The number of events in the stream."""
        return int(self._store.ask(lambda client: client.xlen(keys.EVENTS)))

    def trim(self, older_than_ms: int) -> None:
        """Deletes events that Redis got before that time: about those, and never a newer one."""
        arguments = [str(older_than_ms)]
        self._store.ask(lambda client: self._trim.run(client.execute_command, _STREAM, arguments))

    def create_group(self, group: str, start: str) -> None:
        """Creates a group that begins after an id ("0": all events, "$": only new ones).

        An existing group does not change.
        """
        self._store.ask(lambda client: _create_group(client, group, start))

    def take(self, group: str, consumer: str, count: int, block_ms: int) -> list[Entry]:
        """The next events of a group, which are in the consumer's hand until it acknowledges them.

        Waits up to ``block_ms`` for the first one, which must be less than `Limits.socket`.
        """
        # To Redis, 0 means for ever.
        block = block_ms if block_ms > 0 else None
        found = self._store.ask(
            lambda client: client.xreadgroup(group, consumer, {keys.EVENTS: ">"}, count, block)
        )
        return _entries(found[0][1]) if found else []

    def reclaim(self, group: str, consumer: str, idle_ms: int, count: int) -> list[Entry]:
        """The oldest events that any consumer has had in hand for so long. The caller gets them."""
        at = "0-0"
        while True:
            at, found = self._reclaim(group, consumer, idle_ms, count, at)
            if found or at == "0-0":
                return found

    def _reclaim(
        self, group: str, consumer: str, idle_ms: int, count: int, at: str
    ) -> tuple[str, list[Entry]]:
        found = self._store.ask(
            lambda client: client.xautoclaim(keys.EVENTS, group, consumer, idle_ms, at, count)
        )
        return str(found[0]), _entries(found[1])

    def acknowledge(self, group: str, ids: Sequence[str]) -> None:
        """The group is done with these events."""
        if ids:
            self._store.ask(lambda client: client.xack(keys.EVENTS, group, *ids))

    def add_dead_letters(self, group: str, dead: Sequence[tuple[str, str, str]]) -> None:
        """Stores events (id, JSON, reason) as dead letters. It does not acknowledge them."""
        for id, json, why in dead:
            fields = {"id": id, "event": json, "why": why}
            self._store.ask(
                lambda client, fields=fields: client.xadd(  # type: ignore[misc]
                    keys.dead(group), fields, maxlen=MOST_DEAD_LETTERS, approximate=True
                )
            )

    def dead_letters(self, group: str) -> Iterator[tuple[str, str, str]]:
        """The dead letters of a group (id, JSON, reason), oldest first."""
        at = "-"
        while page := self._store.ask(
            lambda client, at=at: client.xrange(keys.dead(group), at, "+", _PAGE)  # type: ignore[misc]
        ):
            for _, fields in page:
                yield fields["id"], fields["event"], fields["why"]
            at = f"({page[-1][0]}"

    def progress(self, group: str) -> Progress:
        """How far a group has read. For a group that does not exist yet, all events are waiting."""
        found = self._group(group)
        dead = int(self._store.ask(lambda client: client.xlen(keys.dead(group))))
        if found is None:
            first = self._range("-", "+", 1)
            return Progress(self.length(), 0, dead, _time(first[0][0]) if first else 0)
        oldest_in_hand = self._store.ask(lambda client: client.xpending(keys.EVENTS, group))["min"]
        start = f"({found['last-delivered-id']}"
        next_ids = [id for id, _ in self._range(start, "+", 1)]
        times = [_time(id) for id in (oldest_in_hand, *next_ids) if id]
        waiting = self._count(start)
        return Progress(waiting, int(found["pending"]), dead, min(times, default=0))

    def rewind(self, group: str, since_ms: int) -> int:
        """Sets a group to a time, back or forward. The number of events that it will get."""
        self.create_group(group, "$")
        self._store.ask(lambda client: client.xgroup_setid(keys.EVENTS, group, _before(since_ms)))
        return self._count(str(since_ms))

    def _group(self, group: str) -> dict[str, Any] | None:
        groups = self._store.ask(_groups)
        return next((each for each in groups if each["name"] == group), None)

    def _count(self, start: str) -> int:
        """The number of events from an id on."""
        last = self._store.ask(lambda client: client.xrevrange(keys.EVENTS, count=1))
        first = self._store.ask(lambda client: client.xrange(keys.EVENTS, start, "+", 1))
        if not first:
            return 0
        begin, end = _position(first), _position(last)
        return end - begin + 1 if 0 < begin <= end else self._count_by_reading(start)

    def _count_by_reading(self, start: str) -> int:
        count = 0
        while count < _MOST_COUNTED and (page := self._range(start, "+", _PAGE)):
            count, start = count + len(page), f"({page[-1][0]}"
        return count

    def _range(self, start: str, end: str, count: int) -> list[Entry]:
        return _entries(
            self._store.ask(lambda client: client.xrange(keys.EVENTS, start, end, count))
        )


def _runs(client: Any) -> frozenset[str] | None:
    if isinstance(client, Redis):
        return frozenset([str(client.info("replication").get("master_replid", ""))])
    found = set()
    for node in client.get_primaries():
        try:
            info = client.info("replication", target_nodes=node)
        except TROUBLE:
            return None
        found.add(str(info.get("master_replid", "")))
    return frozenset(found)


def _entries(found: Sequence[tuple[str, dict[str, str]]]) -> list[Entry]:
    return [(id, fields["event"]) for id, fields in found]


def _position(found: Sequence[tuple[str, dict[str, str]]]) -> int:
    """The position of the first of some entries; 0 if there is none, or if it has no position."""
    return int(found[0][1].get("position", 0)) if found else 0


def _time(id: str) -> int:
    return int(id.partition("-")[0])


def _before(milliseconds: int) -> str:
    """The greatest id before all ids of that time."""
    return f"{milliseconds - 1}-{2**64 - 1}" if milliseconds > 0 else "0-0"


def _create_group(client: Any, group: str, start: str) -> None:
    try:
        client.xgroup_create(keys.EVENTS, group, start, mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


def _groups(client: Any) -> list[dict[str, Any]]:
    try:
        return list(client.xinfo_groups(keys.EVENTS))
    except ResponseError as error:
        if "no such key" not in str(error):
            raise
        return []
