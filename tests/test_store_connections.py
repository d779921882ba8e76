"""How many connections a worker process keeps to a real Redis: all its parts share one pool."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fletching.events import UNSUBSCRIBE
from fletching.store import keys
from fletching.store.clock import Clock
from fletching.store.durability import durability
from fletching.store.events import EventLog
from fletching.store.lease import Lease
from fletching.store.sent import Sent
from fletching.store.statistics import Statistics
from fletching.store.suppression import Suppression
from fletching.store.touches import Touches
from fletching.store.trial import refused
from fletching.store.warnings import Warnings
from fletching.tokens import Facts

from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from tests.courier_setting import event
from tests.milter_daemon import ACCEPT, MilterDaemon, header
from tests.stores import measured, open_store
from tests.test_web import Web

pytestmark = pytest.mark.slow

# Each mail takes a number, makes an event, has warnings, and is counted as sent.
MILTER = """
default_mail_class: news
mail_classes: {news: {list_id: t100}}
events: {destinations: [{name: log, file: events, types: [message_prepared]}]}
"""
FIELDS = header("From", "app@example.com"), header("X-GreenArrow-MtaID", "nobody")


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


def connections(redis: RedisServer) -> int:
    """Those of the daemon, which uses the TCP port; tests use the Unix socket."""
    return sum(client["addr"].startswith("127.0.0.1:") for client in redis.client.client_list())


def test_milter_worker_keeps_one_connection_for_numbers_and_one_for_the_rest(
    redis: RedisServer,
) -> None:
    with MilterDaemon(redis.url, MILTER) as milter:
        for _ in range(3):
            assert milter.mail(*FIELDS).replies == [ACCEPT]
            milter.rest()
        assert connections(redis) == 2


def test_web_worker_keeps_one_connection_for_each_thread_that_writes(
    redis: RedisServer, tmp_path: Path
) -> None:
    web = Web(tmp_path, redis.url, {"workers": 1})
    web.start()
    try:
        for number in range(3):
            assert web.ask("GET", f"/click?{web.token(number=number)}")[0] == 302
        wait_until("no events", lambda: redis.client.xlen(keys.EVENTS) == 3)
        # One thread writes events as they come, another what is left in the journal, and the
        # dashboard's process reports the health of this host.
        assert 1 <= connections(redis) <= 3
    finally:
        web.daemon.stop()


def test_all_parts_of_the_store_use_one_connection_in_turn(redis: RedisServer) -> None:
    store = open_store(redis.url)
    Touches(store).add({"a:1": "first\n"})
    log = EventLog(store)
    log.create_group("shop", "0")
    log.append([event(1), event(2, UNSUBSCRIBE)])
    assert len(log.take("shop", "one", 10, 10)) == 2
    assert Suppression(store).lists() == ["t100"]
    assert Lease(store, "shop").acquire()
    assert Clock(store).read().jumps == ()
    Warnings(store).count("a" * 12, {"a warning": 1})
    sent = Sent(store)
    sent.add(Facts("a" * 12, 1, "news", "1", "t100", "", "", "a", 1))
    sent.write()
    assert Statistics(store, measured).campaigns() == ()
    assert refused(store) == ()
    assert len(durability(store)) == 1
    assert connections(redis) == 1
