"""The commands about suppression lists: `fletching suppression`."""

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
"""Octets between two looks of the bar."""


@click.group()
def suppression() -> None:
    """Manage suppression lists: who gets no more mail.

    Mail to them is refused where `suppress: refuse` is set, for its Mail Class or globally.

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

    For a long list, `export` is better: it prints while it reads.

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
@click.option("--csv", is_flag=True, expose_value=False, help="As CSV, which it is anyway.")
@configured
def suppression_export(config_path: Path, listid: str | None) -> None:
    """Print the addresses of LISTID, or of all lists, as CSV.

    In no order, with a line of titles: listid, address, reason, since (RFC 3339, UTC).

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
@click.option("--obscured", is_flag=True, help="ADDRESS is a value of X-GreenArrow-Obscured-Email.")
@configured
def suppression_add(config_path: Path, listid: str, address: str, obscured: bool) -> None:
    """Add ADDRESS to the suppression list of LISTID.

    The list's mail to it is refused where `suppress: refuse` is set.

    If ADDRESS is -, read addresses from stdin, one per line. An address that is on the list
    already stays as it is. Prints a warning if no Mail Class has LISTID and the list has no
    entries yet. Exit 1: some line is not an address; the others are added.

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

    It may get mail again.

    Exit 0: removed; 1: it was not there.

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

    Exit 0: it is on some list; 1: on none.

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
    """Adds an address a line, and says how many were new."""
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
    """The lines that are not empty, with their numbers."""
    for number, line in enumerate(watched(lines), 1):
        if text := line.decode("utf-8", "surrogateescape").strip():
            yield number, text


def watched(lines: BinaryIO) -> Iterator[bytes]:
    """The lines; a bar on stderr shows how far they are, where that is a terminal."""
    if not sys.stderr.isatty():
        yield from lines
        return
    bar: Any = click.progressbar(length=size_of(lines), file=sys.stderr, update_min_steps=_STEP)
    with bar:
        for line in lines:
            yield line
            bar.update(len(line))


def size_of(lines: BinaryIO) -> int | None:
    """The octets that will come, where that can be known."""
    try:
        about = os.fstat(lines.fileno())
    except OSError:
        return None
    return about.st_size if stat.S_ISREG(about.st_mode) else None


def milliseconds() -> int:
    return int(time.time() * 1000)
