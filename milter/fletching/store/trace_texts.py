"""The texts that many lines of traces have in common: each is kept once a day, and referred to.

Here lives which texts these are: those that this process has seen several times. A relay or a reply
that is rare stays in its line, where it takes less memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from fletching import traces
from fletching.store import keys
from fletching.store.writing import Write, command
from fletching.traces import DAY

ENOUGH = 3
"""Times that a text must have been seen before it is referred to."""

SHORTEST = 5
"""Characters of a text, at least: a shorter one takes no more than a reference to it."""

MOST = 20_000
"""Texts that are counted; if there are more, counting begins again."""

AGAIN_AFTER = 60.0
"""Seconds after which a text is written again, in case Redis has lost it."""

_NEVER = (0.0, b"")


class TraceTexts:
    """The common texts that one process knows. ``keep``: seconds. For one thread at a time."""

    def __init__(self, keep: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._keep = keep
        self._clock = clock
        self._seen: dict[str, int] = {}
        self._written: dict[tuple[int, str], tuple[float, bytes]] = {}
        self._unwritten: dict[int, dict[bytes, str]] = {}

    def encoder(self, seconds: int) -> traces.Encode:
        """Encodes the texts of a line of that time."""
        return partial(self._encoded, seconds // DAY)

    def _encoded(self, day: int, text: str) -> bytes:
        if len(text) < SHORTEST:
            return traces.inline(text)
        seen = self._seen.get(text, 0)
        if seen < ENOUGH:
            if len(self._seen) >= MOST:
                self._seen.clear()
            self._seen[text] = seen + 1
            return traces.inline(text)
        now = self._clock()
        until, referring = self._written.get((day, text), _NEVER)
        if now >= until:
            if len(self._written) >= MOST:
                self._written.clear()
            referring = traces.referring(text)
            self._written[day, text] = now + AGAIN_AFTER, referring
            self._unwritten.setdefault(day, {})[traces.reference(text)] = text
        return referring

    def writes(self) -> Iterator[Write]:
        """Writes what lines that were encoded before refer to."""
        days, self._unwritten = self._unwritten, {}
        for day, texts in days.items():
            key = keys.trace_texts(day)
            words = [
                word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word
                for pair in texts.items()
                for word in pair
            ]
            left = max(1, end_of_day(day) + self._keep - int(time.time()))
            yield Write(key, command("HSET", key, *words))
            yield Write(key, command("EXPIRE", key, left))

    def forget(self) -> None:
        """Writes all texts again: Redis may lack some."""
        self._written.clear()


def end_of_day(day: int) -> int:
    """When a day ends, UTC, in unix seconds."""
    return (day + 1) * DAY
