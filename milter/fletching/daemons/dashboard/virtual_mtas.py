"""The page of the VirtualMTAs: their state on this host, what is used of their limits over all
hosts, and the curves of warm-ups. Who has logged in pauses and resumes them here.

What a limit is, and what is used of it, is in `usage.py`; here is how it looks. The pauses are in
`paused.py`, as those of `fletching mta`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo

from fletching import log, paused
from fletching.config.model import Config, VirtualMta
from fletching.daemons.dashboard.access import Access
from fletching.daemons.dashboard.curves import Line, Panel, path
from fletching.daemons.dashboard.frame import Frame, page
from fletching.daemons.dashboard.pages import Cell, Table, TableRow
from fletching.daemons.dashboard.request import Request
from fletching.source_addresses import vanished
from fletching.startup import stamp, zone
from fletching.store.connection import Store
from fletching.usage import Day, Use, uses, warm_up

PATH = "/virtual-mtas"

_PAUSE, _RESUME = f"{PATH}/pause", f"{PATH}/resume"
_METHODS = {PATH: ("GET", "HEAD"), _PAUSE: ("GET", "HEAD", "POST"), _RESUME: ("POST",)}
_UNKNOWN = ("Unknown VirtualMTA", "It is not in the configuration, or it is a pool.")

_STATES = ("Sends through", "Fallback", "State on this host")
_USE = ("Used", "Limit", "Share", "Turns over")


@dataclass(frozen=True, slots=True)
class State:
    """A row of the page. ``action``: `pause` or `resume`; empty for a pool."""

    name: str
    texts: tuple[str, ...]
    action: str


class VirtualMtaPages:
    """Answers the requests under `PATH`. ``config``: whose VirtualMTAs are shown."""

    def __init__(self, store: Store, config: Config, access: Access) -> None:
        self._store = store
        self._config = config
        self._access = access

    async def answer(self, request: Request) -> None:
        """Responds to a request. Raises StoreUnavailable, and OSError if the pauses cannot be read
        or written.
        """
        allowed = _METHODS.get(request.path)
        if allowed is None:
            await request.error(404, "Page not found", "Use the links above.")
        elif request.method not in allowed:
            allow = (b"allow", ", ".join(allowed).encode())
            await request.error(405, "Method not allowed", "Use the forms.", allow)
        elif request.method == "POST":
            await self._change(request)
        elif request.path == PATH:
            await request.page(self._page)
        else:
            await self._confirm(request)

    async def _confirm(self, request: Request) -> None:
        """The page between the button "Pause" and the pause: no script asks."""
        mta = self._single(request.query.get("name", ""))
        if mta is None:
            await request.error(404, *_UNKNOWN)
            return
        await request.page(
            lambda frame: page(
                "pause.html", PATH, frame, 0, live="", name=mta.name, effect=_effect(mta)
            )
        )

    async def _change(self, request: Request) -> None:
        form = await self._access.form(request)
        if form is None:
            return
        mta = self._single(form.get("name", ""))
        if mta is None:
            await request.error(422, *_UNKNOWN)
            return
        pause = request.path == _PAUSE
        await asyncio.to_thread(paused.change, self._config.state_dir, mta.name, pause=pause)
        action = "pause" if pause else "resume"
        log.dashboard_action(self._access.client(request), action, [("virtual_mta", mta.name)])
        await request.redirect(PATH)

    def _single(self, name: str) -> VirtualMta | None:
        """A VirtualMTA that can be paused: a pool cannot."""
        mta = self._config.virtual_mta(name)
        return mta if mta is not None and mta.pool is None else None

    def _page(self, frame: Frame) -> str:
        config, now = self._config, stamp(zone(self._config)).time
        stopped, gone = paused.read(config.state_dir), vanished(config)
        mtas = config.virtual_mtas.values()
        states = [
            State(
                each.name,
                (*_ways(each), _state(each, stopped, gone, now.date())),
                _action(each, stopped),
            )
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
            columns=_STATES,
            states=states,
            limits=Table("Recipients in this hour and on this day", "VirtualMTA", _USE, rows),
            curves=curves,
        )


def _effect(mta: VirtualMta) -> str:
    other = f"uses {mta.fallback}" if mta.fallback else "gets 451, because it has no fallback"
    return f"On this host, pools skip it, and other mail for it {other}."


def _action(mta: VirtualMta, stopped: frozenset[str]) -> str:
    if mta.pool is not None:
        return ""
    return "resume" if mta.name.lower() in stopped else "pause"


def _ways(mta: VirtualMta) -> tuple[str, str]:
    way = mta.transport or ""
    if mta.relay is not None:
        way = f"{way} to {mta.relay}"
    if mta.pool is not None:
        way = "pool of " + ", ".join(f"{name} ({weight})" for name, weight in mta.pool.items())
    return way, mta.fallback or ""


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
