"""The milter in its first process, which handles no mail.

Here live the listening socket, the workers and their successors, and the sum of their counters.
What a worker does is in `worker.py`; the milter protocol is in `callbacks.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

from fletching import log, source_addresses
from fletching.config.faults import named_by
from fletching.config.model import Config
from fletching.daemons.milter import callbacks, recycling
from fletching.daemons.milter.sent_file import gather
from fletching.daemons.milter.worker import Retirement, Worker, live
from fletching.daemons.process.fork import Bell, stay_on
from fletching.daemons.process.handover import Handover, Inbox
from fletching.daemons.process.lifecycle import Service, count_workers
from fletching.daemons.process.listener import Listener, ListenError, open_listener
from fletching.daemons.process.log_limit import LogLimit
from fletching.daemons.process.supervise import Child
from fletching.metrics import export, shared_files
from fletching.policy.setup import Setup
from fletching.startup import open_setup

_LOG_EVERY = 600.0
"""Seconds between two lines about counters that cannot be written."""


class MilterService(Service[Setup]):
    """The socket of `listen`, which the first process opens, and the workers that share it."""

    at_start_only = ("listen", "workers", "state_dir")
    every = export.EVERY

    _config: Config
    _current: Config
    _listener: Listener
    _opened: Handover[Setup]

    def __init__(self) -> None:
        self._in_use: dict[int, Child] = {}
        self._unwritten = LogLimit(_LOG_EVERY)
        self._addresses = source_addresses.Watch()
        self._vanished: frozenset[str] = frozenset()

    def open(self, config: Config) -> Setup:
        return open_setup(config)

    def listen(self, config: Config) -> None:
        self._config = config
        with named_by("listen", fault=ListenError):
            self._listener = open_listener(config.listen, callbacks.open_socket)
        # Only now: the counters may be those of a daemon that has the socket.
        _written("metrics", lambda: shared_files.begin(shared_files.of_milter(config.state_dir)))
        _written("sent", lambda: gather(config.state_dir))

    def begin(self, config: Config, opened: Handover[Setup]) -> list[Child]:
        self._opened, self._current = opened, config
        self._log_addresses()
        self._workers = count_workers(config)
        cpus = sorted(os.sched_getaffinity(0))
        self._cpus = cpus if len(cpus) == self._workers else []
        return [self._worker(number) for number in range(self._workers)]

    def facts(self) -> list[tuple[str, object]]:
        return [("listen", self._config.listen), ("workers", self._workers)]

    def needs_restart(self, begun: Config, now: Config) -> list[str]:
        redis = (
            ["redis"] if begun.redis != now.redis and "embedded" in (begun.redis, now.redis) else []
        )
        return super().needs_restart(begun, now) + redis

    def reload(self, config: Config, value: Setup) -> None:
        self._current = config
        self._log_addresses()

    def _log_addresses(self) -> None:
        """Logs, once for all workers, which VirtualMTAs have lost or regained their address."""
        vanished = self._addresses.vanished(self._current)
        for name in sorted(vanished ^ self._vanished):
            mta = self._current.virtual_mta(name)
            if mta is not None:
                log.address_changed(mta.name, str(mta.address), is_here=name not in vanished)
        self._vanished = vanished

    def tick(self) -> None:
        self._log_addresses()
        state_dir = self._config.state_dir
        _written("metrics.prom", lambda: export.sum_up(state_dir), self._unwritten)

    def close(self) -> None:
        self._listener.close_path()

    def end(self) -> None:
        self.tick()

    def _worker(self, number: int) -> Child:
        """A worker. Its successor has the same number, but another file of counters."""
        counter = recycling.lowest_free(
            {counter for counter, child in self._in_use.items() if not child.gone}
        )
        bell = Bell()
        self._in_use[counter] = self._opened.worker(
            f"worker {counter}",
            lambda setup, inbox: self._live(number, counter, bell, setup, inbox),
            retires=bell.rang,
            successor=lambda: self._worker(number),
        )
        return self._in_use[counter]

    def _live(
        self, number: int, counter: int, bell: Bell, setup: Setup, inbox: Inbox[Setup]
    ) -> NoReturn:
        def share(most: int) -> int:
            return recycling.share(most, number, self._workers)

        if self._cpus:
            stay_on(self._cpus[number])
        worker = Worker(setup, counter, share)
        retirement = Retirement(self._listener, bell)
        live(worker, lambda: callbacks.serve(worker), inbox, retirement)


def _written(what: str, write: Callable[[], None], seldom: LogLimit | None = None) -> None:
    """Writes counters; a failure is logged, but does not stop mail."""
    try:
        write()
    except (OSError, ValueError, RuntimeError) as error:
        if seldom is None or seldom.is_due():
            log.state_write_failed(what, error)
