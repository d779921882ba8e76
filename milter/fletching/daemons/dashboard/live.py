"""What open pages of the dashboard are told while the numbers change: server-sent events.

Here lives what is told, and when (HTML Living Standard, section 9.2). A stream is an endless
iterator of text; who reads it, and when it ends, is `dashboard.py`'s.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from fletching.daemons.dashboard import pages
from fletching.store.connection import StoreAway
from fletching.store.counts import Campaign

T = TypeVar("T")
Hours = Mapping[str, Mapping[int, int]]

EVERY = 1.0
"""Seconds between two looks at the statistics."""

_NOTHING = ":\n\n"


async def stream(look: Callable[[], T], news: Callable[[T], Iterator[str]]) -> AsyncIterator[str]:
    """What ``news`` makes of each look; with nothing to say, a comment shows that somebody is here.

    That Redis is away is said once, and once that it is back. ``look`` runs in a thread.
    """
    away = False
    while True:
        try:
            found = await asyncio.to_thread(look)
        except StoreAway:
            said = "" if away else _event("away", "")
            away = True
        else:
            said = (_event("back", "") if away else "") + "".join(news(found))
            away = False
        yield said or _NOTHING
        await asyncio.sleep(EVERY)


class Shared(Generic[T]):
    """A look that all streams share: nobody's is older than `EVERY`, however many there are."""

    def __init__(self, look: Callable[[], T]) -> None:
        self._look = look
        self._seen: tuple[float, T] | None = None
        self._looking = threading.Lock()

    def __call__(self) -> T:
        with self._looking:
            if self._seen is None or time.monotonic() - self._seen[0] >= EVERY:
                self._seen = (time.monotonic(), self._look())
            return self._seen[1]


class All:
    """What one reader of the first page was told, and so what is news to it."""

    def __init__(self) -> None:
        self._cells: dict[str, str] = {}
        self._known: frozenset[str] | None = None

    def news(self, found: Sequence[Campaign]) -> Iterator[str]:
        """Numbers that have changed, and that there are new campaigns."""
        cells = pages.cells_of_all(found)
        if changed := _changed(self._cells, cells):
            yield _event("cells", changed)
        there = frozenset(each.campaign for each in found[: pages.MOST_CAMPAIGNS])
        if self._known is not None and there - self._known:
            yield _event("news", "")
        self._cells, self._known = cells, there


class One:
    """The same for a campaign's own page."""

    def __init__(self) -> None:
        self._cells: dict[str, str] = {}

    def news(self, found: tuple[Campaign | None, Hours]) -> Iterator[str]:
        """Numbers that have changed, and then the curves too."""
        campaign, hours = found
        cells = pages.cells_of_one(campaign) if campaign is not None else {}
        if changed := _changed(self._cells, cells):
            yield _event("cells", changed)
            yield _event("curve", pages.curve_html(hours))
        self._cells = cells


def _changed(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    return {key: text for key, text in new.items() if old.get(key) != text}


def _event(name: str, told: object) -> str:
    # JSON has no line end of its own, which would end the event.
    return f"event: {name}\ndata: {json.dumps(told)}\n\n"
