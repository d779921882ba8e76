"""Behind sentinels: a client follows the master, and nothing goes to one that was it."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fletching.store import sentinels as sentinels_module
from fletching.store.connection import TROUBLE, IdleConnections, StoreUnavailable, borrowed
from fletching.store.sentinels import Master

from sandbox.processes import wait_until
from sandbox.redis_sentinels import SERVICE, Sentinels, ask
from sandbox.redis_server import RedisServer
from tests.stores import open_store

pytestmark = pytest.mark.slow

NOWHERE = Path("/nonexistent")
KEY = "n"


def by_line(url: str) -> Callable[[], bool]:
    """Counts on a line that stays open, as the milter does."""
    lines = IdleConnections(open_store(url))

    def count() -> bool:
        try:
            line = lines.take() or lines.open()
            assert line is not None
            with borrowed(line, lines.keep):
                line.ask("INCR", KEY)
        except TROUBLE:
            return False
        return True

    return count


def by_client(url: str) -> Callable[[], bool]:
    """Counts on a connection of the pool, as all others do."""
    connection = open_store(url)

    def count() -> bool:
        try:
            connection.ask(lambda client: client.incr(KEY))
        except StoreUnavailable:
            return False
        return True

    return count


def counted(server: RedisServer) -> int:
    return int(server.client.get(KEY) or 0)


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    """A new set for each test: one takes 20 seconds to come to rest after a failover."""
    with Sentinels(replicas=2) as running:
        yield running


ways = pytest.mark.parametrize("way", [by_line, by_client])


@ways
def test_nothing_is_written_to_the_old_master_after_a_planned_failover(
    sentinels: Sentinels, way: Callable[[str], Callable[[], bool]]
) -> None:
    count, old = way(sentinels.url), sentinels.master
    assert count()
    sentinels.order_failover()
    wait_until("it stays with the old master", lambda: count() and sentinels.master is not old)
    wait_until("it does not follow", lambda: count() and counted(sentinels.master) > counted(old))
    before = counted(old)
    assert all(count() for _ in range(100))
    # The old one would have taken them.
    assert old.client.info("replication")["role"] == "master"
    assert counted(old) == before


def sleep(server: RedisServer) -> None:
    """DEBUG SLEEP: it hangs for longer than a failover takes, and then goes on."""
    client = server.client
    connection: Any = client.connection_pool.get_connection()
    connection.send_command("DEBUG", "SLEEP", "6")


def wake(server: RedisServer) -> None:
    """However it was hurt, it answers."""
    if server.running:
        server.resume()
        wait_until("it does not wake", lambda: bool(server.client.ping()))
    else:
        server.start()


@ways
@pytest.mark.parametrize("hurt", [RedisServer.kill, RedisServer.pause, sleep])
def test_old_master_gets_no_writes_when_it_returns(
    sentinels: Sentinels,
    way: Callable[[str], Callable[[], bool]],
    hurt: Callable[[RedisServer], None],
) -> None:
    count, old = way(sentinels.url), sentinels.master
    assert count()
    # All of the old one's connections: those that are idle now are open when it wakes.
    hurt(old)
    sentinels.wait_for_another(old)
    wait_until("it does not follow", count)
    # It comes back as the master that it was, and the sentinels let it be one for ten seconds.
    wake(old)
    new, before = sentinels.master, counted(sentinels.master)
    assert all(count() for _ in range(100))
    assert counted(new) == before + 100


def test_sentinel_is_used_again_after_an_outage(sentinels: Sentinels) -> None:
    count = by_client(sentinels.url)
    for sentinel in sentinels.sentinels:
        assert count()
        sentinel.kill()
        assert count()
        sentinel.start()
    wait_until("the sentinels do not find each other", sentinels.at_rest)
    old = sentinels.failover()
    wait_until("it does not follow", lambda: count() and counted(old) == counted(sentinels.master))


def test_clients_work_without_any_sentinel(sentinels: Sentinels) -> None:
    count = by_line(sentinels.url)
    assert count()
    for sentinel in sentinels.sentinels:
        sentinel.pause()
    try:
        assert all(count() for _ in range(10))
        ask(sentinels.master_of_itself.client, "CLIENT KILL TYPE normal SKIPME yes")
        wait_until("it does not connect again", count)
    finally:
        for sentinel in sentinels.sentinels:
            sentinel.resume()


def test_answer_with_the_highest_epoch_wins() -> None:
    """The others hear of a failover later than the sentinel that carries it out."""
    master = Master([], SERVICE)
    old, new = ("10.0.0.1", 6379), ("10.0.0.2", 6379)
    master.store_answer(0, (5, old))
    term = master.term
    master.store_answer(1, (6, new))
    assert master.term == term + 1
    master.store_answer(0, (5, old))
    assert master.term == term + 1
    master.store_answer(0, (6, new))
    assert master.term == term + 1


def test_answer_of_a_silent_sentinel_expires() -> None:
    master = Master([], SERVICE)
    master.store_answer(0, (5, ("10.0.0.1", 6379)))
    master.store_answer(1, (0, ("10.0.0.2", 6379)))
    term = master.term
    master.drop_answer(0)
    assert master.term == term + 1
    master.drop_answer(1)
    assert master.term == term + 1


# One server behind one sentinel


@pytest.fixture
def lone() -> Iterator[tuple[RedisServer, str]]:
    """A master, and the URL of a sentinel that never interferes."""
    with RedisServer() as master:
        monitor = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 1",
            f"sentinel down-after-milliseconds {SERVICE} 600000",
        )
        with RedisServer(*monitor, sentinel=True) as sentinel:
            yield master, f"redis+sentinel://127.0.0.1:{sentinel.port}/{SERVICE}"


def test_connection_leaves_a_master_that_is_demoted_by_hand(lone: tuple[RedisServer, str]) -> None:
    master, url = lone
    connection = open_store(url)
    connection.ask(lambda client: client.get(KEY))
    ask(master.client, "REPLICAOF", "127.0.0.1", "1")

    def left() -> bool:
        try:
            connection.ask(lambda client: client.get(KEY))
        except StoreUnavailable as away:
            return "is no longer a master" in str(away)
        return False

    # Within a second a read may still go there.
    wait_until("it reads from a replica", left)
    ask(master.client, "REPLICAOF", "NO", "ONE")
    connection.ask(lambda client: client.set(KEY, 1))


def test_user_without_the_right_to_role_is_served(lone: tuple[RedisServer, str]) -> None:
    master, url = lone
    words = ("ACL SETUSER", "crm", "on", ">pw", "~*", "+@all", "-role")
    ask(master.client, *words)
    count = by_line(url.replace("//", "//crm:pw@"))
    assert count()
    time.sleep(1.1)  # a connection has to ask again after a second
    assert count()


def listening() -> int:
    return sum(thread.name.startswith("sentinel-") for thread in threading.enumerate())


def test_one_thread_per_sentinel_runs_while_the_store_is_in_use(
    lone: tuple[RedisServer, str],
) -> None:
    gc.collect()
    wait_until("threads of other tests go on", lambda: not listening())
    _, url = lone
    store = open_store(url)
    lines = IdleConnections(store)
    assert listening() == 0
    line = lines.open()
    assert line is not None
    line.release()
    store.ping()
    assert listening() == 1
    del store, lines, line
    gc.collect()
    wait_until("a thread goes on for nobody", lambda: not listening())


@pytest.mark.parametrize(
    ("query", "why"),
    [
        pytest.param("", "unknown command 'SENTINEL'", id="no sentinel"),
        pytest.param("?sentinel_password=wrong", "AUTH <password> called", id="wrong password"),
    ],
)
def test_error_quotes_the_answer_of_a_sentinel(query: str, why: str) -> None:
    with RedisServer() as server:
        url = f"redis+sentinel://127.0.0.1:{server.port}/{SERVICE}{query}"
        with pytest.raises(
            StoreUnavailable, match=f"no sentinel reports a master for {SERVICE}: {why}"
        ):
            open_store(url).ask(lambda client: client.ping())


def test_listening_thread_survives_unexpected_errors(
    lone: tuple[RedisServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would hear of the next failover."""
    answer, calls = sentinels_module._answer, []

    def strange(*arguments: Any) -> Any:
        if threading.current_thread().name.startswith("sentinel-"):
            calls.append(arguments)
            raise ValueError("not what a sentinel says")
        return answer(*arguments)

    monkeypatch.setattr(sentinels_module, "_answer", strange)
    connection = open_store(lone[1])
    connection.ask(lambda client: client.ping())
    wait_until("it does not ask again", lambda: len(calls) > 1)


def test_no_thread_runs_without_sentinels() -> None:
    gc.collect()
    wait_until("threads of other tests go on", lambda: not listening())
    with RedisServer() as server:
        open_store(server.url).ask(lambda client: client.ping())
        assert listening() == 0


def test_forked_child_starts_its_own_threads(lone: tuple[RedisServer, str]) -> None:
    _, url = lone
    connection = open_store(url)
    connection.ask(lambda client: client.ping())
    child = os.fork()
    if child == 0:
        try:
            connection.ask(lambda client: client.ping())
            os._exit(0 if listening() == 1 else 2)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
