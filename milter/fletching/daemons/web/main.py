"""`fletching web`: one process that opens the socket and tends the others, which answer.

Here live start, reload and end of the tracking service. What it answers is in `web.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from fletching import log
from fletching.config.faults import named_by, told_of
from fletching.config.load import ConfigError, load
from fletching.config.model import Config
from fletching.config.sections import Events, Web
from fletching.daemons.dashboard import app as dashboard
from fletching.daemons.intake import holding, journal
from fletching.daemons.intake.holding import Holding
from fletching.daemons.intake.journal import Journal
from fletching.daemons.intake.recorder import Recorder
from fletching.daemons.milter import main as prefork
from fletching.daemons.process import library_log
from fletching.daemons.process.fork import (
    END_WORKER,
    RELOAD_WORKER,
    Signals,
    even_without_room,
    notify,
    spawn,
)
from fletching.daemons.process.http_server import listening, server
from fletching.daemons.process.listener import Listener, ListenError, open_listener
from fletching.daemons.process.redis_files import open_redis_files
from fletching.daemons.process.supervise import Child, Tender, end
from fletching.daemons.web.app import Application, Opened, opened
from fletching.store.connection import Store
from fletching.store.events import EventLog
from fletching.store.touches import Touches

DAEMON = "web"

_WORKERS_END = 9.0
_ALL_END = 9.6
"""Seconds after SIGTERM."""

_SECONDS_A_TURN = 0.001
"""Python computes in one thread at a time: a click does not wait long for the one that writes."""

_AT_START_ONLY = ("workers", "redis", "state_dir")


def serve(config_path: Path) -> int:
    """Runs until SIGTERM; the exit status of the process."""
    library_log.take(DAEMON)
    try:
        config, answers = _open(config_path)
        with told_of(config_path):
            prefork.prepare(config)
            with named_by("web", "listen", fault=ListenError):
                heard = _listen((config.web or Web()).listen)
            with named_by("web", "admin_listen", fault=ListenError):
                shown = _listen((config.web or Web()).admin_listen)
            with named_by("state_dir", fault=OSError), even_without_room("spool"):
                journal.prepare(_spool(config), prefork.count(config), _kept(config))
            with named_by("state_dir", fault=OSError), even_without_room("held"):
                holding.prepare(config.state_dir / "held", prefork.count(config))
    except ConfigError as error:
        log.cannot_start(str(error))
        return prefork.WRONG_CONFIGURATION
    _Parent(config_path, config, answers, heard, shown).run()
    return 0


def _open(config_path: Path) -> tuple[Config, Opened]:
    """The configuration and what it names. Raises ConfigError."""
    with told_of(config_path):
        config = load(config_path)
        dashboard.password(config)
        open_redis_files(config)
        return config, opened(config)


def _spool(config: Config) -> Path:
    return config.state_dir / "spool"


def _kept(config: Config) -> int:
    """Seconds for which this host keeps what suppresses an address, as long as the stream."""
    return (config.events or Events()).keep


class _Heard:
    """The listening socket, and the care for its path where it has one."""

    def __init__(self, opened: socket.socket, listener: Listener | None = None) -> None:
        self.socket = opened
        self._listener = listener

    def close(self) -> None:
        """Nobody new comes; those that have come are heard."""
        if self._listener is not None:
            self._listener.close_path()


def _listen(where: str) -> _Heard:
    """Opens `unix:/PATH` or `HOST:PORT`. Raises ListenError."""
    if where.startswith("unix:"):
        made: list[socket.socket] = []

        def open_at(place: str) -> None:
            made.append(listening(socket.AF_UNIX, place.removeprefix("unix:")))

        listener = open_listener(where, open_at)
        return _Heard(made[0], listener)
    host, _, port = where.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return _Heard(listening(family, address[:2]))  # type: ignore[arg-type]
    except OSError as error:
        raise ListenError(f"{where}: {error.strerror}") from error


class _Parent:
    """The first process, from the open socket to the end. It answers nobody."""

    def __init__(
        self, config_path: Path, config: Config, answers: Opened, heard: _Heard, shown: _Heard
    ) -> None:
        self._config_path = config_path
        self._config = config
        self._opened = answers
        self._heard = heard
        self._shown = shown
        self._password = dashboard.password(config)
        self._signals = Signals()

    def run(self) -> None:
        count = prefork.count(self._config)
        family = [*(self._worker(place) for place in range(count)), self._dashboard()]
        for child in family:
            child.begin()
        listen = (self._config.web or Web()).listen
        log.started(DAEMON, [("listen", listen), ("workers", count)])
        notify("READY=1")
        why = Tender(self._signals, family, reload=self._reload).tend().name
        began = time.monotonic()
        log.stopping(DAEMON, why)
        notify("STOPPING=1")
        self._heard.close()
        self._shown.close()
        end(self._signals, family, began + _WORKERS_END)
        log.stopped(DAEMON)

    def _worker(self, place: int) -> Child:
        return Child(
            f"web {place}",
            lambda: spawn(lambda: self._live(place), dies_by=END_WORKER),
            ended_by=END_WORKER,
            reloaded_by=RELOAD_WORKER,
        )

    def _live(self, place: int) -> NoReturn:
        live(self._config, self._opened, self._heard.socket, place, self._reopened)

    def _dashboard(self) -> Child:
        return Child(
            dashboard.DAEMON,
            lambda: spawn(self._show, dies_by=END_WORKER),
            ended_by=END_WORKER,
            reloaded_by=RELOAD_WORKER,
        )

    def _show(self) -> NoReturn:
        dashboard.run(self._config_path, self._config, self._shown.socket, self._password)

    def _reload(self) -> bool:
        """On SIGHUP, before the workers: they hear of it only if all is well."""
        try:
            config, self._opened = _open(self._config_path)
            with told_of(self._config_path):
                self._password = dashboard.password_after(config, self._config, self._password)
        except ConfigError as error:
            log.reload_failed(DAEMON, str(error).splitlines())
            return False
        fixed = [name for name in _AT_START_ONLY if _differ(self._config, config, name)]
        if (config.web or Web()).listen != (self._config.web or Web()).listen:
            fixed.append("web.listen")
        if (config.web or Web()).admin_listen != (self._config.web or Web()).admin_listen:
            fixed.append("web.admin_listen")
        if fixed:
            log.needs_restart(DAEMON, fixed)
        log.reloaded(DAEMON)
        return True

    def _reopened(self) -> Opened | None:
        try:
            return _open(self._config_path)[1]
        except ConfigError as error:
            log.reload_failed(DAEMON, str(error).splitlines())
            return None


def _differ(old: Config, new: Config, name: str) -> bool:
    return bool(getattr(old, name) != getattr(new, name))


def live(
    config: Config,
    answers: Opened,
    heard: socket.socket,
    place: int,
    reopened: Callable[[], Opened | None],
) -> NoReturn:
    """One process that answers, from its fork to its end."""
    sys.setswitchinterval(_SECONDS_A_TURN)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    folder = journal.journal_of(_spool(config), place)
    store = Store(config.redis, config.state_dir)
    recorder = Recorder(EventLog(store), lambda: Journal(folder, _kept(config)))
    held = Holding(recorder, Touches(store), answers.hits.lists, config.state_dir / "held", place)
    application = Application(answers, recorder, held)
    answering = server(application)

    def reload() -> None:
        found = reopened()
        if found is not None:
            application.opened = found

    async def until_told() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(END_WORKER, setattr, answering, "should_exit", True)
        loop.add_signal_handler(RELOAD_WORKER, reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (END_WORKER, RELOAD_WORKER))
        judging = loop.create_task(held.run())
        await answering.serve(sockets=[heard])
        held.end()
        await judging

    asyncio.Runner(loop_factory=answering.config.get_loop_factory()).run(until_told())
    recorder.close()
    os._exit(0)
