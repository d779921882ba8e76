"""The dashboard in the first process of `fletching web`, and the life of its worker.

Here live its socket and its password. Requests are answered in `app.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fletching.config.faults import named_by
from fletching.config.model import Config
from fletching.config.sections import Web
from fletching.daemons.dashboard.access import Access
from fletching.daemons.dashboard.app import Dashboard
from fletching.daemons.dashboard.health import PATH as HEALTH
from fletching.daemons.dashboard.health import HealthPage
from fletching.daemons.dashboard.pages import Table
from fletching.daemons.dashboard.placements import PlacementTables
from fletching.daemons.dashboard.request import Render
from fletching.daemons.dashboard.seeds import SeedTables
from fletching.daemons.dashboard.traces import TracePages
from fletching.daemons.dashboard.virtual_mtas import VirtualMtaPages
from fletching.daemons.dashboard.warned import PATH as WARNINGS
from fletching.daemons.dashboard.warned import WarningsPage
from fletching.daemons.health import reporting
from fletching.daemons.process import http_server, server_socket
from fletching.daemons.process.handover import Handover, Inbox
from fletching.daemons.process.lifecycle import Service
from fletching.daemons.process.listener import ListenError
from fletching.daemons.process.server_socket import ServerSocket
from fletching.daemons.process.supervise import Child
from fletching.startup import link_keys, zone
from fletching.store.connection import Store
from fletching.store.counts import Campaign
from fletching.store.find_traces import Traces
from fletching.store.statistics import Statistics
from fletching.store.suppression import Suppression
from fletching.tokens import Keyring
from fletching.tracing.search import Search

SHORTEST_PASSWORD = 12

STREAMS_END = 1
"""Seconds that open streams have at the end: nothing is lost with them."""


class PasswordFileError(Exception):
    """The file of `web.admin_password_file` cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a reload changes. ``password`` None: everyone who reaches the dashboard may see it, and
    nobody may change anything."""

    password: str | None
    config: Config
    keys: Keyring


class DashboardService(Service[Opened]):
    """The socket of `web.admin_listen` and the one worker behind it."""

    _socket: ServerSocket

    def __init__(self) -> None:
        self._began_with: Config | None = None
        self._opened: Handover[Opened] | None = None

    def open(self, config: Config) -> Opened:
        """If the configured address is not the one that is open, the password stays the same: the
        new address may need none, but the open one does.
        """
        found = password(config)
        if self._opened is not None and self._is_elsewhere(config):
            found = self._opened.value.password
        return Opened(found, config, link_keys(config))

    def listen(self, config: Config) -> None:
        self._began_with = config
        with named_by("web", "admin_listen", fault=ListenError):
            self._socket = server_socket.listen(_web(config).admin_listen)

    def begin(self, config: Config, opened: Handover[Opened]) -> list[Child]:
        self._opened = opened

        def live(value: Opened, inbox: Inbox[Opened]) -> NoReturn:
            _live(config, self._socket, value, inbox)

        return [opened.worker("dashboard", live)]

    def needs_restart(self, begun: Config, now: Config) -> list[str]:
        return ["web.admin_listen"] if self._is_elsewhere(now) else []

    def close(self) -> None:
        self._socket.close_path()

    def _is_elsewhere(self, config: Config) -> bool:
        begun = self._began_with or config
        return _web(begun).admin_listen != _web(config).admin_listen


def _live(config: Config, listening: ServerSocket, value: Opened, inbox: Inbox[Opened]) -> NoReturn:
    """The worker. ``config``: that of the start, with the Redis server and the trusted proxies."""
    store = Store(config.redis, config.state_dir)
    statistics = Statistics(store, value.config.measured)
    access = Access(value.password, _web(config).trusted_proxies)
    traces = _traces(store, value)
    mtas = VirtualMtaPages(store, value.config, access)
    # A reload replaces the value; what listens and who is asked stay those of the start.
    in_force = [value.config]
    operation: dict[str, Render] = {
        HEALTH: HealthPage(store, lambda: in_force[-1]),
        WARNINGS: WarningsPage(store),
    }
    reporting.begin(lambda: in_force[-1], store)
    dashboard = Dashboard(statistics, Suppression(store), traces, mtas, operation, access)
    dashboard.tables = _tables(store, value.config)
    server = http_server.server(dashboard, stop_timeout=STREAMS_END)

    def reload() -> None:
        if (new := inbox.latest()) is not None:
            in_force[:] = [new.config]
            access.take(new.password)
            statistics.measured = new.config.measured
            dashboard.traces = _traces(store, new)
            dashboard.tables = _tables(store, new.config)
            dashboard.virtual_mtas = VirtualMtaPages(store, new.config, access)

    http_server.run(server, http_server.serve(server, listening.socket, reload))
    os._exit(0)


def _traces(store: Store, value: Opened) -> TracePages:
    memory = value.config.trace_memory
    return TracePages(Search(Traces(store, memory), value.keys, memory), zone(value.config))


def _tables(store: Store, config: Config) -> Callable[[Campaign], list[tuple[str, Table]]]:
    """The tables of a campaign's page that not every site has."""
    seeds, placements = SeedTables(store, config), PlacementTables(store, config)
    return lambda campaign: [*seeds(campaign), *placements(campaign)]


def password(config: Config) -> str | None:
    """The password; None if none is configured. Raises UnusableError."""
    file = _web(config).admin_password_file
    with named_by("web", "admin_password_file", fault=PasswordFileError):
        return None if file is None else read_password(file)


def read_password(file: Path) -> str:
    """The first line of the file. Raises PasswordFileError."""
    try:
        password = file.read_text("utf-8").partition("\n")[0].strip()
    except OSError as error:
        raise PasswordFileError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PasswordFileError(f"{file}: not valid UTF-8") from None
    if len(password) < SHORTEST_PASSWORD:
        raise PasswordFileError(f"{file}: must have at least {SHORTEST_PASSWORD} characters")
    return password


def _web(config: Config) -> Web:
    return config.web or Web()
