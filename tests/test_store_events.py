"""The stream of events in a real Redis, one server and a cluster: kept, in order, until done."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from fletching.events import CLICK, COMPLAINT, OPEN, Event
from fletching.numbering import Question
from fletching.store import keys
from fletching.store.campaigns import Campaigns
from fletching.store.connection import StoreUnavailable
from fletching.store.events import Entry, EventLog, Progress
from fletching.store.suppression import Suppression
from fletching.store.writing import EventBatch, JournalLine
from fletching.tokens import Facts
from redis.crc import key_slot

from sandbox.processes import wait_until
from sandbox.redis_cluster import Stores
from sandbox.redis_server import RedisServer
from tests.stores import open_store, statistics_of

pytestmark = pytest.mark.slow

NOWHERE = Path("/nonexistent")
NOW = 1_795_259_482_236
A = "a" * 12


@pytest.fixture
def log(store: Stores) -> EventLog:
    return EventLog(open_store(store.url))


def event(id: str, type: str = OPEN, number: int = 1) -> Event:
    facts = Facts(A, number, "News", "1", "t100", "", "r@example.net", "", NOW // 1000)
    return Event(type, NOW, id, "mx1", facts, {"click_url": "https://example.com/"})


def several(count: int, start: int = 0) -> list[Event]:
    return [event(f"e{number:04}", number=number) for number in range(start, start + count)]


def names(entries: Sequence[Entry]) -> list[str]:
    """What the events in entries are called."""
    return [json.loads(told)["event_unique_id"] for _, told in entries]


def put(store: Stores, *ids: str) -> None:
    """Events as Redis would have got them at other times."""
    for id in ids:
        store.look.xadd(keys.EVENTS, {"event": event(id).json()}, id=id)


class TestAppended:
    """What is in the stream, and in which order."""

    def test_events_are_read_in_order(self, log: EventLog) -> None:
        log.append(several(3))
        log.append(several(3, 3))
        wanted = [each.json() for each in several(6)]
        assert [told for _, told in log.read("0", 100)] == wanted
        assert log.length() == 6

    def test_reading_continues_after_an_id(self, log: EventLog) -> None:
        log.append(several(5))
        page = log.read("0", 2)
        assert names(page) == ["e0000", "e0001"]
        assert names(log.read(page[-1][0], 100)) == ["e0002", "e0003", "e0004"]
        assert log.read(log.last_id(), 100) == []
        assert log.last_id() == log.read("0", 100)[-1][0]

    def test_empty_stream_has_no_events(self, log: EventLog) -> None:
        log.append([])
        assert (log.length(), log.last_id(), log.read("0", 10)) == (0, "0-0", [])

    def test_event_appended_twice_is_counted_once(self, log: EventLog, store: Stores) -> None:
        opened = open_store(store.url)
        opened.ping()
        assert Campaigns(opened).campaign_of(
            Question("news1", "News", "1", "", NOW // 1000, 86400, A, (), 86400)
        )
        happened = [event("a", CLICK), event("b", COMPLAINT)]
        log.append(happened)
        log.append(happened)
        assert names(log.read("0", 10)) == ["a", "b", "a", "b"]
        found = statistics_of(store.url).campaign(A)
        assert found is not None
        assert (found.clicks, found.unique_clicks, found.complaints) == (2, 1, 1)
        suppression = Suppression(open_store(store.url))
        assert [entry.address for entry in suppression.entries()] == ["r@example.net"]

    def test_scripts_are_loaded_again_after_script_flush(
        self, log: EventLog, store: Stores
    ) -> None:
        log.append(several(1))
        for server in store.servers:
            server.client.script_flush()
        log.append(several(1, 1))
        assert names(log.read("0", 10)) == ["e0000", "e0001"]

    def test_concurrent_writers_lose_no_event_and_keep_their_order(self, log: EventLog) -> None:
        def append(writer: int) -> None:
            for batch in range(10):
                start = writer * 1000 + batch * 20
                log.append(several(20, start))

        threads = [threading.Thread(target=append, args=(writer,)) for writer in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = names(log.read("0", 1000))
        assert len(found) == 800
        for writer in range(4):
            wanted = [each.id for each in several(200, writer * 1000)]
            assert [name for name in found if name in set(wanted)] == wanted


RUN = "0" * 40


@pytest.fixture
def runs(log: EventLog) -> frozenset[str]:
    """The runs of the masters."""
    found = log.state([]).runs
    assert found is not None
    return found


def lines(numbers: Iterable[int], type: str = CLICK) -> list[JournalLine]:
    made = [(number, event(f"e{number:04}", type, number)) for number in numbers]
    return [JournalLine(number, event, event.json()) for number, event in made]


def clicks(store: Stores) -> tuple[int | None, int | None]:
    found = statistics_of(store.url).campaign(A)
    assert found is not None
    return found.clicks, found.unique_clicks


@pytest.fixture
def campaign(store: Stores) -> None:
    opened = open_store(store.url)
    opened.ping()
    campaigns = Campaigns(opened)
    question = Question("news1", "News", "1", "", NOW // 1000, 86400, A, (), 86400)
    assert campaigns.campaign_of(question)


class TestLeftOut:
    """Events of types that stay out of the stream."""

    def test_events_of_other_types_are_numbered_without_gaps(
        self, store: Stores, runs: frozenset[str]
    ) -> None:
        log = EventLog(open_store(store.url), frozenset([OPEN]))
        batch = [*lines([1]), *lines([2, 3], OPEN), *lines([4]), *lines([5], OPEN)]
        for _ in range(2):
            assert log.write(EventBatch(batch, "w", runs)).is_complete
        assert names(log.read("0", 10)) == ["e0001", "e0004"]
        positions = [fields["position"] for _, fields in store.look.xrange(keys.EVENTS)]
        assert positions == ["1", "2"]

    def test_their_sequence_numbers_are_remembered(
        self, store: Stores, runs: frozenset[str]
    ) -> None:
        log = EventLog(open_store(store.url), frozenset([OPEN]))
        assert log.write(EventBatch(lines([1, 2], OPEN), "w", runs)).last_sequence == 2
        assert log.state(["w"]).last_sequences == {"w": 2}
        assert log.write(EventBatch(lines([3], OPEN), "w", runs, after=2)).is_complete
        assert log.write(EventBatch(lines([5], OPEN), "w", runs, after=4)).lost
        assert log.length() == 0

    def test_they_are_counted(self, store: Stores, runs: frozenset[str], campaign: None) -> None:
        log = EventLog(open_store(store.url), frozenset([CLICK]))
        assert log.write(EventBatch(lines([1, 2]), "w", runs)).is_complete
        assert (log.length(), clicks(store)) == (0, (2, 2))


@pytest.mark.usefixtures("campaign")
class TestOnce:
    """Events of a journal, which may be written any number of times."""

    def test_journals_are_in_the_slot_of_the_stream(self) -> None:
        assert key_slot(keys.JOURNALS.encode()) == key_slot(keys.EVENTS.encode())

    def test_events_of_a_journal_are_written_once(
        self, log: EventLog, store: Stores, runs: frozenset[str]
    ) -> None:
        for numbers in ((1, 2), (1, 2), (2, 3), (1,)):
            assert log.write(EventBatch(lines(numbers), "w", runs)).is_complete
        assert names(log.read("0", 10)) == ["e0001", "e0002", "e0003"]
        assert clicks(store) == (3, 3)
        assert log.state(["w", "x"]).last_sequences == {"w": 3, "x": 0}

    def test_each_journal_has_its_own_sequence(
        self, log: EventLog, store: Stores, runs: frozenset[str]
    ) -> None:
        for writer in ("one", "two"):
            assert log.write(EventBatch(lines([1, 2]), writer, runs)).is_complete
        assert log.length() == 4
        assert clicks(store) == (4, 2)

    def test_nothing_is_written_in_an_unknown_run(
        self, log: EventLog, store: Stores, runs: frozenset[str]
    ) -> None:
        outcome = log.write(EventBatch(lines([1]), "w", frozenset([RUN])))
        assert outcome.unknown_runs
        assert outcome.unknown_runs <= runs
        assert log.length() == 0
        assert clicks(store) == (0, 0)

    def test_stream_that_lost_events_refuses_later_ones(
        self, log: EventLog, runs: frozenset[str]
    ) -> None:
        log.write(EventBatch(lines([1]), "w", runs))
        assert log.write(EventBatch(lines([3]), "w", runs, after=2)).lost
        assert log.length() == 1
        assert log.write(EventBatch(lines([2, 3]), "w", runs, after=1)).is_complete
        assert log.length() == 3

    def test_batch_can_be_written_to_one_target_only(
        self, log: EventLog, store: Stores, runs: frozenset[str]
    ) -> None:
        batch = EventBatch(lines([1]), "w", runs)
        assert log.write(batch, lambda target: target != keys.EVENTS).is_complete
        assert (log.length(), clicks(store)) == (0, (1, 1))
        assert log.write(batch).is_complete
        assert (log.length(), clicks(store)) == (1, (1, 1))

    def test_journals_of_counters_expire_with_the_campaign(
        self, log: EventLog, store: Stores, runs: frozenset[str]
    ) -> None:
        log.write(EventBatch(lines([1]), "w", runs))
        ends = [store.look.pttl(getattr(keys, name)(A)) for name in ("campaign", "counted")]
        assert ends[1] > 0
        assert abs(ends[0] - ends[1]) < 60_000

    def test_old_journals_are_removed_when_the_stream_is_trimmed(
        self, log: EventLog, runs: frozenset[str]
    ) -> None:
        day = 86_400_000
        log.write(EventBatch(lines([8 * day * 1000]), "old", runs))
        log.write(EventBatch(lines([10 * day * 1000]), "young", runs))
        log.trim(16 * day)
        assert log.state(["old", "young"]).last_sequences == {"old": 0, "young": 10 * day * 1000}


class TestGroup:
    """Who has read how far."""

    def test_each_group_gets_every_event_once(self, log: EventLog) -> None:
        log.append(several(3))
        for group in ("crm", "file"):
            log.create_group(group, "0")
            assert names(log.take(group, "one", 2, 0)) == ["e0000", "e0001"]
            assert names(log.take(group, "two", 2, 0)) == ["e0002"]
            assert log.take(group, "one", 2, 0) == []

    def test_group_can_begin_with_new_events(self, log: EventLog) -> None:
        log.append(several(3))
        log.create_group("crm", "$")
        assert log.take("crm", "one", 10, 0) == []
        log.append(several(2, 3))
        assert names(log.take("crm", "one", 10, 0)) == ["e0003", "e0004"]

    def test_group_can_begin_before_the_stream_exists(self, log: EventLog) -> None:
        log.create_group("crm", "0")
        assert log.length() == 0
        log.append(several(1))
        assert names(log.take("crm", "one", 10, 0)) == ["e0000"]

    def test_creating_an_existing_group_does_not_move_it(self, log: EventLog) -> None:
        log.append(several(3))
        log.create_group("crm", "0")
        log.take("crm", "one", 2, 0)
        log.create_group("crm", "0")
        log.create_group("crm", "$")
        assert names(log.take("crm", "one", 2, 0)) == ["e0002"]

    def test_take_waits_for_the_first_event(self, log: EventLog) -> None:
        log.create_group("crm", "0")
        taken: list[Entry] = []
        reader = threading.Thread(target=lambda: taken.extend(log.take("crm", "one", 9, 20_000)))
        reader.start()
        time.sleep(0.5)  # longer than one wait in Redis
        log.append(several(2))
        reader.join()
        assert names(taken)[0] == "e0000"

    def test_take_ends_without_an_event(self, log: EventLog) -> None:
        log.create_group("crm", "0")
        assert log.take("crm", "one", 9, 300) == []

    def test_take_without_a_group_raises(self, log: EventLog) -> None:
        log.append(several(1))
        with pytest.raises(StoreUnavailable, match="NOGROUP"):
            log.take("crm", "one", 9, 0)

    def test_unacknowledged_events_are_reclaimed_oldest_first(self, log: EventLog) -> None:
        log.append(several(5))
        log.create_group("crm", "0")
        taken = log.take("crm", "one", 5, 0)
        log.acknowledge("crm", [taken[1][0]])
        log.acknowledge("crm", [])
        assert names(log.reclaim("crm", "two", 0, 2)) == ["e0000", "e0002"]
        assert log.reclaim("crm", "two", 1_000_000, 10) == []
        log.acknowledge("crm", [id for id, _ in taken])
        assert log.reclaim("crm", "two", 0, 10) == []

    def test_reclaim_skips_events_that_were_taken_recently(
        self, log: EventLog, store: Stores
    ) -> None:
        """Redis looks at ten times the number at once, and may find nothing there."""
        log.append(several(300))
        log.create_group("crm", "0")
        taken = log.take("crm", "one", 300, 0)
        long_ago = [id for id, _ in taken[250:]]
        store.look.xclaim(keys.EVENTS, "crm", "one", 0, long_ago, idle=10_000_000)
        wanted = [each.id for each in several(10, 250)]
        assert names(log.reclaim("crm", "two", 5_000_000, 10)) == wanted


class TestProgress:
    """How far a group is."""

    def test_progress_of_a_missing_group(self, log: EventLog, store: Stores) -> None:
        assert log.progress("crm") == Progress(0, 0, 0, 0)
        assert log.progress("crm").undone == 0
        put(store, "5-0", "6-0")
        assert log.progress("crm") == Progress(2, 0, 0, 5)
        assert log.progress("crm").undone == 2

    def test_progress_follows_take_and_acknowledge(self, log: EventLog, store: Stores) -> None:
        put(store, "5-0", "6-0", "7-0", "8-0")
        log.create_group("crm", "0")
        assert log.progress("crm") == Progress(4, 0, 0, 5)
        taken = log.take("crm", "one", 3, 0)
        assert log.progress("crm") == Progress(1, 3, 0, 5)
        assert log.progress("crm").undone == 4
        log.acknowledge("crm", [taken[0][0]])
        assert log.progress("crm") == Progress(1, 2, 0, 6)
        log.acknowledge("crm", [id for id, _ in taken])
        assert log.progress("crm") == Progress(1, 0, 0, 8)
        log.acknowledge("crm", [log.take("crm", "one", 3, 0)[0][0]])
        assert log.progress("crm") == Progress(0, 0, 0, 0)
        assert log.progress("crm").undone == 0

    def test_progress_after_entries_were_deleted_by_hand(
        self, log: EventLog, store: Stores
    ) -> None:
        put(store, "5-0", "6-0", "7-0", "8-0")
        log.create_group("crm", "0")
        log.take("crm", "one", 1, 0)
        store.look.xdel(keys.EVENTS, "7-0")
        assert log.progress("crm") == Progress(2, 1, 0, 5)

    def test_long_backlog_is_counted_by_positions(self, log: EventLog, store: Stores) -> None:
        log.create_group("crm", "0")
        for start in range(0, 12_000, 1000):
            log.append(several(1000, start))
        assert log.progress("crm").waiting == 12_000
        assert len(log.take("crm", "one", 500, 0)) == 500
        before = sum(_calls(server, "xrange") for server in store.servers)
        assert log.progress("crm").waiting == 11_500
        assert sum(_calls(server, "xrange") for server in store.servers) <= before + 2

    def test_entries_without_position_are_counted_up_to_10_000(
        self, log: EventLog, store: Stores
    ) -> None:
        put(store, *(f"{ms}-0" for ms in range(1, 101)))
        assert log.rewind("crm", 0) == 100
        log.append(several(1))
        assert log.progress("crm").waiting == 101
        log.take("crm", "one", 100, 0)
        assert log.progress("crm").waiting == 1
        put(store, *(f"{NOW * 2 + each}-0" for each in range(10_500)))
        assert log.progress("crm").waiting == 10_000
        assert log.rewind("crm", 0) == 10_000

    def test_deleted_entry_is_counted_until_it_is_passed(
        self, log: EventLog, store: Stores
    ) -> None:
        log.append(several(4))
        log.create_group("crm", "0")
        log.take("crm", "one", 1, 0)
        store.look.xdel(keys.EVENTS, log.read("0", 4)[2][0])
        assert log.progress("crm").waiting == 3
        log.take("crm", "one", 1, 0)
        assert log.progress("crm").waiting == 1
        log.take("crm", "one", 1, 0)
        assert log.progress("crm").waiting == 0


def _calls(server: RedisServer, command: str) -> int:
    return int(server.client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


class TestAnotherMaster:
    """A replica, or a server that starts from its append-only file.

    Neither knows how far a group has read since they began; they only know its last event.
    """

    @pytest.fixture(params=["promoted", "restarted"])
    def change(self, request: pytest.FixtureRequest) -> Iterator[tuple[EventLog, Change]]:
        """A group that has read 10 of 30 events, and what makes another server the master."""
        if request.param == "promoted":
            with RedisServer("appendonly no") as first, RedisServer("appendonly no") as second:
                log = EventLog(open_store(first.url))
                _read_ten_of_thirty(log)
                _ask(second, "REPLICAOF", "127.0.0.1", first.port)
                wait_until("the replica has no link", lambda: _replicates(second))
                yield log, partial(_promoted, first, second)
        else:
            with RedisServer() as server:
                log = EventLog(open_store(server.url))
                _read_ten_of_thirty(log)
                server.client.bgrewriteaof()
                wait_until("the file is not rewritten", lambda: not _rewrites(server))
                yield log, partial(_restarted, server)

    def test_events_that_were_read_are_not_waiting(self, change: tuple[EventLog, Change]) -> None:
        log, become_another = change
        log.acknowledge("crm", [id for id, _ in log.take("crm", "one", 10, 0)])
        other = become_another()
        assert other.progress("crm").waiting == 10
        other.acknowledge("crm", [id for id, _ in other.take("crm", "one", 100, 0)])
        assert other.progress("crm") == Progress(0, 0, 0, 0)
        other.append(several(3, 30))
        assert other.progress("crm").waiting == 3
        assert names(other.take("crm", "one", 100, 0)) == [each.id for each in several(3, 30)]
        assert other.progress("crm").waiting == 0

    def test_progress_after_trimming(self, change: tuple[EventLog, Change]) -> None:
        log, become_another = change
        log.append(several(500, 30))
        log.acknowledge("crm", [id for id, _ in log.take("crm", "one", 440, 0)])
        log.append(several(500, 530))
        other = become_another()
        (*_, (at, _)) = other.read("0", 460)
        other.trim(int(at.partition("-")[0]))
        read = [id for id, _ in other.take("crm", "one", 50, 0)]
        behind = len(other.read(read[-1], 2000))
        assert other.progress("crm").waiting == behind > 400
        other.acknowledge("crm", read + [id for id, _ in other.take("crm", "one", 2000, 0)])
        assert other.progress("crm") == Progress(0, 0, 0, 0)

    def test_rewind_gets_all_events_again(self, change: tuple[EventLog, Change]) -> None:
        log, become_another = change
        log.acknowledge("crm", [id for id, _ in log.take("crm", "one", 30, 0)])
        other = become_another()
        assert other.rewind("crm", 0) == 30
        assert other.progress("crm").waiting == 30
        assert len(other.take("crm", "one", 100, 0)) == 30
        assert other.progress("crm").waiting == 0


Change = Callable[[], EventLog]
"""Gives the stream at the server that has become the master."""


def _read_ten_of_thirty(log: EventLog) -> None:
    log.append(several(30))
    log.create_group("crm", "0")
    log.acknowledge("crm", [id for id, _ in log.take("crm", "one", 10, 0)])


def _promoted(first: RedisServer, second: RedisServer) -> EventLog:
    wait_until("the replica lags behind", lambda: _offset(first) == _offset(second))
    _ask(second, "REPLICAOF", "NO", "ONE")
    return EventLog(open_store(second.url))


def _restarted(server: RedisServer) -> EventLog:
    server.stop()
    server.start()
    return EventLog(open_store(server.url))


def _replicates(server: RedisServer) -> bool:
    return bool(server.client.info("replication").get("master_link_status") == "up")


def _rewrites(server: RedisServer) -> bool:
    told = server.client.info("persistence")
    return bool(told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"])


def _offset(server: RedisServer) -> int:
    told = server.client.info("replication")
    return int(told.get("slave_repl_offset", told["master_repl_offset"]))


def _ask(server: RedisServer, *words: object) -> object:
    return server.client.execute_command(*words)  # type: ignore[no-untyped-call]


class TestDead:
    """What nobody could deliver."""

    def test_dead_letters_are_returned_unchanged(self, log: EventLog) -> None:
        letters = [(f"{n}-0", event(f"e{n}").json(), f"502 b\xe4d\n{n}") for n in range(1200)]
        log.add_dead_letters("crm", letters[:2])
        log.add_dead_letters("crm", letters[2:])
        assert list(log.dead_letters("crm")) == letters
        assert list(log.dead_letters("file")) == []
        assert log.progress("crm").dead == 1200

    def test_dead_letter_is_not_acknowledged(self, log: EventLog) -> None:
        log.append(several(1))
        log.create_group("crm", "0")
        ((id, told),) = log.take("crm", "one", 1, 0)
        log.add_dead_letters("crm", [(id, told, "gone")])
        assert log.progress("crm").in_hand == 1


class TestRewind:
    """A group that is to get events once more."""

    def test_rewind_goes_back_and_forward(self, log: EventLog, store: Stores) -> None:
        put(store, "5-0", "6-0", "6-1", "7-0")
        log.create_group("crm", "0")
        log.acknowledge("crm", [id for id, _ in log.take("crm", "one", 10, 0)])
        assert log.rewind("crm", 6) == 3
        assert log.progress("crm") == Progress(3, 0, 0, 6)
        assert names(log.take("crm", "one", 10, 0)) == ["6-0", "6-1", "7-0"]
        assert log.rewind("crm", 0) == 4
        assert log.progress("crm").waiting == 4
        assert log.rewind("crm", 7) == 1
        assert log.progress("crm").waiting == 1
        assert log.rewind("crm", 8) == 0
        assert log.progress("crm").waiting == 0
        put(store, "9-0")
        assert log.progress("crm").waiting == 1
        assert names(log.take("crm", "one", 10, 0)) == ["9-0"]

    def test_rewind_creates_a_missing_group(self, log: EventLog, store: Stores) -> None:
        put(store, "5-0", "6-0")
        assert log.rewind("crm", 6) == 1
        assert names(log.take("crm", "one", 10, 0)) == ["6-0"]

    def test_rewind_in_an_empty_stream(self, log: EventLog) -> None:
        assert log.rewind("crm", 6) == 0
        log.append(several(1))
        assert names(log.take("crm", "one", 10, 0)) == ["e0000"]


class TestTrim:
    """What is too old."""

    def test_trim_never_deletes_newer_events(self, log: EventLog, store: Stores) -> None:
        put(store, *(f"{ms}-0" for ms in range(1, 1001)))
        log.trim(501)
        left = names(log.read("0", 2000))
        # Redis forgets whole blocks of a hundred at most.
        assert left[-500:] == [f"{ms}-0" for ms in range(501, 1001)]
        assert len(left) <= 600
        log.trim(501)
        assert names(log.read("0", 2000)) == left

    def test_group_continues_after_trimming(self, log: EventLog, store: Stores) -> None:
        put(store, *(f"{ms}-0" for ms in range(1, 1001)))
        log.create_group("crm", "0")
        log.take("crm", "one", 10, 0)
        log.trim(900)
        left = names(log.read("0", 2000))
        told = log.progress("crm")
        assert told.waiting == len(left)
        assert names(log.take("crm", "one", 2000, 0)) == left
        assert log.progress("crm").waiting == 0
        # What was in hand and is gone cannot be told again, and is in nobody's hand any more.
        assert names(log.reclaim("crm", "two", 0, 10)) == left[:10]
        assert log.progress("crm").in_hand == len(left)
        put(store, "2000-0")
        assert log.progress("crm").waiting == 1

    def test_group_that_has_read_everything_has_no_backlog_after_trimming(
        self, log: EventLog, store: Stores
    ) -> None:
        put(store, *(f"{ms}-0" for ms in range(1, 1001)))
        log.create_group("crm", "0")
        log.acknowledge("crm", [id for id, _ in log.take("crm", "one", 2000, 0)])
        log.trim(2000)
        assert log.progress("crm") == Progress(0, 0, 0, 0)
        assert log.progress("crm").undone == 0


def test_every_method_raises_without_redis() -> None:
    log = EventLog(open_store("unix:///no/such/socket"))
    assert set(log.write(EventBatch(lines([1]), "w")).failed) == {keys.EVENTS, keys.campaign(A)}
    for ask in (
        lambda: log.append(several(1)),
        lambda: log.state([]),
        lambda: log.read("0", 1),
        lambda: log.create_group("crm", "0"),
        lambda: log.take("crm", "one", 1, 0),
        lambda: log.reclaim("crm", "one", 0, 1),
        lambda: log.acknowledge("crm", ["1-0"]),
        lambda: log.add_dead_letters("crm", [("1-0", "{}", "")]),
        lambda: list(log.dead_letters("crm")),
        lambda: log.progress("crm"),
        lambda: log.progress("crm").undone,
        lambda: log.rewind("crm", 0),
        lambda: log.trim(0),
    ):
        with pytest.raises(StoreUnavailable):
            ask()
