"""How much of its limits each VirtualMTA has used in this hour and on this day.

`fletching mta list` and the dashboard show it. What a limit is, `policy/limits.py` knows; what is
used of it, `store/limits.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from fletching.config.model import Config
from fletching.config.virtual_mtas import VirtualMta
from fletching.numbering import Window
from fletching.policy import limits
from fletching.store.connection import Store
from fletching.store.limits import ALL, used

CURVE = 30
"""Days of a warm-up's curve, from its first one."""


class Use(NamedTuple):
    """What is used of one limit. ``period``: `hour` or `day`. ``provider``: None for all together,
    empty if no provider has had mail yet. ``turns_over``: unix seconds."""

    virtual_mta: str
    period: str
    provider: str | None
    used: int
    cap: int
    turns_over: int


class Day(NamedTuple):
    """A day of a warm-up: its date, its cap (None: the warm-up is over) and the most that was used
    of it, by one provider or in all, as the cap is meant."""

    date: str
    cap: int | None
    used: int


def uses(config: Config, store: Store, now: datetime) -> dict[str, tuple[Use, ...]]:
    """By VirtualMTA, for those that have limits at that time. Raises StoreUnavailable.

    ``now`` is in the configuration's time zone.
    """
    found = _windows(config, now)
    return _uses(found, used(store, [(name, window) for name, _, window, _ in found]))


def unused(config: Config, now: datetime) -> dict[str, tuple[Use, ...]]:
    """The same if nothing were used: which limits there are."""
    found = _windows(config, now)
    return _uses(found, [{} for _ in found])


_Limited = tuple[str, str, Window, Window]
"""A VirtualMTA, a period, its window now, and the one after that."""


def _windows(config: Config, now: datetime) -> list[_Limited]:
    return [
        (mta.name, period.kind, period.windows[1], period.windows[2])
        for mta in config.virtual_mtas.values()
        for period in limits.periods(mta, now)
        if period.windows[1].capped
    ]


def _uses(
    found: Iterable[_Limited], counts: Iterable[Mapping[str, int]]
) -> dict[str, tuple[Use, ...]]:
    by_name: dict[str, tuple[Use, ...]] = {}
    for (name, kind, window, after), count in zip(found, counts, strict=True):
        more = (
            Use(name, kind, provider, recipients, cap, after.starts)
            for provider, recipients, cap in _shares(window, count)
        )
        by_name[name] = (*by_name.get(name, ()), *more)
    return by_name


def _shares(window: Window, counts: Mapping[str, int]) -> Iterator[tuple[str | None, int, int]]:
    """Provider, recipients, cap; the providers with the most recipients first."""
    if window.in_all is not None:
        yield None, counts.get(ALL, 0), window.in_all
    if window.per_provider is not None:
        providers = sorted((-count, name) for name, count in counts.items() if name != ALL)
        for count, name in providers or [(0, "")]:
            yield name, -count, window.per_provider


def warm_up(mta: VirtualMta, store: Store, now: datetime) -> tuple[Day, ...]:
    """The days of a VirtualMTA's warm-up, from its first one to the one after its end, at most
    `CURVE` of them; none without a warm-up. Raises StoreUnavailable."""
    if mta.warmup is None:
        return ()
    days = [mta.warmup.since + timedelta(each) for each in range(CURVE)]
    caps = [mta.warmup.cap(day) for day in days]
    end = caps.index(None) + 1 if None in caps else len(caps)
    past = [day for day in days[:end] if day <= now.date()]
    counts = used(store, [(mta.name, Window(f"day-{day}", 0)) for day in past])
    together = mta.warmup.per == "all"
    most = [
        count.get(ALL, 0) if together else max((n for k, n in count.items() if k != ALL), default=0)
        for count in counts
    ]
    most += [0] * (end - len(most))
    return tuple(Day(str(d), c, u) for d, c, u in zip(days[:end], caps[:end], most, strict=True))
