"""The one life of a daemon: open the configuration, listen, fork workers, reload, drain, end.

A daemon runs one or more services; what each of them does is in a folder of its own, and what all
have in common is here. The first process opens the configuration, once at its start and once at
each SIGHUP, and hands the opened value to the workers (`handover.py`). No worker reads it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Generic, TypeVar

from fletching import log
from fletching.config.faults import named_by, with_line
from fletching.config.load import ConfigError, load
from fletching.config.model import Config
from fletching.daemons.process import embedded_redis, library_log
from fletching.daemons.process.fork import Signals, even_without_room, notify
from fletching.daemons.process.handover import Handover
from fletching.daemons.process.presence import BEAT, Mark
from fletching.daemons.process.redis_files import open_redis_files
from fletching.daemons.process.supervise import Child, Supervisor, end

V = TypeVar("V")

WRONG_CONFIGURATION = 2
"""Exit status of a daemon that cannot start with its configuration."""

_WORKERS_END = 9.0
_ALL_END = 9.6
"""Seconds after SIGTERM. A worker waits up to 8 seconds for its mails; Redis ends last."""


class Service(Generic[V]):
    """A service, as the first process of the daemon sees it. Its workers get a ``V``.

    The methods are called in this order; all but `open`, `reload`, `needs_restart` and `tick` once.
    """

    at_start_only: Sequence[str] = ()
    """Top-level options that only a restart changes."""

    every: float | None = None
    """Seconds between two calls of `tick`."""

    def open(self, config: Config) -> V:
        """Opens everything that the configuration names. Raises UnusableError."""
        raise NotImplementedError

    def listen(self, config: Config) -> None:
        """Creates folders and the listening socket. Raises UnusableError."""

    def begin(self, config: Config, opened: Handover[V]) -> list[Child]:
        """The workers, not yet started. A service without workers starts its threads here."""
        raise NotImplementedError

    def facts(self) -> list[tuple[str, object]]:
        """Key-value pairs for the log line of the start."""
        return []

    def reload(self, config: Config, value: V) -> None:
        """Applies a new configuration. The workers have it already."""

    def needs_restart(self, begun: Config, now: Config) -> list[str]:
        """Options that differ, and that only a restart changes."""
        names = self.at_start_only
        return [name for name in names if getattr(begun, name) != getattr(now, name)]

    def tick(self) -> None:
        """Periodic work."""

    def close(self) -> None:
        """Stops new clients from connecting."""

    def end(self) -> None:
        """The last step, after the workers have ended."""


def serve(
    daemon: str, config_path: Path, services: Sequence[Service[Any]], *, with_redis: bool = False
) -> int:
    """Runs a daemon until SIGTERM; the exit status of the process.

    ``with_redis``: also runs the embedded Redis, if that is configured and not yet running.
    """
    library_log.log_libraries(daemon)
    try:
        config = open_configuration(config_path)
        with with_line(config_path):
            running = [_Running(service, service.open(config)) for service in services]
            prepare(config)
            for service in services:
                service.listen(config)
    except ConfigError as error:
        log.cannot_start(str(error))
        return WRONG_CONFIGURATION
    _Life(daemon, config_path, config, running).run(with_redis=with_redis)
    return 0


def open_configuration(config_path: Path) -> Config:
    """Loads the configuration, and checks the files that `redis` names. Raises ConfigError."""
    with with_line(config_path):
        config = load(config_path)
        open_redis_files(config)
        return config


def prepare(config: Config) -> None:
    """Creates the folders that each daemon needs. Raises UnusableError."""
    with (
        named_by("state_dir", fault=OSError),
        named_by("redis", fault=embedded_redis.NoRedisError),
        even_without_room("state_dir"),
    ):
        config.state_dir.mkdir(parents=True, exist_ok=True)
        if config.redis == "embedded":
            embedded_redis.prepare(config.state_dir)


def count_workers(config: Config) -> int:
    """How many workers a service has."""
    if config.workers == "auto":
        return len(os.sched_getaffinity(0))
    return int(config.workers)


class _Running(Generic[V]):
    """A service, and the value that its workers have."""

    def __init__(self, service: Service[V], value: V) -> None:
        self.service = service
        self.opened = Handover(value)


class _Life:
    """A daemon, from its open sockets to its end."""

    def __init__(
        self, daemon: str, config_path: Path, config: Config, running: Sequence[_Running[Any]]
    ) -> None:
        self._daemon = daemon
        self._config_path = config_path
        self._config = config
        self._running = running
        self._services = [each.service for each in running]
        self._signals = Signals()

    def run(self, *, with_redis: bool) -> None:
        """Serves until SIGTERM or SIGINT."""
        config = self._config
        with_redis = with_redis and config.redis == "embedded"
        redis = embedded_redis.begin(config.state_dir) if with_redis else []
        workers = [
            worker for each in self._running for worker in each.service.begin(config, each.opened)
        ]
        for worker in workers:
            worker.begin()
        self._mark = Mark(config.state_dir, self._daemon)
        log.started(self._daemon, [fact for each in self._services for fact in each.facts()])
        notify("READY=1")
        every = min((each.every for each in self._services if each.every), default=BEAT)
        family = [*redis, *workers]
        supervisor = Supervisor(
            self._signals, family, reload=self._reload, tick=self._tick, every=min(every, BEAT)
        )
        log.stopping(self._daemon, supervisor.run().name)
        self._end([child for child in family if child not in redis], redis)

    def _reload(self) -> bool:
        """Whether there is a new configuration, so that the workers are reloaded."""
        try:
            config = open_configuration(self._config_path)
            with with_line(self._config_path):
                values = [service.open(config) for service in self._services]
            both = list(zip(self._running, values, strict=True))
            with ExitStack() as stack:
                # All of them are packed before the first one is in force.
                for give in [stack.enter_context(run.opened.packed(value)) for run, value in both]:
                    give()
            for run, value in both:
                run.service.reload(config, value)
        except (ConfigError, OSError) as error:
            log.reload_failed(self._daemon, str(error).splitlines())
            return False
        fixed = [
            name for each in self._services for name in each.needs_restart(self._config, config)
        ]
        if fixed:
            log.needs_restart(self._daemon, fixed)
        log.reloaded(self._daemon)
        return True

    def _tick(self) -> None:
        self._mark.beat()
        for service in self._services:
            service.tick()

    def _end(self, workers: list[Child], redis: list[Child]) -> None:
        began = time.monotonic()
        notify("STOPPING=1")
        for service in self._services:
            service.close()
        end(self._signals, workers, began + _WORKERS_END)
        end(self._signals, redis, began + _ALL_END)
        for service in self._services:
            service.end()
        self._mark.end()
        log.stopped(self._daemon)
