"""How numbers look in a terminal: rows for scripts, columns with shares, the chart of hours.

Here lives what `fletching stats` shows and in which words, which are the dashboard's. Pure: texts
and numbers in, texts out; who asked, and where it is printed, may not be known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from fletching.store.counts import Campaign, Counts, Link, Row

BLOCKS = " ▁▂▃▄▅▆▇█"
"""The characters of a chart, where stdout has them."""

CHART_KINDS = ("sent", "opens", "clicks", "unsubscribes")
"""The kinds that a chart has, where anything of them was counted."""

FEWEST_COLUMNS = 10
"""Of a chart: it is no narrower, however narrow the terminal is."""

_COUNTS = tuple(each.name for each in fields(Counts))
_TITLES = {
    "sent": "Sent",
    "delivered": "Delivered",
    "unique_opens": "Unique opens",
    "confirmed_opens": "Confirmed opens",
    "opens": "Opens",
    "privacy_opens": "Opens by privacy proxies",
    "unique_clicks": "Unique clicks",
    "clicks": "Clicks",
    "unsubscribes": "Unsubscribed",
    "complaints": "Complaints",
    "bounces_hard": "Hard bounces",
    "bounces_soft": "Soft bounces",
    "bot_opens": "Bot opens",
    "bot_clicks": "Bot clicks",
    "seeds": "Seed copies",
}
# How many messages something happened to: of them, a share of those sent says something.
_SHARED = {
    *("delivered", "unique_opens", "confirmed_opens", "unique_clicks"),
    *("unsubscribes", "complaints"),
}
# In tables of many lines only these have it, for want of room; so titles are short there, too.
_SHARED_IN_TABLES = {"unique_opens", "unique_clicks"}
_IN_TABLES = {
    "sent": "Sent",
    "unique_opens": "Unique opens",
    "unique_clicks": "Unique clicks",
    "unsubscribes": "Unsub.",
}
_IN_WIDE_TABLES = {
    "sent": "Sent",
    "unique_opens": "Unique opens",
    "confirmed_opens": "Confirmed",
    "unique_clicks": "Unique clicks",
    "unsubscribes": "Unsub.",
    "complaints": "Compl.",
    "bounces_hard": "Bounced",
}
UNKNOWN = "-"
"""Stands for a count that nothing measures."""

_HOUR = 3600
_SPANS = (1, 2, 3, 6, 12, 24)
_HEIGHT = 3
_LABEL, _TOP = 12, 9
_PLAIN = " .:#"


def moment(seconds: float) -> str:
    """Unix time in RFC 3339, UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def minute(seconds: int) -> str:
    """Unix time for people, UTC, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def counts(counted: Counts) -> dict[str, int | None]:
    """The counts by the names that scripts know; None for what nothing measures."""
    return {name: getattr(counted, name) for name in _COUNTS}


def campaign_row(campaign: Campaign) -> dict[str, Any]:
    """A campaign for scripts. ``opened`` is RFC 3339."""
    named = {
        "campaign": campaign.campaign,
        "sendid": campaign.sendid,
        "mail_class": campaign.mail_class,
    }
    return named | counts(campaign) | {"opened": moment(campaign.opened)}


def breakdown_row(by: str, row: Row) -> dict[str, Any]:
    """A class, a list, a VirtualMTA or a day for scripts, its name under what it is."""
    return {by: row.name} | counts(row)


def link_row(link: Link) -> dict[str, Any]:
    """A link for scripts."""
    told = asdict(link)
    return {"link": told.pop("url"), **told}


def columns(by: str | None) -> list[str]:
    """The names in a row for scripts, of campaigns where there is no ``by``."""
    if by is None:
        return list(campaign_row(Campaign()))
    return list(link_row(Link("", 0, 0, 0)) if by == "link" else breakdown_row(by, Row()))


def titles(wide: bool) -> list[str]:
    """The titles over `cells`."""
    return list(_shown(wide).values())


def cells(counted: Counts, wide: bool) -> list[str]:
    """The counts in a line of a table, with shares."""
    return [_with_share(counted, name) for name in _shown(wide)]


def all_counts(counted: Counts) -> list[tuple[str, str, str]]:
    """Every count of one campaign: what it is, how many, and which share of the sent ones."""
    return [
        (title, _number(counted, name), _share(counted, name)) for name, title in _TITLES.items()
    ]


def age(seconds: float) -> str:
    """A span of time in its two greatest units."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def chart(hours: Mapping[str, Mapping[int, int]], width: int, blocks: bool) -> list[str]:
    """A campaign over time, a bar of up to three lines for each span of hours; empty for none.

    ``hours``: by kind and beginning of the hour (unix time), a count. ``blocks``: the terminal
    knows block characters. No line is longer than the width, nor than what the chart needs.
    """
    times = [time for kind in CHART_KINDS for time in hours.get(kind, {})]
    if not times:
        return []
    begin, end = min(times), max(times)
    columns = max(FEWEST_COLUMNS, width - _LABEL - _TOP - 2)
    span = _span((end - begin) // _HOUR + 1, columns)
    each = "an hour" if span == 1 else f"{span} hours"
    lines = [f"{minute(begin)} to {minute(end + _HOUR)} UTC, a column is {each}"]
    for kind in CHART_KINDS:
        if counted := hours.get(kind):
            gathered = _gathered(counted, begin, end, span * _HOUR)
            lines += _bars(kind, gathered, BLOCKS if blocks else _PLAIN)
    return lines


def _shown(wide: bool) -> Mapping[str, str]:
    return _IN_WIDE_TABLES if wide else _IN_TABLES


def _share(counted: Counts, name: str) -> str:
    count: int | None = getattr(counted, name)
    if name not in _SHARED or not counted.sent or count is None:
        return ""
    return f"{100 * count / counted.sent:.1f}%"


def _number(counted: Counts, name: str) -> str:
    count: int | None = getattr(counted, name)
    return UNKNOWN if count is None else f"{count:,}"


def _with_share(counted: Counts, name: str) -> str:
    number = _number(counted, name)
    share = _share(counted, name) if name in _SHARED_IN_TABLES else ""
    return f"{number} {share:>6}" if share else number


def _span(hours: int, columns: int) -> int:
    """Hours in a column: so many that all have room, and a number that divides days."""
    least = -(-hours // columns)
    return next((span for span in _SPANS if span >= least), -(-least // 24) * 24)


def _gathered(counted: Mapping[int, int], begin: int, end: int, span: int) -> list[int]:
    """Counts of equal spans of time, those without any too."""
    sums = [0] * ((end - begin) // span + 1)
    for time, count in counted.items():
        sums[(time - begin) // span] += count
    return sums


def _bars(kind: str, sums: Sequence[int], marks: str) -> Iterator[str]:
    """The lines of one kind, the upper one first; the number is what the highest bar stands for."""
    full = len(marks) - 1
    top = max(max(sums), 1)
    # Rounded up: whatever is more than nothing can be seen.
    heights = [-(-count * _HEIGHT * full // top) for count in sums]
    for line in reversed(range(_HEIGHT)):
        bars = "".join(marks[min(max(height - line * full, 0), full)] for height in heights)
        first = line == _HEIGHT - 1
        label, number = (kind, f"{top:,}") if first else ("", "")
        yield f"{label:{_LABEL}} {number:>{_TOP}} {bars}".rstrip()
