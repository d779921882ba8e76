"""`fletching seeds`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fletching.cli.options import configured, fail, load_or_fail, say, show_rows
from fletching.cli.terminal import answered


@click.command()
@click.argument("campaign", required=False)
@click.option("--json", "wants_json", is_flag=True, help="Print one JSON object.")
@configured
def seeds(config_path: Path, campaign: str | None, wants_json: bool) -> None:
    """Show which seeds have their copy of a campaign.

    With CAMPAIGN, a campaign id or a SendID (which selects its newest campaign), shows each seed of
    its list: its state, its due point, the message that was copied, and when. Without CAMPAIGN,
    lists the newest 100 campaigns that have seeds.

    A campaign has ended if its window is over or it had no message for a day. Times are UTC.

    Exit status 0: shown; 1: no such campaign, or it has no seeds; 2: wrong usage, invalid
    configuration, or Redis does not answer.

    \b
    Example:
      fletching seeds
      fletching seeds newsletter20261121
      fletching seeds newsletter20261121 --json | jq '.campaigns[].seeds'
    """
    from fletching.admin import seeds as data
    from fletching.admin.stats import NoCampaign

    config = load_or_fail(config_path)
    with answered():
        try:
            if campaign is None:
                found = data.of_campaigns(config)
            else:
                found = [data.of_campaign(config, campaign)]
        except NoCampaign as error:
            fail(error, 1)
        if wants_json:
            shown = [data.summary_row(each) | {"seeds": data.rows(each)} for each in found]
            click.echo(json.dumps({"campaigns": shown}, ensure_ascii=True))
        elif campaign is None:
            show_rows([data.summary_row(each) for each in found], False, "campaigns_with_seeds")
        else:
            show_rows(data.rows(found[0]), False, "seeds")
            say(found[0].summary)
