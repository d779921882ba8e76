"""Submits seed copies to Postfix, by one courier at a time.

Here lives the thread that looks for claimed seeds and submits their copies, and the rule when an
attempt is repeated. What a copy consists of is in `outgoing/seeds.py`; the steps that make sure
that each seed gets one copy are in `store/seeds.py`.

No attempt is repeated while its predecessor could still pass the milter: the next attempt makes the
milter discard the one before. If a copy has passed, but no answer of Postfix is known, it counts as
sent.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace

from fletching import log
from fletching.daemons.courier.leased import LeasedThread
from fletching.daemons.courier.submission import Reply, submit
from fletching.events import SEED, Event, unique_id
from fletching.numbering import opened_at
from fletching.outgoing.seeds import SeedContent
from fletching.policy.seed_copy import SeedCopy
from fletching.store.events import EventLog
from fletching.store.lease import Lease
from fletching.store.seeds import KEEP, ClaimedSeed, Seeds, SeedState
from fletching.tokens import Facts, Keyring, TokenError

LEASE = "seeds"

CHECK_EVERY = 1.0
"""Seconds between two looks for claimed seeds."""

UNANSWERED = 30.0
"""Seconds after which an attempt whose courier is gone is repeated, or counts as sent."""

UNSEEN = 3600.0
"""Seconds for which a copy that Postfix took may be on its way to the milter."""

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 900.0
"""Seconds before the second attempt, and at most before any other: each pause is twice as long."""

Submit = Callable[[str, str, str, bytes], Reply]

_NOT_SEEN = "accepted by Postfix, but not yet seen by this milter"
_NOT_BY_MILTER = "accepted by Postfix without this milter: control headers may have left"
_UNREADABLE = "its content cannot be decrypted: the link key was retired"
_WINDOW_OVER = "not accepted before the end of campaign_window"
_EXPIRED = "not accepted within 5 days"
_LONGEST_REPLY = 500


class SeedCopies(LeasedThread):
    """Submits the copies, in a thread of its own."""

    def __init__(
        self,
        seeds: Seeds,
        events: EventLog,
        lease: Lease,
        keys: Keyring,
        submit_to: str,
        server_id: str,
        window: int,
        *,
        submit: Submit = submit,
        count: Callable[[str], None] = lambda _: None,
        check_every: float = CHECK_EVERY,
        unanswered: float = UNANSWERED,
        unseen: float = UNSEEN,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        super().__init__("seeds", lease, check_every)
        self._seeds = seeds
        self._events = events
        self._keys = keys
        self._submit_to = submit_to
        self._server_id = server_id
        self._window = window
        self._submit = submit
        self._count = count
        self._unanswered = unanswered
        self._unseen = unseen
        self._first_pause = first_pause

    def process(self) -> None:
        """Does what is due for each claimed seed. Raises StoreUnavailable."""
        for campaign in self._seeds.campaigns():
            pending = [s for s in self._seeds.of_campaign(campaign) if s.state.is_pending]
            if not pending:
                self._seeds.forget(campaign, _now())
            for seed in pending:
                if not self._may_continue():
                    return
                self._process(seed)

    def _process(self, seed: ClaimedSeed) -> None:
        now = _now()
        is_left = now > seed.changed + self._unanswered * 1000
        if seed.state is SeedState.PASSED:
            if is_left:
                self._sent(seed)
        elif seed.state is SeedState.SUBMITTING and seed.due:
            if now >= seed.due:
                self._failed(seed, _NOT_BY_MILTER)
        elif now > seed.claimed + KEEP * 1000:
            self._failed(seed, seed.reply or _EXPIRED)
        elif now > 1000 * (opened_at(seed.campaign) + self._window):
            self._failed(seed, _WINDOW_OVER)
        elif now >= seed.due if seed.state is SeedState.WAITING else is_left:
            self._attempt(seed)

    def _attempt(self, seed: ClaimedSeed) -> None:
        sealed = self._seeds.content(seed.campaign, seed.mail)
        try:
            if sealed is None:
                return self._failed(seed, _EXPIRED)
            content = SeedContent.unpacked(self._keys.decrypt(sealed))
            facts = self._keys.open(seed.about).facts
        except TokenError:
            return self._failed(seed, _UNREADABLE)
        begun = self._seeds.submitting(seed, _now())
        if begun is not None:
            reply = self._submit(
                self._submit_to, content.sender, begun.address, self._copy(begun, facts, content)
            )
            self._judge(begun, reply)
        return None

    def _copy(self, seed: ClaimedSeed, facts: Facts, content: SeedContent) -> bytes:
        named = replace(facts, email=seed.address)
        copy = SeedCopy(named, seed.attempt, content.client, content.login)
        return content.with_token(copy.token(self._keys))

    def _judge(self, seed: ClaimedSeed, reply: Reply) -> None:
        text, now = str(reply)[:_LONGEST_REPLY], _now()
        pause = self._first_pause * 2 ** min(seed.attempt - 1, 20)
        due = now + round(1000 * min(pause, max(LONGEST_PAUSE, self._first_pause)))
        if reply.code // 100 == 5:
            self._failed(seed, text)
        elif reply.code // 100 == 4:
            self._seeds.refused(seed, text, due, now)
            self._deferred(seed, text)
        elif reply.code // 100 != 2:
            self._seeds.unanswered(seed, text, due, now)
            self._deferred(seed, text)
        else:
            self._accepted(seed)

    def _accepted(self, seed: ClaimedSeed) -> None:
        """Postfix took this attempt; if the milter discarded it, another attempt was sent."""
        found = {each.address: each for each in self._seeds.of_campaign(seed.campaign)}
        current = found.get(seed.address)
        if current is None or current.attempt != seed.attempt:
            return
        if current.state is SeedState.PASSED:
            self._sent(current)
        elif current.state is SeedState.SUBMITTING:
            # Postfix may pass it on to a service that has the milter, as the one-recipient recipe
            # does.
            now = _now()
            self._seeds.accepted(seed, _NOT_SEEN, now + round(1000 * self._unseen), now)
            log.seed_deferred(seed.campaign, seed.address, _NOT_SEEN)

    def _sent(self, seed: ClaimedSeed) -> None:
        """The event first: if this is interrupted, the same event is made again."""
        facts = self._keys.open(seed.info).facts
        name = f"{SEED} {seed.campaign} {seed.address}".encode()
        id = unique_id(seed.changed, hashlib.blake2b(name, digest_size=10).digest())
        self._events.append([Event(SEED, seed.changed, id, self._server_id, facts)])
        self._seeds.sent(seed, seed.changed)
        self._count("sent")
        log.seed_sent(seed.campaign, seed.address)

    def _deferred(self, seed: ClaimedSeed, reply: str) -> None:
        self._count("deferred")
        log.seed_deferred(seed.campaign, seed.address, reply)

    def _failed(self, seed: ClaimedSeed, reply: str) -> None:
        self._seeds.failed(seed, reply, _now())
        self._count("failed")
        log.seed_failed(seed.campaign, seed.address, reply)


def _now() -> int:
    return time.time_ns() // 1_000_000
