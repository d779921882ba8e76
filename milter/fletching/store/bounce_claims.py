"""Which report of a failure is the first one: Postfix's log, or the bounce that Postfix sends.

A failure that this fleet's own Postfix meets is reported twice: in its log, and by the bounce that
it sends to the return path. Both name the queue id and the recipient, so whoever reads one of them
claims the failure, and the later one gets no event (docs/decisions/0031). Here live the claims. Who
reads what is not known here.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.script import Script

Report = Literal["log", "mail"]
"""What reports failures."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A failure of a message. ``failure``: from `failure_of`."""

    campaign: str
    number: int
    failure: str


def failure_of(queue_id: str, recipient: str) -> str:
    """What a failure is known by: no address, since it may be one that is obscured."""
    named = f"{queue_id} {recipient.lower()}".encode("utf-8", "replace")
    return hashlib.blake2b(named, digest_size=9).hexdigest()


class BounceClaims:
    """The claims of a fleet. Any number of threads may use it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._script = Script("claim.lua")

    def claim(self, report: Report, claims: Sequence[Claim], kept: int) -> list[bool]:
        """Claims failures for a report; whether each is its own now. Raises StoreUnavailable.

        A report that claims a failure again has it still. ``kept``: seconds for which the claims of
        a campaign are kept after the last one.
        """
        of_campaign: dict[str, list[int]] = defaultdict(list)
        for place, each in enumerate(claims):
            of_campaign[each.campaign].append(place)
        results = [False] * len(claims)
        for campaign, places in of_campaign.items():
            names = [f"{claims[place].number} {claims[place].failure}" for place in places]
            words = [report, kept, *names]
            found = self._store.ask(
                lambda client, campaign=campaign, words=words: self._script.run(  # type: ignore[misc]
                    client.execute_command, [keys.claims(campaign)], words
                )
            )
            for place, is_ours in zip(places, found, strict=True):
                results[place] = bool(is_ours)
        return results
