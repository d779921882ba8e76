"""`fletching shadow`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from fletching.cli.events import milliseconds
from fletching.cli.options import as_json, configured, load_or_fail, say
from fletching.cli.terminal import answered

_WIDTH_OF_NO_TERMINAL = 120


@click.group()
def shadow() -> None:
    """Show what live mode would have done to mail in shadow.

    \b
    Example:
      fletching shadow report --since 2026-11-30
    """


@shadow.command()
@click.option(
    "--since", metavar="TIME", help="Show mail since this date or time. Default: 31 days ago."
)
@click.option(
    "--class", "mail_class", metavar="NAME", help='Show mail of this Mail Class; "": without one.'
)
@as_json
@configured
def report(config_path: Path, since: str | None, mail_class: str | None, wants_json: bool) -> None:
    """Show what would have happened to mail in shadow.

    Sums up the mail of all hosts: messages by verdict, links that would have been tracked,
    warnings, edits, VirtualMTAs, and the time that each message took, including Redis. Counts are
    kept for 31 days, by the hour: --since includes the whole hour. Times are UTC; percentiles are
    exact to 9 %.

    Exit status 0: shown; 1: no mail was in shadow; 2: wrong usage, invalid configuration, or Redis
    does not answer.

    \b
    Example:
      fletching shadow report --since 2026-11-30 --class newsletter
      fletching shadow report --json | jq '.warnings'
    """
    config = load_or_fail(config_path)
    begin = milliseconds(config, since) / 1000
    from rich.console import Console

    from fletching.admin import shadow as data

    with answered():
        found = data.report(config, begin, mail_class)
    if wants_json:
        click.echo(json.dumps(found, ensure_ascii=True))
    elif found["mails"]:
        width = None if sys.stdout.isatty() else _WIDTH_OF_NO_TERMINAL
        data.show(found, Console(width=width, highlight=False))
    else:
        say("no mail in shadow", err=True)
    sys.exit(0 if found["mails"] else 1)
