"""The pages of the dashboard: statistics in, HTML out.

Here lives what the pages show, and their texts. Pure: requests and the source of the numbers are in
`app.py`, curves in `curves.py`. Jinja2 escapes every text; every number is formatted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fletching.daemons.dashboard.curves import Counted, curve
from fletching.daemons.dashboard.frame import BREAKDOWNS, TEMPLATES, Frame, page
from fletching.daemons.dashboard.times import time_html
from fletching.figures import (
    OF_DELIVERED,
    OF_SENT,
    OTHER_WORDS,
    TITLES,
    Share,
    share,
    share_delivered,
)
from fletching.store.counts import Campaign, Counts, Dimension, Failures, Link, Row
from fletching.store.suppression import SuppressedAddress
from fletching.tracing.timeline import Timeline

MOST_LINKS = 50
MOST_FAILURES = 100

SEARCH_FOR = "search for a recipient, a queue id, a Message-ID, a return path or a tracking link"


_Columns = tuple[tuple[str, str], ...]
"""Titles, and the names of counts."""


def _titled(*names: str) -> _Columns:
    return tuple((TITLES[name], name) for name in names)


_BY_RECIPIENTS = _titled(
    *("sent", "unique_opens", "confirmed_opens", "opens", "privacy_opens"),
    *("unique_clicks", "clicks", "unsubscribes", "complaints"),
)
_BY_BOTS = _titled("bot_opens", "bot_clicks")
_BOUNCES = _titled("bounces_hard", "bounces_soft", "bounces_other")
COLUMNS = (
    *(*_titled("sent", "delivered"), ("Bounces", "bounces")),
    *_titled("unique_opens", "confirmed_opens", "opens", "unique_clicks", "clicks"),
    *(*_titled("unsubscribes", "complaints"), *_BY_BOTS),
)
_COLUMNS_BY = {
    "provider": (
        *(*_titled("delivered"), ("Share delivered", "share_delivered")),
        *(*_titled("deferred"), *_BOUNCES, *_titled("blocked", "complaints")),
    ),
    "reason": (*_BOUNCES, *_titled("deferred")),
}
_GROUPS = (
    ("Recipients", _BY_RECIPIENTS),
    ("Bots (counted separately)", _BY_BOTS),
    ("Delivery", (*_titled("delivered", "deferred"), *_BOUNCES, *_titled("blocked", "seeds"))),
)
_UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Cell:
    """A number on a page, and its share in per cent, both as text. ``key`` and ``share_key``: their
    names in live updates; empty if they get none."""

    text: str
    key: str = ""
    share: str = ""
    share_key: str = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table. ``address``: the path of its own page; empty if it has none."""

    name: str
    cells: tuple[Cell, ...]
    address: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table. ``first``: the heading of the row names, before those of ``columns``."""

    caption: str
    first: str
    columns: Sequence[str]
    rows: Sequence[TableRow]


@dataclass(frozen=True, slots=True)
class Details:
    """What the page of a campaign has in tables.

    ``warnings``: each with the number of messages that had it. ``more``: further tables.
    """

    links: Sequence[Link] = ()
    providers: Sequence[Row] = ()
    failures: Sequence[Failures] = ()
    mtas: Sequence[Row] = ()
    warnings: Sequence[tuple[str, int]] = ()
    more: Sequence[tuple[str, Table]] = ()


def campaign(
    found: Campaign,
    hours: Counted,
    steps: Counted,
    about: Details,
    now: int,
    frame: Frame,
) -> str:
    """The page of a campaign. ``hours`` and ``steps``: its counts over time."""
    groups = [
        (
            title,
            [(words, Cell(_with_share(found, name), name)) for words, name in cells],
        )
        for title, cells in _GROUPS
    ]
    return page(
        "campaign.html",
        f"/campaign/{found.campaign}",
        frame,
        now,
        live=f"/campaign/{found.campaign}/live",
        campaign=found,
        times=True,
        opened=time_html(found.opened),
        groups=groups,
        curve=curve(hours, steps, found.opened),
        tables=[
            (title, table) for title, table in _tables(about) if table.rows or title == "Links"
        ],
    )


def _tables(about: Details) -> Iterator[tuple[str, Table]]:
    """The tables of a campaign's page, with their headings."""
    yield "Links", _links(about.links)
    yield "Providers", _breakdown("provider", about.providers)
    yield "Reasons", _reasons(about.failures)
    yield "VirtualMTAs", Table("VirtualMTAs", "Name", titles(), _rows(about.mtas))
    rows = [TableRow(text, (Cell(f"{mails:,}"),)) for text, mails in about.warnings]
    yield "Warnings", Table("Messages accepted with a warning", "Warning", ("Messages",), rows)
    yield from about.more


_LINK_COLUMNS = _titled("unique_clicks", "clicks", "bot_clicks")


def _links(found: Sequence[Link]) -> Table:
    rows = [
        TableRow(each.url, tuple(Cell(f"{getattr(each, name):,}") for _, name in _LINK_COLUMNS))
        for each in found[:MOST_LINKS]
    ]
    return Table("Links, most clicked first", "Link", titles(_LINK_COLUMNS), rows)


def _reasons(found: Sequence[Failures]) -> Table:
    rows = [
        TableRow(
            each.words or OTHER_WORDS,
            (Cell(f"{each.bounced:,}"), Cell(f"{each.deferred:,}"), Cell(each.provider)),
            about=each.reason,
        )
        for each in found[:MOST_FAILURES]
    ]
    columns = ("Bounced", "Deferred", "Most at")
    return Table("Why messages failed, most frequent first", "Words of the server", columns, rows)


def _breakdown(what: Dimension, found: Sequence[Row]) -> Table:
    columns = _COLUMNS_BY.get(what, COLUMNS)
    return Table(BREAKDOWNS[what], "Name", titles(columns), _rows(found, columns))


def breakdown(what: Dimension, found: Sequence[Row], now: int, frame: Frame) -> str:
    """All statistics by one of `BREAKDOWNS`."""
    table = _breakdown(what, found)
    return page("by.html", f"/by/{what}", frame, now, live="", table=table)


@dataclass(frozen=True, slots=True)
class Suppressed:
    """What the page of suppression lists shows: an address, a list, or all lists.

    ``listid``: None if not one list is shown; empty for mail without a ListID. ``after``: the
    cursor of its next entries, 0 for none. ``sizes``: ListIDs and their numbers of entries.
    ``number``: the page of them; ``more``: there is another one.
    """

    address: str = ""
    listid: str | None = None
    entries: Sequence[SuppressedAddress] = ()
    after: int = 0
    sizes: Sequence[tuple[str, int]] = ()
    number: int = 1
    more: bool = False


def suppression(shown: Suppressed, frame: Frame) -> str:
    """The page of suppression lists."""
    rows = [(each, time_html(each.milliseconds / 1000)) for each in shown.entries]
    return page(
        "suppression.html", "/suppression", frame, 0, live="", times=True, shown=shown, rows=rows
    )


def trace(text: str, told: Timeline, frame: Frame) -> str:
    """The page of one message. ``text``: what was searched for; empty if nothing was."""
    return page("trace.html", "/trace", frame, 0, live="", searched=text, told=told)


def traces(text: str, rows: Sequence[tuple[str, Timeline]], more: bool, frame: Frame) -> str:
    """The page of several messages, each with the address of its own. ``more``: not all."""
    values = {"title": f"Messages: {text}", "why": "", "rows": rows, "more": more}
    return page("traces.html", "/trace", frame, 0, live="", searched=text, **values)


def no_trace(text: str, why: str, frame: Frame) -> str:
    """The page of a search that found nothing, with the reason."""
    title = "No message found" if text else "Find a message"
    why = f"{why[:1].upper()}{why[1:]}."
    return page("traces.html", "/trace", frame, 0, live="", searched=text, title=title, why=why)


def login(after: str, wrong: str, frame: Frame) -> str:
    """The login page. ``after``: the path that it leads to; ``wrong``: what was wrong before."""
    return page("login.html", "/login", frame, 0, live="", after=after, wrong=wrong)


def read_only(frame: Frame) -> str:
    """In place of the login page, where there is no password."""
    return page("read_only.html", "/login", frame, 0, live="")


def error(title: str, text: str, frame: Frame) -> str:
    """An error page."""
    return page("error.html", "", frame, 0, live="", title=title, text=text)


def cells_of_one(found: Campaign) -> dict[str, str]:
    """The numbers of a campaign's page, by key."""
    return {name: _with_share(found, name) for _, cells in _GROUPS for _, name in cells}


def curve_html(found: Campaign, hours: Counted, steps: Counted) -> str:
    """The curves of a campaign's page, to replace the ones that are there."""
    drawn = curve(hours, steps, found.opened)
    return TEMPLATES.get_template("curve.html").render(curve=drawn)


def cell(counted: Counts, name: str, key: str = "", found: Share | None = None) -> Cell:
    """A count with its share. The share says `of sent` where others have one of those delivered.

    ``found``: the share, if it is known to the caller.
    """
    text = _number(counted, name)
    if name not in OF_SENT | OF_DELIVERED:
        return Cell(text, key)
    found = found or share(counted, name)
    percent = "" if found is None else _percent(found.percent)
    if found is not None and name in OF_DELIVERED and found.of == "sent":
        percent = f"{percent} of sent"
    return Cell(text, key, percent, key and f"{key}.share")


def _number(counted: Counts, name: str) -> str:
    if name == "share_delivered":
        part = share_delivered(counted)
        return _UNKNOWN if part is None else _percent(part)
    number: int | None = getattr(counted, name)
    return _UNKNOWN if number is None else f"{number:,}"


def _with_share(counted: Counts, name: str) -> str:
    found = share(counted, name)
    number = _number(counted, name)
    return number if found is None else f"{number} ({_percent(found.percent)} of {found.of})"


def _percent(number: float) -> str:
    return f"{number:.1f}\N{NO-BREAK SPACE}%"


def _rows(found: Iterable[Row], columns: _Columns = COLUMNS) -> list[TableRow]:
    return [
        TableRow(each.name or "(none)", tuple(cell(each, name) for _, name in columns))
        for each in found
    ]


def titles(columns: Iterable[tuple[str, str]] = COLUMNS) -> list[str]:
    """The headings of columns."""
    return [title for title, _ in columns]
