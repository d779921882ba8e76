"""Where the copies for seeds arrived, by campaign, and which campaigns are watched.

How a mailbox is looked into is not known here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from fletching.placements import Placement, unpacked
from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.script import Script

_MOST = 1000
"""Campaigns that are watched at once, the newest ones."""


class Placements:
    """The placements of a fleet. Every method raises StoreUnavailable if Redis does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keep = Script("placements.lua")

    def of_campaign(self, campaign: str) -> dict[str, Placement]:
        """What the last looks found, by address."""
        found: Mapping[str, str] = self._ask("HGETALL", keys.placements(campaign))
        return {address: unpacked(text) for address, text in found.items()}

    def keep(self, campaign: str, placements: Iterable[Placement]) -> None:
        """Keeps what a look found."""
        words = [word for each in placements for word in (each.address, each.packed)]
        used = [keys.campaign(campaign), keys.placements(campaign)]
        if words:
            self._store.ask(lambda client: self._keep.run(client.execute_command, used, words))

    def watch(self, campaigns: Collection[str], seconds: int) -> None:
        """Watches campaigns whose copies are sent at that time, unix seconds."""
        if campaigns:
            self._ask("ZADD", keys.MONITORED, *(w for each in campaigns for w in (seconds, each)))

    def watched(self, since: int) -> list[str]:
        """The campaigns that were watched since that time; others are watched no more."""
        for campaign in self._ask("ZREVRANGEBYSCORE", keys.MONITORED, since - 1, "-inf"):
            self._ask("ZREM", keys.MONITORED, campaign)
        limit = ("LIMIT", 0, _MOST)
        return list(self._ask("ZREVRANGEBYSCORE", keys.MONITORED, "+inf", since, *limit))

    def _ask(self, *command: str | int) -> Any:
        return self._store.ask(lambda client: client.execute_command(*command))
