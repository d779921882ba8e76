"""Connections to real servers: after which errors one is closed, and who answers next."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fletching.store.connection import (
    TROUBLE,
    IdleConnections,
    Store,
    StoreUnavailable,
    ask_together,
    borrowed,
)
from redis import Redis

from sandbox.redis_sentinels import SERVICE, ask
from sandbox.redis_server import RedisServer
from tests.stores import open_store

NOWHERE = Path("/nonexistent")
DEBUG = "enable-debug-command local"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(DEBUG) as running:
        yield running


@pytest.fixture(scope="module")
def sentinel(server: RedisServer) -> Iterator[RedisServer]:
    monitor = (
        f"sentinel monitor {SERVICE} 127.0.0.1 {server.port} 1",
        f"sentinel down-after-milliseconds {SERVICE} 600000",
    )
    with RedisServer(*monitor, sentinel=True) as running:
        yield running


@pytest.fixture(params=["tcp", "unix", "sentinel"])
def connection(request: pytest.FixtureRequest, server: RedisServer) -> Store:
    """To the same server in each of the ways there are, with the limits of the daemons."""
    urls = {"tcp": server.url, "unix": f"unix://{server.socket}"}
    if request.param == "sentinel":
        sentinel: RedisServer = request.getfixturevalue("sentinel")
        urls["sentinel"] = f"redis+sentinel://127.0.0.1:{sentinel.port}/{SERVICE}"
    return Store(urls[request.param], NOWHERE)


Ask = Callable[[Store, tuple[Any, ...]], Any]


def by_client(connection: Store, words: tuple[Any, ...]) -> Any:
    return connection.ask(lambda client: client.execute_command(*words))


def by_line(connection: Store, words: tuple[Any, ...]) -> Any:
    line = IdleConnections(connection).open()
    assert line is not None
    with borrowed(line):
        return line.ask(*words)


def together(connection: Store, words: tuple[Any, ...]) -> Any:
    """The first of three answers comes before the trouble, the last one is never read."""
    commands = [("ECHO", "first"), words, ("ECHO", "last")]
    answer = connection.ask(lambda client: ask_together(client, commands))[1]
    if isinstance(answer, Exception):
        raise answer
    return answer


ways = pytest.mark.parametrize("way", [by_client, by_line, together])


def id_of(connection: Store, way: Ask) -> int:
    return int(way(connection, ("CLIENT", "ID")))


@ways
def test_connection_is_kept_after_an_answer(connection: Store, way: Ask) -> None:
    assert id_of(connection, way) == id_of(connection, way)


@ways
def test_connection_is_closed_after_a_time_out(
    server: RedisServer, connection: Store, way: Ask
) -> None:
    before = id_of(connection, way)
    with pytest.raises((StoreUnavailable, *TROUBLE)):
        way(connection, ("DEBUG", "SLEEP", "0.6"))
    assert server.client.ping()
    # What comes late is not the answer to this.
    assert way(connection, ("ECHO", "mine")) == "mine"
    assert id_of(connection, way) != before
    assert not ask(server.client, "CLIENT LIST ID", before)


class Interrupted(Exception):
    """Not Redis' own."""


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@ways
def test_connection_is_closed_after_an_interruption(
    server: RedisServer, connection: Store, way: Ask
) -> None:
    before = id_of(connection, way)
    with pytest.raises(Interrupted), interrupted_after(0.05):
        way(connection, ("DEBUG", "SLEEP", "0.2"))
    assert server.client.ping()
    assert way(connection, ("ECHO", "mine")) == "mine"
    assert not ask(server.client, "CLIENT LIST ID", before)


@contextmanager
def demoted(server: RedisServer) -> Iterator[None]:
    ask(server.client, "REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        ask(server.client, "REPLICAOF", "NO", "ONE")


@contextmanager
def demoted_without_data(server: RedisServer) -> Iterator[None]:
    server.client.config_set("replica-serve-stale-data", "no")
    with demoted(server):
        yield
    server.client.config_set("replica-serve-stale-data", "yes")


@contextmanager
def without_replicas(server: RedisServer) -> Iterator[None]:
    server.client.config_set("min-replicas-to-write", "1")
    yield
    server.client.config_set("min-replicas-to-write", "0")


_LUA = ("EVAL", "return redis.call('SET', KEYS[1], 1)", 1, "a")


@pytest.mark.parametrize("words", [("SET", "a", "1"), _LUA], ids=["command", "script"])
@pytest.mark.parametrize("state", [demoted, demoted_without_data, without_replicas])
@ways
def test_connection_is_closed_after_an_answer_that_is_not_a_masters(
    server: RedisServer,
    way: Ask,
    state: Callable[[RedisServer], Any],
    words: tuple[Any, ...],
) -> None:
    connection = open_store(server.url)
    before = id_of(connection, way)
    with state(server):
        with pytest.raises((StoreUnavailable, *TROUBLE)):
            way(connection, words)
        assert not ask(server.client, "CLIENT LIST ID", before)
    assert way(connection, words)


@pytest.mark.parametrize(
    ("option", "value"), [("maxmemory", "1"), ("requirepass", "other")], ids=["full", "password"]
)
def test_refused_write_raises_and_the_next_one_succeeds(option: str, value: str) -> None:
    with RedisServer() as own:
        connection = open_store(own.url)
        connection.ask(lambda client: client.set("a", 1))
        own.client.config_set(option, value)
        look = Redis(port=own.port, password=value if option == "requirepass" else None)
        ask(look, "CLIENT KILL TYPE normal SKIPME yes")
        with pytest.raises(StoreUnavailable):
            connection.ask(lambda client: client.set("a", 2))
        look.config_set(option, "0" if option == "maxmemory" else "")
        connection.ask(lambda client: client.set("a", 3))
