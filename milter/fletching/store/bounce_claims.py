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
from functools import partial
from typing import Any, Literal

from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.script import Script

Reporter = Literal["log", "mail"]
"""What reports a failure: Postfix's log, or a returned mail."""


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

    def claim(self, report: Reporter, claims: Sequence[Claim], kept: int) -> list[bool]:
        """Claims failures for a report; whether each is its own now. Raises StoreUnavailable.

        A report that claims a failure again has it still. ``kept``: seconds for which the claims of
        a campaign are kept after the last one.
        """
        results: dict[Claim, bool] = {}
        for campaign, some in _by_campaign(claims).items():
            words = [report, kept, *map(_field, some)]
            found = self._store.ask(partial(self._run, used=keys.claims(campaign), words=words))
            results |= zip(some, map(bool, found), strict=True)
        return [results[each] for each in claims]

    def are_claimed(self, claims: Sequence[Claim]) -> bool:
        """Whether a report has each of these failures. Raises StoreUnavailable."""
        return all(
            None not in self._store.ask(partial(_read, key=keys.claims(campaign), claims=some))
            for campaign, some in _by_campaign(claims).items()
        )

    def _run(self, client: Any, used: str, words: Sequence[str | int]) -> Any:
        return self._script.run(client.execute_command, [used], words)


def _by_campaign(claims: Sequence[Claim]) -> dict[str, list[Claim]]:
    found: dict[str, list[Claim]] = defaultdict(list)
    for each in claims:
        found[each.campaign].append(each)
    return found


def _field(claim: Claim) -> str:
    return f"{claim.number} {claim.failure}"


def _read(client: Any, key: str, claims: Sequence[Claim]) -> Any:
    return client.hmget(key, *map(_field, claims))
