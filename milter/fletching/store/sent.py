"""Counts the mails that Postfix accepted, each exactly once, even while Redis is unavailable.

Here live the counts that are not in Redis yet. When a mail counts as accepted is decided elsewhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from fletching.store import keys
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.counts import cell, step
from fletching.store.script import Script
from fletching.store.sending import SilentNodes, answers
from fletching.store.writing import Write
from fletching.tokens import Facts

MOST = 10_000
"""Counts that are kept. If there are more, the one that was used longest ago is dropped."""

AT_ONCE = 200
"""Campaigns in one round trip, which then ends within the time-out."""

_MOST_ATTEMPTS = 60
"""Attempts to count for a campaign that Redis lost: another worker may create it again."""

_Cell = tuple[str, str]
"""A campaign, and hour|VirtualMTA|list."""


@dataclass(frozen=True, slots=True)
class _Count:
    """``name``: random, so that a count that was dropped and starts again is another one.
    ``step``: of its last mail. Mails that wait for Redis are counted there; a count has no name for
    each step, of which Redis would have to remember six times as many.
    """

    name: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    mails: int = 0
    step: str = ""
    attempts: int = 0


class Sent:
    """The counts of one process, which only grow. For one thread at a time."""

    def __init__(self, store: Store, most: int = MOST) -> None:
        self._store = store
        self._most = most
        self._script = Script("sent.lua")
        self._counts: dict[_Cell, _Count] = {}
        self._unwritten: dict[_Cell, None] = {}
        self._runs: set[str] = set()

    def add(self, message: Facts) -> None:
        """Counts one mail."""
        if not message.campaign:
            return  # Redis was unavailable when it was sent.
        of = message.campaign, cell(message.sent // 3600, message.mtaid, message.listid)
        count = self._counts.pop(of) if of in self._counts else _Count()
        # A dict keeps the order of insertion: the first one is the next to be dropped.
        now = step(message.campaign, message.sent)
        self._counts[of] = replace(count, mails=count.mails + 1, step=now, attempts=0)
        self._unwritten[of] = None
        if len(self._counts) > self._most:
            oldest = next(iter(self._counts))
            del self._counts[oldest]
            self._unwritten.pop(oldest, None)

    def write(self) -> bool:
        """Writes the counts that are not in Redis yet; True if some of them still are not."""
        campaigns: dict[str, list[_Cell]] = {}
        for of in self._unwritten:
            campaigns.setdefault(of[0], []).append(of)
        left, silent = list(campaigns.items()), SilentNodes()
        while left:
            some, left = left[:AT_ONCE], left[AT_ONCE:]
            writes = [self._write(campaign, counts) for campaign, counts in some]
            try:
                results = self._store.ask(partial(answers, writes=writes, silent=silent))
            except StoreUnavailable:
                return True
            for (_, counts), answer in zip(some, results, strict=True):
                self._written(counts, answer)
            if all(isinstance(answer, Exception) for answer in results):
                break
        return bool(self._unwritten)

    def _write(self, campaign: str, counts: Sequence[_Cell]) -> Write:
        used = [
            *(keys.campaign(campaign), keys.counts(campaign), keys.counted(campaign)),
            keys.steps(campaign),
        ]
        words: list[str | int] = []
        for of in counts:
            count = self._counts[of]
            words += [of[1], count.step, count.name, count.mails]
        return Write(used[0], partial(self._script.run, keys=used, arguments=words))

    def _written(self, counts: Sequence[_Cell], answer: Any) -> None:
        if isinstance(answer, Exception):
            return
        for of in counts:
            attempts = self._counts[of].attempts + 1 if answer is None else 0
            self._counts[of] = replace(self._counts[of], attempts=attempts)
            if not 0 < attempts < _MOST_ATTEMPTS:
                del self._unwritten[of]
        if answer is not None and answer not in self._runs:
            # Redis was restarted, or is another server: it may have lost some counts.
            if self._runs:
                self._unwritten.update(dict.fromkeys(self._counts))
            self._runs.add(answer)
