"""The page about health: the daemons and checks of this host, and all hosts of the fleet.

What is checked, and how bad a finding is, is decided in `daemons/health/`; here is how it looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fletching.config.model import Config
from fletching.daemons.dashboard.frame import Frame, page
from fletching.daemons.dashboard.live import Shared
from fletching.daemons.dashboard.times import time_html
from fletching.daemons.health import findings
from fletching.daemons.health.findings import Finding, Level
from fletching.daemons.health.reporting import LATE
from fletching.daemons.process import presence
from fletching.startup import host_name
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.hosts import Hosts, Report

PATH = "/health"

WORDS = {Level.OK: "OK", Level.WARNING: "Warning", Level.ERROR: "Error"}

_DAEMONS = ("State", "Since (UTC)", "Version", "Last sign of life")
_HOSTS = ("State", "Last report (UTC)", "Version", "Running daemons")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table. ``texts``: its further cells, by the titles of the columns."""

    name: str
    level: Level
    texts: tuple[str, ...]

    @property
    def word(self) -> str:
        return WORDS[self.level]


class HealthPage:
    """Makes the page. ``config``: the one in force."""

    def __init__(self, store: Store, config: Callable[[], Config]) -> None:
        self._store = store
        self._config = config
        # However many look at it, the checks are made once at a time.
        self._found = Shared(lambda: tuple(findings.findings(config(), store)))

    def __call__(self, frame: Frame) -> str:
        """The page; it needs no Redis."""
        config, now, found = self._config(), time.time(), self._found()
        daemons = {*presence.DAEMONS} & {each.about for each in found}
        hosts, why = self._hosts(now)
        return page(
            "health.html",
            PATH,
            frame,
            int(now),
            live="",
            times=True,
            host=host_name(config),
            summary=summary(found),
            tables=[
                ("Daemons of this host", "Daemon", _DAEMONS, _daemons(config, found, now)),
                ("Checks of this host", "Check", ("Result",), _checks(found, daemons)),
                *([("Hosts", "Host", _HOSTS, hosts)] if hosts else []),
            ],
            why=why,
        )

    def _hosts(self, now: float) -> tuple[list[Row], str]:
        """The hosts, and why they are not known."""
        try:
            reports = Hosts(self._store).reports()
        except StoreUnavailable:
            return [], "The other hosts are not known: Redis does not answer."
        return [_host(each, now) for each in reports], ""


def summary(found: Sequence[Finding]) -> Row:
    """The worst of some findings, in words."""
    errors = [each for each in found if each.level is Level.ERROR]
    warnings = [each for each in found if each.level is Level.WARNING]
    texts = [_number(len(errors), "error")] if errors else []
    texts += [_number(len(warnings), "warning")] if warnings else []
    level = Level.ERROR if errors else Level.WARNING if warnings else Level.OK
    return Row("", level, (", ".join(texts) or "everything works",))


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _daemons(config: Config, found: Sequence[Finding], now: float) -> list[Row]:
    there = findings.presences(config.state_dir)
    rows = []
    for each in found:
        known = there.get(each.about)
        if known is not None:
            silence = max(0, round(now - known.seen))
            seen = f"{silence} seconds ago" if silence < 120 else time_html(known.seen)
            texts = (each.text, time_html(known.since), known.version, seen)
            rows.append(Row(each.about, each.level, texts))
        elif each.about in presence.DAEMONS:
            rows.append(Row(each.about, each.level, (each.text, "", "", "")))
    return rows


def _checks(found: Sequence[Finding], daemons: set[str]) -> list[Row]:
    return [
        Row(each.about, each.level, (each.text,)) for each in found if each.about not in daemons
    ]


def _host(report: Report, now: float) -> Row:
    silence = round(now - report.seconds)
    if silence > LATE:
        level, text = Level.ERROR, "has not reported since"
    elif report.errors:
        level, text = Level.ERROR, "; ".join(report.errors)
    else:
        level, text = Level.OK, "works"
    when = time_html(report.seconds)
    return Row(report.host, level, (text, when, report.version, ", ".join(report.daemons)))
