"""`fletching monitor`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fletching.cli.options import as_json, configured, fail, load_or_fail, say, show_rows
from fletching.cli.terminal import answered

if TYPE_CHECKING:
    from fletching.config.model import Config

_LOOK_EVERY = 20.0
"""Seconds between two looks with --follow."""


@click.command()
@click.argument("campaign", required=False)
@click.option("--follow", is_flag=True, help="Wait until each copy has arrived or is missing.")
@as_json
@configured
def monitor(config_path: Path, campaign: str | None, follow: bool, wants_json: bool) -> None:
    """Show where the seed copies of a campaign arrived.

    Looks into the seed mailboxes that have `imap` in the configuration, and shows for each seed:
    inbox, spam folder, another folder, not yet arrived, or missing after 10 minutes; and how many
    minutes after its sending the copy arrived. One that took more than 10 minutes is late. Nothing
    in a mailbox is changed. CAMPAIGN is a campaign id or a SendID (which selects its newest
    campaign); without it, shows the newest campaigns with seeds, and how many copies are where.

    With --follow, shows each seed as soon as it is known where its copy is, with --json as one
    object a line, until that is known of all.

    Exit status 0: shown; 1: no such campaign; 2: wrong usage, invalid configuration, or Redis does
    not answer.

    \b
    Example:
      fletching monitor newsletter20261121
      fletching monitor newsletter20261121 --follow
    """
    from fletching.admin.monitor import MonitorError
    from fletching.admin.stats import NoCampaign

    if follow and campaign is None:
        raise click.UsageError("--follow requires a CAMPAIGN")
    config = load_or_fail(config_path)
    with answered():
        try:
            if campaign is None:
                show_all(config, wants_json)
            elif follow:
                show_each(config, campaign, wants_json)
            else:
                show_one(config, campaign, wants_json)
        except NoCampaign as error:
            fail(error, 1)
        except MonitorError as error:
            fail(error)
        except KeyboardInterrupt:
            sys.exit(0)


def show_all(config: Config, wants_json: bool) -> None:
    from fletching.admin.monitor import monitored, newest, summary

    rows = [summary(each) for each in monitored(config, newest(config))]
    if not wants_json:
        rows = [{name: value for name, value in row.items() if value != 0} for row in rows]
        names = dict.fromkeys(name for row in rows for name in row)
        rows = [{name: row.get(name, 0) for name in names} for row in rows]
    show_rows(rows, wants_json, "campaigns")


def show_one(config: Config, name: str, wants_json: bool) -> None:
    from fletching.admin.monitor import campaign, monitored, row

    (found,) = monitored(config, [campaign(config, name)])
    if wants_json:
        named = {"campaign": found.campaign.campaign, "sendid": found.campaign.sendid}
        click.echo(json.dumps(named | {"seeds": [row(each) for each in found.rows]}))
    else:
        show_rows([line(row(each)) for each in found.rows], False, "seeds")


def show_each(config: Config, name: str, wants_json: bool) -> None:
    from fletching.admin.monitor import campaign, monitored, row

    chosen = campaign(config, name)
    shown: set[str] = set()
    again = False
    while True:
        (found,) = monitored(config, [chosen], again=again)
        again = True
        for each in found.rows:
            if each.is_open or each.address in shown:
                continue
            shown.add(each.address)
            seed = row(each)
            if wants_json:
                click.echo(json.dumps(seed))
            else:
                say("  ".join(str(value) for value in line(seed).values() if value))
        sys.stdout.flush()
        if not any(each.is_open for each in found.rows):
            return
        time.sleep(_LOOK_EVERY)


def line(row: dict[str, object]) -> dict[str, object]:
    """A seed as a line of a table."""
    from fletching.placements import PLACEMENTS

    where = PLACEMENTS[str(row["placement"])]
    return {
        "seed": row["seed"],
        "placement": f"{where}, late" if row["late"] else where,
        "minutes": row["minutes"],
        "folder_or_reason": row["folder"] or row["reason"],
    }
