"""What is known of the seeds of a campaign, for the terminal and the dashboard: which has its copy.

Pure: who reads Redis is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fletching.config.model import Config
from fletching.numbering import place
from fletching.outgoing.seeds import due_points
from fletching.store.counts import Campaign
from fletching.store.seeds import CampaignProgress, ClaimedSeed, SeedState

IDLE = 86400
"""Seconds without a message after which a campaign counts as ended."""

NOT_DUE = "not due"


@dataclass(frozen=True, slots=True)
class SeedRow:
    """A seed of a campaign. ``state``: as in `store/seeds.py`, or `NOT_DUE`.

    ``due``: its due point, as text. ``message``: the number of the copied message, 0 for none.
    ``claimed`` and ``sent``: unix milliseconds, 0 if that has not happened. ``info``: the
    X-Mailer-Info of its copy, empty without one.
    """

    address: str
    state: str
    due: str
    message: int = 0
    claimed: int = 0
    sent: int = 0
    attempts: int = 0
    reply: str = ""
    info: str = ""


@dataclass(frozen=True, slots=True)
class SeedReport:
    """The seeds of a campaign. ``ended``: no further message is expected."""

    campaign: str
    sendid: str
    list: str
    rows: tuple[SeedRow, ...]
    ended: bool

    def count(self, *states: str) -> int:
        """How many seeds are in one of these states."""
        return sum(row.state in states for row in self.rows)

    @property
    def summary(self) -> str:
        """How many seeds have their copy, and how many do not, for which reason."""
        not_due = "not due before the campaign ended" if self.ended else "not due yet"
        others = {
            "waiting": self.count(SeedState.WAITING, SeedState.SUBMITTING, SeedState.PASSED),
            "failed": self.count(SeedState.FAILED),
            not_due: self.count(NOT_DUE),
        }
        sent = f"copies sent: {self.count(SeedState.SENT)} of {len(self.rows)}"
        return ", ".join([sent, *(f"{name}: {count}" for name, count in others.items() if count)])


def has_seeds(campaign: Campaign, claimed: Sequence[ClaimedSeed]) -> bool:
    """Whether a campaign has seeds: if so, Monitor groups its mail by its own id."""
    return bool(claimed) or campaign.monitor == campaign.campaign


def report(
    config: Config,
    campaign: Campaign,
    claimed: Sequence[ClaimedSeed],
    progress: CampaignProgress,
    now: int,
) -> SeedReport:
    """The seeds of a campaign, in the order of their due points. ``now``: unix seconds."""
    name = _list(config, campaign, claimed)
    by_address = {each.address: each for each in claimed}
    addresses = [*config.seed_addresses.get(name, ())]
    addresses += [address for address in by_address if address not in addresses]
    points = _points(config, campaign, claimed, len(addresses))
    rows = tuple(
        _row(address, by_address.get(address), due)
        for address, due in zip(addresses, points, strict=True)
    )
    window = campaign.opened + config.campaign_window
    ended = now > window or now > max(progress.at, campaign.opened) + IDLE
    return SeedReport(campaign.campaign, campaign.sendid, name, rows, ended)


def _list(config: Config, campaign: Campaign, claimed: Sequence[ClaimedSeed]) -> str:
    if claimed:
        return claimed[0].list
    mail_class = config.mail_class(campaign.mail_class)
    return mail_class.seed.list if mail_class is not None and mail_class.seed is not None else ""


def _points(
    config: Config, campaign: Campaign, claimed: Sequence[ClaimedSeed], count: int
) -> Iterator[str]:
    """The due points of so many seeds, as text."""
    if any(each.progress is not None for each in claimed):
        return (f"{point:.4g} %" for point in due_points(count, 0, 100))
    mail_class = config.mail_class(campaign.mail_class)
    seed = mail_class.seed if mail_class is not None else None
    start, end = (seed.start, seed.end) if seed is not None else (1, max(1, count))
    return (f"message {-int(-point // 1)}" for point in due_points(count, start, end))


def _row(address: str, seed: ClaimedSeed | None, due: str) -> SeedRow:
    if seed is None:
        return SeedRow(address, NOT_DUE, due)
    return SeedRow(
        address,
        seed.state,
        due,
        place(seed.mail),
        seed.claimed,
        seed.changed if seed.state is SeedState.SENT else 0,
        seed.attempt,
        seed.reply if seed.state is not SeedState.SENT else "",
        seed.info,
    )
