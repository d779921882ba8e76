"""Which VirtualMTA carries a mail: pools, weights, pauses and fallbacks (docs/routing.md).

Here is the choice among the configured ones. How Postfix learns it is in `outgoing/edits.py`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from fletching.config.model import Config, VirtualMta
from fletching.policy import limits, offers
from fletching.policy.decisions import Decisions, Submission
from fletching.policy.offers import RankedOffers
from fletching.policy.plan import Member
from fletching.policy.setup import Setup
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
    mailers = dict.fromkeys(each.mailer for each in mail.everyone)
    if chosen is None or not _outbound(mailers, config, decisions):
        return None
    if config.route_by == "sender" and not tagged:
        decisions.warn("not routed: route_by: sender requires a VERP tag")
        return None
    found = _candidates(chosen, mail, sendid)
    if all(each.periods for each in found) and (copied := _copied(ranked, config)):
        found = _each_once((*found, *_candidates(copied, mail, sendid)))
    return found


def _each_once(candidates: Iterable[Member]) -> tuple[Member, ...]:
    once: dict[str, Member] = {}
    for each in candidates:
        once.setdefault(each.name, each)
    return tuple(once.values())


def _copied(ranked: RankedOffers, config: Config) -> VirtualMta | None:
    """What the mail of a seed copy asked for; the copy is forced to what that mail was given.

    If that has no room or is paused, the copy goes where such a mail would.
    """
    kinds = [kind for kind, _ in ranked.ranked(offers.VIRTUAL_MTA)]
    if offers.SourceKind.FORCED not in kinds:
        return None
    named = (config.virtual_mta(name) for _, (name, _) in ranked.ranked(offers.VIRTUAL_MTA)[1:])
    return next((each for each in named if each is not None), None)


def _candidates(chosen: VirtualMta, mail: Submission, sendid: str) -> tuple[Member, ...]:
    """The VirtualMTAs that may stand for one, best first; none if all of them are paused."""
    found = members(chosen, mail.setup, mail.stamp.time)
    if chosen.pool is None:
        return found
    pool = _in_order(found, chosen, mail, sendid) if len(found) > 1 else found
    return _with_fallbacks(chosen, pool, mail)


def _in_order(
    found: tuple[Member, ...], chosen: VirtualMta, mail: Submission, sendid: str
) -> tuple[Member, ...]:
    """The members of a pool, best first."""
    if chosen.sticky == "message":
        return in_turn(found, mail.stamp.share)
    return by_rank(found, _sticks_to(chosen, mail, sendid))


def in_turn(pool: Sequence[Member], share: float) -> tuple[Member, ...]:
    """The members, best first, for a mail that need not stay on one.

    ``share``: a number from 0 up to 1. Each member is the best for a part of them as large as its
    weight, and of the others each is the next best for a part of that.
    """
    left, order = list(pool), []
    while left:
        at = share * sum(member.weight for member in left)
        place = 0
        while place < len(left) - 1 and at >= left[place].weight:
            at -= left[place].weight
            place += 1
        chosen = left.pop(place)
        share = min(max(at / chosen.weight, 0.0), _BELOW_ONE)
        order.append(chosen)
    return tuple(order)


def _with_fallbacks(
    chosen: VirtualMta, pool: tuple[Member, ...], mail: Submission
) -> tuple[Member, ...]:
    """The members of a pool; then its fallback, and those of its members, if all have limits."""
    if pool and not all(each.periods for each in pool):
        return pool
    config, found = mail.config, {each.name: each for each in pool}
    for one in (chosen, *(config.virtual_mta(each.name) for each in pool)):
        fallback = config.virtual_mta(one.fallback) if one and one.fallback else None
        if fallback is not None:
            for each in members(fallback, mail.setup, mail.stamp.time):
                found.setdefault(each.name, each)
    return tuple(found.values())


def unrouted_over_limit(
    mail: Submission, ranked: RankedOffers, candidates: Sequence[Member]
) -> bool:
    """Whether Postfix chooses the transport of the mail if no candidate has room."""
    config = mail.config
    named = (config.virtual_mta(name) for _, (name, _) in ranked.ranked(offers.VIRTUAL_MTA))
    chosen = next((each for each in named if each is not None), None)
    best = config.virtual_mta(candidates[0].name) if candidates else None
    over_limit = (each.over_limit for each in (chosen, best) if each is not None)
    return next((each for each in over_limit if each is not None), None) == "default_transport"


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
    found = members(chosen, mail.setup, mail.stamp.time)
    if chosen.pool is not None:
        return by_rank(found, sticks_to)
    # It has counted this mail already. Another one has not, so it must not have limits.
    return tuple(each for each in found if each.name == chosen.name or not each.periods)[:1]


def members(chosen: VirtualMta, setup: Setup, now: datetime) -> tuple[Member, ...]:
    """The single VirtualMTAs that may stand for a VirtualMTA; none if all of them are paused.

    Of a pool, in the order of the configuration. For a single one, itself and its fallbacks in
    their order, up to the first one without limits. One whose address has vanished is used only if
    there is no other.
    """
    usable = _members(chosen, setup.config, setup.paused | setup.vanished, now)
    if usable or not setup.vanished:
        return usable
    return _members(chosen, setup.config, setup.paused, now)


def _members(
    chosen: VirtualMta, config: Config, skipped: frozenset[str], now: datetime
) -> tuple[Member, ...]:
    """``skipped``: names in lower case."""
    if chosen.pool is None:
        return tuple(_not_skipped(chosen, config, skipped, now))
    return tuple(
        _member(single, now, weight)
        for name, weight in chosen.pool.items()
        if (single := config.virtual_mta(name)) and single.transport
        if single.name.lower() not in skipped
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
    return next((each.domain for each in mail.envelope.recipients), "")


def _outbound(mailers: Iterable[str | None], config: Config, decisions: Decisions) -> bool:
    """Whether all recipients may be routed: FILTER would send local ones to the network as well."""
    for mailer in mailers:
        if (name := mailer or "unknown") not in config.routed_mailers:
            decisions.warn(f"not routed: a recipient's Postfix transport is {name}")
            return False
    return True


def _not_skipped(
    chosen: VirtualMta, config: Config, skipped: frozenset[str], now: datetime
) -> Iterator[Member]:
    """The VirtualMTA and its fallbacks, up to the first one that always has room."""
    seen: set[str] = set()
    single: VirtualMta | None = chosen
    while single and single.transport and single.name not in seen:
        if single.name.lower() not in skipped:
            member = _member(single, now)
            yield member
            if not member.periods:
                return
        seen.add(single.name)
        single = config.virtual_mta(single.fallback) if single.fallback else None


def _member(single: VirtualMta, now: datetime, weight: int = 1) -> Member:
    transport, relay = single.transport or "", single.relay or ""
    return Member(single.name, transport, weight, relay, limits.periods(single, now))


def _score(member: Member, sticks_to: str) -> float:
    text = f"{member.name}\0{sticks_to}".encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return -member.weight / math.log(_share(digest))


def _share(digest: bytes) -> float:
    """8 bytes as a number between 0 and 1, never 0 or 1: its logarithm is finite and below zero."""
    # For the greatest digests the division would give 1: a float has 53 bits.
    return min((int.from_bytes(digest, "big") + 0.5) / 2**64, _BELOW_ONE)
