"""Counts of mail in shadow, by the hour: kept in memory until Redis has them, and read back.

What is counted is in `shadow_counts.py`.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from fletching.shadow_counts import FREE, OTHERS, SLOWEST, Counted, counted
from fletching.store import keys
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.script import Script

KEPT = 31 * 86400
"""Seconds for which the counts of an hour are kept."""

MOST = 400
"""Fields of an hour, from which on new names are added up: they may come from mail."""

MOST_HOURS = 24
"""Hours that are kept in memory while Redis is unavailable."""

_WRITER = "writer"


@dataclass(frozen=True, slots=True)
class _Batch:
    """Counts on their way to Redis. ``number``: larger than that of every batch before."""

    number: int
    hour: int
    counts: Mapping[Counted, int]


class ShadowCounts:
    """The counts of one process. For one thread at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._script = Script("shadow.lua")
        self._writer = secrets.token_urlsafe(9)
        self._number = 0
        self._hours: dict[int, Counter[Counted]] = {}
        self._batch: _Batch | None = None

    def add(self, seconds: int, counts: Mapping[Counted, int]) -> None:
        """Adds the counts of a mail. ``seconds``: unix time of the mail."""
        sums = self._hours.setdefault(seconds // 3600, Counter())
        for each, number in counts.items():
            if each.topic == SLOWEST:
                sums[each] = max(sums[each], number)
            elif each in sums or each.topic not in FREE or len(sums) < MOST:
                sums[each] += number
            else:
                # As Redis does. It may be unavailable, and memory must have a bound, too.
                sums[each._replace(name=OTHERS)] += number
        while len(self._hours) > MOST_HOURS:
            del self._hours[min(self._hours)]

    def write(self) -> bool:
        """Writes what is not in Redis yet; True if something is left."""
        while self._batch is not None or self._hours:
            if self._batch is None:
                hour = min(self._hours)
                self._number += 1
                self._batch = _Batch(self._number, hour, self._hours.pop(hour))
            try:
                self._send(self._batch)
            except StoreUnavailable:
                return True
            self._batch = None
        return False

    def _send(self, batch: _Batch) -> None:
        words: list[str | int] = [self._writer, batch.number, MOST, KEPT * 1000]
        for each, number in batch.counts.items():
            how = "^" if each.topic == SLOWEST else "?" if each.topic in FREE else "+"
            words += (how, each.text, number)
        key = keys.shadow(batch.hour)
        self._store.ask(lambda client: self._script.run(client.execute_command, [key], words))


def since(store: Store, begin: int, end: int) -> tuple[int | None, Counter[Counted]]:
    """The hour of the first counts from one unix time to another (their hours included), and all
    counts; None if there are none. Raises StoreUnavailable.
    """
    first, found = None, Counter[Counted]()
    for hour in range(max(begin, end - KEPT) // 3600, end // 3600 + 1):
        fields = store.ask(lambda client, hour=hour: client.hgetall(keys.shadow(hour)))  # type: ignore[misc]
        if fields and first is None:
            first = hour
        for text, number in fields.items():
            each = counted(text)
            if each.topic == SLOWEST:
                found[each] = max(found[each], int(number))
            elif each.topic != _WRITER:
                found[each] += int(number)
    return first, found
