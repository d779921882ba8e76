"""The milter's part of seeds: due ones are claimed after the reply, and their copies pass once.

Here lives what a worker remembers of claims, so that it keeps the content of a mail only when a
seed may be due. When a seed is due is decided in `outgoing/seeds.py`; what a claim is in Redis, in
`store/seeds.py`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from fletching import log
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message
from fletching.outgoing.edits import Discard
from fletching.outgoing.flow import Outcome
from fletching.outgoing.seeds import SeedContent, due
from fletching.policy.plan import Seeding
from fletching.policy.seed_copy import SeedCopy
from fletching.policy.store_question import STORE_UNAVAILABLE
from fletching.store.connection import StoreUnavailable
from fletching.store.seeds import Seeds
from fletching.tokens import Facts, Keyring, Kind

REMEMBERED = 1000
"""Campaigns whose claims a worker remembers."""

PENDING = 5.0
"""Seconds that a claim may take; then the next mail tries again."""

_SENT_ALREADY = "seed copy discarded: another attempt was sent"


@dataclass(frozen=True, slots=True)
class DueSeeds:
    """Seeds that are due with one mail. ``facts``: of the mail. ``count``: how many of the seeds
    are due, from the first one on; ``seeds``: those of them that may be unclaimed.
    """

    facts: Facts
    seeding: Seeding
    count: int
    seeds: tuple[str, ...]
    content: SeedContent


@dataclass(frozen=True, slots=True)
class _Known:
    """How many seeds of a campaign are claimed, and how many are about to be."""

    seeds: tuple[str, ...] = ()
    claimed: int = 0
    pending: int = 0
    until: float = 0.0


class SeedClaims:
    """What a worker knows of claims. Any number of threads may use it."""

    def __init__(
        self,
        *,
        pending: float = PENDING,
        remembered: int = REMEMBERED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pending = pending
        self._remembered = remembered
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._changing = threading.Lock()

    def due(self, outcome: Outcome, message: Message, envelope: Envelope) -> DueSeeds | None:
        """The seeds that are due with a mail; None if all of them are known to be claimed.

        ``message``: as it was submitted.
        """
        seeding, facts = outcome.plan.seeding, outcome.facts
        if seeding is None or facts is None or not facts.campaign or outcome.refusal is not None:
            return None
        if outcome.plan.hold is not None or Discard() in outcome.edits:
            return None
        count = due(seeding, facts.number)
        known = self._begin(facts.campaign, seeding.seeds, count)
        if known is None:
            return None
        seeds = seeding.seeds[known:count]
        return DueSeeds(facts, seeding, count, seeds, SeedContent.of(message, envelope))

    def claim(self, found: DueSeeds, store: Seeds, keys: Keyring) -> None:
        """Claims the seeds. If Redis does not answer, a later mail does."""
        facts = found.facts
        try:
            free = store.unclaimed(facts.campaign, found.seeds)
            claimed = _claimed(found, free, store, keys) if free else ()
        except StoreUnavailable:
            return
        if claimed is None:
            return  # Redis has lost the campaign; a later mail creates it again.
        with self._changing:
            self._known[facts.campaign] = _Known(found.seeding.seeds, found.count)
        if claimed:
            log.seeds_claimed(facts.campaign, facts.number, len(claimed))

    def _begin(self, campaign: str, seeds: tuple[str, ...], count: int) -> int | None:
        """How many seeds are known to be claimed; None if ``count`` are, or are about to be."""
        now = self._clock()
        with self._changing:
            known = self._known.get(campaign)
            if known is None or known.seeds != seeds:
                known = _Known(seeds)
            if count <= max(known.claimed, known.pending if now < known.until else 0):
                return None
            self._known[campaign] = replace(known, pending=count, until=now + self._pending)
            self._known.move_to_end(campaign)
            while len(self._known) > self._remembered:
                self._known.popitem(last=False)
        return known.claimed


def _claimed(
    found: DueSeeds, free: list[str], store: Seeds, keys: Keyring
) -> tuple[str, ...] | None:
    facts = replace(found.facts, email="", click_tracking_id="")
    got = store.claim(
        facts.campaign,
        free,
        keys.encrypt(found.content.packed()),
        mail=facts.number,
        list=found.seeding.list,
        about=keys.seal(Kind.MAILER_INFO, facts),
        milliseconds=time.time_ns() // 1_000_000,
        progress=found.seeding.progress,
    )
    return None if got is None else tuple(got)


def passing(outcome: Outcome, copy: SeedCopy, store: Seeds, keys: Keyring) -> Outcome:
    """The outcome of a seed copy, which passes the milter once; another one is discarded."""
    facts, copied = outcome.facts, copy.facts
    if outcome.refusal is not None:
        return outcome
    if facts is None or not facts.campaign:
        return outcome.refused(STORE_UNAVAILABLE)
    info, now = keys.seal(Kind.MAILER_INFO, facts), time.time_ns() // 1_000_000
    try:
        passes = store.passes(copied.campaign, copied.number, copied.email, copy.attempt, info, now)
    except StoreUnavailable:
        return outcome.refused(STORE_UNAVAILABLE)
    if passes:
        return outcome
    warnings = (*outcome.warnings, _SENT_ALREADY)
    return replace(outcome, edits=(Discard(),), facts=None, member=None, warnings=warnings)
