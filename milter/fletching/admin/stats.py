"""The data of `fletching stats`: campaigns, one campaign's details, breakdowns.

`figures.py` and `tables.py` format them. All functions raise NoAnswer if Redis does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fletching.admin.asking import asking, store
from fletching.config.model import Config
from fletching.store.counts import EVERY, Campaign, Dimension, Failures, Link, Row
from fletching.store.counts import Wanted as Wanted
from fletching.store.statistics import Statistics

BY: Mapping[str, Dimension] = {
    "mail_class": "mail_class",
    "list": "listid",
    "mta": "mtaid",
    "day": "day",
    "provider": "provider",
    "reason": "reason",
    "monitor": "monitor",
}
"""What numbers can be broken down by, besides links, and the store's name for it."""


A_PAGE = 20
"""Campaigns on a page."""


class NoCampaign(Exception):
    """The campaign does not exist, or no longer."""


@dataclass(frozen=True, slots=True)
class Details:
    """A campaign's links, hours, failures, providers and warnings.

    ``hours``: counts by kind and unix time.

    ``warnings``: the warnings of its messages, each with the number of messages.
    """

    links: tuple[Link, ...]
    hours: Mapping[str, Mapping[int, int]]
    failures: tuple[Failures, ...] = ()
    providers: tuple[Row, ...] = ()
    warnings: tuple[tuple[str, int], ...] = ()


@asking()
def page(config: Config, wanted: Wanted, number: int | None) -> tuple[tuple[Campaign, ...], bool]:
    """Matching campaigns, newest first, and whether there are older ones.

    ``number``: the page of `A_PAGE` campaigns, from 1; None for all.
    """
    statistics = _statistics(config)
    if number is None:
        return statistics.campaigns(wanted=wanted), False
    found = statistics.campaigns(A_PAGE + 1, (number - 1) * A_PAGE, wanted)
    return found[:A_PAGE], len(found) > A_PAGE


@asking()
def campaign(config: Config, name: str) -> Campaign:
    """The campaign of that id, else the newest one of that SendID. Raises NoCampaign."""
    statistics = _statistics(config)
    found = statistics.campaign(name) or statistics.newest(name)
    if found is None:
        raise NoCampaign(f"{name}: no such campaign: must be a campaign id or a SendID")
    return found


@asking()
def details(config: Config, campaign: str) -> Details:
    """The details of a campaign, by its id."""
    statistics = _statistics(config)
    return Details(
        statistics.links(campaign),
        statistics.hours(campaign),
        statistics.failures(campaign),
        statistics.by("provider", campaign),
        statistics.warnings(campaign),
    )


@asking()
def links(config: Config, campaign: str) -> tuple[Link, ...]:
    """The links of a campaign, by its id, most clicked first."""
    return _statistics(config).links(campaign)


@asking()
def breakdown(
    config: Config, by: str, campaign: str | None, wanted: Wanted = EVERY
) -> tuple[Row, ...]:
    """The numbers of a campaign, by its id, or of matching campaigns, by a key of `BY`."""
    return _statistics(config).by(BY[by], campaign, wanted)


def _statistics(config: Config) -> Statistics:
    return Statistics(store(config), config.measured)
