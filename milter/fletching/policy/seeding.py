"""Whether copies of a campaign go to a seed list, and to which (docs/seeds.md).

When each seed is due is in `outgoing/seeds.py`: it depends on the message's number.
"""

from __future__ import annotations

from fletching.config.model import Config, MailClass
from fletching.policy import offers
from fletching.policy.decisions import Decisions, Submission
from fletching.policy.offers import RankedOffers
from fletching.policy.plan import Seeding

DEFAULT_LIST = "main"
"""The seed list of a class without `seed` if there are several."""

_CAMPAIGN_ID = b"x-campaignid"


def decide(
    mail: Submission, ranked: RankedOffers, decisions: Decisions, mail_class: MailClass
) -> Seeding | None:
    """The seeds of the mail's campaign; None if this mail takes no part in seeding."""
    config = mail.config
    wanted = ranked.best(offers.SEED)
    if wanted is not None:
        decisions.record(offers.SEED.name, wanted.value, wanted.source)
    is_on = mail_class.seed is not None if wanted is None else wanted.value
    if not is_on:
        return None
    name = mail_class.seed.list if mail_class.seed is not None else _default_list(config)
    if name is None or not mail.setup.link_keys:
        needed = "link_keys" if name is not None else f"a seed list named {DEFAULT_LIST}"
        decisions.warn(f"no seed copies: the class has no seed, and {needed} is not set")
        return None
    progress = ranked.best(offers.SEED_PROGRESS)
    if progress is not None:
        decisions.record(offers.SEED_PROGRESS.name, progress.value, progress.source)
    seeds = config.seed_addresses[name]
    decisions.record("seed_list", name, "seed" if mail_class.seed is not None else "default")
    return Seeding(
        list=name,
        seeds=seeds,
        start=mail_class.seed.start if mail_class.seed is not None else 1,
        end=mail_class.seed.end if mail_class.seed is not None else max(1, len(seeds)),
        progress=None if progress is None else progress.value,
    )


def campaign_ids(mail: Submission) -> frozenset[int]:
    """The positions of X-CampaignID, which ours replaces."""
    return mail.positions(_CAMPAIGN_ID)


def _default_list(config: Config) -> str | None:
    """The seed list for `SeedDo: yes` in a class without `seed`: the only one, else `main`."""
    if len(config.seed_lists) == 1:
        return next(iter(config.seed_lists))
    return DEFAULT_LIST if DEFAULT_LIST in config.seed_lists else None
