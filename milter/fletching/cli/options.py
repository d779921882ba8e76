"""Shared by all commands: the configuration option, output, and exit status.

Exit status: 0 success, 1 the answer is no, 2 wrong usage or an invalid configuration, 70 internal
error. Text from outside (mail, Redis, DNS, Postfix) is printed by `say`, or as JSON in ASCII.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from fletching.admin import escapes

if TYPE_CHECKING:
    from fletching.admin.resolver import Resolver
    from fletching.config.model import Config

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_CONFIG = "/etc/fletching/fletching.yaml"


def configured(command: F) -> F:
    """Adds the option that every command has."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        envvar="FLETCHING_CONFIG",
        default=DEFAULT_CONFIG,
        show_default=True,
        show_envvar=True,
        metavar="FILE",
        help="The configuration file.",
    )(command)


as_json = click.option("--json", "wants_json", is_flag=True, help="Print one JSON object.")


def printable(text: str) -> str:
    """A text with control characters, and characters that stdout cannot encode, escaped."""
    return escapes.printable(text, sys.stdout.encoding)


def say(line: object, err: bool = False) -> None:
    """Prints one line, with terminal control characters escaped."""
    click.echo(printable(str(line)), err=err)


def fail(error: object, code: int = 2) -> NoReturn:
    """Prints an error, one line for each error of a configuration, and exits."""
    for line in getattr(error, "errors", (error,)):
        say(line, err=True)
    sys.exit(code)


def load_or_fail(path: Path) -> Config:
    from fletching.config.load import ConfigError, load

    try:
        return load(path)
    except ConfigError as error:
        fail(error)


def resolver_or_fail(name_server: str | None) -> Resolver:
    """What asks the DNS, as --name-server says."""
    from fletching.admin.resolver import resolver

    try:
        return resolver(name_server)
    except ValueError as error:
        fail(f"--name-server: {error}")


def show_rows(rows: list[dict[str, Any]], wants_json: bool, name: str) -> None:
    """Prints a table, or one JSON object."""
    if wants_json:
        click.echo(json.dumps({name: rows}, ensure_ascii=True))
        return
    if not rows:
        say(f"no {name.replace('_', ' ')}", err=True)
        return
    table = [list(rows[0]), *([printable(shown(value)) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def shown(value: object) -> str:
    """A value in a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {weight}" for name, weight in value.items())
    return "-" if value is None else str(value)
