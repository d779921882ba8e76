"""The tracking web service in its first process, and the life of a worker.

Here live the listening socket, the folders where events wait, and the parts of a worker. Requests
are answered in `app.py`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import NoReturn

from fletching import log
from fletching.config.faults import named_by
from fletching.config.model import Config
from fletching.config.sections import Events, Web
from fletching.daemons.intake import holding, journal
from fletching.daemons.intake.holding import Holding
from fletching.daemons.intake.journal import Journal
from fletching.daemons.intake.recorder import Recorder
from fletching.daemons.process import http_server, server_socket
from fletching.daemons.process.fork import even_without_room
from fletching.daemons.process.handover import Handover, Inbox
from fletching.daemons.process.lifecycle import Service, count_workers
from fletching.daemons.process.listener import ListenError
from fletching.daemons.process.server_socket import ServerSocket
from fletching.daemons.process.supervise import Child
from fletching.daemons.web.app import Application, Opened, opened
from fletching.metrics import shared_files
from fletching.metrics.web_requests import WebRequests
from fletching.store.connection import Store
from fletching.store.events import EventLog
from fletching.store.touches import Touches

_SWITCH_EVERY = 0.001
"""Seconds between two thread switches of Python: a click waits little for the threads that
write."""


class TrackingService(Service[Opened]):
    """The socket of `web.listen` and its workers. The first process answers no request itself."""

    at_start_only = ("workers", "redis", "state_dir", "trace_memory")

    _config: Config
    _socket: ServerSocket

    def __init__(
        self, *, request_timeout: float = http_server.REQUEST_TIMEOUT, hold: float = holding.HOLD
    ) -> None:
        """Seconds: for a request to arrive, and for which clicks and opens are held."""
        self._request_timeout, self._hold = request_timeout, hold

    def open(self, config: Config) -> Opened:
        return opened(config)

    def listen(self, config: Config) -> None:
        self._config = config
        with named_by("web", "listen", fault=ListenError):
            self._socket = server_socket.listen(_web(config).listen)
        workers = count_workers(config)
        with named_by("state_dir", fault=OSError), even_without_room("journal"):
            journal.prepare(_journals(config), workers, _kept(config))
        with named_by("state_dir", fault=OSError), even_without_room("metrics"):
            shared_files.begin(shared_files.of_web(config.state_dir))
        with named_by("state_dir", fault=OSError), even_without_room("held"):
            holding.prepare(_held(config), workers)

    def begin(self, config: Config, opened: Handover[Opened]) -> list[Child]:
        return [self._worker(number, opened) for number in range(count_workers(config))]

    def facts(self) -> list[tuple[str, object]]:
        return [("listen", _web(self._config).listen), ("workers", count_workers(self._config))]

    def needs_restart(self, begun: Config, now: Config) -> list[str]:
        moved = ["web.listen"] if _web(begun).listen != _web(now).listen else []
        return super().needs_restart(begun, now) + moved

    def close(self) -> None:
        self._socket.close_path()

    def _worker(self, number: int, opened: Handover[Opened]) -> Child:
        return opened.worker(f"web {number}", lambda value, inbox: self._live(number, value, inbox))

    def _live(self, number: int, value: Opened, inbox: Inbox[Opened]) -> NoReturn:
        sys.setswitchinterval(_SWITCH_EVERY)
        config = self._config
        folder = journal.journal_of(_journals(config), number)
        store = Store(config.redis, config.state_dir)
        events = EventLog(store, trace_memory=config.trace_memory)
        recorder = Recorder(events, lambda: Journal(folder, _kept(config)))
        held = Holding(
            recorder, Touches(store), value.hits.lists, _held(config), number, hold=self._hold
        )
        application = Application(value, recorder, held, _counts(config, number))
        server = http_server.server(application, request_timeout=self._request_timeout)

        def reload() -> None:
            if (new := inbox.latest()) is not None:
                application.opened = new

        async def work() -> None:
            judging = asyncio.get_running_loop().create_task(held.run())
            await http_server.serve(server, self._socket.socket, reload)
            held.end()
            await judging

        http_server.run(server, work())
        recorder.close()
        os._exit(0)


def _counts(config: Config, worker: int) -> WebRequests | None:
    try:
        return WebRequests(config.state_dir, worker)
    except OSError as error:
        log.state_write_failed("metrics", error)
        return None


def _web(config: Config) -> Web:
    return config.web or Web()


def _journals(config: Config) -> Path:
    return config.state_dir / "journal"


def _held(config: Config) -> Path:
    return config.state_dir / "held"


def _kept(config: Config) -> int:
    """Seconds for which the journal keeps events that suppress an address: as long as the
    stream.
    """
    return (config.events or Events()).keep
