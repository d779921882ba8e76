"""The daemons and the services of each, and `fletching run`, which runs all of them.

Under `run`, each daemon is a process of its own, as under systemd; one that dies is restarted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fletching import log
from fletching.config.faults import with_line
from fletching.config.load import ConfigError
from fletching.daemons.process import embedded_redis, library_log, lifecycle
from fletching.daemons.process.fork import Signals, execute, notify, spawn
from fletching.daemons.process.presence import needed
from fletching.daemons.process.supervise import ENDS, Child, Supervisor, end
from fletching.startup import open_setup

_DISCARD_EVERY = 5.0

_DAEMONS_END = 9.7
_ALL_END = 9.9
"""Seconds after SIGTERM. Redis ends last: the daemons need it for their mails."""


def milter(config_path: Path) -> int:
    """Runs the milter, with the server of `metrics.listen` as one worker more."""
    from fletching.daemons.exporter.main import MetricsService
    from fletching.daemons.milter.main import MilterService

    services: list[lifecycle.Service[Any]] = [MilterService(), MetricsService()]
    return lifecycle.serve("milter", config_path, services, with_redis=True)


def web(config_path: Path) -> int:
    """Runs the tracking web service, with the dashboard as one worker more."""
    from fletching.daemons.dashboard.main import DashboardService
    from fletching.daemons.web.main import TrackingService

    return lifecycle.serve("web", config_path, [TrackingService(), DashboardService()])


def lmtp(config_path: Path) -> int:
    """Runs the LMTP service."""
    from fletching.daemons.lmtp.main import LmtpService

    return lifecycle.serve("lmtp", config_path, [LmtpService()])


def courier(config_path: Path) -> int:
    """Runs the courier."""
    from fletching.daemons.courier.main import Courier

    return lifecycle.serve("courier", config_path, [Courier()])


def logtail(config_path: Path) -> int:
    """Runs the log reader."""
    from fletching.daemons.logtail.main import LogtailService

    return lifecycle.serve("logtail", config_path, [LogtailService()])


def run(config_path: Path) -> int:
    """Runs until SIGTERM; the exit status of the process."""
    library_log.log_libraries("supervisor")
    try:
        config = lifecycle.open_configuration(config_path)
        with with_line(config_path):
            open_setup(config)
            lifecycle.prepare(config)
    except ConfigError as error:
        log.cannot_start(str(error))
        return lifecycle.WRONG_CONFIGURATION
    signals = Signals()
    redis = embedded_redis.begin(config.state_dir) if config.redis == "embedded" else []
    daemons = [_Daemon.make(name, config_path) for name in needed(config)]
    return _AllDaemons(signals, daemons, redis).run()


def _this_program() -> list[str]:
    """How this process was started, without its arguments.

    Python's options are among the words: the daemons find their libraries where this process does.
    """
    arguments = len(sys.argv) - 1
    return [sys.executable, *sys.orig_argv[1 : len(sys.orig_argv) - arguments]]


@dataclass(frozen=True, slots=True)
class _Daemon:
    """A daemon, and the socket on which it reports that it is ready (sd_notify(3))."""

    child: Child
    notifications: socket.socket

    @classmethod
    def make(cls, name: str, config_path: Path) -> _Daemon:
        notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notifications.setblocking(False)
        # The kernel picks an abstract name (unix(7), autobind), which needs no disk space.
        notifications.bind("")
        command = [*_this_program(), name, "--config", os.fspath(config_path)]
        environment = {"NOTIFY_SOCKET": "@" + notifications.getsockname()[1:].decode("ascii")}
        return cls(Child(name, lambda: spawn(lambda: execute(command, environment))), notifications)

    def is_ready(self) -> bool:
        try:
            return b"READY=1" in self.notifications.recv(4096).split(b"\n")
        except BlockingIOError:
            return False

    def discard_notifications(self) -> None:
        """Empties the socket, so that the daemon never waits to send."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.notifications.recv(4096)


class _AllDaemons:
    def __init__(
        self, signals: Signals, daemons: Sequence[_Daemon], redis: Sequence[Child]
    ) -> None:
        self._signals = signals
        self._daemons = daemons
        self._redis = redis
        self._children = [daemon.child for daemon in daemons]

    def run(self) -> int:
        for child in self._children:
            child.begin()
        status = self._until_ready()
        if status is None:
            names = ",".join(child.name for child in self._children)
            log.started("supervisor", [("daemons", names)])
            notify("READY=1")
            family = [*self._redis, *self._children]
            Supervisor(self._signals, family, tick=self._discard, every=_DISCARD_EVERY).run()
            status = 0
        self._end()
        return status

    def _until_ready(self) -> int | None:
        """None when all daemons are ready; else the status to end with."""
        waiting, reload = list(self._daemons), False
        while waiting := [daemon for daemon in waiting if not daemon.is_ready()]:
            got = self._signals.wait(0.05)
            if got & ENDS:
                return 0
            reload = reload or signal.SIGHUP in got
            for daemon in waiting:
                if daemon.child.reap():
                    # It has logged why; it would not start a moment later either.
                    return daemon.child.status or 1
        if reload:
            # Not before: SIGHUP would end a daemon that does not handle it yet.
            for child in self._children:
                child.signal(child.reloaded_by)
        return None

    def _discard(self) -> None:
        for daemon in self._daemons:
            daemon.discard_notifications()

    def _end(self) -> None:
        began = time.monotonic()
        notify("STOPPING=1")
        end(self._signals, self._children, began + _DAEMONS_END)
        end(self._signals, self._redis, began + _ALL_END)
        log.stopped("supervisor")
