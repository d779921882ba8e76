"""What was recorded is in Redis, each event once, whatever Redis forgets: with real servers."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from fletching import events
from fletching.daemons.intake import journal as journal_module
from fletching.daemons.intake.drain import MOST_AT_ONCE, Drain
from fletching.daemons.intake.journal import START, Journal, journal_of
from fletching.daemons.intake.recorder import Recorder
from fletching.events import Event
from fletching.store import keys
from fletching.store.connection import StoreUnavailable
from fletching.store.events import EventLog
from fletching.store.suppression import Suppression
from fletching.tokens import Facts
from redis.crc import key_slot

from sandbox.cut_line import CutLine
from sandbox.processes import wait_until
from sandbox.redis_cluster import client, cluster, cluster_url
from sandbox.redis_sentinels import Sentinels
from sandbox.redis_server import RedisServer
from tests.stores import open_store, statistics_of

pytestmark = pytest.mark.slow

KEPT = 7 * 86400
A = "a" * 12
NOW = 1_795_259_482_236
FORGETFUL = ("appendonly no",)

_ids = itertools.count()


def happened(numbers: Sequence[int], type: str = events.CLICK, campaign: str = A) -> list[Event]:
    facts = Facts(campaign, 1, "News", "1", "t100", "", "", "bulk", NOW // 1000)
    return [
        Event(
            type,
            NOW + number,
            events.unique_id(next(_ids), bytes(10)),
            "mx1",
            replace(facts, number=number, email=f"r{number}@example.net"),
            {"click_url": "https://example.com/", "is_bot": False},
        )
        for number in numbers
    ]


def begin(look: object, *campaigns: str) -> None:
    """Campaigns as a worker begins them."""
    for campaign in campaigns:
        key = keys.campaign(campaign)
        look.hset(key, "sendid", "news")  # type: ignore[attr-defined]
        look.expire(key, 86400)  # type: ignore[attr-defined]


class Place:
    """One process' recorder, in a folder, over the Redis of a URL; it can be begun anew."""

    def __init__(self, url: str, folder: Path, largest: int = journal_module.LARGEST) -> None:
        self.url, self.folder = url, journal_of(folder / "journal", 0)
        self._largest = largest
        self._look = EventLog(open_store(url))
        self.answered: list[Event] = []
        self.begin()

    def begin(self) -> None:
        log = EventLog(open_store(self.url))
        self.recorder = Recorder(log, lambda: Journal(self.folder, KEPT, largest=self._largest))

    def again(self) -> None:
        """As after a restart of the process."""
        self.recorder.close()
        self.begin()

    def record(self, batch: Sequence[Event], *, one_by_one: bool = False) -> None:
        async def all_of_them() -> None:
            await asyncio.gather(*(self.recorder.record(event) for event in batch))

        async def each() -> None:
            for event in batch:
                await self.recorder.record(event)

        asyncio.run(each() if one_by_one else all_of_them())
        self.answered += batch

    def there(self) -> list[str]:
        """The ids in the stream, in its order."""
        with suppress(StoreUnavailable):
            entries = self._look.read("0", 100_000)
            return [json.loads(event)["event_unique_id"] for _, event in entries]
        return []

    def wait(self) -> None:
        """Until the stream has all that was answered, each once."""
        wanted = sorted(event.id for event in self.answered)
        wait_until("not all events are there", lambda: sorted(self.there()) == wanted, 60)

    def wait_for_counts(self) -> None:
        """Until the counts of all campaigns are those of the events that were answered."""
        clicks = [each for each in self.answered if each.type == events.CLICK]
        wanted = Counter(event.facts.campaign for event in clicks)
        messages = {(event.facts.campaign, event.facts.number) for event in clicks}
        unique = Counter(campaign for campaign, _ in messages)

        told = statistics_of(self.url)

        def is_so() -> bool:
            found = {name: told.campaign(name) for name in wanted}
            return all(
                each is not None
                and (each.clicks, each.unique_clicks) == (wanted[name], unique[name])
                for name, each in found.items()
            )

        wait_until("the counts are not those of the events", is_so, 60)


@contextmanager
def placed(url: str, folder: Path, largest: int = journal_module.LARGEST) -> Iterator[Place]:
    place = Place(url, folder, largest)
    try:
        yield place
    finally:
        place.recorder.close()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """One that a test may kill: what was written survives that."""
    with RedisServer() as running:
        yield running


@pytest.fixture
def forgetful() -> Iterator[RedisServer]:
    """One that has what it had at its last SAVE after a kill."""
    with RedisServer(*FORGETFUL) as running:
        begin(running.client, A)
        running.client.save()
        yield running


def killed(server: RedisServer) -> None:
    """SIGKILL and a new start."""
    server.kill()
    server.start()


def has(path: Path) -> int:
    """Octets of the journal."""
    return sum(each.stat().st_size for each in path.glob("*.recent"))


def test_simultaneous_events_are_written_together(redis: RedisServer, tmp_path: Path) -> None:
    with placed(redis.url, tmp_path) as place:
        place.record(happened([0]))
        before = redis.client.info("commandstats")["cmdstat_evalsha"]["calls"]
        place.record(happened(range(1200)))
        place.wait()
        batches = redis.client.info("commandstats")["cmdstat_evalsha"]["calls"] - before
    assert batches <= 2 * (1200 // MOST_AT_ONCE + 2)


def test_recorded_event_is_in_redis_at_once(redis: RedisServer, tmp_path: Path) -> None:
    with placed(redis.url, tmp_path) as place:
        for number in range(20):
            place.record(happened([number]))
            assert len(place.there()) == number + 1


def test_redis_stops_and_returns(
    redis: RedisServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    begin(redis.client, A)
    with placed(redis.url, tmp_path) as place:
        place.record(happened(range(10)))
        redis.stop()
        place.record(happened(range(10, 500)), one_by_one=True)
        redis.start()
        place.record(happened(range(500, 600)), one_by_one=True)
        place.wait()
        place.wait_for_counts()
        assert place.there() == [event.id for event in place.answered]
    said = capfd.readouterr().err
    assert "redis_unavailable" in said
    assert "lost=0" in said


def test_events_left_at_the_end_are_written_at_the_next_start(
    redis: RedisServer, tmp_path: Path
) -> None:
    redis.stop()
    with placed(redis.url, tmp_path) as place:
        place.record(happened(range(10)))
        place.again()
        place.record(happened(range(10, 20)))
        redis.start()
        place.again()
        place.record(happened([20]))
        place.wait()
        assert place.there()[:20] == [event.id for event in place.answered[:20]]


def test_number_of_drained_events_is_logged(
    redis: RedisServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    redis.stop()
    with placed(redis.url, tmp_path) as place:
        place.record(happened(range(10)))
        place.recorder.close()
        redis.start()
        place.begin()
        place.wait()
        log: list[str] = []

        def is_logged() -> bool:
            log.append(capfd.readouterr().err)
            return "journal_drained" in "".join(log)

        wait_until("the end of draining is not logged", is_logged)
    assert "journal_drained events=10 lost=0\n" in "".join(log)


def test_written_events_are_not_read_again_at_the_next_start(
    redis: RedisServer, tmp_path: Path
) -> None:
    with placed(redis.url, tmp_path) as place:
        place.record(happened(range(10)))
        place.again()
        place.recorder.close()
        journal = Journal(place.folder, KEPT)
        assert journal.done == journal.end > START
        assert len(journal.runs) == 1
        place.begin()


def test_full_journal_is_logged_and_the_client_answered(
    redis: RedisServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where the journal is full, Redis alone has the event; where Redis is away too, nobody."""
    with placed(redis.url, tmp_path, largest=2000) as place:
        redis.stop()
        place.record(happened(range(10)), one_by_one=True)
        assert 0 < has(place.folder) < 2000
        lost = capfd.readouterr().err
        assert "events_lost count=1" in lost
        assert "state_write_failed what=journal" in lost
        redis.start()
        wait_until("nothing is there", lambda: place.there() != [])
        kept = len(place.there())
        place.record(happened(range(10)), one_by_one=True)
        assert len(place.there()) == kept + 10


def test_unexpected_error_of_redis_loses_no_event(
    redis: RedisServer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch, placed(redis.url, tmp_path) as place:
        patch.setattr(EventLog, "write", lambda *_: 1 / 0)
        place.record(happened(range(3)))
        patch.undo()
        place.again()
        place.wait()
    assert "recording_failed" in capfd.readouterr().err


def test_unexpected_error_at_the_start_keeps_no_event_from_redis(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "state", lambda *_: 1 / 0)
        place = Place(redis.url, tmp_path)
        place.record(happened(range(3)))
    try:
        place.again()
        place.wait()
    finally:
        place.recorder.close()


def test_internal_error_is_raised_to_the_caller(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader hears of it, and the next one is served."""
    with placed(redis.url, tmp_path) as place:
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                place.record(happened([1]))
        place.record(happened([2]))
        place.wait()


def test_event_of_a_disconnected_client_is_recorded(redis: RedisServer, tmp_path: Path) -> None:
    with placed(redis.url, tmp_path) as place:
        batch = happened([1, 2])

        async def act() -> None:
            gone = asyncio.create_task(place.recorder.record(batch[0]))
            await asyncio.sleep(0)
            gone.cancel()
            await place.recorder.record(batch[1])

        asyncio.run(act())
        place.answered += batch
        place.wait()


class TestForgetfulRedis:
    """A Redis that goes back in time gets all again, and has nothing twice."""

    def test_redis_killed_without_persistence(self, forgetful: RedisServer, tmp_path: Path) -> None:
        with placed(forgetful.url, tmp_path) as place:
            for start in range(0, 90, 30):
                place.record(happened(range(start, start + 30)), one_by_one=True)
                killed(forgetful)
            place.wait()
            place.wait_for_counts()

    def test_redis_killed_after_a_snapshot(self, forgetful: RedisServer, tmp_path: Path) -> None:
        with placed(forgetful.url, tmp_path) as place:
            place.record(happened(range(20)))
            forgetful.client.save()
            place.record(happened(range(10, 40)))
            killed(forgetful)
            place.wait()
            place.wait_for_counts()
            place.record(happened(range(30, 50)))
            place.wait()
            place.wait_for_counts()

    def test_redis_killed_without_later_clicks(
        self, forgetful: RedisServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with placed(forgetful.url, tmp_path) as place:
            place.record(happened(range(20), events.UNSUBSCRIBE))
            killed(forgetful)
            place.wait()
            lists = Suppression(open_store(forgetful.url))
            wait_until("not all are suppressed", lambda: len(list(lists.entries())) == 20)
            assert forgetful.client.xlen(keys.EVENTS) == 20
        said = capfd.readouterr().err
        assert "journal_replay" in said
        assert "journal_drained events=20 lost=0" in said

    def test_redis_killed_while_the_process_is_down(
        self, forgetful: RedisServer, tmp_path: Path
    ) -> None:
        with placed(forgetful.url, tmp_path) as place:
            place.record(happened(range(20)))
            place.recorder.close()
            killed(forgetful)
            place.begin()
            place.wait()
            place.wait_for_counts()

    def test_older_snapshot_is_restored(self, forgetful: RedisServer, tmp_path: Path) -> None:
        with placed(forgetful.url, tmp_path) as place:
            place.record(happened(range(20)))
            forgetful.client.save()
            dump = (forgetful.directory / "dump.rdb").read_bytes()
            place.record(happened(range(20, 40)))
            forgetful.client.save()
            forgetful.kill()
            (forgetful.directory / "dump.rdb").write_bytes(dump)
            place.record(happened(range(40, 60)))
            forgetful.start()
            place.wait()
            place.wait_for_counts()

    def test_redis_is_flushed(self, forgetful: RedisServer, tmp_path: Path) -> None:
        """The server stays the same one: its mark alone tells."""
        with placed(forgetful.url, tmp_path) as place:
            place.record(happened(range(20)))
            forgetful.client.flushall()
            place.record(happened(range(20, 40)), one_by_one=True)
            place.wait()
            forgetful.client.flushall()
            place.wait()

    def test_several_processes_share_redis(self, forgetful: RedisServer, tmp_path: Path) -> None:
        with (
            placed(forgetful.url, tmp_path / "1") as one,
            placed(forgetful.url, tmp_path / "2") as two,
        ):
            for number in range(20):
                one.record(happened([number]))
                two.record(happened([number]))
            killed(forgetful)
            one.answered += two.answered
            one.wait()
            one.wait_for_counts()

    def test_lagging_replica_is_promoted(self, tmp_path: Path) -> None:
        with Sentinels() as sentinels:
            old, (new,) = sentinels.master, sentinels.replicas
            begin(old.client, A)
            with placed(sentinels.url, tmp_path) as place:
                place.record(happened(range(20)))
                wait_until("the replica is not in step", sentinels.in_step)
                # From here on the master has what no replica will have.
                new.pause()
                old.client.client_kill_filter(_type="replica")
                place.record(happened(range(20, 60)))
                old.kill()
                new.resume()
                sentinels.wait_for_another(old)
                place.record(happened(range(60, 80)), one_by_one=True)
                place.wait()
                place.wait_for_counts()

    def test_removed_address_is_not_suppressed_again(
        self, forgetful: RedisServer, tmp_path: Path
    ) -> None:
        lists = Suppression(open_store(forgetful.url))
        with placed(forgetful.url, tmp_path) as place:
            place.record(happened(range(2), events.UNSUBSCRIBE))
            assert lists.remove("t100", "r1@example.net")
            forgetful.client.save()
            place.record(happened([2], events.UNSUBSCRIBE))
            killed(forgetful)
            place.wait()
            wait_until("not all are suppressed", lambda: lists.contains("t100", "r2@example.net"))
            assert {each.address for each in lists.entries()} == {
                "r0@example.net", "r2@example.net",
            }  # fmt: skip


class TestCluster:
    """A shard that is away holds up its own campaigns, and no others."""

    @pytest.fixture
    def nodes(self) -> Iterator[list[RedisServer]]:
        with cluster() as running:
            yield running
            for node in running:
                with suppress(Exception):
                    node.resume()

    def test_shard_stops_and_returns(self, nodes: list[RedisServer], tmp_path: Path) -> None:
        look, url = client(nodes), cluster_url(nodes)
        campaigns = [f"{number:012}" for number in range(60)]
        begin(look, *campaigns)
        of_stream = key_slot(keys.EVENTS.encode()) * 3 // 16384
        away = (of_stream + 1) % 3
        with placed(url, tmp_path) as place:

            def click(times: int) -> None:
                for number in range(times):
                    for campaign in campaigns:
                        place.record(happened([number], campaign=campaign))

            click(1)
            nodes[away].pause()
            click(3)
            reachable = [c for c in campaigns if _shard(c) != away]
            assert 0 < len(reachable) < 60
            # The others go on meanwhile.
            place.wait()
            told = statistics_of(url)
            wait_until(
                "the others are not counted",
                lambda: all(told.campaign(each).clicks == 4 for each in reachable),  # type: ignore[union-attr]
            )
            nodes[away].resume()
            click(1)
            place.wait()
            place.wait_for_counts()

    def test_shard_of_the_stream_is_down(self, nodes: list[RedisServer], tmp_path: Path) -> None:
        look, url = client(nodes), cluster_url(nodes)
        campaigns = [f"{number:012}" for number in range(30)]
        begin(look, *campaigns)
        of_stream = key_slot(keys.EVENTS.encode()) * 3 // 16384
        with placed(url, tmp_path) as place:
            for campaign in campaigns:
                place.record(happened([1], campaign=campaign))
            nodes[of_stream].pause()
            for campaign in campaigns:
                place.record(happened([2, 3], campaign=campaign))
            nodes[of_stream].resume()
            place.wait()
            place.wait_for_counts()


def _shard(campaign: str) -> int:
    return key_slot(campaign.encode()) * 3 // 16384


def test_target_that_is_behind_gets_its_events_in_order(redis: RedisServer, tmp_path: Path) -> None:
    """What cannot be written for a while is memory that ends: a state of the server."""
    begin(redis.client, A)
    with placed(redis.url, tmp_path) as place:
        place.record(happened(range(5)))
        redis.client.config_set("maxmemory", 1)
        place.record(happened(range(5, 25)), one_by_one=True)
        redis.client.config_set("maxmemory", 0)
        place.wait()
        place.wait_for_counts()
        assert place.there() == [event.id for event in place.answered]


def test_large_batches_are_split(redis: RedisServer, tmp_path: Path) -> None:
    """On a line that is so slow, or so bad, that a whole batch never gets through."""
    campaigns = [f"{number:012}" for number in range(MOST_AT_ONCE)]
    begin(redis.client, *campaigns)
    batch = [event for name in campaigns for event in happened([1], campaign=name)]
    with CutLine(redis.port, 50_000) as line, placed(line.url, tmp_path) as place:
        place.record(batch)
        wanted = [event.id for event in batch]
        look = EventLog(open_store(redis.url))

        def there() -> list[str]:
            return [json.loads(event)["event_unique_id"] for _, event in look.read("0", 1000)]

        wait_until("not all events are there", lambda: there() == wanted, 60)


def test_targets_that_have_caught_up_are_no_longer_behind(
    redis: RedisServer, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "0", KEPT)
    drain = Drain(journal, EventLog(open_store(redis.url)))
    assert drain.check()
    journal.append(happened(range(3)))
    assert not drain.is_done
    assert drain.step()
    assert drain.is_done
    assert not drain.step()
    assert drain.drained() == 3
