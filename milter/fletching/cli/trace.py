"""`fletching trace`: what happened to a message, as a time line or as JSON."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fletching.cli.options import configured, fail, load_or_fail, say
from fletching.cli.terminal import answered

if TYPE_CHECKING:
    from fletching.tracing.timeline import Timeline

MOST = 10
"""Messages that are shown unless --limit says more."""


@click.command()
@click.argument("what", metavar="ADDRESS|QUEUE-ID|MESSAGE-ID|RETURN-PATH|URL")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=MOST,
    show_default=True,
    help="Show at most so many messages, the newest first.",
)
@click.option("--json", "wants_json", is_flag=True, help="Print one JSON object.")
@configured
def trace(config_path: Path, what: str, limit: int, wants_json: bool) -> None:
    """Show what happened to a message, in order of time.

    From its acceptance through each delivery attempt, with the servers' words, to opens, clicks,
    bounces, complaints and unsubscribes. Traces are kept for `trace_memory`. Find the message by
    its recipient (or obscured address), Postfix queue id, Message-ID or return path, or by one of
    its tracking links.

    Exit status 0: found; 1: not found; 2: wrong usage or invalid configuration.

    \b
    Examples:
      fletching trace joe@example.org
      fletching trace 4F1A2B3C4D --json
    """
    from fletching.admin.trace import found
    from fletching.keys.secret_file import KeyFileError
    from fletching.startup import zone
    from fletching.tracing.search import NoTrace
    from fletching.tracing.timeline import as_json, timeline

    config = load_or_fail(config_path)
    with answered():
        try:
            traces = found(config, what, limit + 1)
        except KeyFileError as error:
            fail(error)
        except NoTrace as error:
            fail(error, 1)
        if wants_json:
            messages = [as_json(each) for each in traces[:limit]]
            click.echo(json.dumps({"messages": messages}, ensure_ascii=True))
            return
        for number, each in enumerate(traces[:limit]):
            if number:
                say("")
            _show(timeline(each, time.time(), zone(config)))
        if len(traces) > limit:
            say(f"there are older messages: --limit {2 * limit} shows more", err=True)


def _show(told: Timeline) -> None:
    say(told.title)
    width = max(len(name) for name, _ in told.facts)
    for name, value in told.facts:
        say(f"  {name.ljust(width)}  {value}")
    say(f"  {told.state}")
    say("")
    wide = max(len(entry.after) for entry in told.entries)
    for entry in told.entries:
        say(f"  {entry.when}  {entry.after.rjust(wide)}  {entry.text}")
        margin = " " * (len(entry.when) + wide + 6)
        if entry.quote:
            say(f'{margin}"{entry.quote}"')
        for note in entry.notes:
            say(f"{margin}{note}")
