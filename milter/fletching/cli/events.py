"""`fletching events`: show and redeliver events, backlog and dead letters of destinations."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from fletching.cli.completion import destinations
from fletching.cli.options import as_json, configured, fail, load_or_fail, say, show_rows
from fletching.cli.terminal import answered, write

if TYPE_CHECKING:
    from fletching.admin.events import Reading
    from fletching.config.model import Config

_LOOK_EVERY = 0.25
"""Seconds between two polls for new events."""


def milliseconds(config: Config, value: str | None, option: str = "--since") -> int:
    """A time as unix milliseconds; 0 if none is given. ``option``: for the error message."""
    from fletching.startup import since, zone

    try:
        return 0 if value is None else since(value, zone(config))
    except ValueError as error:
        fail(f"{option} {error}")


def known_types(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> frozenset[str]:
    """The given event types. Raises BadParameter for an unknown one."""
    from fletching.events import TYPES

    for name in value:
        if name not in TYPES:
            raise click.BadParameter(
                f"{name}: unknown event type: must be one of {', '.join(TYPES)}"
            )
    return frozenset(value)


@click.group(invoke_without_command=True)
@click.option("--follow", is_flag=True, help="Keep showing new events until Ctrl-C.")
@click.option(
    "--since",
    metavar="TIME",
    help="Show only events received by Redis since this date or RFC 3339 time. Default: all.",
)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="T",
    callback=known_types,
    help="Show only events of this type, such as engine_click; repeatable.",
)
@click.option(
    "--replay",
    metavar="DEST",
    shell_complete=destinations,
    help="Redeliver events since TIME (--since) to DEST instead of showing them.",
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
    """Show events, one JSON object per line, oldest first.

    With --replay, DEST receives all events since TIME again, in order, filtered by its types and
    classes. Redelivered events keep their event_unique_id. A date, or a time without a UTC offset,
    is in the configured `timezone`.

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
    """Options given to the group would be ignored by its subcommand."""
    sources = map(context.get_parameter_source, context.params)
    if ParameterSource.COMMANDLINE in sources:
        raise click.UsageError(f"put options after {context.invoked_subcommand}")


def show(reading: Reading, types: frozenset[str], follow: bool) -> None:
    """Prints all events; with ``follow``, new ones until Ctrl-C. Raises NoAnswer."""
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
    """New events. While Redis is unavailable, reports that once and waits."""
    from fletching.admin.asking import NoAnswer

    reported = False
    while True:
        try:
            found = reading.read()
        except NoAnswer as error:
            if not reported:
                say(error, err=True)
            reported = True
            time.sleep(_LOOK_EVERY)
            continue
        if reported:
            say("redis: answers again", err=True)
        return found


def print_lines(lines: list[str]) -> None:
    if lines:
        # Escaped on a terminal, since others may write to Redis too.
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
        say(f"{name}: {count} event{'' if count == 1 else 's'} will be redelivered")


@events.command("status")
@as_json
@configured
def events_status(config_path: Path, wants_json: bool) -> None:
    """Show each destination's backlog.

    Columns: events waiting, including those that the destination's filter skips; events that a
    courier is delivering; dead letters; when Redis received the oldest undelivered event; the age
    of that event (in JSON: in seconds).

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
@click.argument("destination", metavar="DEST", shell_complete=destinations)
@configured
def events_dead(config_path: Path, destination: str) -> None:
    """Show the dead letters of DEST.

    Prints one JSON object per line, oldest first: the event's id in the stream, why it was not
    delivered, and the event.

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
