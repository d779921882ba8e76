"""The stream of events in Redis, and who has read how far.

What an event means is in `statistics.py` and `suppression.py`; who gets it, and how, may not be
known here. A destination is a consumer group of the stream, under its name.

The id of an entry in the stream is the time at which Redis got it, in milliseconds, a hyphen and a
number. Mostly that is the event's own time; one that waited in a journal has a later one.

How many events wait for a group is the distance from its place to the end. Redis has a number for
that, the lag of XINFO GROUPS; but a replica does not learn how far a group has read, nor does a
server that starts from its append-only file, and the lag is too great there for ever.

A destination that is to get events once more is set back in the stream (`rewind`): it gets all that
came since then, in order, and needs no second queue for that. Its reader notices nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from fletching import log
from fletching.events import Event
from fletching.store import keys
from fletching.store.connection import TROUBLE, Store, StoreAway
from fletching.store.counting import Counting
from fletching.store.script import Script
from fletching.store.sending import Away, answers
from fletching.store.suppression import Suppression
from fletching.store.writing import Batch, JournalLine, Look, Outcome, Write

DEAD_AT_MOST = 100_000
"""Dead letters of one destination; about so many, and the latest."""

_STREAM = (keys.EVENTS, keys.MARKS)
_PAGE = 1000
_COUNTED_AT_MOST = 10_000

Entry = tuple[str, str]
"""An event in the stream: its id there, and its JSON."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a group is: events that wait, those in hand, dead letters.

    Of events that an older version wrote, which have no place, 10,000 are counted and no more.
    One that was deleted by hand may be counted still.
    ``oldest``: when Redis got the oldest event that is not done, in unix milliseconds; 0 for none.
    """

    waiting: int
    in_hand: int
    dead: int
    oldest: int

    @property
    def undone(self) -> int:
        """Events that the group has still to do."""
        return self.waiting + self.in_hand


class EventLog:
    """The stream of events of a fleet. Any number of threads may use it.

    Every method raises StoreAway where Redis does not answer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._append = Script("append.lua")
        self._trim = Script("trim.lua")
        self._counting = Counting()
        self._suppression = Suppression(store)
        # A wait in Redis has to end before the socket gives up.
        self._longest_block = int(store.limits.socket * 1000 / 2)
        self._away: Away = {}

    def append(self, events: Sequence[Event]) -> None:
        """Keeps events that no journal has and counts them; they are in Redis when it returns.

        Where it raises, some of it may have happened. Called again with the same events, it makes
        duplicates in the stream, with the same ids, and counts no message as unique twice.
        """
        outcome = self.write(Batch([JournalLine(0, event, event.json()) for event in events]))
        for target, error in outcome.failed.items():
            if not keys.is_campaign(target):
                raise StoreAway(str(error) or type(error).__name__) from error
            # The events are kept. Another attempt would keep them twice.
            log.counting_failed(target, error)

    def write(self, batch: Batch, wanted: Callable[[str], bool] = lambda _: True) -> Outcome:
        """Writes a batch to its targets, or to those that are wanted; raises nothing.

        Events of a journal may be written any number of times.
        """
        writes = [write for write in self._writes(batch) if wanted(write.target)]
        try:
            said = self._store.ask(lambda client: answers(client, writes, self._away))
        except StoreAway as away:
            said = [away] * len(writes)
        return _outcome(batch, writes, said)

    def _writes(self, batch: Batch) -> Iterator[Write]:
        yield from self._suppression.writes(batch)
        if batch.lines:
            words = [word for line in batch.lines for word in (line.sequence, line.json)]
            arguments = [*batch.writer_and_runs, batch.after, *words]
            yield Write(keys.EVENTS, partial(self._append.run, keys=_STREAM, arguments=arguments))
        yield from self._counting.writes(batch)

    def look(self, writers: Sequence[str]) -> Look:
        """Which masters there are, and how far the stream is for these writers."""
        runs = self._store.ask(_runs)
        found = self._store.ask(lambda client: client.hmget(keys.MARKS, writers)) if writers else []
        marks = {name: int(mark or 0) for name, mark in zip(writers, found, strict=True)}
        return Look(runs, marks)

    def read(self, after: str, count: int) -> list[Entry]:
        """The next events behind an id, the oldest first; behind "0" stand all."""
        return self._range(f"({after}", "+", count)

    def last_id(self) -> str:
        """The id of the newest event; "0-0" where there is none."""
        found = self._store.ask(lambda client: client.xrevrange(keys.EVENTS, count=1))
        return str(found[0][0]) if found else "0-0"

    def length(self) -> int:
        """Events in the stream."""
        return int(self._store.ask(lambda client: client.xlen(keys.EVENTS)))

    def trim(self, older_than_ms: int) -> None:
        """Forgets events that Redis got before that time; about so, and never a younger one."""
        arguments = [str(older_than_ms)]
        self._store.ask(lambda client: self._trim.run(client.execute_command, _STREAM, arguments))

    def join(self, group: str, start: str) -> None:
        """Makes a group, which begins behind an id ("0": all, "$": what is new), if there is none.

        One that is there stays where it is.
        """
        self._store.ask(lambda client: _make(client, group, start))

    def take(self, group: str, consumer: str, count: int, block_ms: int) -> list[Entry]:
        """The next events of a group, which are in the consumer's hand until `done`.

        Waits for the first one so long.
        """
        deadline = time.monotonic() + block_ms / 1000
        while True:
            left = int((deadline - time.monotonic()) * 1000)
            taken = self._take(group, consumer, count, min(left, self._longest_block))
            if taken or left <= self._longest_block:
                return taken

    def _take(self, group: str, consumer: str, count: int, block_ms: int) -> list[Entry]:
        # To Redis, 0 is for ever.
        block = block_ms if block_ms > 0 else None
        found = self._store.ask(
            lambda client: client.xreadgroup(group, consumer, {keys.EVENTS: ">"}, count, block)
        )
        return _entries(found[0][1]) if found else []

    def reclaim(self, group: str, consumer: str, idle_ms: int, count: int) -> list[Entry]:
        """The oldest events in anybody's hand for so long, which are the consumer's now."""
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

    def done(self, group: str, ids: Sequence[str]) -> None:
        """The group needs these no more."""
        if ids:
            self._store.ask(lambda client: client.xack(keys.EVENTS, group, *ids))

    def bury(self, group: str, dead: Sequence[tuple[str, str, str]]) -> None:
        """Keeps events (id, JSON, why) as dead letters. They are not done by that."""
        for id, json, why in dead:
            fields = {"id": id, "event": json, "why": why}
            self._store.ask(
                lambda client, fields=fields: client.xadd(  # type: ignore[misc]
                    keys.dead(group), fields, maxlen=DEAD_AT_MOST, approximate=True
                )
            )

    def dead(self, group: str) -> Iterator[tuple[str, str, str]]:
        """The dead letters of a group, as they were buried, the oldest first."""
        at = "-"
        while page := self._store.ask(
            lambda client, at=at: client.xrange(keys.dead(group), at, "+", _PAGE)  # type: ignore[misc]
        ):
            for _, told in page:
                yield told["id"], told["event"], told["why"]
            at = f"({page[-1][0]}"

    def progress(self, group: str) -> Progress:
        """How far a group is; one that there is not yet has everything before it."""
        found = self._group(group)
        dead = int(self._store.ask(lambda client: client.xlen(keys.dead(group))))
        if found is None:
            first = self._range("-", "+", 1)
            return Progress(self.length(), 0, dead, _time(first[0][0]) if first else 0)
        undone = self._store.ask(lambda client: client.xpending(keys.EVENTS, group))["min"]
        start = f"({found['last-delivered-id']}"
        behind = [id for id, _ in self._range(start, "+", 1)]
        times = [_time(id) for id in (undone, *behind) if id]
        waiting = self._count(start)
        return Progress(waiting, int(found["pending"]), dead, min(times, default=0))

    def rewind(self, group: str, since_ms: int) -> int:
        """Sets a group back, or forth: it gets what came since then. How many events that are."""
        self.join(group, "$")
        self._store.ask(lambda client: client.xgroup_setid(keys.EVENTS, group, _before(since_ms)))
        return self._count(str(since_ms))

    def _group(self, group: str) -> dict[str, Any] | None:
        groups = self._store.ask(_groups)
        return next((each for each in groups if each["name"] == group), None)

    def _count(self, start: str) -> int:
        """The events from there on."""
        last = self._store.ask(lambda client: client.xrevrange(keys.EVENTS, count=1))
        first = self._store.ask(lambda client: client.xrange(keys.EVENTS, start, "+", 1))
        if not first:
            return 0
        begin, end = _place(first), _place(last)
        return end - begin + 1 if 0 < begin <= end else self._count_by_reading(start)

    def _count_by_reading(self, start: str) -> int:
        count = 0
        while count < _COUNTED_AT_MOST and (page := self._range(start, "+", _PAGE)):
            count, start = count + len(page), f"({page[-1][0]}"
        return count

    def _range(self, start: str, end: str, count: int) -> list[Entry]:
        return _entries(
            self._store.ask(lambda client: client.xrange(keys.EVENTS, start, end, count))
        )


def _outcome(batch: Batch, writes: Sequence[Write], answers: Sequence[Any]) -> Outcome:
    failed: dict[str, Exception] = {}
    unknown: set[str] = set()
    lost, mark = False, 0
    for write, said in zip(writes, answers, strict=True):
        if isinstance(said, Exception):
            if keys.is_campaign(write.target) and _is_final(said):
                log.counting_failed(write.target, said)
            else:
                failed[write.target] = said
        elif isinstance(said, list) and batch.writer:
            unknown |= {str(said[0])} - batch.runs - {""}
            if write.target == keys.EVENTS:
                lost = int(said[1]) < batch.after
                mark = max(int(said[1]), batch.lines[-1].sequence)
    return Outcome(failed, len(failed) < len(writes), mark, frozenset(unknown), lost)


def _is_final(error: Exception) -> bool:
    """Whether the fault is in what stands there: a state of the server has a name, and passes."""
    name = str(error).partition(" ")[0]
    return type(error) is ResponseError and (name == "WRONGTYPE" or not name.isupper())


def _runs(client: Any) -> frozenset[str] | None:
    if isinstance(client, Redis):
        return frozenset([str(client.info("replication").get("master_replid", ""))])
    found = set()
    for node in client.get_primaries():
        try:
            said = client.info("replication", target_nodes=node)
        except TROUBLE:
            return None
        found.add(str(said.get("master_replid", "")))
    return frozenset(found)


def _entries(found: Sequence[tuple[str, dict[str, str]]]) -> list[Entry]:
    return [(id, told["event"]) for id, told in found]


def _place(found: Sequence[tuple[str, dict[str, str]]]) -> int:
    """The place of the first of some entries; 0 where there is none, or an older version's."""
    return int(found[0][1].get("place", 0)) if found else 0


def _time(id: str) -> int:
    return int(id.partition("-")[0])


def _before(milliseconds: int) -> str:
    """The greatest id that is smaller than every one of that time."""
    return f"{milliseconds - 1}-{2**64 - 1}" if milliseconds > 0 else "0-0"


def _make(client: Any, group: str, start: str) -> None:
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
