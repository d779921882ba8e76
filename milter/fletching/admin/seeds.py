"""The data of `fletching seeds`: which seed of a campaign has its copy."""

from __future__ import annotations

import time
from typing import Any

from fletching.admin import stats
from fletching.admin.asking import asking, store
from fletching.config.model import Config
from fletching.figures import moment
from fletching.seed_report import NOT_DUE, SeedReport, has_seeds, report
from fletching.store.counts import EVERY, Campaign
from fletching.store.seeds import Seeds, SeedState

MOST = 100
"""Campaigns that are listed."""


@asking()
def of_campaign(config: Config, name: str) -> SeedReport:
    """The seeds of a campaign, by its id or SendID. Raises `stats.NoCampaign`."""
    campaign = stats.campaign(config, name)
    found = _report(config, Seeds(store(config)), campaign)
    if found is None:
        raise stats.NoCampaign(f"{name}: this campaign has no seeds")
    return found


@asking()
def of_campaigns(config: Config) -> list[SeedReport]:
    """The seeds of the newest campaigns that have some, at most `MOST`."""
    seeds, found = Seeds(store(config)), list[SeedReport]()
    for campaign in stats.page(config, EVERY, None)[0]:
        one = _report(config, seeds, campaign)
        if one is not None:
            found.append(one)
        if len(found) == MOST:
            break
    return found


def _report(config: Config, seeds: Seeds, campaign: Campaign) -> SeedReport | None:
    claimed = seeds.of_campaign(campaign.campaign)
    if not has_seeds(campaign, claimed):
        return None
    progress = seeds.progress(campaign.campaign)
    return report(config, campaign, claimed, progress, int(time.time()))


def summary_row(found: SeedReport) -> dict[str, Any]:
    """A campaign in the list of campaigns."""
    return {
        "campaign": found.campaign,
        "sendid": found.sendid,
        "list": found.list,
        "seeds": len(found.rows),
        "sent": found.count(SeedState.SENT),
        "waiting": found.count(SeedState.WAITING, SeedState.SUBMITTING, SeedState.PASSED),
        "failed": found.count(SeedState.FAILED),
        "not_due": found.count(NOT_DUE),
        "ended": found.ended,
    }


def rows(found: SeedReport) -> list[dict[str, Any]]:
    """The seeds of a campaign, for a table or JSON."""
    return [
        {
            "seed": row.address,
            "state": row.state,
            "due": row.due,
            "message_number": row.message or None,
            "claimed": _moment(row.claimed),
            "sent": _moment(row.sent),
            "attempts": row.attempts,
            "reply": row.reply or None,
        }
        for row in found.rows
    ]


def _moment(milliseconds: int) -> str | None:
    return moment(milliseconds // 1000) if milliseconds else None
