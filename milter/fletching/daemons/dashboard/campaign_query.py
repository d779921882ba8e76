"""Which campaigns the list shows: the parameters of its URL as a value, and back.

The URL of a list can be kept and shared. Here lives no request to Redis; pure, but for the time
zones of the system.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fletching.figures import OF_DELIVERED, OF_SENT, TITLES, share
from fletching.store.counts import Campaign, Wanted

PATH, CSV_PATH = "/", "/campaigns.csv"

ORDERS: Mapping[str, str] = {
    "": "Newest first",
    **{name: f"Most {TITLES[name].lower()}" for name in ("sent", "unique_opens", "unique_clicks")},
    "delivered_share": "Highest share delivered",
    "bounces_share": "Highest share of bounces",
    **{
        f"{name}_share": f"Highest share of {TITLES[name].lower()}"
        for name in ("unique_opens", "unique_clicks", "unsubscribes", "complaints")
    },
}
"""The orders of a list, and their titles. The newest come first among equal ones."""

LONGEST_SEARCH = 200

_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,30}(/[A-Za-z0-9_+-]{1,30}){0,2}")


@dataclass(frozen=True, slots=True)
class Query:
    """The list that a URL asks for. ``first`` and ``last``: days on which campaigns began, both
    inclusive, in the time zone ``zone``; empty for UTC. ``order``: one of `ORDERS`.
    """

    search: str = ""
    first: date | None = None
    last: date | None = None
    zone: str = ""
    order: str = ""
    page: int = 1

    @property
    def filters(self) -> bool:
        """Whether some campaigns are left out."""
        return bool(self.search or self.first or self.last)

    @property
    def is_plain(self) -> bool:
        """Whether it is the first page of all campaigns, newest first: it gets live updates."""
        return not self.filters and not self.order and self.page == 1

    @property
    def wanted(self) -> Wanted:
        """The same for the store."""
        until = None if self.last is None else self.last + timedelta(days=1)
        return Wanted(search=self.search, since=self._start(self.first), until=self._start(until))

    def _start(self, day: date | None) -> float:
        if day is None:
            return 0
        return datetime(day.year, day.month, day.day, tzinfo=_zone(self.zone) or UTC).timestamp()

    def address(self, path: str = PATH, **changes: Any) -> str:
        """The URL of the same list with other values, such as another page."""
        changed = replace(self, **changes)
        fields = {
            "q": changed.search,
            "from": changed.first.isoformat() if changed.first else "",
            "to": changed.last.isoformat() if changed.last else "",
            "zone": changed.zone if changed.first or changed.last else "",
            "order": changed.order,
            "page": str(changed.page) if changed.page > 1 else "",
        }
        given = {name: value for name, value in fields.items() if value}
        return f"{path}?{urlencode(given)}" if given else path


def parsed(fields: Mapping[str, str]) -> Query:
    """The list of a URL. What is invalid is left out, as if it were not given."""
    page = fields.get("page", "")
    zone, order = fields.get("zone", ""), fields.get("order", "")
    return Query(
        search=" ".join(fields.get("q", "").split())[:LONGEST_SEARCH],
        first=_day(fields.get("from", "")),
        last=_day(fields.get("to", "")),
        zone=zone if _zone(zone) else "",
        order=order if order in ORDERS else "",
        page=int(page) if re.fullmatch("[1-9][0-9]{0,5}", page) else 1,
    )


def rank(campaign: Campaign, order: str) -> float:
    """What a list in this order is sorted by, highest first."""
    name = order.removesuffix("_share")
    if name == order:
        return float(getattr(campaign, name) or 0)
    assert name in OF_SENT | OF_DELIVERED, "only these have a share"
    found = share(campaign, name)
    return -1.0 if found is None else found.percent


def _day(text: str) -> date | None:
    """A day as in `<input type=date>`. Within these years, every time zone has its midnight."""
    try:
        found = date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.A) else None
    except ValueError:
        return None
    return found if found is not None and 1970 <= found.year < 2100 else None


def _zone(name: str) -> tzinfo | None:
    """The time zone of the tz database; None if this host does not know it."""
    if not _ZONE.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
