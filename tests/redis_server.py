"""Redis servers of other kinds than `real/redis_server.py`: with options, sentinels, clusters."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis
from fletching.store.events import MARKS

from tests.real.processes import Daemon, Server, free_port, program
from tests.redis_tls import Certificates


def emptied(client: redis.Redis) -> None:
    """Nothing is there any more but the marks of journals.

    Without those, web processes that run would write again what they have recorded.
    """
    try:
        marks: Any = client.hgetall(MARKS)
    except redis.exceptions.MovedError:
        marks = {}
    with client.pipeline() as step:
        step.flushall()
        if marks:
            step.hset(MARKS, mapping=marks)
        step.execute()


class RedisServer(Server):
    """One redis-server with a Unix socket and a loopback port, in a directory of its own."""

    def __init__(
        self,
        *options: str,
        sentinel: bool = False,
        password: str | None = None,
        environment: Mapping[str, str] | None = None,
        command: Path | None = None,
        tls: Certificates | None = None,
    ) -> None:
        """``tls``: on the port, and nothing else there."""
        self.port = free_port()
        self._password = password
        self._sentinel = sentinel
        self._options = (*(tls.options if tls else ()), *options)
        self._tls = tls
        self._folder = tempfile.TemporaryDirectory(prefix="redis-")
        self.directory = Path(self._folder.name)
        self.socket = self.directory / "redis.sock"
        conf = self.directory / "redis.conf"
        kind = ("--sentinel",) if sentinel else ()
        started = command or program("redis-server", "redis-server")
        self.daemon = Daemon([started, conf, *kind], self.directory / "log", environment)

    def start(self) -> None:
        lines = [
            *((f"tls-port {self.port}", "port 0") if self._tls else (f"port {self.port}",)),
            "bind 127.0.0.1",
            f"unixsocket {self.socket}",
            f"dir {self.directory}",
            *(() if self._sentinel else ('save ""', "appendonly yes", "appendfsync no")),
            *(() if self._password is None else (f"requirepass {self._password}",)),
            *self._options,
        ]
        (self.directory / "redis.conf").write_text("\n".join(lines) + "\n")
        self.daemon.start(self._answers)

    def stop(self) -> None:
        self.daemon.stop()

    def __exit__(self, *raised: object) -> None:
        self.stop()
        self._folder.cleanup()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        """A client beside the tested one, to look with."""
        return redis.Redis(
            unix_socket_path=str(self.socket), password=self._password, decode_responses=True
        )
