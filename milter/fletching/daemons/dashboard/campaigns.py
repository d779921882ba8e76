"""Answers requests for the list of campaigns: pages, CSV, live updates of the first page.

How the list looks is in `campaign_list.py`, what its URL means in `campaign_query.py`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence

from fletching.daemons.dashboard import campaign_list, live
from fletching.daemons.dashboard.campaign_list import MOST_CAMPAIGNS, Shown
from fletching.daemons.dashboard.campaign_query import Query, parsed, rank
from fletching.daemons.dashboard.frame import Frame
from fletching.daemons.dashboard.request import Request
from fletching.store.counts import Campaign, Wanted
from fletching.store.statistics import Statistics

MOST_SUMMED = 5_000
"""Campaigns that are added up and sorted: reading their counters takes a second or two."""

KEPT = 5.0
"""Seconds for which matching campaigns are kept, so that the next page does not read them again."""


class CampaignList:
    """Answers the requests for `campaign_query.PATH` and `campaign_query.CSV_PATH`."""

    def __init__(self, statistics: Statistics, most_summed: int = MOST_SUMMED) -> None:
        self._statistics = statistics
        self._most_summed = most_summed
        self._newest = live.Shared(lambda: statistics.campaigns(MOST_CAMPAIGNS + 1))
        self._kept: tuple[float, Wanted, Sequence[Campaign]] | None = None
        self._reading = threading.Lock()

    async def page(self, request: Request) -> None:
        """Responds with a page. Raises StoreUnavailable."""
        query = parsed(request.query)

        def render(frame: Frame) -> str:
            return campaign_list.campaigns(self._shown(query), query, int(time.time()), frame)

        await request.page(render)

    async def csv(self, request: Request) -> None:
        """Responds with all pages of a list as CSV. Raises StoreUnavailable."""
        query = parsed(request.query)
        pieces = campaign_list.csv_pieces(await asyncio.to_thread(self._all, query))
        # Redis is asked for the first ones here, so that an error page can still be sent.
        first = await asyncio.to_thread(next, pieces)
        await request.download("campaigns.csv", _pieces(first, pieces))

    def live(self) -> AsyncIterator[str]:
        """The events for an open first page."""
        return live.stream(self._newest, live.CampaignList().news)

    def _shown(self, query: Query) -> Shown:
        skip = (query.page - 1) * MOST_CAMPAIGNS
        if not query.filters and not query.order:
            return self._unfiltered(skip)
        found = self._matching(query.wanted)
        if len(found) <= self._most_summed:
            here = self._sorted(found, query)[skip:][:MOST_CAMPAIGNS]
            return Shown(here, len(found), found)
        summed = found[: self._most_summed]
        count = len(summed) if query.order else self._statistics.count(query.wanted)
        here = (
            self._sorted(summed, query)[skip:][:MOST_CAMPAIGNS]
            if query.order
            else self._statistics.campaigns(MOST_CAMPAIGNS, skip, query.wanted)
        )
        return Shown(here, count, summed, is_cut=True)

    def _unfiltered(self, skip: int) -> Shown:
        """A page of all campaigns, without reading those of other pages."""
        found = self._newest() if not skip else self._statistics.campaigns(MOST_CAMPAIGNS, skip)
        is_all = not skip and len(found) <= MOST_CAMPAIGNS
        return campaign_list.of_page(found, len(found) if is_all else self._statistics.count())

    def _matching(self, wanted: Wanted) -> Sequence[Campaign]:
        """The newest matching campaigns: one more than are summed if there are more."""
        with self._reading:
            if self._kept is None or self._kept[1] != wanted or _is_old(self._kept[0]):
                found = self._statistics.campaigns(self._most_summed + 1, wanted=wanted)
                self._kept = (time.monotonic(), wanted, found)
            return self._kept[2]

    @staticmethod
    def _sorted(found: Sequence[Campaign], query: Query) -> Sequence[Campaign]:
        if not query.order:
            return found
        return sorted(found, key=lambda each: -rank(each, query.order))

    def _all(self, query: Query) -> Iterator[Campaign]:
        if query.order:
            summed = self._matching(query.wanted)[: self._most_summed]
            return iter(self._sorted(summed, query))
        return self._statistics.each(query.wanted)


def _is_old(since: float) -> bool:
    return time.monotonic() - since >= KEPT


async def _pieces(first: str, more: Iterator[str]) -> AsyncIterator[str]:
    """Each piece is read in a thread."""
    piece: str | None = first
    while piece is not None:
        yield piece
        piece = await asyncio.to_thread(next, more, None)
