"""The server of `metrics.listen`, as one process beside the milter's workers.

Here lives its socket, which the milter's first process opens, and the life of its one worker. Mail
does not depend on it: a worker that dies is replaced. The pages are in `app.py`.
"""

from __future__ import annotations

import os
from typing import NoReturn

from fletching.config.faults import named_by
from fletching.config.model import Config
from fletching.daemons.process import server_socket
from fletching.daemons.process.handover import Handover, Inbox
from fletching.daemons.process.lifecycle import Service
from fletching.daemons.process.listener import ListenError
from fletching.daemons.process.server_socket import ServerSocket
from fletching.daemons.process.supervise import Child

STOP_TIMEOUT = 1
"""Seconds for current requests at a stop: Prometheus asks again."""


class MetricsService(Service[Config]):
    """The socket and its worker; without `metrics`, neither."""

    _config: Config
    _socket: ServerSocket | None = None

    def open(self, config: Config) -> Config:
        return config

    def listen(self, config: Config) -> None:
        self._config = config
        if config.metrics is not None:
            with named_by("metrics", "listen", fault=ListenError):
                self._socket = server_socket.listen(config.metrics.listen)

    def begin(self, config: Config, opened: Handover[Config]) -> list[Child]:
        return [opened.worker("metrics", self._live)] if self._socket is not None else []

    def facts(self) -> list[tuple[str, object]]:
        return [("metrics", self._config.metrics.listen)] if self._config.metrics else []

    def needs_restart(self, begun: Config, now: Config) -> list[str]:
        return ["metrics.listen"] if _listen(begun) != _listen(now) else []

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close_path()

    def _live(self, config: Config, inbox: Inbox[Config]) -> NoReturn:
        # Not above: the milter's workers do without these libraries.
        from fletching.daemons.exporter.app import Application
        from fletching.daemons.health import reporting
        from fletching.daemons.process import http_server
        from fletching.store.connection import Store

        assert self._socket is not None
        begun = self._config
        # As long as the milter runs, it has these of its start.
        fixed = {name: getattr(begun, name) for name in ("listen", "redis", "state_dir")}
        store = Store(begun.redis, begun.state_dir)
        application = Application(config.model_copy(update=fixed), store)
        reporting.begin(lambda: application.config, store)
        server = http_server.server(application, stop_timeout=STOP_TIMEOUT)

        def reload() -> None:
            if (new := inbox.latest()) is not None:
                application.config = new.model_copy(update=fixed)

        async def work(listening: ServerSocket) -> NoReturn:
            await http_server.serve(server, listening.socket, reload)
            # A check that still runs in a thread would be waited for.
            os._exit(0)

        http_server.run(server, work(self._socket))
        raise AssertionError("not reached")


def _listen(config: Config) -> str | None:
    return config.metrics.listen if config.metrics is not None else None
