"""`fletching suppression`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import click

from fletching.cli import progress
from fletching.cli.completion import list_ids
from fletching.cli.options import as_json, configured, fail, load_or_fail, say, show_rows
from fletching.cli.terminal import answered, write_csv

if TYPE_CHECKING:
    from fletching.config.model import Config

as_obscured = click.option(
    "--obscured", is_flag=True, help="Allow values of X-GreenArrow-Obscured-Email as addresses."
)


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
@click.argument("listid", required=False, shell_complete=list_ids)
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
@click.argument("listid", required=False, shell_complete=list_ids)
@configured
def suppression_export(config_path: Path, listid: str | None) -> None:
    """Print the addresses of LISTID, or of all lists, as CSV.

    The lines are not sorted. Columns: listid, address, reason, since (RFC 3339, UTC), source.
    `import` reads this form.

    \b
    Example:
      fletching suppression export t100 > t100.csv
    """
    from fletching.admin.suppression import rows
    from fletching.store.suppression import COLUMNS

    config = load_or_fail(config_path)
    with answered():
        write_csv(COLUMNS, rows(config, listid))


@suppression.command("add")
@click.argument("listid", shell_complete=list_ids)
@click.argument("address")
@as_obscured
@configured
def suppression_add(config_path: Path, listid: str, address: str, obscured: bool) -> None:
    """Add ADDRESS to the suppression list of LISTID.

    With `suppress: refuse`, mail of this list to ADDRESS is refused.

    If ADDRESS is -, reads addresses from stdin, like `import`. An address that is already on the
    list is not changed. Prints a warning if no Mail Class uses LISTID and the list has no entries
    yet. Exit status 1: some lines are not addresses; the others were added.

    \b
    Example:
      fletching suppression add t100 joe@example.org
      fletching suppression add t100 - < addresses.txt
    """
    from fletching.admin.suppression import SuppressionError, add, check_address
    from fletching.store.suppression import COMMAND

    config = load_or_fail(config_path)
    with answered():
        _check_list(config, listid)
        if address == "-":
            _add_all(config, sys.stdin.buffer, listid, COMMAND, obscured)
        try:
            check_address(address, obscured)
        except SuppressionError as error:
            fail(f"ADDRESS: {error}")
        word = "added to" if add(config, listid, address, _milliseconds()) else "is already on"
        say(f"{address}: {word} {listid}")


@suppression.command("import")
@click.argument("file", type=click.File("rb"))
@click.argument("listid", required=False, shell_complete=list_ids)
@as_obscured
@configured
def suppression_import(
    config_path: Path, file: BinaryIO, listid: str | None, obscured: bool
) -> None:
    """Add the addresses in FILE (- is stdin) to the suppression list of LISTID.

    FILE has one address per line, or is CSV with a header line and a column `email` or `address`,
    such as the output of `export`. Its columns listid, reason, since and source are used if they
    are there; LISTID is optional if each line has a listid. Without a reason that Fletching knows,
    an address is added as by_hand.

    An address that is already on the list is not changed. Exit status 1: some lines are not
    addresses; the others were added.

    \b
    Example:
      fletching suppression import unsubscribed.csv t100
      fletching suppression export | ssh mx2 fletching suppression import -
    """
    from fletching.store.suppression import IMPORT

    config = load_or_fail(config_path)
    with answered():
        if listid is not None:
            _check_list(config, listid)
        _add_all(config, file, listid, IMPORT, obscured)


@suppression.command("remove")
@click.argument("listid", shell_complete=list_ids)
@click.argument("address")
@configured
def suppression_remove(config_path: Path, listid: str, address: str) -> None:
    """Remove ADDRESS from the suppression list of LISTID.

    ADDRESS can receive mail of this list again. Exit status 0: removed; 1: it was not on the list.

    \b
    Example:
      fletching suppression remove t100 joe@example.org
    """
    from fletching.admin.suppression import remove

    with answered():
        if not remove(load_or_fail(config_path), listid, address):
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


def _check_list(config: Config, listid: str) -> None:
    """Exits if LISTID is not valid, and warns if it may be a typing error."""
    from fletching.admin.suppression import SuppressionError, check_list, is_known

    try:
        check_list(listid)
    except SuppressionError as error:
        fail(f"LISTID: {error}")
    if not is_known(config, listid):
        say(f"warning: {listid}: no Mail Class uses this list, and it has no entries", err=True)


def _add_all(
    config: Config, lines: BinaryIO, listid: str | None, source: str, obscured: bool
) -> NoReturn:
    """Adds the entries of a file, prints how many were new, and exits."""
    from fletching.admin.asking import NoAnswer
    from fletching.admin.suppression import SuppressionError
    from fletching.admin.suppression_import import Form, Import

    result = Import(config, Form(listid, source, _milliseconds(), obscured))
    try:
        with progress.of_file(lines) as watched:
            result.add(watched, _report)
    except SuppressionError as error:
        fail(error)
    except NoAnswer as error:
        fail(f"{error}; {result.added} addresses added before that")
    say(f"{result.added} added, {result.present} already on the list")
    sys.exit(1 if result.invalid else 0)


def _report(number: int, why: str) -> None:
    say(f"line {number}: {why}", err=True)


def _milliseconds() -> int:
    return int(time.time() * 1000)
