"""`fletching suppression`."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from fletching.cli.options import as_json, configured, fail, load_or_fail, say, show_rows
from fletching.cli.terminal import answered, write_csv

if TYPE_CHECKING:
    from fletching.admin.suppression import ByHand

_STEP = 1 << 14
"""Bytes between two updates of the progress bar."""


@click.group()
def suppression() -> None:
    """Manage suppression lists.

    Mail to a suppressed address is refused if `suppress: refuse` is set globally or in the Mail
    Class.

    \b
    Example:
      fletching suppression list t100
    """


@suppression.command("list")
@click.argument("listid", required=False)
@as_json
@configured
def suppression_list(config_path: Path, listid: str | None, wants_json: bool) -> None:
    """Show the addresses of LISTID, or of all lists, sorted.

    For a long list use `export`, which does not load the whole list first.

    \b
    Example:
      fletching suppression list t100
    """
    from fletching.admin.suppression import rows

    config = load_or_fail(config_path)
    with answered():
        found = sorted(rows(config, listid), key=lambda row: (row["listid"], row["address"]))
        show_rows(found, wants_json, "suppression")


@suppression.command("export")
@click.argument("listid", required=False)
@configured
def suppression_export(config_path: Path, listid: str | None) -> None:
    """Print the addresses of LISTID, or of all lists, as CSV.

    The lines are not sorted. Columns: listid, address, reason, since (RFC 3339, UTC).

    \b
    Example:
      fletching suppression export t100 > t100.csv
    """
    from fletching.admin.suppression import COLUMNS, rows

    config = load_or_fail(config_path)
    with answered():
        write_csv(COLUMNS, rows(config, listid))


@suppression.command("add")
@click.argument("listid")
@click.argument("address")
@click.option(
    "--obscured", is_flag=True, help="Treat ADDRESS as a value of X-GreenArrow-Obscured-Email."
)
@configured
def suppression_add(config_path: Path, listid: str, address: str, obscured: bool) -> None:
    """Add ADDRESS to the suppression list of LISTID.

    With `suppress: refuse`, mail of this list to ADDRESS is refused.

    If ADDRESS is -, reads addresses from stdin, one per line. An address that is already on the
    list is not changed. Prints a warning if no Mail Class uses LISTID and the list has no entries
    yet. Exit status 1: some lines are not addresses; the others were added.

    \b
    Example:
      fletching suppression add t100 joe@example.org
      fletching suppression add t100 - < addresses.txt
    """
    from fletching.admin.suppression import ByHand, SuppressionError, check_list, is_known

    config = load_or_fail(config_path)
    by_hand = ByHand(config, listid, obscured)
    try:
        check_list(listid)
    except SuppressionError as error:
        fail(f"LISTID: {error}")
    with answered():
        if not is_known(config, listid):
            say(f"warning: {listid}: no Mail Class uses this list, and it has no entries", err=True)
        if address == "-":
            add_all(by_hand, sys.stdin.buffer)
            return
        try:
            new = by_hand.add(address, milliseconds())
        except SuppressionError as error:
            fail(f"ADDRESS: {error}")
        word = "added to" if new else "is already on"
        say(f"{address}: {word} {listid}")


@suppression.command("remove")
@click.argument("listid")
@click.argument("address")
@configured
def suppression_remove(config_path: Path, listid: str, address: str) -> None:
    """Remove ADDRESS from the suppression list of LISTID.

    ADDRESS can receive mail of this list again. Exit status 0: removed; 1: it was not on the list.

    \b
    Example:
      fletching suppression remove t100 joe@example.org
    """
    from fletching.admin.suppression import ByHand

    by_hand = ByHand(load_or_fail(config_path), listid)
    with answered():
        if not by_hand.remove(address):
            fail(f"{address}: is not on {listid}", 1)
        say(f"{address}: removed from {listid}")


@suppression.command("find")
@click.argument("address")
@as_json
@configured
def suppression_find(config_path: Path, address: str, wants_json: bool) -> None:
    """Find ADDRESS on all suppression lists.

    Exit status 0: ADDRESS is on at least one list; 1: it is on none.

    \b
    Example:
      fletching suppression find joe@example.org
    """
    from fletching.admin.suppression import found

    with answered():
        rows = found(load_or_fail(config_path), address)
        show_rows(rows, wants_json, "suppression")
    sys.exit(0 if rows else 1)


def add_all(by_hand: ByHand, lines: BinaryIO) -> None:
    """Adds one address per line, and prints how many were new."""
    from fletching.admin.asking import NoAnswer
    from fletching.admin.suppression import SuppressionError

    added = there = wrong = 0
    at = milliseconds()
    try:
        for number, address in addresses(lines):
            try:
                new = by_hand.add(address, at)
            except SuppressionError as error:
                wrong += 1
                say(f"line {number}: {error}", err=True)
                continue
            added, there = added + new, there + (not new)
    except NoAnswer as error:
        fail(f"{error}; {added} addresses added before that")
    say(f"{added} added, {there} already on the list")
    sys.exit(1 if wrong else 0)


def addresses(lines: BinaryIO) -> Iterator[tuple[int, str]]:
    """The non-empty lines with their numbers."""
    for number, line in enumerate(watched(lines), 1):
        if text := line.decode("utf-8", "surrogateescape").strip():
            yield number, text


def watched(lines: BinaryIO) -> Iterator[bytes]:
    """The lines, with a progress bar on stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield from lines
        return
    bar: Any = click.progressbar(length=size_of(lines), file=sys.stderr, update_min_steps=_STEP)
    with bar:
        for line in lines:
            yield line
            bar.update(len(line))


def size_of(lines: BinaryIO) -> int | None:
    """The size of the input in bytes, if known."""
    try:
        about = os.fstat(lines.fileno())
    except OSError:
        return None
    return about.st_size if stat.S_ISREG(about.st_mode) else None


def milliseconds() -> int:
    return int(time.time() * 1000)
