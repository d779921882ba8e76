"""The data of `fletching monitor`: where the seed copies of campaigns arrived.

What a look finds is kept in Redis, so that the dashboard shows it too. Raises NoAnswer if Redis
does not answer.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fletching.admin import stats
from fletching.admin.asking import asking, store
from fletching.config.faults import UnusableError
from fletching.config.model import Config
from fletching.figures import moment
from fletching.monitor.looking import AFTER_ERROR, accounts, look, merged
from fletching.monitor.rows import copies_of, rows_of
from fletching.placements import PLACEMENTS, Placement, PlacementRow
from fletching.seed_report import report
from fletching.startup import link_keys
from fletching.store.counts import Campaign
from fletching.store.placements import Placements
from fletching.store.seeds import Seeds


class MonitorError(Exception):
    """The mailboxes cannot be looked into. Says why."""


@dataclass(frozen=True, slots=True)
class Monitored:
    """A campaign and its seeds."""

    campaign: Campaign
    rows: tuple[PlacementRow, ...]


def campaign(config: Config, name: str) -> Campaign:
    """The campaign of that id, else the newest one of that SendID. Raises NoCampaign."""
    return stats.campaign(config, name)


@asking()
def newest(config: Config) -> list[Campaign]:
    """The campaigns with seeds among the newest ones, newest first."""
    found, _ = stats.page(config, stats.Wanted(), 1)
    seeds = Seeds(store(config))
    return [each for each in found if seeds.of_campaign(each.campaign)]


@asking()
def monitored(
    config: Config, campaigns: Sequence[Campaign], *, again: bool = False
) -> list[Monitored]:
    """Looks for the copies of campaigns that are not found yet, and says where all are.

    Each mailbox is read once; if this is done ``again``, not those that could not be read a moment
    ago. Raises MonitorError.
    """
    seeds, placements = Seeds(store(config)), Placements(store(config))
    now = int(time.time())
    claimed = {each.campaign: seeds.of_campaign(each.campaign) for each in campaigns}
    known = {each.campaign: placements.of_campaign(each.campaign) for each in campaigns}
    wanted = [
        copy
        for each in campaigns
        for copy in copies_of(claimed[each.campaign])
        if _is_wanted(known[each.campaign].get(copy.address), now, again)
    ]
    try:
        keys = link_keys(config, "no mail can be recognized")
    except UnusableError as error:
        raise MonitorError(str(error)) from None
    looked = look(wanted, accounts(config), keys, now)
    for each in campaigns:
        new = merged(each.campaign, known[each.campaign], looked)
        placements.keep(each.campaign, new.values())
        known[each.campaign].update(new)
    return [
        Monitored(
            each,
            rows_of(
                config,
                report(
                    *(config, each, claimed[each.campaign]),
                    progress=seeds.progress(each.campaign),
                    now=now,
                ),
                known[each.campaign],
                now,
            ),
        )
        for each in campaigns
    ]


def _is_wanted(known: Placement | None, now: int, again: bool) -> bool:
    if known is None or known.is_found:
        return known is None
    return not (again and known.error and now - known.looked < AFTER_ERROR)


def row(seed: PlacementRow) -> dict[str, Any]:
    """A seed for JSON."""
    return {
        "seed": seed.address,
        "placement": seed.placement,
        "folder": seed.folder or None,
        "minutes": None if seed.seconds is None else round(seed.seconds / 60, 1),
        "late": seed.is_late,
        "sent": None if seed.sent is None else moment(seed.sent),
        "reason": seed.reason or None,
    }


def summary(found: Monitored) -> dict[str, Any]:
    """A campaign with the numbers of its seeds by placement."""
    counts = Counter(seed.placement for seed in found.rows)
    late = sum(seed.is_late for seed in found.rows)
    named = {"campaign": found.campaign.campaign, "sendid": found.campaign.sendid}
    return named | {name: counts[name] for name in PLACEMENTS} | {"late": late}
