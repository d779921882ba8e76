"""What was counted, for the operator: which campaign is meant, its numbers, all numbers by a word.

Here live the answers of `fletching stats` before they are shown; how they look is `figures.py`'s.
All raise NoAnswer where Redis does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fletching.admin.asking import asking, store
from fletching.config.model import Config
from fletching.store.counts import EVERY, Campaign, Dimension, Link, Row
from fletching.store.counts import Wanted as Wanted
from fletching.store.statistics import Statistics

BY: Mapping[str, Dimension] = {
    "mail_class": "mail_class",
    "list": "listid",
    "mta": "mtaid",
    "day": "day",
}
"""What the numbers can be told apart by, beside links, and what the store calls it."""


A_PAGE = 20
"""Campaigns of a page."""


class NoCampaign(Exception):
    """There is no such campaign, or not any more."""


@dataclass(frozen=True, slots=True)
class Details:
    """What a campaign has beside its numbers. ``hours``: by kind and unix time, a count.

    ``warnings``: what its mails were let through with, each with the number of mails.
    """

    links: tuple[Link, ...]
    hours: Mapping[str, Mapping[int, int]]
    warnings: tuple[tuple[str, int], ...] = ()


@asking()
def page(config: Config, wanted: Wanted, number: int | None) -> tuple[tuple[Campaign, ...], bool]:
    """Those campaigns, newest first, and whether there are older ones behind.

    ``number``: which page of `A_PAGE` of them, from 1; None for all.
    """
    asked = _statistics(config)
    if number is None:
        return asked.campaigns(wanted=wanted), False
    found = asked.campaigns(A_PAGE + 1, (number - 1) * A_PAGE, wanted)
    return found[:A_PAGE], len(found) > A_PAGE


@asking()
def campaign(config: Config, name: str) -> Campaign:
    """The campaign of that id, else the newest one of that SendID. Raises NoCampaign."""
    asked = _statistics(config)
    found = asked.campaign(name) or asked.newest(name)
    if found is None:
        raise NoCampaign(f"{name}: no such campaign: must be a campaign id or a SendID")
    return found


@asking()
def details(config: Config, campaign: str) -> Details:
    """The links, hours and warnings of a campaign, by its id."""
    asked = _statistics(config)
    return Details(asked.links(campaign), asked.hours(campaign), asked.warnings(campaign))


@asking()
def links(config: Config, campaign: str) -> tuple[Link, ...]:
    """The links of a campaign, by its id, the most followed first."""
    return _statistics(config).links(campaign)


@asking()
def breakdown(
    config: Config, by: str, campaign: str | None, wanted: Wanted = EVERY
) -> tuple[Row, ...]:
    """The numbers of a campaign, by its id, or of those campaigns, by a word of `BY`."""
    return _statistics(config).by(BY[by], campaign, wanted)


def _statistics(config: Config) -> Statistics:
    return Statistics(store(config), config.measured)
