"""Which limits of a VirtualMTA hold for a mail, as values that the store can check
(docs/routing.md, "Limits and warm-up").

Here is what a cap is now, and what of a mail counts. How much of a cap is used, only the store
knows (`store/limits.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache

from fletching.config.limits import Limits, Warmup
from fletching.config.virtual_mtas import VirtualMta
from fletching.mail.envelope import Recipient
from fletching.numbering import Period, Window
from fletching.providers import Providers

HOUR = 3600


def counted(recipients: Iterable[Recipient], providers: Providers) -> tuple[tuple[str, int], ...]:
    """How many recipients a mail has at each provider."""
    return tuple(sorted(Counter(providers.provider(each.domain) for each in recipients).items()))


def periods(mta: VirtualMta, time: datetime) -> tuple[Period, ...]:
    """The periods in which a VirtualMTA's recipients are limited at a time; none without limits.

    ``time`` is in the configuration's time zone.
    """
    if not mta.limited:
        return ()
    hour = int(time.timestamp()) // HOUR
    return _periods(mta.limits, mta.warmup, hour, time.date(), time.tzinfo)


# The clock of Redis decides which window it is: so the one before and the one after are there, too.
# The last one only ends the one before it.
_AROUND = (-1, 0, 1, 2)


@lru_cache(1024)
def _periods(
    limits: Limits | None, warmup: Warmup | None, hour: int, day: date, zone: tzinfo | None
) -> tuple[Period, ...]:
    hours = tuple(_hour(limits, hour + each) for each in _AROUND)
    days = tuple(_day(limits, warmup, day + timedelta(each), zone) for each in _AROUND)
    both = (Period("hour", hours), Period("day", days))
    return tuple(each for each in both if any(window.capped for window in each.windows))


def _hour(limits: Limits | None, hour: int) -> Window:
    most = limits.hour if limits is not None else None
    caps = _caps((limits.per, most)) if limits is not None else (None, None)
    return Window(f"hour-{hour}", hour * HOUR, *caps)


def _day(limits: Limits | None, warmup: Warmup | None, day: date, zone: tzinfo | None) -> Window:
    # By its date, which stays the same even if the clock is put back or forward on that day.
    starts = int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
    found: list[tuple[str, int | None]] = []
    if limits is not None:
        found.append((limits.per, limits.day))
    if warmup is not None:
        found.append((warmup.per, warmup.cap(day)))
    return Window(f"day-{day}", starts, *_caps(*found))


def _caps(*limits: tuple[str, int | None]) -> tuple[int | None, int | None]:
    """The lowest cap of each provider, and of all together."""

    def lowest(per: str) -> int | None:
        return min((most for of, most in limits if of == per and most is not None), default=None)

    return lowest("provider"), lowest("all")
