"""What is shown of the seeds of a campaign, from their copies and the last looks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fletching.config.model import Config
from fletching.placements import Copy, Placement, PlacementRow, row_of
from fletching.store.seeds import ClaimedSeed, SeedState

_HAS_LEFT = (SeedState.PASSED, SeedState.SENT)


def copies_of(claimed: Iterable[ClaimedSeed]) -> list[Copy]:
    """The copies that Postfix has."""
    return [
        Copy(seed.campaign, seed.address, seed.changed // 1000)
        for seed in claimed
        if seed.state in _HAS_LEFT
    ]


def rows_of(
    config: Config,
    mail_class: str,
    claimed: Sequence[ClaimedSeed],
    known: Mapping[str, Placement],
    now: int,
) -> tuple[PlacementRow, ...]:
    """The seeds of a campaign: first those that were due, in this order, then the rest of their
    lists. ``known``: placements by address. ``now``: unix seconds."""
    readable = {seed.address for seeds in config.seed_lists.values() for seed in seeds if seed.imap}
    sent = {copy.address: copy.sent for copy in copies_of(claimed)}
    refused = {seed.address: seed.reply for seed in claimed if seed.state is SeedState.FAILED}
    found = config.mail_class(mail_class)
    lists = [found.seed.list] if found is not None and found.seed is not None else []
    lists += [seed.list for seed in claimed]
    listed = (seed.address for name in lists for seed in config.seed_lists.get(name, ()))
    return tuple(
        row_of(
            address,
            sent=sent.get(address),
            known=known.get(address),
            now=now,
            is_readable=address in readable,
            refused=refused.get(address),
        )
        for address in dict.fromkeys([*(seed.address for seed in claimed), *listed])
    )
