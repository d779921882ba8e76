"""Statistics for tests of the dashboard alone: numbers that a test sets, in place of Redis.

What the real ones count is tested where they are; here they would only be slow to bring to a value.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from typing import Any

from fletching.daemons.dashboard.access import Access
from fletching.daemons.dashboard.app import Dashboard
from fletching.daemons.dashboard.guesses import Guesses
from fletching.daemons.dashboard.health import PATH as HEALTH
from fletching.daemons.dashboard.health import HealthPage
from fletching.daemons.dashboard.request import Render
from fletching.daemons.dashboard.traces import TracePages
from fletching.daemons.dashboard.virtual_mtas import VirtualMtaPages
from fletching.daemons.dashboard.warned import PATH as WARNINGS
from fletching.daemons.dashboard.warned import WarningsPage
from fletching.daemons.process import http_server, server_socket
from fletching.returning.visitor import Network
from fletching.store.connection import StoreUnavailable
from fletching.store.counts import EVERY, Campaign, Failures, Link, Row, Wanted
from fletching.store.find_traces import Traces
from fletching.store.suppression import Suppression
from fletching.tokens import Keyring
from fletching.tracing.search import Search

from sandbox.processes import wait_until
from tests.setting import config
from tests.stores import shared_store

OPENED = 1_795_248_000
"""2026-11-21 08:00 UTC."""

HOUR = 3600
WEEK = 7 * 24 * HOUR


def campaign(name: str, sendid: str = "newsletter20261121", /, **numbers: Any) -> Campaign:
    """A campaign with these numbers, all others 0."""
    told: dict[str, Any] = {"campaign": name, "sendid": sendid, "opened": OPENED}
    return Campaign(**told | {"mail_class": "newsletter"} | numbers)


def row(name: str, **numbers: Any) -> Row:
    """The same for a line of a breakdown."""
    return Row(name=name, **numbers)


class Numbers:
    """What the dashboard asks of `Statistics`. ``away``: Redis does not answer."""

    def __init__(self, *found: Campaign) -> None:
        self.all = {each.campaign: each for each in found}
        self.counted: dict[str, Mapping[int, int]] = {}
        self.in_steps: dict[str, Mapping[int, int]] = {}
        self.clicked: tuple[Link, ...] = ()
        self.rows: dict[str, tuple[Row, ...]] = {}
        self.failed: tuple[Failures, ...] = ()
        self.warned: tuple[tuple[str, int], ...] = ()
        self.away = False

    def set(self, name: str, **numbers: Any) -> None:
        self.all[name] = replace(self.all[name], **numbers)

    def campaigns(
        self, limit: int | None = None, skip: int = 0, wanted: Wanted = EVERY
    ) -> tuple[Campaign, ...]:
        return tuple(self.each(wanted))[skip:][:limit]

    def each(self, wanted: Wanted = EVERY) -> Iterator[Campaign]:
        self._answer()
        return iter([each for each in self.all.values() if wanted.has(each)])

    def count(self, wanted: Wanted = EVERY) -> int:
        return len(self.campaigns(wanted=wanted))

    def campaign(self, name: str) -> Campaign | None:
        self._answer()
        return self.all.get(name)

    def hours(self, name: str) -> Mapping[str, Mapping[int, int]]:
        self._answer()
        return self.counted

    def steps(self, name: str) -> Mapping[str, Mapping[int, int]]:
        self._answer()
        return self.in_steps

    def links(self, name: str) -> tuple[Link, ...]:
        self._answer()
        return self.clicked

    def warnings(self, name: str) -> tuple[tuple[str, int], ...]:
        self._answer()
        return self.warned

    def failures(self, name: str) -> tuple[Failures, ...]:
        self._answer()
        return self.failed

    def by(self, what: str, name: str | None = None) -> tuple[Row, ...]:
        self._answer()
        return self.rows.get(what, ())

    def _answer(self) -> None:
        if self.away:
            raise StoreUnavailable("no answer")


@contextmanager
def served(
    numbers: Numbers,
    password: str | None = None,
    proxies: Sequence[Network] = (),
    *,
    redis: str = "unix:///nowhere",
    site: str = "",
    guesses: Guesses | None = None,
    **limits: Any,
) -> Iterator[int]:
    """The dashboard at a loopback port, in a thread of this process."""
    suppression = Suppression(shared_store(redis))
    traces = TracePages(Search(Traces(shared_store(redis), WEEK), Keyring(()), WEEK), UTC)
    access = Access(password, proxies, guesses)
    mtas = VirtualMtaPages(shared_store(redis), config(site), access)
    operation: dict[str, Render] = {
        HEALTH: HealthPage(shared_store(redis), lambda: config(site)),
        WARNINGS: WarningsPage(shared_store(redis)),
    }
    shown = Dashboard(numbers, suppression, traces, mtas, operation, access, **limits)  # type: ignore[arg-type]
    # An open page would be waited for.
    running = http_server.server(shown, stop_timeout=0)
    heard = server_socket.listen("127.0.0.1:0").socket
    thread = threading.Thread(target=lambda: running.run([heard]))
    thread.start()
    wait_until("the dashboard does not start", lambda: running.started)
    try:
        yield heard.getsockname()[1]
    finally:
        running.should_exit = True
        thread.join()
