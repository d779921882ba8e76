"""Which VirtualMTA carries a mail: pools, weights, pauses and fallbacks (docs/routing.md).

Here is the choice among the configured ones. How Postfix learns it is in `outgoing/edits.py`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

from fletching.config.model import Config, VirtualMta
from fletching.policy import offers
from fletching.policy.decisions import Decisions, Submission
from fletching.policy.offers import RankedOffers
from fletching.policy.plan import Member
from fletching.policy.verdict import Refusal

ALL_PAUSED = Refusal(451, "4.3.0", "the VirtualMTA is paused, try again")

_UNKNOWN = "must name a configured VirtualMTA"
_BELOW_ONE = math.nextafter(1, 0)


def decide(
    mail: Submission, ranked: RankedOffers, decisions: Decisions, sendid: str, *, tagged: bool
) -> tuple[Member, ...] | None:
    """The VirtualMTAs that may carry the mail, best first; None for Postfix's own routing.

    Empty: all of them are paused. ``tagged``: the return path has a VERP tag, and so has room to
    tell Postfix the transport.
    """
    config = mail.config
    chosen = decisions.choose_named(ranked, offers.VIRTUAL_MTA, config.virtual_mta, _UNKNOWN)
    if chosen is None or not _outbound(mail.envelope.mailers, config, decisions):
        return None
    if config.route_by == "sender" and not tagged:
        decisions.warn("not routed: route_by: sender requires a VERP tag")
        return None
    found = members(chosen, config, mail.setup.paused)
    return by_rank(found, _sticks_to(chosen, mail, sendid)) if len(found) > 1 else found


def decide_again(
    mail: Submission, name: str, sticks_to: str, decisions: Decisions
) -> tuple[Member, ...] | None:
    """As `decide`, for a mail that had that VirtualMTA in its first pass.

    If Postfix does not name the recipients' transports: they were outbound in the first pass, or
    the mail would not have got a VirtualMTA. If Postfix names them, they decide.
    """
    envelope, config = mail.envelope, mail.config
    chosen = config.virtual_mta(name)
    if chosen is None:
        decisions.warn("not routed: its VirtualMTA is no longer configured")
        return None
    decisions.record("virtual_mta", chosen.name, "X-Mailer-Info")
    if envelope.mailers_told and not _outbound(envelope.mailers, config, decisions):
        return None
    return by_rank(members(chosen, config, mail.setup.paused), sticks_to)


def members(chosen: VirtualMta, config: Config, paused: frozenset[str]) -> tuple[Member, ...]:
    """The single VirtualMTAs that may stand for a VirtualMTA; none if all of them are paused.

    ``paused`` has names in lower case.
    """
    if chosen.pool is None:
        member = _not_paused(chosen, config, paused)
        return (member,) if member else ()
    return tuple(
        Member(single.name, single.transport, weight)
        for name, weight in chosen.pool.items()
        if (single := config.virtual_mta(name)) and single.transport
        if single.name.lower() not in paused
    )


def by_rank(pool: Sequence[Member], sticks_to: str) -> tuple[Member, ...]:
    """The members, best first, for whatever is to stay on one member.

    Weighted rendezvous hashing: no state, the same on every host, and if a member is paused, only
    the mail that it carried goes elsewhere.
    """
    return tuple(sorted(pool, key=lambda member: _score(member, sticks_to), reverse=True))


def _sticks_to(chosen: VirtualMta, mail: Submission, sendid: str) -> str:
    """What stays on one member of the pool."""
    if chosen.sticky == "campaign":
        return sendid.lower()
    if chosen.sticky == "recipient_domain":
        return next((each.domain for each in mail.envelope.recipients), "")
    return mail.stamp.entropy.hex()


def _outbound(mailers: Iterable[str | None], config: Config, decisions: Decisions) -> bool:
    """Whether all recipients may be routed: FILTER would send local ones to the network as well."""
    for mailer in mailers:
        if (name := mailer or "unknown") not in config.routed_mailers:
            decisions.warn(f"not routed: a recipient's Postfix transport is {name}")
            return False
    return True


def _not_paused(chosen: VirtualMta, config: Config, paused: frozenset[str]) -> Member | None:
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
    # For the greatest digests the division would give 1: a float has 53 bits.
    return min((int.from_bytes(digest, "big") + 0.5) / 2**64, _BELOW_ONE)
