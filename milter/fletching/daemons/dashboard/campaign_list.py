"""The list of campaigns: statistics in, HTML and CSV out.

Here lives how the list looks. Which campaigns are in it is in `campaign_query.py`, where they come
from in `campaigns.py`. Pure.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from fletching.daemons.dashboard.campaign_query import CSV_PATH, ORDERS, Query
from fletching.daemons.dashboard.frame import Frame, page
from fletching.daemons.dashboard.pages import COLUMNS, Cell, Table, TableRow, cell, titles
from fletching.daemons.dashboard.times import time_html
from fletching.figures import campaign_row, share_of_all
from fletching.store.counts import Campaign, total

MOST_CAMPAIGNS = 100
"""Campaigns on a page."""

_CSV_ROWS = 200
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_NEXT_CELL = re.compile(r"""[;\t\r\n]"*(?=[=+@-])""")


@dataclass(frozen=True, slots=True)
class Shown:
    """A page of the list. ``found``: its campaigns; ``count``: how many there are on all pages.

    ``summed``: the campaigns of the totals: those on the page, or all that match; ``is_cut``: only
    the newest that match.
    """

    found: Sequence[Campaign]
    count: int
    summed: Sequence[Campaign]
    is_cut: bool = False

    @property
    def pages(self) -> int:
        return max(1, -(-self.count // MOST_CAMPAIGNS))


def of_page(found: Sequence[Campaign], count: int) -> Shown:
    """With the totals of the campaigns on the page."""
    found = found[:MOST_CAMPAIGNS]
    return Shown(found, count, found)


def campaigns(shown: Shown, query: Query, now: int, frame: Frame) -> str:
    """A page of the list. Only the first page of all campaigns gets live updates."""
    order = ORDERS[query.order]
    rows = [
        TableRow(each.sendid, _cells(each, each.campaign), f"/campaign/{each.campaign}")
        for each in shown.found
    ]
    return page(
        "campaigns.html",
        "/",
        frame,
        now,
        live="/live" if query.is_plain else "",
        times=True,
        query=query,
        orders=ORDERS,
        shown=shown,
        page_number=query.page,
        csv_address=query.address(CSV_PATH, page=1),
        previous=query.address(page=query.page - 1) if query.page > 1 else "",
        following=query.address(page=query.page + 1) if query.page < shown.pages else "",
        table=Table(f"Campaigns, {order[:1].lower()}{order[1:]}", "Campaign", titles(), rows),
        total=TableRow(_total_title(shown), _total_cells(shown.summed)),
        about=[(each, time_html(each.opened)) for each in shown.found],
    )


def _total_title(shown: Shown) -> str:
    summed = len(shown.summed)
    if shown.is_cut:
        return f"Total of the newest {summed:,}"
    if summed == shown.count:
        return f"Total of all {summed:,}"
    return f"Total of {summed:,} on this page"


def _cells(counted: Campaign, key: str) -> tuple[Cell, ...]:
    return tuple(cell(counted, name, f"{key}.{name}") for _, name in COLUMNS)


def _total_cells(found: Sequence[Campaign]) -> tuple[Cell, ...]:
    """Of campaigns that do not measure a count, nothing is in its share."""
    sums = total(found)
    return tuple(
        cell(sums, name, f"total.{name}", share_of_all(found, name)) for _, name in COLUMNS
    )


def cells_of_all(found: Sequence[Campaign]) -> dict[str, str]:
    """The numbers and shares of the first page, by key."""
    found = found[:MOST_CAMPAIGNS]
    cells = [each for one in found for each in _cells(one, one.campaign)]
    cells += _total_cells(found)
    shares = {each.share_key: each.share for each in cells if each.share_key}
    return {each.key: each.text for each in cells} | shares


def csv_pieces(found: Iterable[Campaign]) -> Iterator[str]:
    """The campaigns as CSV, piece by piece, with the names of `fletching stats --json`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(campaign_row(Campaign()))
    rows = iter(found)
    while some := list(islice(rows, _CSV_ROWS)):
        writer.writerows(map(_safe, campaign_row(each).values()) for each in some)
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def _safe(value: object) -> str:
    """A value that no spreadsheet takes for a formula: an apostrophe before it makes it text.

    Where commas are decimal, a spreadsheet splits lines at semicolons instead, and at each one
    another cell begins.
    """
    if not isinstance(value, str):
        return "" if value is None else str(value)
    text = _NEXT_CELL.sub(r"\g<0>'", value)
    return f"'{text}" if text.startswith(_FORMULA) else text
