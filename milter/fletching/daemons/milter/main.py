"""The milter's first process: it opens the socket and tends the workers, and sees no mail.

Here live start, reload and end of the milter as a whole. What a worker does is in `worker.py`; how
a socket is opened and served comes from `milter.py`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from fletching import log, metrics
from fletching.config.faults import named_by, told_of
from fletching.config.load import ConfigError, load
from fletching.config.model import Config
from fletching.daemons.milter import recycling
from fletching.daemons.milter.worker import Retirement, Worker, live
from fletching.daemons.process import embedded_redis, library_log
from fletching.daemons.process.fork import (
    END_WORKER,
    RELOAD_WORKER,
    Bell,
    Signals,
    even_without_room,
    notify,
    spawn,
    stay_on,
)
from fletching.daemons.process.listener import Listener, ListenError, open_listener
from fletching.daemons.process.redis_files import open_redis_files
from fletching.daemons.process.seldom import Seldom
from fletching.daemons.process.supervise import Child, Tender, end
from fletching.outgoing.flow import Setup
from fletching.startup import open_setup

DAEMON = "milter"
WRONG_CONFIGURATION = 2

_WORKERS_END = 9.0
_ALL_END = 9.6
"""Seconds after SIGTERM. A worker waits up to 8 for its mails; Redis ends when they are gone."""

_TELL_EVERY = 600.0
"""Seconds between two lines about counters that cannot be written."""

_AT_START_ONLY = ("listen", "workers", "state_dir")


def serve(
    config_path: Path, open_at: Callable[[str], None], listen: Callable[[Worker], None]
) -> int:
    """Runs until SIGTERM; the exit status of the process.

    ``open_at`` opens a socket, ``listen`` serves what comes to it.
    """
    library_log.take(DAEMON)
    try:
        setup = open_configuration(config_path)
        with told_of(config_path):
            prepare(setup.config)
            with named_by("listen", fault=ListenError):
                listener = open_listener(setup.config.listen, open_at)
    except ConfigError as error:
        log.cannot_start(str(error))
        return WRONG_CONFIGURATION
    # Only now: the counters may be those of a daemon that has the socket.
    _kept("metrics", lambda: metrics.begin(setup.config.state_dir))
    _Parent(config_path, setup, listener, listen).run()
    return 0


def open_configuration(config_path: Path) -> Setup:
    """The configuration with its key files. Raises ConfigError."""
    with told_of(config_path):
        config = load(config_path)
        open_redis_files(config)
        return open_setup(config)


def prepare(config: Config) -> None:
    """Makes what has to be on disk. Raises UnusableError."""
    with (
        named_by("state_dir", fault=OSError),
        named_by("redis", fault=embedded_redis.NoRedisError),
        even_without_room("state_dir"),
    ):
        config.state_dir.mkdir(parents=True, exist_ok=True)
        if config.redis == "embedded":
            embedded_redis.prepare(config.state_dir)


class _Parent:
    """The first process, from the open socket to the end."""

    def __init__(
        self,
        config_path: Path,
        setup: Setup,
        listener: Listener,
        listen: Callable[[Worker], None],
    ) -> None:
        self._config_path = config_path
        self._setup = setup
        self._began_with = setup.config
        self._listener = listener
        self._listen = listen
        self._signals = Signals()
        self._workers = count(setup.config)
        cpus = sorted(os.sched_getaffinity(0))
        self._cpus = cpus if len(cpus) == self._workers else []
        self._places: dict[int, Child] = {}
        self._unkept = Seldom(_TELL_EVERY)

    def run(self) -> None:
        config = self._began_with
        redis = embedded_redis.begin(config.state_dir) if config.redis == "embedded" else []
        family = [*redis, *(self._worker(number) for number in range(self._workers))]
        for child in family[len(redis) :]:
            child.begin()
        log.started(DAEMON, [("listen", config.listen), ("workers", self._workers)])
        notify("READY=1")
        tender = Tender(
            self._signals,
            family,
            reload=self._reload,
            tick=self._sum_up,
            every=metrics.EVERY,
        )
        why = tender.tend().name
        self._end(why, [child for child in family if child not in redis], redis)

    def _worker(self, number: int) -> Child:
        """The worker of that number; its successor has the number, too, and another place."""
        place = recycling.free_place(
            {place for place, child in self._places.items() if not child.gone}
        )
        bell = Bell()
        # A worker that takes a dead one's place begins with the configuration in force by then.
        self._places[place] = Child(
            f"worker {place}",
            lambda: spawn(lambda: self._live(number, place, bell), dies_by=END_WORKER),
            ended_by=END_WORKER,
            reloaded_by=RELOAD_WORKER,
            retires=bell.rang,
            successor=lambda: self._worker(number),
        )
        return self._places[place]

    def _live(self, number: int, place: int, bell: Bell) -> NoReturn:
        def share(most: int) -> int:
            return recycling.share(most, number, self._workers)

        if self._cpus:
            stay_on(self._cpus[number])
        worker = Worker(self._setup, place, share)
        retirement = Retirement(self._listener, bell)
        live(worker, lambda: self._listen(worker), self._reloaded, retirement)

    def _reload(self) -> bool:
        """On SIGHUP, before the workers: they hear of it only if all is well."""
        setup = self._reloaded()
        if setup is None:
            return False
        self._setup = setup
        if fixed := _fixed(self._began_with, setup.config):
            log.needs_restart(DAEMON, fixed)
        log.reloaded(DAEMON)
        return True

    def _reloaded(self) -> Setup | None:
        try:
            return open_configuration(self._config_path)
        except ConfigError as error:
            log.reload_failed(DAEMON, str(error).splitlines())
            return None

    def _sum_up(self) -> None:
        _kept("metrics.prom", lambda: metrics.sum_up(self._began_with.state_dir), self._unkept)

    def _end(self, why: str, workers: list[Child], redis: list[Child]) -> None:
        began = time.monotonic()
        log.stopping(DAEMON, why)
        notify("STOPPING=1")
        self._listener.close_path()
        end(self._signals, workers, began + _WORKERS_END)
        end(self._signals, redis, began + _ALL_END)
        self._sum_up()
        log.stopped(DAEMON)


def _kept(what: str, keep: Callable[[], None], said: Seldom | None = None) -> None:
    """Mail goes on without its counters, which is not said each time."""
    try:
        keep()
    except (OSError, ValueError, RuntimeError) as error:
        if said is None or said.is_due():
            log.not_kept(what, error)


def count(config: Config) -> int:
    """How many processes serve."""
    if config.workers == "auto":
        return len(os.sched_getaffinity(0))
    return int(config.workers)


def _fixed(old: Config, new: Config) -> list[str]:
    """The options that differ and that only a start takes up."""
    fixed = [name for name in _AT_START_ONLY if getattr(old, name) != getattr(new, name)]
    if old.redis != new.redis and "embedded" in (old.redis, new.redis):
        fixed.append("redis")
    return fixed
