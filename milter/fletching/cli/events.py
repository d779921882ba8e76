"""The commands about the stream of events: `fletching events`, and its destinations' progress."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from fletching.cli.options import as_json, configured, fail, load_or_fail, say, show_rows
from fletching.cli.terminal import answered, write

if TYPE_CHECKING:
    from fletching.admin.events import Reading
    from fletching.config.model import Config

_LOOK_EVERY = 0.25
"""Seconds between two questions for new events."""


def milliseconds(config: Config, value: str | None) -> int:
    """A time as unix milliseconds; 0 for none."""
    from fletching.startup import since, zone

    try:
        return 0 if value is None else since(value, zone(config))
    except ValueError as error:
        fail(f"--since {error}")


def known_types(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> frozenset[str]:
    """Types that events have."""
    from fletching.events import TYPES

    for name in value:
        if name not in TYPES:
            raise click.BadParameter(
                f"{name}: unknown event type: must be one of {', '.join(TYPES)}"
            )
    return frozenset(value)


@click.group(invoke_without_command=True)
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "--since",
    metavar="TIME",
    help="Show only events that Redis got since then (date or RFC 3339 time). Default: all.",
)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="T",
    callback=known_types,
    help="Only events of this type, such as engine_click; repeatable.",
)
@click.option(
    "--replay",
    metavar="DEST",
    help="Instead: have the destination get again all that came --since.",
)
@configured
@click.pass_context
def events(
    context: click.Context,
    config_path: Path,
    follow: bool,
    since: str | None,
    types: frozenset[str],
    replay: str | None,
) -> None:
    """Show events, one JSON object a line, the oldest first.

    A destination that is replayed goes back in the stream, and gets what came since then once more
    and in order, as far as its types and classes want it. Events that it had before come with the
    same event_unique_id. A date, or a time without offset, is in the configured `timezone`.

    \b
    Example:
      fletching events --follow --type engine_click --type engine_open
      fletching events --replay crm --since 2026-03-01T09:00:00Z
    """
    if context.invoked_subcommand is not None:
        refuse_options_before(context)
        return
    if replay is not None:
        if since is None:
            raise click.UsageError("--replay requires --since")
        if follow or types:
            raise click.UsageError("--replay can be combined with --since only")
        go_back(config_path, replay, since)
        return
    from fletching.admin.events import Reading

    config = load_or_fail(config_path)
    after = milliseconds(config, since)
    with answered():
        show(Reading(config, after), types, follow)


def refuse_options_before(context: click.Context) -> None:
    """What is given to the group would not reach the command in it."""
    sources = map(context.get_parameter_source, context.params)
    if ParameterSource.COMMANDLINE in sources:
        raise click.UsageError(f"put options after {context.invoked_subcommand}")


def show(reading: Reading, types: frozenset[str], follow: bool) -> None:
    """Prints until the end; where it follows, until Ctrl-C. Raises NoAnswer."""
    from fletching.admin.events import of_types

    try:
        while page := reading.read():
            print_lines(of_types(page, types))
        while follow:
            time.sleep(_LOOK_EVERY)
            print_lines(of_types(next_ones(reading), types))
    except KeyboardInterrupt:
        sys.exit(0)


def next_ones(reading: Reading) -> list[str]:
    """What has come; waits, and says so, while Redis is away."""
    from fletching.admin.asking import NoAnswer

    said = False
    while True:
        try:
            found = reading.read()
        except NoAnswer as error:
            if not said:
                say(error, err=True)
            said = True
            time.sleep(_LOOK_EVERY)
            continue
        if said:
            say("redis: answers again", err=True)
        return found


def print_lines(lines: list[str]) -> None:
    if lines:
        # On a terminal, where an event may be what somebody else put into Redis.
        write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
        sys.stdout.flush()


def go_back(config_path: Path, name: str, since: str) -> None:
    from fletching.admin.events import NoDestination, StreamError, replay

    config = load_or_fail(config_path)
    after = milliseconds(config, since)
    with answered():
        try:
            count = replay(config, name, after)
        except NoDestination as error:
            fail(error)
        except StreamError as error:
            fail(str(error), 1)
        say(f"{name}: gets {count} event{'' if count == 1 else 's'} again")


@events.command("status")
@as_json
@configured
def events_status(config_path: Path, wants_json: bool) -> None:
    """Show how far each destination is.

    How many events wait for it, wanted or not; how many a courier has in hand; dead letters; and
    when Redis got the oldest one that is not done, with its age (in JSON: seconds).

    \b
    Example:
      fletching events status --json
    """
    from fletching.admin.events import status
    from fletching.admin.figures import age

    config = load_or_fail(config_path)
    with answered():
        rows = status(config, time.time())
        if not wants_json:
            for row in rows:
                row["age"] = None if row["age"] is None else age(row["age"])
        show_rows(rows, wants_json, "destinations")


@events.command("dead")
@click.argument("destination", metavar="DEST")
@configured
def events_dead(config_path: Path, destination: str) -> None:
    """Show the dead letters of DEST.

    What it did not take, one JSON object a line, the oldest first: its id in the stream, why it
    lies here, and the event.

    \b
    Example:
      fletching events dead crm
    """
    from fletching.admin.events import NoDestination, dead_letters

    config = load_or_fail(config_path)
    with answered():
        try:
            for letter in dead_letters(config, destination):
                sys.stdout.write(json.dumps(letter, ensure_ascii=True) + "\n")
        except NoDestination as error:
            fail(error)
