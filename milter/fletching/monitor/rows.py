"""What is shown of the seeds of a campaign, from their copies and the last looks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fletching.config.model import Config
from fletching.placements import Copy, Placement, PlacementRow, row_of
from fletching.seed_report import SeedReport
from fletching.store.seeds import ClaimedSeed, SeedState

ENDED = "the campaign ended before it was due"


def copies_of(claimed: Iterable[ClaimedSeed]) -> list[Copy]:
    """The copies that Postfix has."""
    return [
        Copy(seed.campaign, seed.address, seed.changed // 1000)
        for seed in claimed
        if seed.state is SeedState.SENT
    ]


def rows_of(
    config: Config, report: SeedReport, known: Mapping[str, Placement], now: int
) -> tuple[PlacementRow, ...]:
    """The seeds of a campaign, in the order of the report. ``known``: placements by address, in
    lower case. ``now``: unix seconds."""
    seeds = [seed for seeds in config.seed_lists.values() for seed in seeds]
    readable = {seed.address.lower() for seed in seeds if seed.imap is not None}
    return tuple(
        row_of(
            seed.address,
            sent=seed.sent // 1000 or None,
            known=known.get(seed.address),
            now=now,
            is_readable=seed.address in readable,
            refused=seed.reply if seed.state == SeedState.FAILED else None,
            never=ENDED if report.ended and not seed.claimed else "",
        )
        for seed in report.rows
    )
