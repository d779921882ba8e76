"""Counts the mails that Postfix accepted, each exactly once, even while Redis is unavailable.

Here live the counts that are not in Redis yet. When a mail counts as accepted is decided elsewhere.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

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

_Cell = tuple[str, str, str]
"""A campaign, hour|VirtualMTA|list, and the name of the count if another process began it."""


class Counted(NamedTuple):
    """A count of a process: how many mails it has counted so far, under a random name. ``step``: of
    the last one."""

    campaign: str
    cell: str
    step: str
    name: str
    mails: int


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
    """The counts of one process, which only grow. Any thread may add; one at a time writes."""

    def __init__(self, store: Store, most: int = MOST) -> None:
        self._store = store
        self._most = most
        self._script = Script("sent.lua")
        self._counts: dict[_Cell, _Count] = {}
        self._unwritten: dict[_Cell, None] = {}
        self._runs: set[str] = set()
        self._changing = threading.Lock()

    def add(self, message: Facts) -> Counted | None:
        """Counts one mail; the count that it is in now. None without a campaign."""
        if not message.campaign:
            return None  # Redis was unavailable when it was sent.
        hour = cell(message.sent // 3600, message.mtaid, message.listid)
        of = message.campaign, hour, ""
        with self._changing:
            count = self._counts.get(of) or _Count()
            now = step(message.campaign, message.sent)
            count = replace(count, mails=count.mails + 1, step=now, attempts=0)
            self._put(of, count)
        return Counted(message.campaign, hour, count.step, count.name, count.mails)

    def add_left(self, counted: Counted) -> None:
        """Adds a count of a process that was killed, which Redis may have already."""
        of = counted.campaign, counted.cell, counted.name
        with self._changing:
            known = self._counts.get(of) or _Count(counted.name)
            mails = max(known.mails, counted.mails)
            self._put(of, replace(known, mails=mails, step=counted.step, attempts=0))

    def _put(self, of: _Cell, count: _Count) -> None:
        # A dict keeps the order of insertion: the first one is the next to be dropped.
        self._counts.pop(of, None)
        self._counts[of] = count
        self._unwritten[of] = None
        if len(self._counts) > self._most:
            oldest = next(iter(self._counts))
            del self._counts[oldest]
            self._unwritten.pop(oldest, None)

    def unwritten(self) -> list[Counted]:
        """The counts that are not in Redis yet."""
        with self._changing:
            counts = [(of, self._counts[of]) for of in self._unwritten]
        return [Counted(*of[:2], count.step, count.name, count.mails) for of, count in counts]

    @property
    def is_written(self) -> bool:
        """Whether everything that was added is in Redis."""
        return not self._unwritten

    def write(self) -> bool:
        """Writes the counts that are not in Redis yet; True if some of them still are not."""
        campaigns: dict[str, list[tuple[_Cell, _Count]]] = {}
        with self._changing:
            for of in self._unwritten:
                campaigns.setdefault(of[0], []).append((of, self._counts[of]))
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

    def _write(self, campaign: str, counts: Sequence[tuple[_Cell, _Count]]) -> Write:
        used = [
            *(keys.campaign(campaign), keys.counts(campaign), keys.counted(campaign)),
            keys.steps(campaign),
        ]
        words: list[str | int] = []
        for of, count in counts:
            words += [of[1], count.step, count.name, count.mails]
        return Write(used[0], partial(self._script.run, keys=used, arguments=words))

    def _written(self, counts: Sequence[tuple[_Cell, _Count]], answer: Any) -> None:
        if isinstance(answer, Exception):
            return
        with self._changing:
            for of, count in counts:
                if self._counts.get(of) is not count:
                    continue  # More mails were counted meanwhile, or it was dropped.
                attempts = count.attempts + 1 if answer is None else 0
                self._counts[of] = replace(count, attempts=attempts)
                if not 0 < attempts < _MOST_ATTEMPTS:
                    del self._unwritten[of]
            self._remember_run(answer)

    def _remember_run(self, answer: Any) -> None:
        if answer is not None and answer not in self._runs:
            # Redis was restarted, or is another server: it may have lost some counts.
            if self._runs:
                self._unwritten.update(dict.fromkeys(self._counts))
            self._runs.add(answer)
