"""A client of Redis from the URL in the configuration.

Here lives what the URLs mean and how long a socket may wait. No key and no command is known here.
Nothing connects before the first command: a daemon starts while Redis is away.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

from redis import ConnectionPool, Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

Client: TypeAlias = "Redis | RedisCluster"
T = TypeVar("T")

Ask = Callable[..., Any]
"""Sends one command, in words, and gives its answer. Raises `TROUBLE`."""

TROUBLE = (RedisError, RedisClusterException, OSError)
"""What redis-py raises where Redis is away, slow, or in no state to answer."""

SOCKET_TIMEOUT = 0.25

_KEPT = 16

# What redis-py would say with every new connection, each in a round trip of its own.
_QUIET: dict[str, Any] = {"protocol": 2, "driver_info": None}
_TEXT: dict[str, Any] = {"decode_responses": True, "encoding_errors": "surrogateescape"}


class StoreAway(Exception):
    """Redis did not answer; the message says why."""


def embedded_socket(state_dir: Path) -> Path:
    """Where the private redis-server of `redis: embedded` listens."""
    return state_dir / "redis" / "redis.sock"


class Connection:
    """The client of one URL; any number of threads may use it."""

    def __init__(self, url: str, state_dir: Path) -> None:
        self._make = _maker(url, state_dir)
        self._made: Client | None = None
        self._making = threading.Lock()

    def client(self) -> Client:
        """The client, made at the first call: a cluster's asks the cluster for its nodes."""
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made

    def ask(self, question: Callable[[Any], T]) -> T:
        """The answer to a question to the client. Raises StoreAway."""
        try:
            return question(self.client())
        except TROUBLE as error:
            raise StoreAway(str(error) or type(error).__name__) from error


class Line:
    """One open connection, one caller's at a time: it asks without the client's care round it."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._connection: Any = pool.get_connection()

    def ask(self, *command: Any) -> Any:
        """The answer to a command; each wait for a part of it has `SOCKET_TIMEOUT`."""
        self._connection.send_command(*command)
        return self._connection.read_response()

    def release(self) -> None:
        """It is the pool's again, which tries a connection before it gives it to anybody."""
        self._pool.release(self._connection)

    def close(self) -> None:
        """It has failed. The pool opens the connection anew before it gives it to anybody."""
        self._connection.disconnect()
        self.release()


class Lines:
    """Lines to the server of one URL that stay open; to a cluster there are none."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._idle: deque[Line] = deque()

    def idle(self) -> Line | None:
        """A line that is open and nobody's, the last one used first; None where there is none."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def open(self) -> Line | None:
        """A line from the pool: it may have to be made, which may take long."""
        client = self._connection.client()
        return Line(client.connection_pool) if isinstance(client, Redis) else None

    def keep(self, line: Line) -> None:
        """It works, and is nobody's again."""
        if len(self._idle) < _KEPT:
            self._idle.append(line)
        else:
            line.release()


def _maker(url: str, state_dir: Path) -> Callable[[], Client]:
    if url == "embedded":
        path = str(embedded_socket(state_dir))
        return lambda: Redis(unix_socket_path=path, **_options())
    scheme, mark, rest = url.partition("://")
    if not mark:
        raise ValueError("not a Redis URL")
    if scheme == "redis+sentinel":
        return lambda: _behind_sentinels(rest)
    if scheme == "redis+cluster":
        return lambda: _cluster(rest)
    return lambda: Redis.from_url(url, **_options())


def _behind_sentinels(rest: str) -> Redis:
    """`[user:password@]host:port,host:port/service[/db]`; the credentials are the master's."""
    credentials, nodes, path = _split(rest)
    service, _, database = path.partition("/")
    sentinels = Sentinel(nodes, sentinel_kwargs=_options())  # type: ignore[no-untyped-call]
    options = {"db": int(database or 0), **credentials, **_options()}
    master: Redis = sentinels.master_for(service, **options)  # type: ignore[no-untyped-call]
    return master


def _cluster(rest: str) -> RedisCluster:
    """`[user:password@]host:port,host:port`"""
    credentials, nodes, _ = _split(rest)
    start = [ClusterNode(host, port) for host, port in nodes]  # type: ignore[no-untyped-call]
    return RedisCluster(startup_nodes=start, **{**credentials, **_options()})


def _split(rest: str) -> tuple[dict[str, str], list[tuple[str, int]], str]:
    before, mark, behind = rest.rpartition("@")
    user, _, password = before.partition(":")
    credentials = {"username": unquote(user), "password": unquote(password)} if mark else {}
    hosts, _, path = behind.partition("/")
    return {k: v for k, v in credentials.items() if v}, [_node(h) for h in hosts.split(",")], path


def _node(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "", parts.port or 6379


def _options() -> dict[str, Any]:
    """No retries: the one who asks has 300 ms, and the mail's sender tries again."""
    return {
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": SOCKET_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        **_QUIET,
        **_TEXT,
    }
