"""How many mails Postfix took, by campaign and place: each counted once, also while Redis is away.

Here lives what is not in Redis yet. When a mail was taken may not be known here.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from fletching.store import keys
from fletching.store.connection import Store, StoreAway
from fletching.store.counts import cell
from fletching.store.script import Script
from fletching.store.sending import Away, answers
from fletching.store.writing import Write
from fletching.tokens import Facts

MOST = 10_000
"""Counts that are remembered; of more, the oldest is forgotten, written or not."""

AT_ONCE = 200
"""Campaigns that are written in one go, which is over within a time-out."""

_IN_VAIN = 60
"""Attempts to count for a campaign that Redis does not have: another worker may make it again."""

_Of = tuple[str, str]
"""A campaign, and hour|VirtualMTA|list."""


@dataclass(frozen=True, slots=True)
class _Count:
    """``name``: of its own, so that one that was forgotten here and begins anew is another."""

    name: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    mails: int = 0
    in_vain: int = 0


class Sent:
    """The counts of one process, which only grow. To be used by one thread at a time."""

    def __init__(self, store: Store, most: int = MOST) -> None:
        self._store = store
        self._most = most
        self._script = Script("sent.lua")
        self._counts: dict[_Of, _Count] = {}
        self._unwritten: dict[_Of, None] = {}
        self._runs: set[str] = set()

    def add(self, message: Facts) -> None:
        """Postfix took one more mail."""
        if not message.campaign:
            return  # Sent while the store was away.
        of = message.campaign, cell(message.sent // 3600, message.mtaid, message.listid)
        count = self._counts.pop(of) if of in self._counts else _Count()
        # The last one used is the last to be forgotten.
        self._counts[of] = replace(count, mails=count.mails + 1, in_vain=0)
        self._unwritten[of] = None
        if len(self._counts) > self._most:
            oldest = next(iter(self._counts))
            del self._counts[oldest]
            self._unwritten.pop(oldest, None)

    def write(self) -> bool:
        """Writes what is not in Redis yet; whether some of it is still not."""
        campaigns: dict[str, list[_Of]] = {}
        for of in self._unwritten:
            campaigns.setdefault(of[0], []).append(of)
        left, away = list(campaigns.items()), Away()
        while left:
            some, left = left[:AT_ONCE], left[AT_ONCE:]
            writes = [self._write(campaign, counts) for campaign, counts in some]
            try:
                said = self._store.ask(partial(answers, writes=writes, away=away))
            except StoreAway:
                return True
            for (_, counts), answer in zip(some, said, strict=True):
                self._written(counts, answer)
            if all(isinstance(answer, Exception) for answer in said):
                break
        return bool(self._unwritten)

    def _write(self, campaign: str, counts: Sequence[_Of]) -> Write:
        used = [keys.campaign(campaign), keys.counts(campaign), keys.counted(campaign)]
        words: list[str | int] = []
        for count in counts:
            words += [count[1], self._counts[count].name, self._counts[count].mails]
        return Write(used[0], partial(self._script.run, keys=used, arguments=words))

    def _written(self, counts: Sequence[_Of], answer: Any) -> None:
        if isinstance(answer, Exception):
            return
        for of in counts:
            in_vain = self._counts[of].in_vain + 1 if answer is None else 0
            self._counts[of] = replace(self._counts[of], in_vain=in_vain)
            if not 0 < in_vain < _IN_VAIN:
                del self._unwritten[of]
        if answer is not None and answer not in self._runs:
            # Redis was restarted, or is another one: it may have lost what it had.
            if self._runs:
                self._unwritten.update(dict.fromkeys(self._counts))
            self._runs.add(answer)
