"""The answer to `fletching shadow report`: what would have happened to mail in shadow.

As an object for scripts, and as tables. What is counted is in `shadow_counts.py`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fletching import shadow_counts
from fletching.admin.asking import asking, store
from fletching.admin.escapes import encodable, printable
from fletching.config.model import Config
from fletching.figures import moment
from fletching.shadow_counts import (
    ACTION,
    EDIT,
    LEFT,
    PART,
    REPLY,
    ROUTE,
    SIGNATURE,
    SLOWEST,
    TIME,
    TRACKED,
    VERDICT,
    WARNING,
    Counted,
)
from fletching.store import shadow

VERDICTS = ("accept", "reject", "tempfail", "error")
"""What would have happened to a mail."""

MOST_ROWS = 20
"""Rows of a table for people."""

_BAR = 40
_PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


@asking()
def report(config: Config, begin: float, mail_class: str | None) -> dict[str, Any]:
    """The object of `fletching shadow report --json` (docs/shadow.md).

    ``begin``: unix time; 0: all that is kept. ``mail_class``: only of this class, compared without
    case; empty: mail without a class.
    """
    now = time.time()
    first, counts = shadow.since(store(config), int(begin), int(now))
    if mail_class is not None:
        wanted = mail_class.lower()
        counts = Counter({c: n for c, n in counts.items() if c.mail_class.lower() == wanted})
    classes = sorted({each.mail_class for each in counts})
    return {
        "since": None if first is None else moment(first * 3600),
        "until": moment(now),
        **_figures(counts),
        "classes": [
            {"mail_class": name or None} | _figures(_of_class(counts, name)) for name in classes
        ],
        "replies": _rows(counts, REPLY, "reply", "mails"),
        "actions": _rows(counts, ACTION, "action", "mails"),
        "links_left": _rows(counts, LEFT, "reason", "links"),
        "parts_left": _rows(counts, PART, "reason", "parts"),
        "warnings": _rows(counts, WARNING, "warning", "mails"),
        "edits": _rows(counts, EDIT, "edit", "edits"),
        "routes": [_route(row, config) for row in _rows(counts, ROUTE, "virtual_mta", "mails")],
        "signatures": _rows(counts, SIGNATURE, "domain", "signatures"),
        "times": [
            {"up_to": round(shadow_counts.seconds(at), 7), "mails": mails}
            for at, mails in sorted(_times(counts).items())
        ],
    }


def _of_class(counts: Counter[Counted], name: str) -> Counter[Counted]:
    return Counter({each: number for each, number in counts.items() if each.mail_class == name})


def _figures(counts: Counter[Counted]) -> dict[str, Any]:
    """Mails by verdict, links and times."""
    verdicts = _names(counts, VERDICT)
    times, slowest = _times(counts), max(_values(counts, SLOWEST), default=0) / 1e6
    return {
        "mails": verdicts.total(),
        **{verdict: verdicts[verdict] for verdict in VERDICTS},
        "links_tracked": _names(counts, TRACKED).total(),
        "links_left_alone": _names(counts, LEFT).total(),
        "seconds": {name: _percentile(times, share, slowest) for name, share in _PERCENTILES}
        | {"max": slowest if times else None},
    }


def _names(counts: Counter[Counted], topic: str) -> Counter[str]:
    """The counts of a topic by name, of all classes together."""
    found: Counter[str] = Counter()
    for each, number in counts.items():
        if each.topic == topic:
            found[each.name] += number
    return found


def _values(counts: Counter[Counted], topic: str) -> Iterator[int]:
    return (number for each, number in counts.items() if each.topic == topic)


def _times(counts: Counter[Counted]) -> Counter[int]:
    """Mails by the bucket of their time."""
    return Counter({int(name): mails for name, mails in _names(counts, TIME).items()})


def _percentile(times: Counter[int], share: float, slowest: float) -> float | None:
    """The time within which this share of the mails was done; up to 9 % too long."""
    wanted, seen = share * times.total(), 0
    for at, mails in sorted(times.items()):
        seen += mails
        if seen >= wanted:
            return round(min(shadow_counts.seconds(at), slowest), 7)
    return None


def _rows(counts: Counter[Counted], topic: str, name: str, unit: str) -> list[dict[str, Any]]:
    """The counts of a topic, the largest first."""
    found = sorted(_names(counts, topic).items(), key=lambda item: (-item[1], item[0]))
    return [{name: each, unit: number} for each, number in found]


def _route(row: dict[str, Any], config: Config) -> dict[str, Any]:
    found = config.virtual_mta(row["virtual_mta"])
    transport = found.transport if found is not None else None
    return {
        "virtual_mta": row["virtual_mta"] or None,
        "transport": transport,
        "mails": row["mails"],
    }


def show(found: dict[str, Any], console: Console) -> None:
    """Prints the object of `report`."""
    mails = found["mails"]
    _print(console, f"Mail in shadow from {found['since']} to {found['until']}: {mails:,}")
    _print(console, "Nothing of this was done; this is what live mode would have done.")
    head = ("class", "mails", *VERDICTS, "links tracked", "left alone", *_heads())
    rows = [_class_row(each["mail_class"] or "(none)", each) for each in found["classes"]]
    if len(rows) > 1:
        rows.append(_class_row("all", found))
    _table(console, "", head, rows)
    for title, name, unit, key in (
        ("Replies to refused mail", "reply", "mails", "replies"),
        ("Actions of rules", "action", "mails", "actions"),
        ("Links left alone", "reason", "links", "links_left"),
        ("Parts not rewritten", "reason", "parts", "parts_left"),
        ("Warnings", "warning", "mails", "warnings"),
        ("Edits", "edit", "edits", "edits"),
        ("Signatures", "domain", "signatures", "signatures"),
    ):
        _table(console, title, (unit, name), [[row[unit], row[name]] for row in found[key]])
    routes = [
        [row["mails"], row["virtual_mta"] or "(chosen by Postfix)", row["transport"] or "-"]
        for row in found["routes"]
    ]
    _table(console, "VirtualMTAs", ("mails", "virtual mta", "transport"), routes)
    _histogram(console, found)


def _heads() -> tuple[str, ...]:
    return (*(name for name, _ in _PERCENTILES), "max")


def _class_row(name: str, figures: dict[str, Any]) -> list[object]:
    numbers = ("mails", *VERDICTS, "links_tracked", "links_left_alone")
    times = (_time(figures["seconds"][each]) for each in _heads())
    return [name, *(figures[each] for each in numbers), *times]


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def _histogram(console: Console, found: dict[str, Any]) -> None:
    """Mails by time, a row for each doubling."""
    doubled: Counter[int] = Counter()
    for row in found["times"]:
        doubled[-(-shadow_counts.bucket(row["up_to"] * 0.999) // 8)] += row["mails"]
    if not doubled:
        return
    most, total = max(doubled.values()), doubled.total()
    block = "█" if encodable("█", console.encoding) == "█" else "#"
    rows: list[list[object]] = []
    for step in range(min(doubled), max(doubled) + 1):
        mails = doubled[step]
        bar = block * round(_BAR * mails / most)
        rows.append([_time(shadow_counts.seconds(step * 8)), mails, f"{mails / total:.1%}", bar])
    _table(console, "Time from the end of a mail to the reply", ("up to", "mails", "", ""), rows)


def _table(
    console: Console, title: str, columns: tuple[str, ...], rows: list[list[object]]
) -> None:
    """Prints a table; nothing without rows."""
    if not rows:
        return
    _print(console, "")
    if title:
        _print(console, title)
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False)
    for place, column in enumerate(columns):
        is_number = isinstance(rows[0][place], int)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows[:MOST_ROWS]:
        table.add_row(*(Text(_cell(value)) for value in row))
    console.print(table)
    if len(rows) > MOST_ROWS:
        _print(console, f"and {len(rows) - MOST_ROWS} more: show them with --json")


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return printable(" ".join(str(value).split()), "utf-8")


def _print(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
