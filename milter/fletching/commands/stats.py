"""The command about numbers: `fletching stats`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fletching.commands.command import as_json, configured, fail, load_or_fail, say
from fletching.commands.events import milliseconds
from fletching.commands.terminal import answered, as_csv, write_csv

if TYPE_CHECKING:
    from fletching.admin.statistics import Wanted
    from fletching.config.model import Config

_WIDTH_OF_NO_TERMINAL = 120
_NEWEST = 20


@click.command()
@click.argument("campaign", required=False)
@click.option(
    "--by",
    type=click.Choice(["mail_class", "list", "mta", "link", "day"]),
    help="Break the numbers down; by link needs a CAMPAIGN.",
)
@click.option("--all", "shows_all", is_flag=True, help="Show all campaigns, not just 20.")
@click.option("--class", "mail_class", metavar="NAME", help="Show campaigns of this Mail Class.")
@click.option("--since", metavar="TIME", help="Show campaigns opened since this date or time.")
@click.option("--search", metavar="TEXT", help="Show campaigns with TEXT in their SendID.")
@as_json
@as_csv
@configured
def stats(
    config_path: Path,
    campaign: str | None,
    by: str | None,
    shows_all: bool,
    mail_class: str | None,
    since: str | None,
    search: str | None,
    wants_json: bool,
    wants_csv: bool,
) -> None:
    """Show what was sent, opened and clicked.

    The newest 20 campaigns; every one with --all, --json and --csv. Or CAMPAIGN, an id, or a
    SendID for its newest campaign, with its links, hours and warnings. Programs that follow
    links are counted apart, as bots. Days and hours are UTC. Exit 0: shown; 1: there is no such
    campaign; 2: wrong usage, the configuration is broken, or Redis does not answer.

    \b
    Example:
      fletching stats newsletter20261121 --by link
    """
    if wants_json and wants_csv:
        raise click.UsageError("--json and --csv exclude each other")
    if by == "link" and campaign is None:
        raise click.UsageError("--by link needs a CAMPAIGN")
    chosen = (mail_class, since, search)
    if any(each is not None for each in chosen) and (campaign is not None or by is not None):
        raise click.UsageError("CAMPAIGN and --by exclude --class, --since and --search")
    from fletching.admin.statistics import NoCampaign, Wanted

    config = load_or_fail(config_path)
    begin = milliseconds(config, since) / 1000
    wanted = Wanted(mail_class or "", begin, search or "")
    with answered():
        try:
            if wants_json or wants_csv:
                tell_scripts(config, campaign, by, wants_json, wanted)
            else:
                tell_people(config, campaign, by, wanted, None if shows_all else _NEWEST)
        except NoCampaign as error:
            fail(error, 1)


def tell_scripts(
    config: Config, campaign: str | None, by: str | None, wants_json: bool, wanted: Wanted
) -> None:
    from fletching.admin.figures import columns

    rows = rows_of(config, campaign, by, wanted)
    if wants_json:
        told = {"campaigns": rows} if by is None else {"by": by, "rows": rows}
        click.echo(json.dumps(told, ensure_ascii=True))
    else:
        write_csv(columns(by), rows)


def rows_of(
    config: Config, campaign: str | None, by: str | None, wanted: Wanted
) -> list[dict[str, Any]]:
    from fletching.admin import figures, statistics

    found = None if campaign is None else statistics.campaign(config, campaign)
    if by is None:
        listed = statistics.campaigns(config, wanted) if found is None else [found]
        return [figures.campaign_row(each) for each in listed]
    if by == "link" and found is not None:
        return [figures.link_row(each) for each in statistics.links(config, found.campaign)]
    rows = statistics.breakdown(config, by, found.campaign if found else None)
    return [figures.breakdown_row(by, each) for each in rows]


def tell_people(
    config: Config, campaign: str | None, by: str | None, wanted: Wanted, most: int | None
) -> None:
    from fletching.admin import statistics
    from fletching.admin.tables import Tables

    tables = Tables(None if sys.stdout.isatty() else _WIDTH_OF_NO_TERMINAL)
    found = None if campaign is None else statistics.campaign(config, campaign)
    if by is not None and by != "link":
        rows = statistics.breakdown(config, by, found.campaign if found else None)
        tables.breakdown(by, rows) if rows else say("no numbers", err=True)
    elif found is None:
        listed = statistics.campaigns(config, wanted)
        tables.campaigns(listed[:most]) if listed else say("no campaigns", err=True)
        if len(listed) > len(listed[:most]):
            say(f"and {len(listed) - len(listed[:most])} more: --all", err=True)
    elif by == "link":
        tables.links(statistics.links(config, found.campaign))
    else:
        tables.campaign(found, statistics.details(config, found.campaign))
