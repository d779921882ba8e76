"""A private Redis, reached by a unix socket or a loopback port, that can be hurt."""

from __future__ import annotations

import signal
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.redis_server import emptied

from .processes import Daemon, Server, free_port, program


class Redis(Server):
    """redis-server with its data in one directory; what was written survives ``kill``.

    That takes no fsync(2), which only a crash of the machine asks for, and which waits for whatever
    else the disk has to do. ``appendfsync`` is for those who want to know what it costs.
    """

    def __init__(self, directory: Path, *, appendfsync: str = "no") -> None:
        directory.mkdir()
        self.socket = directory / "redis.sock"
        self.port = free_port()
        self.unix_url = f"unix://{self.socket}"
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._daemon = Daemon(
            [
                program("redis-server", "redis-server"),
                *("--dir", directory, "--daemonize", "no"),
                *("--bind", "127.0.0.1", "--port", str(self.port)),
                *("--unixsocket", self.socket, "--unixsocketperm", "777"),
                *("--save", "", "--appendonly", "yes", "--appendfsync", appendfsync),
            ],
            directory / "log",
        )

    @property
    def pid(self) -> int:
        """The process id of redis-server."""
        return self._daemon.pid

    @property
    def running(self) -> bool:
        """Whether redis-server lives, perhaps paused."""
        return self._daemon.running

    def client(self) -> redis.Redis:
        """A connection to look into it from outside the product."""
        return redis.Redis(unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0))

    def nodes(self) -> list[redis.Redis]:
        """As of a cluster: a client of each server."""
        return [self.client()]

    def start(self) -> None:
        """Start, also again after ``stop`` or ``kill``."""
        self._daemon.start(self._answers)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:  # not there yet, or still loading
            return False

    def stop(self) -> None:
        """End it in order."""
        if self.running:
            self.resume()
        self._daemon.stop()

    def kill(self) -> None:
        """End it as a crash would."""
        self._daemon.kill()

    def pause(self) -> None:
        """Let it hang: connections are accepted by the kernel, and nothing is answered."""
        self._daemon.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``."""
        self._daemon.signal(signal.SIGCONT)

    def reset(self) -> None:
        """Running, awake and empty, whatever a test did to it."""
        if self.running:
            self.resume()
        else:
            self.start()
        with self.client() as client:
            emptied(client)
