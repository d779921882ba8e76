"""Output to a terminal, a file or a pipe: escaping, CSV, and a pipe that is closed early.

Names and URLs in statistics come from mail, so they may contain anything.
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

as_csv = click.option("--csv", "wants_csv", is_flag=True, help="Print CSV with a header line.")


@contextmanager
def answered() -> Iterator[None]:
    """Around code that queries Redis and prints: exits with an error if Redis does not answer, and
    silently if the output pipe is closed."""
    from fletching.admin.asking import NoAnswer

    try:
        yield
        sys.stdout.flush()
    except NoAnswer as error:
        fail(error)
    except BrokenPipeError:
        # Otherwise Python complains that it cannot flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def write(content: bytes) -> None:
    """Writes a text unchanged; on a terminal line by line, with control characters escaped."""
    if sys.stdout.isatty():
        for line in content.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n"):
            # Messages have CRLF line ends.
            say(line.removesuffix("\r"))
    else:
        click.echo(content, nl=False)


def write_csv(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows as they arrive, with these columns; None becomes empty.

    Values are exact, but escaped on a terminal.
    """
    clean = escapes.printable if sys.stdout.isatty() else escapes.encodable
    encoding = sys.stdout.encoding
    named = list(columns)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(named)
    for row in rows:
        values = (_value(row[name]) for name in named)
        writer.writerow([clean(value, encoding) for value in values])


def _value(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)
