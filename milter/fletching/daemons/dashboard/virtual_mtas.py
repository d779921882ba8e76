"""The page of the VirtualMTAs: their state on this host, what is used of their limits over all
hosts, and the curves of warm-ups.

What a limit is, and what is used of it, is in `usage.py`; here is how it looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, tzinfo

from fletching import paused
from fletching.config.model import Config, VirtualMta
from fletching.daemons.dashboard.curves import Line, Panel, path
from fletching.daemons.dashboard.frame import Frame, page
from fletching.daemons.dashboard.pages import Cell, Table, TableRow
from fletching.source_addresses import vanished
from fletching.startup import stamp, zone
from fletching.store.connection import Store
from fletching.usage import Day, Use, uses, warm_up

PATH = "/virtual-mtas"

_STATES = ("Sends through", "Fallback", "State on this host")
_USE = ("Used", "Limit", "Share", "Turns over")


class VirtualMtaPage:
    """Makes the page. ``config``: whose VirtualMTAs are shown."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._config = config

    def __call__(self, frame: Frame) -> str:
        """The page. Raises StoreUnavailable, and OSError if the pauses cannot be read."""
        config, now = self._config, stamp(zone(self._config)).time
        stopped, gone = paused.read(config.state_dir), vanished(config)
        mtas = config.virtual_mtas.values()
        states = [
            TableRow(each.name, _cells(each, _state(each, stopped, gone, now.date())))
            for each in mtas
        ]
        limited = any(each.limited for each in mtas)
        used = uses(config, self._store, now) if limited else {}
        rows = [_row(use, zone(config)) for each in used.values() for use in each]
        curves = [curve(each, warm_up(each, self._store, now)) for each in mtas if each.warmup]
        return page(
            "virtual_mtas.html",
            PATH,
            frame,
            0,
            live="",
            states=Table("VirtualMTAs", "VirtualMTA", _STATES, states),
            limits=Table("Recipients in this hour and on this day", "VirtualMTA", _USE, rows),
            curves=curves,
        )


def _cells(mta: VirtualMta, state: str) -> tuple[Cell, ...]:
    way = mta.transport or ""
    if mta.relay is not None:
        way = f"{way} to {mta.relay}"
    if mta.pool is not None:
        way = "pool of " + ", ".join(f"{name} ({weight})" for name, weight in mta.pool.items())
    return Cell(way), Cell(mta.fallback or ""), Cell(state)


def _state(mta: VirtualMta, stopped: frozenset[str], gone: frozenset[str], today: date) -> str:
    name = mta.name.lower()
    if name in stopped:
        return "paused"
    if name in gone:
        return f"address {mta.address} has vanished"
    if mta.warmup is not None and today < mta.warmup.since:
        return f"warm-up begins on {mta.warmup.since}"
    return "active"


def _row(use: Use, in_zone: tzinfo | None) -> TableRow:
    turns_over = datetime.fromtimestamp(use.turns_over, in_zone).astimezone(in_zone)
    share = f"{100 * use.used / use.cap:.0f}\N{NO-BREAK SPACE}%" if use.cap else ""
    provider = "all" if use.provider is None else use.provider or "each provider"
    texts = (f"{use.used:,}", f"{use.cap:,}", share, f"{turns_over:%Y-%m-%d %H:%M %Z}")
    about = f"{provider}, this {use.period}"
    return TableRow(use.virtual_mta, tuple(map(Cell, texts)), about=about)


def curve(mta: VirtualMta, days: Sequence[Day]) -> Panel:
    """The limits of a warm-up and what was used of them."""
    shown = [day for day in days if day.cap is not None] or list(days)
    caps, used = [day.cap or 0 for day in shown], [day.used for day in shown]
    top = max(*caps, *used, 1)
    per = "by one provider" if mta.warmup is not None and mta.warmup.per == "provider" else "in all"
    lines = (
        Line("sent", "limit", path(caps, top)),
        Line("delivered", f"used {per}", path(used, top)),
    )
    title = f"Warm-up of {mta.name}, recipients per day"
    by_day = ", ".join(f"{day.date}: {day.used:,} of {day.cap or 0:,}" for day in shown)
    span = shown[0].date, shown[-1].date
    return Panel(title, f"{top:,}", f"{title}: {by_day}", lines, *span)
