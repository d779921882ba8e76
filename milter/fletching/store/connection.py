"""The one client of Redis that a process has, made from the URL in the configuration.

Here lives what the URLs mean and how long Redis may take. No key is known here.
Nothing connects before the first command: a daemon starts while Redis is away.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from redis import ConnectionPool, CredentialProvider, Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError, RedisClusterException, RedisError, ResponseError
from redis.retry import Retry

from fletching.config.redis_url import Credentials, RedisUrl, parse
from fletching.store.sentinels import Master
from fletching.store.sockets import (
    MasterConnection,
    MasterTlsConnection,
    TcpConnection,
    TlsConnection,
    UnixConnection,
    read_tickets,
)

Client: TypeAlias = "Redis | RedisCluster"
T = TypeVar("T")

Ask = Callable[..., Any]
"""Sends one command, in words, and gives its answer. Raises `TROUBLE`."""

TROUBLE = (RedisError, RedisClusterException, OSError)
"""What redis-py raises where Redis is away, slow, or in no state to answer."""

_KEPT = 16
_MOST_CONNECTIONS = 1024
"""Threads of a process that may use Redis at the same time. redis-py's own limit is 100."""

# What redis-py would say with every new connection, each in a round trip of its own.
_QUIET: dict[str, Any] = {"protocol": 2, "driver_info": None}
_TEXT: dict[str, Any] = {"decode_responses": True, "encoding_errors": "surrogateescape"}


class StoreAway(Exception):
    """Redis did not answer; the message says why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long Redis may take, in seconds.

    ``answer``: to give a mail its number, whatever that takes. ``socket``: to connect, and to send
    each part of an answer.
    """

    answer: float = 0.3
    socket: float = 0.25


OF_THE_DAEMONS = Limits()


def embedded_socket(state_dir: Path) -> Path:
    """Where the private redis-server of `redis: embedded` listens."""
    return state_dir / "redis" / "redis.sock"


class Store:
    """The Redis of one URL: one client and one pool of connections for a whole process.

    Any number of threads may use it. A process that forks makes it after that.
    """

    def __init__(self, url: str, state_dir: Path, limits: Limits = OF_THE_DAEMONS) -> None:
        self.limits = limits
        self._make = _maker(url, state_dir, limits)
        self._made: Client | None = None
        self._making = threading.Lock()

    def client(self) -> Client:
        """The client, made at the first call: a cluster's asks the cluster for its nodes."""
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made

    def ping(self) -> None:
        """Raises StoreAway where Redis does not answer."""
        self.ask(lambda client: client.ping())

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

    @property
    def ready(self) -> bool:
        """Whether a question goes out at once; else it may take longer than one trip."""
        return bool(self._connection.ready)

    def ask(self, *command: Any) -> Any:
        """The answer to a command; each wait for a part of it has `Limits.socket`."""
        self._connection.send_command(*command)
        return self._connection.read_response()

    def ask_all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers to commands that go out in one write; an error is one, too.

        Between two writes, Redis would wait for its disk twice.
        """
        self._connection.send_packed_command([b"".join(self._connection.pack_commands(commands))])
        return [self._reply() for _ in commands]

    def _reply(self) -> Any:
        try:
            return self._connection.read_response()
        except ResponseError as error:
            return error

    def release(self) -> None:
        """It is the pool's again, which tries a connection before it gives it to anybody."""
        self._pool.release(self._connection)

    def close(self) -> None:
        """It has failed. The pool opens the connection anew before it gives it to anybody."""
        self._connection.disconnect()
        self.release()


@contextmanager
def lent(line: Line, back: Callable[[Line], None] = Line.release) -> Iterator[Line]:
    """A line, which is given back if all goes well. Whatever is raised, it is closed.

    An answer that was not read to its end would be taken for that to the next question.
    """
    end: Callable[[Line], None] = Line.close
    try:
        yield line
        end = back
    finally:
        end(line)


def ask_together(client: Redis, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """The answers of one server to commands that go out in one write; an error is one, too."""
    with lent(Line(client.connection_pool)) as line:
        return line.ask_all(commands)


class Lines:
    """Lines to the server of one URL that stay open; to a cluster there are none."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._idle: deque[Line] = deque()

    def idle(self) -> Line | None:
        """A line that is ready and nobody's, the last one used first; None where there is none."""
        while True:
            try:
                line = self._idle.pop()
            except IndexError:
                return None
            if line.ready:
                return line
            line.release()

    def open(self) -> Line | None:
        """A line from the pool: it may have to be made, which may take long."""
        client = self._store.client()
        return Line(client.connection_pool) if isinstance(client, Redis) else None

    def keep(self, line: Line) -> None:
        """It works, and is nobody's again."""
        if len(self._idle) < _KEPT:
            self._idle.append(line)
        else:
            line.release()


def _maker(url: str, state_dir: Path, limits: Limits) -> Callable[[], Client]:
    common = _options(limits)
    if url == "embedded":
        path = str(embedded_socket(state_dir))
        return lambda: _server(UnixConnection, path=path, **common)
    parsed = parse(url)
    access = _access(parsed.credentials)
    tls: Mapping[str, Any] = parsed.tls_options if parsed.tls else {}
    match parsed.kind:
        case "unix":
            options = {"path": parsed.path, "db": parsed.database, **access, **common}
            return lambda: _server(UnixConnection, **options)
        case "server":
            ((host, port),) = parsed.nodes
            options = {"host": host, "port": port, "db": parsed.database, **access, **tls}
            kind = TlsConnection if parsed.tls else TcpConnection
            return lambda: _server(kind, **options, **common)
        case "sentinel":
            options = {"db": parsed.database, **access, **tls, **common}
            of_master = MasterTlsConnection if parsed.tls else MasterConnection
            return lambda: _server(of_master, master=_master(parsed, limits), **options)
        case "cluster":
            if parsed.tls:
                tls = {"ssl": True, "redis_connect_func": read_tickets, **tls}
            return lambda: _cluster(parsed.nodes, **access, **tls, **common)


def _server(kind: Callable[..., AbstractConnection], **options: Any) -> Redis:
    return Redis(connection_pool=ConnectionPool(kind, **options))


def _cluster(nodes: Sequence[tuple[str, int]], **options: Any) -> RedisCluster:
    start = [ClusterNode(host, port) for host, port in nodes]  # type: ignore[no-untyped-call]
    client = RedisCluster(startup_nodes=start, **options)
    # Those of the URL are asked, too, where none of the nodes that they named is there any more.
    known: Any = client.nodes_manager
    known.initialize = partial(known.initialize, additional_startup_nodes_info=nodes)
    return client


def _master(parsed: RedisUrl, limits: Limits) -> Master:
    kind = TlsConnection if parsed.sentinel_tls else TcpConnection
    tls = parsed.tls_options if parsed.sentinel_tls else {}
    options = {**_access(parsed.sentinel_credentials), **tls, **_options(limits)}
    sentinels = [_server(kind, host=host, port=port, **options) for host, port in parsed.nodes]
    return Master(sentinels, parsed.service)


def _access(credentials: Credentials) -> dict[str, Any]:
    if credentials.password_file is not None:
        provider = _PasswordFile(credentials.username, credentials.password_file)
        return {"credential_provider": provider}
    return {"username": credentials.username, "password": credentials.password}


class _PasswordFile(CredentialProvider):
    """A password in a file, read for each connection: one that was changed needs no restart."""

    def __init__(self, username: str | None, file: str) -> None:
        self._username = username
        self._file = Path(file)

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        try:
            password = self._file.read_text("utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConnectionError(str(error)) from error
        return (self._username, password) if self._username else (password,)


def _options(limits: Limits) -> dict[str, Any]:
    """No retries: the one who asks has 300 ms, and the mail's sender tries again."""
    return {
        "max_connections": _MOST_CONNECTIONS,
        "socket_timeout": limits.socket,
        "socket_connect_timeout": limits.socket,
        "retry": Retry(NoBackoff(), 0),
        **_QUIET,
        **_TEXT,
    }
