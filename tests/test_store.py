"""Campaigns in a real Redis."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import redis
from fletching.numbering import Numbered, Question, campaign_id
from fletching.store import keys
from fletching.store.campaigns import Campaigns
from fletching.store.connection import Ask, Store, StoreUnavailable
from redis.crc import key_slot

from sandbox import redis_cluster
from sandbox.processes import free_port
from sandbox.redis_server import RedisServer
from tests.stores import PATIENT, open_store, remembered, statistics_of

NOWHERE = Path("/nonexistent")
DAY = 86400
T = TypeVar("T")


@pytest.fixture(scope="module")
def _server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def server(_server: RedisServer) -> RedisServer:
    _server.client.flushall()
    return _server


@pytest.fixture
def campaigns(server: RedisServer) -> Campaigns:
    return Campaigns(open_store(server.url))


def question(sendid: str = "a100525", candidate: str = "aaaaaaaaaaaa", **given: object) -> Question:
    asked: dict[str, object] = {
        "mail_class": "a",
        "instance_id": "100525",
        "monitor": "spring sale",
        "now": 1_700_000_000,
        "window": 21 * DAY,
        "remember": (("email", "r@example.com"), ("listid", "t100")),
        "bounce_memory": 10 * DAY,
        **given,
    }
    return Question(sendid=sendid, candidate=candidate, **asked)  # type: ignore[arg-type]


def until(ask: Callable[[], T], seconds: float = 60) -> T:
    """Asks again and again until the answer is true; the last answer."""
    end = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < end:
        time.sleep(0.02)
    return answer


def test_first_message_opens_a_campaign_that_later_ones_join(
    campaigns: Campaigns,
) -> None:
    assert campaigns.campaign_of(question()) == Numbered("aaaaaaaaaaaa", 1)
    assert campaigns.campaign_of(question(candidate="b" * 12)) == Numbered("aaaaaaaaaaaa", 2)
    assert campaigns.campaign_of(question("b1", "c" * 12)) == Numbered("c" * 12, 1)


def test_second_host_joins_the_campaign_of_the_first(server: RedisServer) -> None:
    here, there = (Campaigns(open_store(server.url)) for _ in range(2))
    assert here.campaign_of(question()) == Numbered("aaaaaaaaaaaa", 1)
    assert there.campaign_of(question(candidate="b" * 12)) == Numbered("aaaaaaaaaaaa", 2)
    assert here.campaign_of(question(candidate="c" * 12)) == Numbered("aaaaaaaaaaaa", 3)


def test_sendids_ignore_case(campaigns: Campaigns) -> None:
    campaigns.campaign_of(question("News7"))
    assert campaigns.campaign_of(question("nEWS7", "b" * 12)) == Numbered("aaaaaaaaaaaa", 2)


def test_campaign_keeps_the_fields_of_its_first_message(
    server: RedisServer, campaigns: Campaigns
) -> None:
    campaigns.campaign_of(question())
    later = {"now": 1_700_000_900, "monitor": "another", "mail_class": "A"}
    campaigns.campaign_of(question("A100525", "b" * 12, **later))
    found = campaigns.campaign("aaaaaaaaaaaa") or {}
    assert 0 <= server.client.time()[0] - int(found.pop("at")) < 60
    assert found == {
        "sendid": "a100525",
        "mail_class": "a",
        "instance_id": "100525",
        "monitor": "spring sale",
        "subject": "",
        "listid": "",
        "opened": "1700000000",
        "number": "2",
        "run": server.client.info("replication")["master_replid"],
    }
    assert campaigns.campaign("b" * 12) is None


def test_window_is_not_extended_by_later_messages(
    server: RedisServer, campaigns: Campaigns
) -> None:
    campaigns.campaign_of(question())
    look, key = server.client, keys.sendid("a100525")
    assert 0 < look.pttl(key) <= 21 * DAY * 1000
    look.pexpire(key, 5 * DAY * 1000)
    campaigns.campaign_of(question())
    Campaigns(open_store(server.url)).campaign_of(question())
    assert look.pttl(key) <= 5 * DAY * 1000


def test_sendid_opens_a_new_campaign_after_its_window(
    server: RedisServer, campaigns: Campaigns
) -> None:
    assert campaigns.campaign_of(question(window=1)) == Numbered("a" * 12, 1)
    assert until(lambda: not server.client.exists(keys.sendid("a100525")))
    assert campaigns.campaign_of(question(window=1, candidate="b" * 12)) == Numbered("b" * 12, 1)
    # The old one's statistics stay.
    assert campaigns.campaign("a" * 12) is not None


def test_campaign_is_kept_after_its_window_and_bounces(
    server: RedisServer, campaigns: Campaigns
) -> None:
    campaigns.campaign_of(question())
    kept = server.client.ttl(keys.campaign("aaaaaaaaaaaa"))
    assert (21 + 10 + 399) * DAY < kept <= (21 + 10 + 400) * DAY
    Campaigns(open_store(server.url), 50 * DAY).campaign_of(question("b1", "b" * 12))
    kept = server.client.ttl(keys.campaign("bbbbbbbbbbbb"))
    assert (21 + 10 + 49) * DAY < kept <= (21 + 10 + 50) * DAY


def test_expired_campaigns_are_removed_from_the_index(server: RedisServer) -> None:
    campaigns, look = Campaigns(open_store(server.url)), server.client
    for place in range(3):
        campaigns.campaign_of(question(f"a{place}", "abc"[place] * 12, now=1_700_000_000 + place))
    look.delete(keys.campaign("bbbbbbbbbbbb"))
    found = statistics_of(server.url).campaigns()
    assert [each.campaign for each in found] == ["c" * 12, "a" * 12]
    assert look.zrange(keys.CAMPAIGNS, 0, -1) == ["a" * 12, "c" * 12]


def test_joining_host_does_not_change_the_start_of_a_campaign(server: RedisServer) -> None:
    Campaigns(open_store(server.url)).campaign_of(question(now=1_700_000_000))
    Campaigns(open_store(server.url)).campaign_of(question(now=1_700_000_900))
    assert server.client.zscore(keys.CAMPAIGNS, "a" * 12) == 1_700_000_000


def _numbers(url: str, name: str, count: int, start: object, answers: object) -> None:
    campaigns = Campaigns(open_store(url))
    start.wait()  # type: ignore[attr-defined]
    got = [campaigns.campaign_of(question(candidate=f"{name:a<12}")) for _ in range(count)]
    answers.put(got)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_concurrent_hosts_open_one_campaign_with_unique_numbers(server: RedisServer) -> None:
    spawn = multiprocessing.get_context("spawn")
    hosts, each = 8, 50
    start, answers = spawn.Barrier(hosts), spawn.Queue()
    running = [
        spawn.Process(target=_numbers, args=(server.url, "abcdefgh"[i], each, start, answers))
        for i in range(hosts)
    ]
    for process in running:
        process.start()
    got = [numbered for _ in running for numbered in answers.get(timeout=60)]
    for process in running:
        process.join()
    assert None not in got
    assert len({numbered.campaign for numbered in got}) == 1
    assert sorted(numbered.number for numbered in got) == list(range(1, hosts * each + 1))


def test_threads_of_one_process_get_unique_numbers(campaigns: Campaigns) -> None:
    got: list[Numbered | None] = []
    threads = [
        threading.Thread(
            target=lambda: got.extend(campaigns.campaign_of(question()) for _ in range(20))
        )
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(n.number for n in got if n) == list(range(1, 321))


def test_bounce_records_are_stored_in_blocks_of_64(
    server: RedisServer, campaigns: Campaigns
) -> None:
    for number in range(1, 131):
        campaigns.campaign_of(question(remember=(("email", f"r{number}@example.com"),)))
    store = open_store(server.url)
    for number in (1, 63, 64, 65, 128, 130):
        found = remembered(store, "a" * 12, number)
        assert found == {"email": f"r{number}@example.com"}
    assert remembered(store, "a" * 12, 131) == {}
    assert remembered(store, "b" * 12, 1) == {}
    blocks = sorted(server.client.keys("*:bounces:*"))
    assert blocks == [f"{keys.bounces('a' * 12)}{block}" for block in (0, 1, 2)]
    assert server.client.lindex(blocks[0], 4) == '5 {"email":"r5@example.com"}'


def test_bounce_records_are_found_around_messages_without_one(
    server: RedisServer, campaigns: Campaigns
) -> None:
    """Privacy, or no VERP: the records around it are found all the same."""
    store = open_store(server.url)
    with_record = [number for number in range(1, 200) if number % 3 and not 60 <= number <= 140]
    for number in range(1, 200):
        remember = (("email", f"r{number}@example.com"),) if number in with_record else ()
        campaigns.campaign_of(question(remember=remember))
    for number in range(200):
        found = remembered(store, "a" * 12, number)
        assert found == ({"email": f"r{number}@example.com"} if number in with_record else {})


def test_each_write_renews_the_expiry_of_bounce_records(
    server: RedisServer, campaigns: Campaigns
) -> None:
    campaigns.campaign_of(question())
    look, key = server.client, f"{keys.bounces('a' * 12)}0"
    assert 9 * DAY < look.ttl(key) <= 10 * DAY
    look.expire(key, 100)
    campaigns.campaign_of(question())
    assert look.ttl(key) > 9 * DAY


def test_message_with_nothing_to_remember_has_no_bounce_record(
    server: RedisServer, campaigns: Campaigns
) -> None:
    campaigns.campaign_of(question(remember=()))
    assert server.client.keys("*:bounces:*") == []
    assert remembered(open_store(server.url), "a" * 12, 1) == {}


@pytest.mark.parametrize(
    "text", ["", "\udcff\udc80", "ünïcode ☃", 'q"uo\\te', "line\nend\0", "}{"], ids=ascii
)
def test_any_text_is_returned_unchanged(
    server: RedisServer, campaigns: Campaigns, text: str
) -> None:
    campaigns.campaign_of(question(monitor=text, remember=(("click_tracking_id", text),)))
    found = campaigns.campaign("aaaaaaaaaaaa")
    assert found is not None
    assert found["monitor"] == text
    found = remembered(open_store(server.url), "a" * 12, 1)
    assert found == ({"click_tracking_id": text} if text else {})


def test_number_costs_one_round_trip(server: RedisServer, campaigns: Campaigns) -> None:
    campaigns.campaign_of(question())
    look = server.client
    before = look.info("commandstats")
    for _ in range(100):
        campaigns.campaign_of(question())
    after = look.info("commandstats")
    # What a script does inside counts here too, but under the names of those commands.
    inside = {"hmget", "time", "info", "hset", "rpush", "expire"}
    new_calls = {
        name: calls
        for name in {key.removeprefix("cmdstat_") for key in after} - inside
        if (calls := _calls(after, name) - _calls(before, name))
    }
    assert new_calls == {"evalsha": 100}


def _calls(statistics: dict[str, dict[str, int]], command: str) -> int:
    return statistics.get(f"cmdstat_{command}", {"calls": 0})["calls"]


def test_scripts_are_loaded_again_after_script_flush(
    server: RedisServer, campaigns: Campaigns
) -> None:
    campaigns.campaign_of(question())
    server.client.script_flush()
    assert campaigns.campaign_of(question()) == Numbered("aaaaaaaaaaaa", 2)


def test_campaign_that_loses_a_race_is_deleted(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another host's SendID is there between the look and the opening."""
    first, second = Campaigns(open_store(server.url)), Campaigns(open_store(server.url))
    begin = second._create

    def late(ask: Ask, candidate: str, asked: Question) -> None:
        begin(ask, candidate, asked)
        assert first.campaign_of(question()) == Numbered("a" * 12, 1)

    monkeypatch.setattr(second, "_create", late)
    assert second.campaign_of(question(candidate="b" * 12)) == Numbered("a" * 12, 2)
    assert server.client.keys("*bbbb*") == []


def test_outage_and_recovery_are_logged_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with RedisServer() as own:
        store = open_store(own.url)
        campaigns = Campaigns(store)
        assert campaigns.campaign_of(question()) is not None
        own.stop()
        assert [campaigns.campaign_of(question()) for _ in range(5)] == [None] * 5
        with pytest.raises(StoreUnavailable):
            store.ping()
        with pytest.raises(StoreUnavailable):
            campaigns.campaign("a" * 12)
        own.start()
        numbered = campaigns.campaign_of(question())
        assert numbered is not None
        assert numbered.campaign == "aaaaaaaaaaaa"
        campaigns.campaign_of(question())
    logged = capfd.readouterr().err
    assert logged.count("redis_unavailable") == 1
    assert logged.count("redis_available") == 1


def test_idle_connections_that_were_closed_fail_no_mail(
    server: RedisServer, campaigns: Campaigns
) -> None:
    campaigns.campaign_of(question())
    for number in range(2, 7):
        _ask(server.client, "CLIENT KILL TYPE normal SKIPME yes")
        assert campaigns.campaign_of(question()) == Numbered("aaaaaaaaaaaa", number)


def test_number_of_connections_is_limited(server: RedisServer, campaigns: Campaigns) -> None:
    before = server.client.info("clients")["connected_clients"]
    for place in range(100):
        campaigns.campaign_of(question(f"a{place}", campaign_id(place, bytes(4))))
    assert server.client.info("clients")["connected_clients"] <= before + 17


def test_frozen_redis_gives_no_number_in_time(capfd: pytest.CaptureFixture[str]) -> None:
    with RedisServer() as own:
        campaigns = Campaigns(open_store(own.url))
        campaigns.campaign_of(question())
        own.daemon.signal(signal.SIGSTOP)
        try:
            got: list[Numbered | None] = []
            threads = [
                threading.Thread(target=lambda: got.append(campaigns.campaign_of(question())))
                for _ in range(50)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert got == [None] * 50
        finally:
            own.daemon.signal(signal.SIGCONT)
        assert until(lambda: campaigns.campaign_of(question()))
    assert capfd.readouterr().err.count("redis_unavailable") == 1


def test_hanging_name_server_gives_no_number_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered = threading.Event(), threading.Event()

    def hangs(*_: object, **__: object) -> list[object]:
        asked.set()
        answered.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    campaigns = Campaigns(open_store("redis://redis.example.com:6379/0"))
    try:
        assert campaigns.campaign_of(question()) is None
        assert asked.is_set()
    finally:
        answered.set()


@contextlib.contextmanager
def dripping() -> Iterator[int]:
    """A server that answers each command with one octet at a time and never ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                while not ended.wait(0.05):
                    connection.send(b"+")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            thread.join()


def test_server_that_answers_byte_by_byte_gives_no_number_in_time() -> None:
    with dripping() as port:
        campaigns = Campaigns(open_store(f"redis://127.0.0.1:{port}/0"))
        assert campaigns.campaign_of(question()) is None


@pytest.mark.parametrize("command", ["replicaof 127.0.0.1 1", "maxmemory 1"])
def test_redis_that_refuses_writes_gives_no_number(server: RedisServer, command: str) -> None:
    with RedisServer(command) as own:
        assert Campaigns(open_store(own.url)).campaign_of(question()) is None


def test_key_of_the_wrong_type_gives_no_number(server: RedisServer, campaigns: Campaigns) -> None:
    server.client.hset(keys.sendid("a100525"), "not", "ours")
    assert campaigns.campaign_of(question()) is None


def test_url_selects_socket_password_and_database() -> None:
    with RedisServer("unixsocketperm 700", password="s3cret/x") as own:
        password = "s3cret%2Fx"
        urls = [
            f"redis://:{password}@127.0.0.1:{own.port}/3",
            f"unix://:{password}@{own.socket}?db=3",
        ]
        assert [Campaigns(open_store(url)).campaign_of(question()) for url in urls] == [
            Numbered("aaaaaaaaaaaa", 1),
            Numbered("aaaaaaaaaaaa", 2),
        ]
        assert Campaigns(open_store(own.url)).campaign_of(question()) is None


def test_embedded_redis_is_a_socket_in_the_state_directory(
    server: RedisServer, tmp_path: Path
) -> None:
    campaigns = Campaigns(Store("embedded", tmp_path, PATIENT))
    assert campaigns.campaign_of(question()) is None
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "redis.sock").symlink_to(server.socket)
    assert campaigns.campaign_of(question()) == Numbered("aaaaaaaaaaaa", 1)


def test_numbers_come_from_the_master_that_sentinels_name() -> None:
    with RedisServer() as master, RedisServer() as second:
        monitor = f"sentinel monitor mails 127.0.0.1 {master.port} 1"
        with RedisServer(monitor, sentinel=True) as sentinel:
            url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/mails/2"
            campaigns = Campaigns(open_store(url))
            assert campaigns.campaign_of(question()) == Numbered("aaaaaaaaaaaa", 1)
            look = redis.Redis(port=master.port, db=2)
            assert look.exists(keys.campaign("aaaaaaaaaaaa"))
            # A failover: the sentinel names another server, and the first one is gone.
            at = redis.Redis(port=sentinel.port)
            _ask(at, "SENTINEL REMOVE", "mails")
            _ask(at, "SENTINEL MONITOR", "mails", "127.0.0.1", second.port, 1)
            master.stop()
            other = question("b100525", candidate="b" * 12)
            assert until(lambda: campaigns.campaign_of(other)) == Numbered("b" * 12, 1)


def test_service_unknown_to_the_sentinels_gives_no_number() -> None:
    with RedisServer("sentinel monitor mails 127.0.0.1 1 1", sentinel=True) as sentinel:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/other"
        assert Campaigns(open_store(url)).campaign_of(question()) is None


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[RedisServer]]:
    with redis_cluster.cluster() as nodes:
        yield nodes


def _ask(client: redis.Redis, *words: object) -> object:
    """A command that redis-py has no method for."""
    return client.execute_command(*words)  # type: ignore[no-untyped-call]


def test_cluster_keeps_a_campaign_on_one_node(cluster: list[RedisServer]) -> None:
    store = open_store(redis_cluster.cluster_url(cluster))
    campaigns = Campaigns(store)
    for number in range(30):
        name = campaign_id(number, bytes(4))
        asked = question(f"a{number}", name)
        assert campaigns.campaign_of(asked) == Numbered(name, 1)
        assert campaigns.campaign_of(asked) == Numbered(name, 2)
        assert remembered(store, name, 2) == dict(asked.remember)
    store.ping()
    found = [str(key) for node in cluster for key in node.client.keys("*")]
    # SendID, campaign and bounces of each, and the one index.
    assert len(found) == 30 * 3 + 1
    assert all(node.client.dbsize() for node in cluster)


def test_keys_that_messages_create_are_in_one_slot(
    server: RedisServer, campaigns: Campaigns
) -> None:
    for _ in range(70):
        campaigns.campaign_of(question())
    everything = map(str, server.client.keys("*"))
    found = [key for key in everything if re.search(":(campaign|bounces):", key)]
    assert len(found) == 3
    assert len({key_slot(key.encode()) for key in found}) == 1
