"""The milter's warnings about the mails of a campaign, and how many mails had each.

What a warning is about is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping

from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.script import Script

MOST = 100
"""Different warnings that are kept of a campaign. Some quote what the application sent."""

LONGEST = 255
"""Characters of a warning that are kept. It may quote a domain from the mail."""


class Warnings:
    """The warnings of a fleet."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._warn = Script("warn.lua")

    def count(self, campaign: str, warnings: Mapping[str, int]) -> None:
        """Adds the number of mails that had each warning. Raises StoreUnavailable."""
        words = [word for text, mails in warnings.items() for word in (text[:LONGEST], mails)]
        used = [keys.campaign(campaign), keys.warnings(campaign)]
        self._store.ask(lambda client: self._warn.run(client.execute_command, used, [MOST, *words]))
