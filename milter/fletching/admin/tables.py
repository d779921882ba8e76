"""The tables of `fletching stats` on a terminal: which columns fit, and which may wrap.

`figures.py` makes the texts and numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fletching.admin import figures
from fletching.admin.escapes import encodable, printable
from fletching.admin.stats import Details
from fletching.figures import minute
from fletching.store.counts import Campaign, Link, Row

_WIDE = 120
"""Terminal width from which on tables have more columns."""

_WIDEST_CHART = 100
_MOST_LINKS = 20
_MOST_FAILURES = 20
_MOST_SENDIDS = 3
_MOST_FOLDED = 500
"""The most lines of a table whose cells may wrap: rich takes a millisecond per line."""


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        """The caller decides what a closed pipe means."""
        raise


class Tables:
    """Prints tables. ``width``: None for a terminal, whose width is used.

    With a width, the output is a file or a pipe: rows are not wrapped, so that one can search them.
    """

    def __init__(self, width: int | None) -> None:
        self._folds = width is None
        self._screen = _Screen(width=width, highlight=False)
        self._wide = self._screen.width >= _WIDE

    def campaigns(self, found: Iterable[Campaign]) -> None:
        """One line per campaign."""
        names = ["SendID", "Opened", "Campaign"] if self._wide else ["SendID", "Opened"]
        rows = [[*self._names(each), *figures.cells(each, self._wide)] for each in found]
        self._table(names, figures.titles(self._wide), rows)

    def _names(self, campaign: Campaign) -> list[str]:
        opened = minute(campaign.opened)
        if self._wide:
            return [campaign.sendid, opened, campaign.campaign]
        day, _, _ = opened.partition(" ")
        return [campaign.sendid, day]

    def breakdown(self, by: str, found: Iterable[Row]) -> None:
        """One line per class, list, VirtualMTA, day, provider, reason or group of Monitor."""
        if by == "monitor":
            found = [replace(each, name=_group(each)) for each in found]
        rows = [[each.name or "(none)", *figures.cells(each, self._wide, by)] for each in found]
        self._table([by], figures.titles(self._wide, by), rows)

    def campaign(self, found: Campaign, about: Details) -> None:
        """One campaign: its numbers, chart, most clicked links, deliveries and warnings."""
        self._say(found.sendid)
        if found.subject:
            self._say(f"subject {found.subject}")
        self._say(f"campaign {found.campaign}, class {found.mail_class}")
        self._say(f"opened {minute(found.opened)} UTC")
        self._say()
        counts = Table.grid(padding=(0, 2))
        for side in ("left", "right", "right"):
            counts.add_column(justify="left" if side == "left" else "right")
        for row in figures.all_counts(found):
            counts.add_row(*row)
        self._screen.print(counts)
        self._chart(about)
        self._say()
        self.links(about.links[:_MOST_LINKS])
        if len(about.links) > _MOST_LINKS:
            self._say(f"and {len(about.links) - _MOST_LINKS} more: show them with --by link")
        self._deliveries(about)
        if about.warnings:
            self._say()
            rows = [[f"{mails:,}", text] for text, mails in about.warnings]
            self._table([], ["Messages"], rows, last="Warning")

    def _deliveries(self, about: Details) -> None:
        """Providers, and why messages failed."""
        if about.providers:
            self._say()
            self.breakdown("provider", about.providers)
        if about.failures:
            self._say()
            rows = [figures.failures_cells(each) for each in about.failures[:_MOST_FAILURES]]
            *numbers, words = figures.FAILURES_TITLES
            self._table([], numbers, rows, last=words)
        if len(about.failures) > _MOST_FAILURES:
            self._say(f"and {len(about.failures) - _MOST_FAILURES} more: see the dashboard")

    def links(self, found: Iterable[Link]) -> None:
        """One line per link."""
        rows = [
            [f"{each.unique_clicks:,}", f"{each.clicks:,}", f"{each.bot_clicks:,}", each.url]
            for each in found
        ]
        if rows:
            self._table([], ["Unique clicks", "Clicks", "Bot clicks"], rows, last="Link")
        else:
            self._say("no clicks")

    def _chart(self, about: Details) -> None:
        encoding = self._screen.encoding
        blocks = encodable(figures.BLOCKS, encoding) == figures.BLOCKS
        lines = figures.chart(about.hours, min(self._screen.width, _WIDEST_CHART), blocks)
        if lines:
            self._say()
        for line in lines:
            self._say(line)

    def _table(
        self,
        names: Sequence[str],
        numbers: Sequence[str],
        rows: Iterable[Sequence[str]],
        last: str = "",
    ) -> None:
        """Prints a table whose first and ``last`` columns may wrap."""
        rows = list(rows)
        if not last and not (self._folds and len(rows) <= _MOST_FOLDED):
            self._lines([*names, *numbers], rows, left=len(names))
            return
        table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for place, title in enumerate(names):
            table.add_column(title, overflow="fold", no_wrap=place > 0)
        for title in numbers:
            table.add_column(title, justify="right", no_wrap=True)
        if last:
            table.add_column(last, overflow="fold")
        for row in rows:
            table.add_row(*map(self._text, row))
        self._screen.print(table)

    def _lines(self, titles: Sequence[str], rows: list[Sequence[str]], left: int) -> None:
        """Prints a table without wrapping; ``left``: the number of left-aligned columns."""
        clean = [[printable(cell, self._screen.encoding) for cell in row] for row in rows]
        table = [titles, *clean]
        widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
        for row in table:
            room = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
            cells = [cell + pad for cell, pad in zip(row[:left], room[:left], strict=True)]
            cells += [pad + cell for cell, pad in zip(row[left:], room[left:], strict=True)]
            self._screen.out("  ".join(cells).rstrip(), highlight=False)

    def _say(self, text: str = "") -> None:
        self._screen.print(self._text(text), soft_wrap=True)

    def _text(self, text: str) -> Text:
        # A Text is not parsed as markup.
        return Text(printable(text, self._screen.encoding))


def _group(row: Row) -> str:
    """A group of Monitor, whose name may be a digest, with the newest of its SendIDs."""
    shown = ", ".join(row.sendids[:_MOST_SENDIDS])
    more = len(row.sendids) - _MOST_SENDIDS
    return f"{row.name} ({shown}{f' and {more} more' if more > 0 else ''})"
