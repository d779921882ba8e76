"""`fletching archive`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fletching.cli.options import configured, fail, load_or_fail, show_rows
from fletching.cli.terminal import answered


@click.command()
@click.argument("campaign", required=False)
@click.option("--json", "wants_json", is_flag=True, help="Print one JSON object per message.")
@configured
def archive(config_path: Path, campaign: str | None, wants_json: bool) -> None:
    """List the archived messages of this host.

    Shows the file of each message, by campaign and message number. With CAMPAIGN, a campaign id or
    a SendID (which selects its newest campaign), shows only that campaign's. Sizes are in bytes,
    times are UTC.

    Exit status 0: shown; 1: no such campaign; 2: wrong usage, invalid configuration, or the archive
    or Redis cannot be read.

    \b
    Example:
      fletching archive newsletter20261121
      fletching archive --json | jq -r .file
    """
    from fletching.admin.archive import ArchiveError, rows
    from fletching.admin.stats import NoCampaign

    config = load_or_fail(config_path)
    with answered():
        try:
            found = rows(config, campaign)
            if not wants_json:
                show_rows(list(found), False, "archived_messages")
                return
            for row in found:
                click.echo(json.dumps(row, ensure_ascii=True))
        except NoCampaign as error:
            fail(error, 1)
        except ArchiveError as error:
            fail(error)
