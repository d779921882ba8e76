"""What may reach a terminal or a pipe, and how a command that writes there ends.

Here live escapes, CSV, and the ends that are no failure: a reader that has seen enough, Ctrl-C.
Names in what was counted came with mail, so anything may be in them. What is told may not be known
here.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from fletching.admin import escapes
from fletching.cli.options import fail, say

as_csv = click.option("--csv", "wants_csv", is_flag=True, help="CSV with a line of titles.")


@contextmanager
def answered() -> Iterator[None]:
    """Round what asks Redis and prints the answer: ends the command with a sentence where none
    comes, and in silence where nobody reads the rest."""
    from fletching.admin.asking import NoAnswer

    try:
        yield
        sys.stdout.flush()
    except NoAnswer as error:
        fail(error)
    except BrokenPipeError:
        # Else Python complains that it cannot flush what nobody wants.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def write(octets: bytes) -> None:
    """Writes a text as it is, but on a terminal by the line and without what steers it."""
    if sys.stdout.isatty():
        for line in octets.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n"):
            # A mail has CRLF.
            say(line.removesuffix("\r"))
    else:
        click.echo(octets, nl=False)


def write_csv(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows as they come: their values under these titles, None as an empty one.

    Values are exact, but escaped on a terminal.
    """
    clean = escapes.printable if sys.stdout.isatty() else escapes.encodable
    encoding = sys.stdout.encoding
    named = list(columns)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(named)
    for row in rows:
        values = ("" if row[name] is None else str(row[name]) for name in named)
        writer.writerow([clean(value, encoding) for value in values])
