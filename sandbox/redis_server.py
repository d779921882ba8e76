"""A private Redis with a Unix socket and a loopback port, as a master, replica, node or sentinel.

Here lives how one server is started, ended, paused and emptied. Sets of servers are in
`redis_cluster.py` and `redis_sentinels.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sandbox.processes import ON_DISK, Daemon, Server, free_port, in_memory, program
from sandbox.redis_tls import Certificates


class RedisServer(Server):
    """One redis-server, in a directory of its own; what was written survives ``kill``.

    That takes no fsync(2), which only a crash of the machine asks for, and which waits for whatever
    else the disk has to do. So may a write(2), therefore the directory is `in_memory`. ``options``
    are lines of redis.conf, of which the last one counts. With an ``appendfsync``, for those who
    want to know what it costs, the directory is on the disk.
    """

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
        wants_disk = any(line.startswith("appendfsync ") for line in options)
        place = ON_DISK if wants_disk else in_memory()
        self._folder = tempfile.TemporaryDirectory(prefix="fletching-redis-", dir=place)
        self.directory = Path(self._folder.name)
        self.socket = self.directory / "redis.sock"
        conf = self.directory / "redis.conf"
        lines = [
            *((f"tls-port {self.port}", "port 0") if tls else (f"port {self.port}",)),
            "bind 127.0.0.1",
            f"unixsocket {self.socket}",
            f"dir {self.directory}",
            *(() if sentinel else ('save ""', "appendonly yes", "appendfsync no")),
            *(() if password is None else (f"requirepass {password}",)),
            *(tls.options if tls else ()),
            *options,
        ]
        conf.write_text("\n".join(lines) + "\n")
        mode = ("--sentinel",) if sentinel else ()
        started = command or program("redis-server", "redis-server")
        self.daemon = Daemon([started, conf, *mode], self.directory / "log", environment)

    @property
    def url(self) -> str:
        """The URL of its port, as in a configuration."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """The URL of its Unix socket, as in a configuration."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """The process id of redis-server."""
        return self.daemon.pid

    @property
    def running(self) -> bool:
        """Whether redis-server lives, perhaps paused."""
        return self.daemon.running

    @property
    def client(self) -> redis.Redis:
        """A new client that gives text, to look into the server from outside the product."""
        return self._connected(decode_responses=True)

    def raw_client(self) -> redis.Redis:
        """A new client that gives bytes."""
        return self._connected(decode_responses=False)

    def _connected(self, *, decode_responses: bool) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self.socket),
            password=self._password,
            decode_responses=decode_responses,
            retry=Retry(NoBackoff(), 0),
        )

    def nodes(self) -> list[Any]:
        """As of a cluster: a client of each server."""
        return [self.raw_client()]

    def start(self) -> None:
        """Start, also again after ``stop`` or ``kill``, with what Redis wrote into its file."""
        self.daemon.start(self._answers)

    def _answers(self) -> bool:
        try:
            with self.client as client:
                return bool(client.ping())
        except redis.RedisError:  # not there yet, or still loading
            return False

    def stop(self) -> None:
        """End it in order; its data stays until the end of the ``with`` block."""
        if self.running:
            self.resume()
        self.daemon.stop()

    def __exit__(self, *raised: object) -> None:
        self.stop()
        self._folder.cleanup()

    def kill(self) -> None:
        """End it as a crash would."""
        self.daemon.kill()

    def pause(self) -> None:
        """Let it hang: connections are accepted by the kernel, and nothing is answered."""
        self.daemon.signal(SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``."""
        self.daemon.signal(SIGCONT)

    def reset(self, keep: Sequence[str] = ()) -> None:
        """Running, awake and empty but for the hashes ``keep``, whatever was done to it."""
        if self.running:
            self.resume()
        else:
            self.start()
        self.empty(keep)

    def empty(self, keep: Sequence[str] = ()) -> None:
        """Delete all keys but the hashes ``keep``, at once."""
        with self.client as client:
            kept = {name: _hash(client, name) for name in keep}
            with client.pipeline() as step:
                step.flushall()
                for name, fields in kept.items():
                    if fields:
                        step.hset(name, mapping=fields)
                step.execute()


def _hash(client: redis.Redis, name: str) -> Mapping[Any, Any]:
    """All fields of a hash; none where another node of the cluster has it."""
    try:
        found: Any = client.hgetall(name)
    except redis.exceptions.MovedError:
        return {}
    return dict(found)
