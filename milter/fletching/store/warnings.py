"""What mails of a campaign were let through with: the milter's warnings, and of how many mails.

What warns, and of what, may not be known here.
"""

from __future__ import annotations

from collections.abc import Mapping

from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.script import Script

MOST = 100
"""Different warnings of a campaign: some hold a part of what an application sent."""

LONGEST = 255
"""Characters of a warning that are kept: it may name a domain that the mail made up."""


class Warnings:
    """The warnings of a fleet."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._warn = Script("warn.lua")

    def count(self, campaign: str, warnings: Mapping[str, int]) -> None:
        """So many mails of the campaign had each. Raises StoreAway."""
        words = [word for text, mails in warnings.items() for word in (text[:LONGEST], mails)]
        used = [keys.campaign(campaign), keys.warnings(campaign)]
        self._store.ask(lambda client: self._warn.run(client.execute_command, used, [MOST, *words]))
