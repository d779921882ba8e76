"""Formats statistics for `fletching stats`: rows for scripts, table columns, the chart. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fletching.figures import (
    OTHER_WORDS,
    TITLES,
    by_span,
    campaign_row,
    counts,
    minute,
    share,
    share_delivered,
)
from fletching.store.counts import Campaign, Counts, Failures, Link, Row

BLOCKS = " ▁▂▃▄▅▆▇█"
"""The characters of a chart, if stdout's encoding has them."""

CHART_KINDS = ("sent", "delivered", "deferred", "bounces", "opens", "clicks", "unsubscribes")
"""The kinds in a chart, if any of them was counted."""

FEWEST_COLUMNS = 10
"""The minimum width of a chart, even on a narrower terminal."""

# In tables with many lines only these have a share, and titles are short, to save space.
_SHARED_IN_TABLES = {"unique_opens", "unique_clicks"}
_IN_TABLES = {
    "sent": "Sent",
    "unique_opens": "Unique opens",
    "unique_clicks": "Unique clicks",
    "unsubscribes": "Unsub.",
}
_IN_WIDE_TABLES = {
    "sent": "Sent",
    "delivered": "Delivered",
    "unique_opens": "Unique opens",
    "confirmed_opens": "Confirmed",
    "unique_clicks": "Unique clicks",
    "unsubscribes": "Unsub.",
    "complaints": "Compl.",
    "bounces_hard": "Bounced",
}
# Delivered is followed by its share.
_IN_TABLES_BY: Mapping[str, Mapping[str, str]] = {
    "provider": {
        "delivered": "Delivered",
        "": "Share",
        "deferred": "Deferred",
        "bounces_hard": "Hard",
        "bounces_soft": "Soft",
        "blocked": "Blocked",
        "complaints": "Compl.",
    },
    "reason": {
        "bounces_hard": "Hard",
        "bounces_soft": "Soft",
        "bounces_other": "Other",
        "deferred": "Deferred",
    },
}
UNKNOWN = "-"
"""Shown for a count that is not measured."""

_HOUR = 3600
_SPANS = (1, 2, 3, 6, 12, 24)
_HEIGHT = 3
_LABEL, _TOP = 12, 9
_PLAIN = " .:#"


def breakdown_row(by: str, row: Row) -> dict[str, Any]:
    """A row of a breakdown for JSON and CSV; ``by`` is the key of its name."""
    sendids = {"sendids": list(row.sendids)} if by == "monitor" else {}
    return {by: row.name} | sendids | counts(row)


def link_row(link: Link) -> dict[str, Any]:
    """A link as a row for JSON and CSV."""
    row = asdict(link)
    return {"link": row.pop("url"), **row}


def columns(by: str | None) -> list[str]:
    """The names in a row for JSON and CSV; without ``by``, of campaigns."""
    if by is None:
        return list(campaign_row(Campaign()))
    return list(link_row(Link("", 0, 0, 0)) if by == "link" else breakdown_row(by, Row()))


def titles(wide: bool, by: str = "") -> list[str]:
    """The column titles of `cells`."""
    return list(_shown(wide, by).values())


def cells(counted: Counts, wide: bool, by: str = "") -> list[str]:
    """The counts of one table row, with shares. ``by``: what the rows of a breakdown are."""
    return [_with_share(counted, name) for name in _shown(wide, by)]


def failures_cells(found: Failures) -> list[str]:
    """The numbers and texts of failures, for a table with the columns of `FAILURES_TITLES`."""
    return [
        f"{found.bounced:,}",
        f"{found.deferred:,}",
        found.provider,
        f"{found.reason}: {found.words or OTHER_WORDS}",
    ]


FAILURES_TITLES = ("Bounced", "Deferred", "Most at", "Reason and words of the servers")


def all_counts(counted: Counts) -> list[tuple[str, str, str]]:
    """All counts of one campaign: title, number, and share, with what it is a share of."""
    return [
        (title, _number(counted, name), _share(counted, name, named=True))
        for name, title in TITLES.items()
    ]


def age(seconds: float) -> str:
    """A duration in its two largest units."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def chart(hours: Mapping[str, Mapping[int, int]], width: int, blocks: bool) -> list[str]:
    """A bar chart of a campaign over time, three lines high; empty if nothing was counted.

    ``hours``: counts by kind and start of the hour (unix time). ``blocks``: use block characters.
    No line is longer than the width, nor than the chart needs.
    """
    times = [time for kind in CHART_KINDS for time in hours.get(kind, {})]
    if not times:
        return []
    begin, end = min(times), max(times)
    columns = max(FEWEST_COLUMNS, width - _LABEL - _TOP - 2)
    span = _span((end - begin) // _HOUR + 1, columns)
    each = "an hour" if span == 1 else f"{span} hours"
    lines = [f"{minute(begin)} to {minute(end + _HOUR)} UTC, one column is {each}"]
    for kind in CHART_KINDS:
        if counted := hours.get(kind):
            gathered = by_span(counted, begin, end, span * _HOUR)
            lines += _bars(kind, gathered, BLOCKS if blocks else _PLAIN)
    return lines


def _shown(wide: bool, by: str) -> Mapping[str, str]:
    return _IN_TABLES_BY.get(by) or (_IN_WIDE_TABLES if wide else _IN_TABLES)


def _share(counted: Counts, name: str, *, named: bool = False) -> str:
    found = share(counted, name)
    if found is None:
        return ""
    return f"{found.percent:.1f}%{f' of {found.of}' if named else ''}"


def _number(counted: Counts, name: str) -> str:
    count: int | None = getattr(counted, name)
    return UNKNOWN if count is None else f"{count:,}"


def _with_share(counted: Counts, name: str) -> str:
    if not name:
        delivered = share_delivered(counted)
        return UNKNOWN if delivered is None else f"{delivered:.1f}%"
    number = _number(counted, name)
    share = _share(counted, name) if name in _SHARED_IN_TABLES else ""
    return f"{number} {share:>6}" if share else number


def _span(hours: int, columns: int) -> int:
    """Hours per column: enough that all fit, and a divisor or multiple of a day."""
    least = -(-hours // columns)
    return next((span for span in _SPANS if span >= least), -(-least // 24) * 24)


def _bars(kind: str, sums: Sequence[int], marks: str) -> Iterator[str]:
    """The lines of one kind, from the top; the number is that of the highest bar."""
    full = len(marks) - 1
    top = max(max(sums), 1)
    # Rounded up, so that every count above 0 is visible.
    heights = [-(-count * _HEIGHT * full // top) for count in sums]
    for line in reversed(range(_HEIGHT)):
        bars = "".join(marks[min(max(height - line * full, 0), full)] for height in heights)
        first = line == _HEIGHT - 1
        label, number = (kind, f"{top:,}") if first else ("", "")
        yield f"{label:{_LABEL}} {number:>{_TOP}} {bars}".rstrip()
