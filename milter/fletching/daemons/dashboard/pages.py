"""The pages of the dashboard: statistics in, HTML and SVG out.

Here lives what the pages show and in which words. Pure: who asks, and where the numbers come from,
is `dashboard.py`'s. Every text is escaped by Jinja2, and every number is written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from fletching.store.counts import Campaign, Dimension, Link, Row

MOST_CAMPAIGNS = 100
"""How many a page shows."""

MOST_LINKS = 50

BREAKDOWNS: Mapping[Dimension, str] = {
    "mail_class": "Mail Classes",
    "listid": "Lists",
    "mtaid": "VirtualMTAs",
    "day": "Days",
}
"""What `Statistics.by` knows, and what the pages call it."""

_NAV = (
    ("/", "Campaigns"),
    *((f"/by/{what}", title) for what, title in BREAKDOWNS.items()),
)
_OF_READERS = (
    ("Sent", "sent"),
    ("Unique opens", "unique_opens"),
    ("Confirmed opens", "confirmed_opens"),
    ("Opens", "opens"),
    ("Privacy opens", "privacy_opens"),
    ("Unique clicks", "unique_clicks"),
    ("Clicks", "clicks"),
    ("Unsubscribed", "unsubscribes"),
    ("Complaints", "complaints"),
)
_OF_BOTS = (("Bot opens", "bot_opens"), ("Bot clicks", "bot_clicks"))
_COLUMNS = (*_OF_READERS, *_OF_BOTS)
_GROUPS = (
    ("Readers", _OF_READERS),
    ("Bots, counted apart", _OF_BOTS),
    (
        "Delivery",
        (
            ("Delivered", "delivered"),
            ("Hard bounces", "bounces_hard"),
            ("Soft bounces", "bounces_soft"),
            ("Seed copies", "seeds"),
        ),
    ),
)
# With a share of the messages sent.
_SHARED = {
    *("unique_opens", "confirmed_opens", "unique_clicks", "unsubscribes", "complaints"),
    "delivered",
}
_UNKNOWN = "\N{EN DASH}"
_PANELS = (
    ("Sent", ("sent",)),
    ("What readers did", ("opens", "clicks", "unsubscribes")),
)
_WIDTH, _HEIGHT = 600, 120
_MOST_POINTS = 120
_HOUR = 3600

_templates = Environment(
    loader=PackageLoader("fletching", "templates/dashboard"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A number on a page. ``key``: its name in what is told live; empty where it stays."""

    text: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table. ``address`` leads to its own page; empty where it has none."""

    name: str
    cells: tuple[Cell, ...]
    address: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table. ``first``: the title of the rows' names, before those of ``columns``."""

    caption: str
    first: str
    columns: Sequence[str]
    rows: Sequence[TableRow]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: what it counts, and its path in the coordinates of the picture."""

    kind: str
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves with one scale. ``said`` is for who cannot see them."""

    title: str
    top: str
    said: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """A campaign over time; all panels have the same times."""

    width: int
    height: int
    begin: str
    end: str
    panels: tuple[Panel, ...]


def campaigns(found: Sequence[Campaign], number: int, now: int, nonce: str) -> str:
    """A page of campaigns, newest first; one more than `MOST_CAMPAIGNS` shows that there are older
    ones. The first page, number 1, is told of new numbers.
    """
    rows = [
        TableRow(
            each.sendid,
            tuple(Cell(_number(each, name), f"{each.campaign}.{name}") for _, name in _COLUMNS),
            f"/campaign/{each.campaign}",
            f"{each.mail_class}, {_minute(each.opened)}",
        )
        for each in found[:MOST_CAMPAIGNS]
    ]
    older = number + 1 if len(found) > MOST_CAMPAIGNS else 0
    live = "/live" if number == 1 else ""
    table = Table("Campaigns, newest first", "Campaign", _titles(_COLUMNS), rows)
    return _page(
        "campaigns.html", "/", nonce, now, live=live, number=number, older=older, table=table
    )


def campaign(
    found: Campaign,
    hours: Mapping[str, Mapping[int, int]],
    links: Sequence[Link],
    mtas: Sequence[Row],
    warnings: Sequence[tuple[str, int]],
    now: int,
    nonce: str,
) -> str:
    """A campaign's own page. ``hours``: by kind and beginning of the hour (unix time), a count.

    ``warnings``: each with the number of its mails.
    """
    rows = [
        TableRow(each.url, tuple(Cell(f"{getattr(each, name):,}") for _, name in _OF_A_LINK))
        for each in links[:MOST_LINKS]
    ]
    groups = [
        (title, [(words, Cell(_number(found, name, share=True), name)) for words, name in cells])
        for title, cells in _GROUPS
    ]
    return _page(
        "campaign.html",
        f"/campaign/{found.campaign}",
        nonce,
        now,
        live=f"/campaign/{found.campaign}/live",
        campaign=found,
        opened=_minute(found.opened),
        groups=groups,
        curve=curve(hours),
        links=Table("Links, the most clicked first", "Link", _titles(_OF_A_LINK), rows),
        mtas=Table("VirtualMTAs", "Name", _titles(_COLUMNS), _rows(mtas)),
        warnings=Table(
            "What its mails were let through with",
            "Warning",
            ("Mails",),
            [TableRow(text, (Cell(f"{mails:,}"),)) for text, mails in warnings],
        ),
    )


_OF_A_LINK = (
    ("Unique clicks", "unique_clicks"),
    ("Clicks", "clicks"),
    ("Bot clicks", "bot_clicks"),
)


def breakdown(what: Dimension, found: Sequence[Row], now: int, nonce: str) -> str:
    """All statistics by one of `BREAKDOWNS`."""
    table = Table(BREAKDOWNS[what], "Name", _titles(_COLUMNS), _rows(found))
    return _page("by.html", f"/by/{what}", nonce, now, live="", table=table)


def trouble(title: str, text: str, nonce: str) -> str:
    """A page for what cannot be shown."""
    return _page("trouble.html", "", nonce, 0, live="", title=title, text=text)


def cells_of_all(found: Sequence[Campaign]) -> dict[str, str]:
    """The numbers of the first page by their keys."""
    return {
        f"{each.campaign}.{name}": _number(each, name)
        for each in found[:MOST_CAMPAIGNS]
        for _, name in _COLUMNS
    }


def cells_of_one(found: Campaign) -> dict[str, str]:
    """The numbers of a campaign's page by their keys."""
    return {name: _number(found, name, share=True) for _, cells in _GROUPS for _, name in cells}


def curve_html(hours: Mapping[str, Mapping[int, int]]) -> str:
    """The curves of a campaign's page, to put in the place of the old ones."""
    return _templates.get_template("curve.html").render(curve=curve(hours))


def curve(hours: Mapping[str, Mapping[int, int]]) -> Curve | None:
    """A campaign over time; None where nothing was counted."""
    times = [time for counted in hours.values() for time in counted]
    if not times:
        return None
    begin, end = min(times), max(times)
    points = (end - begin) // _HOUR + 1
    hours_each = -(-points // _MOST_POINTS)
    step = hours_each * _HOUR
    counted = {kind: _gathered(hours.get(kind, {}), begin, end, step) for kind in _KINDS}
    unit = "an hour" if hours_each == 1 else f"{hours_each} hours"
    panels = tuple(_panel(title, kinds, counted, unit) for title, kinds in _PANELS)
    return Curve(_WIDTH, _HEIGHT, _minute(begin), _minute(end + _HOUR), panels)


_KINDS = tuple(kind for _, kinds in _PANELS for kind in kinds)


def _gathered(counted: Mapping[int, int], begin: int, end: int, step: int) -> list[int]:
    """Counts of equal spans of time, those without any too."""
    spans = [0] * ((end - begin) // step + 1)
    for time, count in counted.items():
        spans[(time - begin) // step] += count
    return spans


def _panel(
    title: str, kinds: Iterable[str], counted: Mapping[str, Sequence[int]], unit: str
) -> Panel:
    top = max(max(counted[kind]) for kind in kinds)
    lines = tuple(Line(kind, kind, _path(counted[kind], top)) for kind in kinds)
    sums = ", ".join(f"{sum(counted[kind]):,} {kind}" for kind in kinds)
    return Panel(f"{title}, {unit}", f"{top:,}", f"{title}: {sums}; at most {top:,} {unit}", lines)


def _path(counts: Sequence[int], top: int) -> str:
    """A path through all counts; a single one is a level line."""
    heights = [_HEIGHT - 2 - (_HEIGHT - 4) * count / max(top, 1) for count in counts]
    heights = heights * 2 if len(heights) == 1 else heights
    apart = _WIDTH / (len(heights) - 1)
    return "M" + "L".join(f"{at * apart:.1f} {height:.1f}" for at, height in enumerate(heights))


def _number(counters: Campaign | Row, name: str, *, share: bool = False) -> str:
    number: int | None = getattr(counters, name)
    if number is None:
        return _UNKNOWN
    if not share or name not in _SHARED or not counters.sent:
        return f"{number:,}"
    return f"{number:,} ({100 * number / counters.sent:.1f}\N{NO-BREAK SPACE}%)"


def _rows(found: Iterable[Row]) -> list[TableRow]:
    return [
        TableRow(each.name or "(none)", tuple(Cell(_number(each, name)) for _, name in _COLUMNS))
        for each in found
    ]


def _titles(columns: Iterable[tuple[str, str]]) -> list[str]:
    return [title for title, _ in columns]


def _page(template: str, here: str, nonce: str, now: int, **told: object) -> str:
    page = _templates.get_template(template)
    return page.render(nav=_NAV, here=here, nonce=nonce, now=_minute(now), **told)


def _minute(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
