"""Which VirtualMTA carries a mail: pools, weights, pauses and fallbacks (docs/routing.md).

Here lives the choice among the configured ones. How Postfix is told is in `edits.py`.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from fletching.config.model import Config, VirtualMta

_BELOW_ONE = math.nextafter(1, 0)


@dataclass(frozen=True, slots=True)
class Member:
    """A single VirtualMTA, its Postfix transport, and its share against the others'."""

    name: str
    transport: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Route:
    """The single VirtualMTAs that may carry a mail; none if all of them are paused.

    ``sticky``: ``message``, ``campaign`` or ``recipient_domain``.
    """

    members: tuple[Member, ...]
    sticky: str = "message"

    def pick(self, sticks_to: str) -> Member:
        """The member for whatever is to stay on one member.

        Weighted rendezvous hashing: no state, the same on every host, and where a member is paused
        only what it carried goes elsewhere.
        """
        if len(self.members) == 1:
            return self.members[0]
        return max(self.members, key=lambda member: _score(member, sticks_to))


def routes(chosen: VirtualMta, config: Config, paused: frozenset[str]) -> Route:
    """The route over a VirtualMTA. ``paused`` holds names in lower case."""
    if chosen.pool is None:
        member = _standing_in(chosen, config, paused)
        return Route((member,) if member else ())
    members = [
        Member(single.name, single.transport, weight)
        for name, weight in chosen.pool.items()
        if (single := config.virtual_mta(name)) and single.transport
        if single.name.lower() not in paused
    ]
    return Route(tuple(members), chosen.sticky)


def _standing_in(chosen: VirtualMta, config: Config, paused: frozenset[str]) -> Member | None:
    """The VirtualMTA, or the first of its fallbacks that is not paused."""
    seen: set[str] = set()
    single: VirtualMta | None = chosen
    while single and single.transport and single.name not in seen:
        if single.name.lower() not in paused:
            return Member(single.name, single.transport)
        seen.add(single.name)
        single = config.virtual_mta(single.fallback) if single.fallback else None
    return None


def _score(member: Member, sticks_to: str) -> float:
    text = f"{member.name}\0{sticks_to}".encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return -member.weight / math.log(_share(digest))


def _share(digest: bytes) -> float:
    """8 bytes as a number between 0 and 1, never 0 or 1: its logarithm is finite and below zero."""
    # Of the greatest digests, the division would give 1: a float has 53 bits.
    return min((int.from_bytes(digest, "big") + 0.5) / 2**64, _BELOW_ONE)
