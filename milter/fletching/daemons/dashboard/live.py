"""Live updates of open dashboard pages: server-sent events (HTML Living Standard, section 9.2).

Here lives what is sent and when. A stream is an endless iterator of text; `app.py` sends it to a
client and ends it.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from fletching.daemons.dashboard import campaign_list, pages
from fletching.daemons.dashboard.curves import Counted
from fletching.store.connection import StoreUnavailable
from fletching.store.counts import Campaign

T = TypeVar("T")

EVERY = 1.0
"""Seconds between two readings of the statistics."""

_KEEP_ALIVE = ":\n\n"


async def stream(read: Callable[[], T], news: Callable[[T], Iterator[str]]) -> AsyncIterator[str]:
    """The events that ``news`` makes of each reading; a comment as a keep-alive if there are none.

    Sends one event when Redis becomes unavailable, and one when it is back. ``read`` runs in a
    thread.
    """
    away = False
    while True:
        try:
            found = await asyncio.to_thread(read)
        except StoreUnavailable:
            text = "" if away else _event("away", "")
            away = True
        else:
            text = (_event("back", "") if away else "") + "".join(news(found))
            away = False
        yield text or _KEEP_ALIVE
        await asyncio.sleep(EVERY)


class Shared(Generic[T]):
    """A reading that all streams share, at most `EVERY` seconds old: Redis is asked once for
    all.
    """

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._seen: tuple[float, T] | None = None
        self._reading = threading.Lock()

    def __call__(self) -> T:
        with self._reading:
            if self._seen is None or time.monotonic() - self._seen[0] >= EVERY:
                self._seen = (time.monotonic(), self._read())
            return self._seen[1]


class CampaignList:
    """What one viewer of the first page has, and so what is new to it."""

    def __init__(self) -> None:
        self._cells: dict[str, str] = {}
        self._known: frozenset[str] | None = None

    def news(self, found: Sequence[Campaign]) -> Iterator[str]:
        """Events for changed numbers and for new campaigns."""
        cells = campaign_list.cells_of_all(found)
        if changed := _changed(self._cells, cells):
            yield _event("cells", changed)
        there = frozenset(each.campaign for each in found[: campaign_list.MOST_CAMPAIGNS])
        if self._known is not None and there - self._known:
            yield _event("news", "")
        self._cells, self._known = cells, there


class CampaignPage:
    """The same for the page of one campaign."""

    def __init__(self) -> None:
        self._cells: dict[str, str] = {}

    def news(self, found: tuple[Campaign | None, Counted, Counted]) -> Iterator[str]:
        """Events for changed numbers and, if there are any, for the curves."""
        campaign, hours, steps = found
        cells = pages.cells_of_one(campaign) if campaign is not None else {}
        if changed := _changed(self._cells, cells):
            yield _event("cells", changed)
            assert campaign is not None, "it has numbers"
            yield _event("curve", pages.curve_html(campaign, hours, steps))
        self._cells = cells


def _changed(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    return {key: text for key, text in new.items() if old.get(key) != text}


def _event(name: str, data: object) -> str:
    # json.dumps writes no newline, which would end the event.
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
