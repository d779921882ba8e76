"""The seeds of campaigns: which of them are claimed, and the mail that is copied to them.

A worker of the milter claims a due seed for the mail that passed its due point; the courier submits
the copy to Postfix; the milter lets the copy pass. Each of these is one step in Redis, in the
campaign's slot, so that each seed gets one copy, whatever ends in between (docs/decisions/0042):

    waiting     claimed; not submitted yet, or Postfix refused it for now
    submitting  the courier submits it; no other attempt may pass the milter
    passed      the milter let this attempt pass; what Postfix answered is not known yet
    sent        Postfix has the copy
    failed      Postfix refused it for good

What a mail is, and when a seed is due, is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.script import Script

KEEP = 5 * 86400
"""Seconds for which a copy is tried, as Postfix tries to deliver a mail by default."""

_SPARE = 3600
"""Seconds for which content is kept longer, so that a copy expires before its content."""

FORGET_AFTER = 600
"""Seconds after the last claim after which a campaign without pending copies is looked at no more.
"""

_MOST = 1000

_Change = Mapping[str, str | int]
"""Fields of a state that change."""


class SeedState(StrEnum):
    """How far the copy for a seed is."""

    WAITING = "waiting"
    SUBMITTING = "submitting"
    PASSED = "passed"
    SENT = "sent"
    FAILED = "failed"

    @property
    def is_pending(self) -> bool:
        """Whether the courier still has to do something."""
        return self not in (SeedState.SENT, SeedState.FAILED)


@dataclass(frozen=True, slots=True)
class ClaimedSeed:
    """A seed of a campaign whose due point was passed.

    ``mail``: the number of the copied message. ``about``: a token with its facts. ``claimed``,
    ``changed`` and ``due``: unix milliseconds of the claim, of the last change, and of the next
    attempt; while it is being submitted, until when the milter must have seen it, 0 if Postfix has
    not taken it. ``attempt``: how many there were. ``info``: the X-Mailer-Info of the copy, once it
    has passed. ``reply``: what the last attempt was answered, if it was not accepted.
    ``progress``: how much of the campaign was sent, in per cent, if the mail said so.
    """

    campaign: str
    address: str
    state: SeedState
    list: str = ""
    mail: int = 0
    about: str = ""
    claimed: int = 0
    changed: int = 0
    due: int = 0
    attempt: int = 0
    info: str = ""
    reply: str = ""
    progress: float | None = None


@dataclass(frozen=True, slots=True)
class CampaignProgress:
    """How far a campaign is: its last message number, and when that was given, in unix seconds."""

    number: int = 0
    at: int = 0


class Seeds:
    """The seeds of a fleet. Any number of threads may use it.

    Every method raises StoreUnavailable if Redis does not answer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._claim = Script("seed_claim.lua")
        self._state = Script("seed_state.lua")

    def unclaimed(self, campaign: str, seeds: Sequence[str]) -> list[str]:
        """Which of these seeds nobody has claimed yet."""
        if not seeds:
            return []
        found = self._ask("HMGET", keys.seeds(campaign), *seeds)
        return [seed for seed, claimed in zip(seeds, found, strict=True) if claimed is None]

    def claim(
        self,
        campaign: str,
        seeds: Sequence[str],
        content: bytes,
        *,
        mail: int,
        list: str,
        about: str,
        milliseconds: int,
        progress: float | None = None,
    ) -> Sequence[str] | None:
        """Claims seeds for a mail; which of them it got. None if the campaign is not in Redis.

        The courier must find the campaign, whatever ends between the two steps. So the campaign is
        noted before; and after, since the courier forgets a campaign without claims.
        """
        self._note(campaign, milliseconds)
        state = {
            "state": SeedState.WAITING,
            "list": list,
            # Lua has not enough digits for the highest numbers.
            "mail": str(mail),
            "about": about,
            "progress": progress,
            "claimed": milliseconds,
            "changed": milliseconds,
            "attempt": 0,
        }
        used = [keys.campaign(campaign), keys.seeds(campaign), _content(campaign, mail)]
        words: tuple[Any, ...] = ((KEEP + _SPARE) * 1000, content, json.dumps(state), *seeds)
        got: Sequence[str] | None = self._store.ask(
            lambda client: self._claim.run(client.execute_command, used, words)
        )
        if got:
            self._note(campaign, milliseconds)
        return got

    def submitting(self, seed: ClaimedSeed, milliseconds: int) -> ClaimedSeed | None:
        """Begins the next attempt; None if the seed is not as it was when it was read."""
        state, attempt = SeedState.SUBMITTING, seed.attempt + 1
        change: _Change = {"state": state, "attempt": attempt, "due": 0}
        if self._changed(seed, [seed.state], change, milliseconds) != seed.state:
            return None
        return replace(seed, state=state, attempt=attempt, due=0, changed=milliseconds)

    def passes(
        self, campaign: str, mail: int, address: str, attempt: int, info: str, milliseconds: int
    ) -> bool:
        """Lets a copy pass the milter; False if it must not: another attempt has passed already, or
        has begun. ``mail``: the number of the copied message. ``info``: the copy's X-Mailer-Info.
        """
        seed = ClaimedSeed(campaign, address, SeedState.SUBMITTING, mail=mail, attempt=attempt)
        change: _Change = {"state": SeedState.PASSED, "info": info}
        before = self._changed(seed, [SeedState.SUBMITTING], change, milliseconds)
        return before == SeedState.SUBMITTING

    def accepted(self, seed: ClaimedSeed, reply: str, due: int, milliseconds: int) -> None:
        """Postfix took this attempt, but the milter has not seen it yet. It may until ``due``."""
        self._changed(seed, [SeedState.SUBMITTING], {"reply": reply, "due": due}, milliseconds)

    def sent(self, seed: ClaimedSeed, milliseconds: int) -> None:
        """Postfix has the copy of this attempt."""
        self._changed(
            seed, [SeedState.PASSED], {"state": SeedState.SENT, "reply": ""}, milliseconds
        )

    def refused(self, seed: ClaimedSeed, reply: str, due: int, milliseconds: int) -> None:
        """Postfix did not take this attempt; the next one is due at ``due``."""
        change: _Change = {"state": SeedState.WAITING, "reply": reply, "due": due}
        states = [SeedState.SUBMITTING, SeedState.PASSED]
        self._changed(seed, states, change, milliseconds)

    def unanswered(self, seed: ClaimedSeed, reply: str, due: int, milliseconds: int) -> None:
        """As `refused`, if the copy has not passed the milter: then no one has it."""
        change: _Change = {"state": SeedState.WAITING, "reply": reply, "due": due}
        self._changed(seed, [SeedState.SUBMITTING], change, milliseconds)

    def failed(self, seed: ClaimedSeed, reply: str, milliseconds: int) -> None:
        """No further attempt."""
        states = [SeedState.WAITING, SeedState.SUBMITTING, SeedState.PASSED]
        change: _Change = {"state": SeedState.FAILED, "reply": reply}
        self._changed(seed, states, change, milliseconds)

    def content(self, campaign: str, mail: int) -> bytes | None:
        """The content of the mail that was copied; None if it has expired."""
        found: str | None = self._ask("GET", _content(campaign, mail))
        return None if found is None else found.encode("utf-8", "surrogateescape")

    def of_campaign(self, campaign: str) -> list[ClaimedSeed]:
        """The claimed seeds of a campaign, in the order of their claims."""
        found: Mapping[str, str] = self._ask("HGETALL", keys.seeds(campaign))
        seeds = [_read(campaign, address, state) for address, state in found.items()]
        return sorted(seeds, key=lambda seed: (seed.claimed, seed.mail, seed.address))

    def progress(self, campaign: str) -> CampaignProgress:
        """How far a campaign is."""
        number, at = self._ask("HMGET", keys.campaign(campaign), "number", "at")
        return CampaignProgress(int(number or 0), int(at or 0))

    def campaigns(self) -> list[str]:
        """Campaigns that may have pending copies."""
        limit = "LIMIT", 0, _MOST
        return list(self._ask("ZREVRANGEBYSCORE", keys.SEEDING, "+inf", "-inf", *limit))

    def forget(self, campaign: str, milliseconds: int) -> None:
        """Looks no more at a campaign without pending copies, if its last claim is long ago.

        A claim in the meantime is noted again, by its worker or here.
        """
        before = milliseconds - FORGET_AFTER * 1000
        old = self._ask("ZREVRANGEBYSCORE", keys.SEEDING, before, "-inf")
        if campaign not in old:
            return
        self._ask("ZREM", keys.SEEDING, campaign)
        if any(seed.state.is_pending for seed in self.of_campaign(campaign)):
            self._note(campaign, milliseconds)

    def _note(self, campaign: str, milliseconds: int) -> None:
        self._ask("ZADD", keys.SEEDING, milliseconds, campaign)

    def _changed(
        self,
        seed: ClaimedSeed,
        states: Sequence[SeedState],
        change: _Change,
        milliseconds: int,
    ) -> str:
        """Changes a seed in one of these states; the state before."""
        used = [keys.seeds(seed.campaign), _content(seed.campaign, seed.mail)]
        expected = f" {' '.join(states)} "
        fields = json.dumps({**change, "changed": milliseconds})
        words: list[str | int] = [seed.address, seed.attempt, expected, fields]
        return str(
            self._store.ask(lambda client: self._state.run(client.execute_command, used, words))
        )

    def _ask(self, *command: str | int) -> Any:
        return self._store.ask(lambda client: client.execute_command(*command))


def _content(campaign: str, mail: int) -> str:
    return f"{keys.seed_contents(campaign)}{mail}"


def _read(campaign: str, address: str, state: str) -> ClaimedSeed:
    fields = json.loads(state)
    return ClaimedSeed(
        campaign=campaign,
        address=address,
        state=SeedState(fields["state"]),
        list=fields["list"],
        mail=int(fields["mail"]),
        about=fields["about"],
        claimed=int(fields["claimed"]),
        changed=int(fields["changed"]),
        due=int(fields.get("due", 0)),
        attempt=int(fields["attempt"]),
        info=fields.get("info", ""),
        reply=fields.get("reply", ""),
        progress=fields.get("progress"),
    )
