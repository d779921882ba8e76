"""The Redis of a configuration: one client and one pool of connections for a whole process.

Here lives what the URLs mean and how long Redis may take. No key is known here. Nothing connects
before the first command, so a daemon starts even if Redis is unavailable.
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
"""Sends one command, word by word, and returns its answer. Raises `TROUBLE`."""

TROUBLE = (RedisError, RedisClusterException, OSError)
"""What redis-py raises if Redis is unavailable, slow, or in no state to answer."""

_KEPT = 16
_MOST_CONNECTIONS = 1024
"""Threads of a process that may use Redis at the same time. redis-py's own limit is 100."""

# What redis-py would otherwise send on every new connection, in a round trip for each.
_QUIET: dict[str, Any] = {"protocol": 2, "driver_info": None}
_TEXT: dict[str, Any] = {"decode_responses": True, "encoding_errors": "surrogateescape"}


class StoreUnavailable(Exception):
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
    """The Redis of one URL, for a whole process. Any number of threads may use it.

    A process that forks makes it after the fork.
    """

    def __init__(self, url: str, state_dir: Path, limits: Limits = OF_THE_DAEMONS) -> None:
        self.limits = limits
        self._make = _maker(url, state_dir, limits)
        self._made: Client | None = None
        self._making = threading.Lock()

    def client(self) -> Client:
        """The client. The first call makes it; for a cluster, that asks for its nodes."""
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made

    def ping(self) -> None:
        """Raises StoreUnavailable if Redis does not answer."""
        self.ask(lambda client: client.ping())

    def ask(self, question: Callable[[Any], T]) -> T:
        """The answer to a question to the client. Raises StoreUnavailable."""
        try:
            return question(self.client())
        except TROUBLE as error:
            raise StoreUnavailable(str(error) or type(error).__name__) from error


class Connection:
    """One connection of the pool, for one caller at a time. It is faster than the client."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._connection: Any = pool.get_connection()

    @property
    def ready(self) -> bool:
        """Whether a command is sent at once. Otherwise it may take more than one round trip."""
        return bool(self._connection.ready)

    def ask(self, *command: Any) -> Any:
        """The answer to a command. `Limits.socket` applies to each part of it."""
        self._connection.send_command(*command)
        return self._connection.read_response()

    def ask_all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers to commands that are sent in one write; an error is an answer, too.

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
        """Returns it to the pool, which tests a connection before it hands it out."""
        self._pool.release(self._connection)

    def close(self) -> None:
        """Closes it after a failure. The pool opens it again before it hands it out."""
        self._connection.disconnect()
        self.release()


@contextmanager
def borrowed(
    connection: Connection, give_back: Callable[[Connection], None] = Connection.release
) -> Iterator[Connection]:
    """A connection that is given back at the end of the block, or closed if anything is raised.

    Otherwise the rest of an unread answer would be taken for the answer to the next command.
    """
    end: Callable[[Connection], None] = Connection.close
    try:
        yield connection
        end = give_back
    finally:
        end(connection)


def ask_together(client: Redis, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """The answers of one server to commands sent in one write; an error is an answer, too."""
    with borrowed(Connection(client.connection_pool)) as connection:
        return connection.ask_all(commands)


class IdleConnections:
    """Connections to one server that stay open between commands. A cluster has none."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._idle: deque[Connection] = deque()

    def take(self) -> Connection | None:
        """An idle connection that is ready, the last one used first; None if there is none."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.ready:
                return connection
            connection.release()

    def open(self) -> Connection | None:
        """A connection from the pool, which may have to be opened first; None for a cluster."""
        client = self._store.client()
        return Connection(client.connection_pool) if isinstance(client, Redis) else None

    def keep(self, connection: Connection) -> None:
        """Keeps a connection that works and is not needed now."""
        if len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            connection.release()


def _maker(url: str, state_dir: Path, limits: Limits) -> Callable[[], Client]:
    common = _options(limits)
    parsed = parse(url)
    if parsed.kind == "embedded":
        path = str(embedded_socket(state_dir))
        return lambda: _server(UnixConnection, path=path, **common)
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
    # The nodes of the URL are asked as well, in case none of the nodes that they named is left.
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
    """A password in a file, read for each connection, so that a new password needs no restart."""

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
    """No retries: a mail must have its number within 300 ms, and its sender tries again."""
    return {
        "max_connections": _MOST_CONNECTIONS,
        "socket_timeout": limits.socket,
        "socket_connect_timeout": limits.socket,
        "retry": Retry(NoBackoff(), 0),
        **_QUIET,
        **_TEXT,
    }
