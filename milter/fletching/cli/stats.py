"""`fletching stats`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fletching.cli.completion import mail_classes
from fletching.cli.events import milliseconds
from fletching.cli.options import as_json, configured, fail, load_or_fail, say
from fletching.cli.terminal import answered, as_csv, write_csv

if TYPE_CHECKING:
    from fletching.admin.stats import Wanted
    from fletching.config.model import Config

_WIDTH_OF_NO_TERMINAL = 120


@click.command()
@click.argument("campaign", required=False)
@click.option(
    "--by",
    type=click.Choice(
        ["mail_class", "list", "mta", "link", "day", "provider", "reason", "monitor"]
    ),
    help="Break down the numbers by this; link requires a CAMPAIGN.",
)
@click.option(
    "--page",
    type=click.IntRange(1, 999_999),
    metavar="N",
    help="Show page N, newest first, 20 campaigns each. Default: 1; with --json and --csv: all.",
)
@click.option("--all", "shows_all", is_flag=True, help="Show all campaigns, not just 20.")
@click.option(
    "--class",
    "mail_class",
    metavar="NAME",
    shell_complete=mail_classes,
    help="Show campaigns of this Mail Class.",
)
@click.option("--since", metavar="TIME", help="Show campaigns opened since this date or time.")
@click.option("--until", metavar="TIME", help="Show campaigns opened before this date or time.")
@click.option(
    "--search",
    metavar="TEXT",
    help="Show campaigns with TEXT in their SendID, subject, Mail Class or ListID.",
)
@as_json
@as_csv
@configured
def stats(
    config_path: Path,
    campaign: str | None,
    by: str | None,
    page: int | None,
    shows_all: bool,
    mail_class: str | None,
    since: str | None,
    until: str | None,
    search: str | None,
    wants_json: bool,
    wants_csv: bool,
) -> None:
    """Show deliveries, bounces, opens, clicks and complaints.

    Shows the newest 20 campaigns, or all of them with --all, --json or --csv. With CAMPAIGN, a
    campaign id or a SendID (which selects its newest campaign), shows that campaign's links, hours,
    mailbox providers, reasons of failures and warnings. Days and hours are UTC.

    Unique opens counts messages opened by a person or a privacy proxy. Confirmed opens counts only
    those opened by a person: a mailbox provider's privacy proxy also loads the images of mail that
    nobody reads. A person's click counts as an open. Opens and clicks are totals; those of privacy
    proxies and bots are counted separately. Blocked counts messages that were deferred or refused
    because of the sender's reputation or rate. Percentages of opens, clicks, unsubscribes and
    complaints are of the messages delivered, or of those sent where deliveries are not measured;
    all others are of the messages sent. --by monitor adds up the campaigns of each group of
    GreenArrow Monitor: those with the same X-CampaignID or, without it, the same From address and
    Subject. A dash (null in JSON, empty in CSV) means not
    measured.

    Exit status 0: shown; 1: no such campaign; 2: wrong usage, invalid configuration, or Redis does
    not answer.

    \b
    Example:
      fletching stats newsletter20261121 --by link
      fletching stats --by day --class newsletter --since 2026-11-01
      fletching stats --since 2026-11-01 --until 2026-12-01 --csv
    """
    if wants_json and wants_csv:
        raise click.UsageError("--json and --csv cannot be combined")
    if by == "link" and campaign is None:
        raise click.UsageError("--by link requires a CAMPAIGN")
    chosen = (mail_class, since, until, search, page)
    if campaign is not None and any(each is not None for each in chosen):
        raise click.UsageError(
            "CAMPAIGN cannot be combined with --class, --since, --until, --search or --page"
        )
    if page is not None and (shows_all or by is not None):
        raise click.UsageError("--page cannot be combined with --all or --by")
    from fletching.admin.stats import NoCampaign, Wanted

    config = load_or_fail(config_path)
    begin = milliseconds(config, since) / 1000
    end = milliseconds(config, until, "--until") / 1000
    wanted = Wanted(mail_class or "", begin, search or "", end)
    with answered():
        try:
            if wants_json or wants_csv:
                print_data(config, campaign, by, wants_json, wanted, page)
            else:
                print_tables(config, campaign, by, wanted, None if shows_all else page or 1)
        except NoCampaign as error:
            fail(error, 1)


def print_data(
    config: Config,
    campaign: str | None,
    by: str | None,
    wants_json: bool,
    wanted: Wanted,
    page: int | None,
) -> None:
    from fletching.admin.figures import columns

    rows = rows_of(config, campaign, by, wanted, page)
    if wants_json:
        data = {"campaigns": rows} if by is None else {"by": by, "rows": rows}
        click.echo(json.dumps(data, ensure_ascii=True))
    else:
        write_csv(columns(by), rows)


def rows_of(
    config: Config, campaign: str | None, by: str | None, wanted: Wanted, page: int | None
) -> list[dict[str, Any]]:
    from fletching.admin import figures
    from fletching.admin import stats as statistics
    from fletching.figures import campaign_row

    found = None if campaign is None else statistics.campaign(config, campaign)
    if by is None:
        listed = [found] if found else statistics.page(config, wanted, page)[0]
        return [campaign_row(each) for each in listed]
    if by == "link" and found is not None:
        return [figures.link_row(each) for each in statistics.links(config, found.campaign)]
    rows = statistics.breakdown(config, by, found.campaign if found else None, wanted)
    return [figures.breakdown_row(by, each) for each in rows]


def print_tables(
    config: Config, campaign: str | None, by: str | None, wanted: Wanted, page: int | None
) -> None:
    from fletching.admin import stats as statistics
    from fletching.admin.tables import Tables

    tables = Tables(None if sys.stdout.isatty() else _WIDTH_OF_NO_TERMINAL)
    found = None if campaign is None else statistics.campaign(config, campaign)
    if by is not None and by != "link":
        rows = statistics.breakdown(config, by, found.campaign if found else None, wanted)
        tables.breakdown(by, rows) if rows else say("no data", err=True)
    elif found is None:
        listed, has_older = statistics.page(config, wanted, page)
        tables.campaigns(listed) if listed else say("no campaigns", err=True)
        if has_older and page is not None:
            say(f"older campaigns: --page {page + 1}, or --all", err=True)
    elif by == "link":
        tables.links(statistics.links(config, found.campaign))
    else:
        tables.campaign(found, statistics.details(config, found.campaign))
