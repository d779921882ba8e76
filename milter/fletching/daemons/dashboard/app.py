"""The dashboard: statistics for the operator, live, on a listener of its own.

Here lives the ASGI application, which knows which path is which page. Who may see and change
anything is in `access.py`, what a page looks like in `pages.py`, what an open page is sent in
`live.py`, what changes suppression lists in `suppression.py`; its process, in `main.py`.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from fletching import log
from fletching.daemons.dashboard import live, pages
from fletching.daemons.dashboard.access import LOGIN, LOGOUT, Access
from fletching.daemons.dashboard.campaign_query import CSV_PATH
from fletching.daemons.dashboard.campaign_query import PATH as CAMPAIGNS
from fletching.daemons.dashboard.campaigns import CampaignList
from fletching.daemons.dashboard.curves import Counted
from fletching.daemons.dashboard.frame import BREAKDOWNS, Frame
from fletching.daemons.dashboard.request import Message, NotFound, Receive, Render, Request, Send
from fletching.daemons.dashboard.suppression import PATH, SuppressionPages
from fletching.daemons.dashboard.traces import PATH as TRACE
from fletching.daemons.dashboard.traces import TracePages
from fletching.daemons.dashboard.virtual_mtas import PATH as VIRTUAL_MTAS
from fletching.daemons.dashboard.virtual_mtas import VirtualMtaPages
from fletching.daemons.process.log_limit import LogLimit
from fletching.store.connection import StoreUnavailable
from fletching.store.counts import Campaign, Dimension
from fletching.store.statistics import Statistics
from fletching.store.suppression import Suppression

DAEMON = "dashboard"

_LOG_EVERY = 60.0
"""Seconds between two log lines about Redis being down."""

MOST_STREAMS = 50
"""Live viewers at a time."""

_BREAKDOWNS = {f"/by/{what}": what for what in BREAKDOWNS}
_CAMPAIGN = re.compile(r"/campaign/([a-z2-7]{1,12})(/live)?")
_ALLOW = (b"allow", b"GET, HEAD")


class Dashboard:
    """The ASGI application.

    ``operation``: makes further pages, by path. ``tables``: makes further tables for the page of
    a campaign.
    """

    def __init__(
        self,
        statistics: Statistics,
        suppression: Suppression,
        traces: TracePages,
        virtual_mtas: VirtualMtaPages,
        operation: Mapping[str, Render],
        access: Access,
        *,
        most_streams: int = MOST_STREAMS,
    ) -> None:
        self.access = access
        self.traces = traces
        self.virtual_mtas = virtual_mtas
        self._operation = operation
        self.tables: Callable[[Campaign], Sequence[tuple[str, pages.Table]]] = lambda _: ()
        self._away = LogLimit(_LOG_EVERY)
        self._statistics = statistics
        self._suppression = SuppressionPages(suppression, access)
        self._campaigns = CampaignList(statistics)
        self._streams, self._most_streams = 0, most_streams

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answered(Request(scope, receive, send))

    async def _answered(self, request: Request) -> None:
        try:
            await self._answer(request)
        except StoreUnavailable as error:
            if self._away.is_due():
                log.redis_unavailable(str(error))
            await request.error(503, "Redis is unavailable", "Try again in a moment.")
        except Exception as error:  # noqa: BLE001 an edge: details go to the log only
            log.page_failed(DAEMON, error)
            await request.error(500, "Internal error", "See the log for details.")

    async def _answer(self, request: Request) -> None:
        if request.path == LOGIN:
            await self.access.log_in(request)
        elif await self.access.admits(request):
            await self._answer_admitted(request)

    async def _answer_admitted(self, request: Request) -> None:
        found = _CAMPAIGN.fullmatch(request.path)
        what = _BREAKDOWNS.get(request.path)
        if request.path == LOGOUT:
            await self.access.log_out(request)
        elif _is_under(PATH, request):
            await self._suppression.answer(request)
        elif _is_under(VIRTUAL_MTAS, request):
            await self.virtual_mtas.answer(request)
        elif request.method not in ("GET", "HEAD"):
            await request.error(405, "Method not allowed", "Use GET or HEAD.", _ALLOW)
        elif make := self._operation.get(request.path):
            await request.page(make)
        elif _is_under(TRACE, request):
            await self.traces.answer(request)
        elif request.path == CAMPAIGNS:
            await self._campaigns.page(request)
        elif request.path == CSV_PATH:
            await self._campaigns.csv(request)
        elif request.path == "/live":
            await self._stream(request, self._campaigns.live())
        elif found and not found[2]:
            await request.page(lambda frame: self._campaign(found[1], frame))
        elif found:
            pieces = live.stream(lambda: self._with_times(found[1]), live.CampaignPage().news)
            await self._stream(request, pieces)
        elif what:
            await request.page(lambda frame: self._breakdown(what, frame))
        else:
            await request.error(404, "Page not found", "Use the links above.")

    # Pages. Each of them queries Redis, so it runs in a thread.

    def _campaign(self, campaign: str, frame: Frame) -> str:
        found, hours, steps = self._with_times(campaign)
        if found is None:
            raise NotFound
        about = pages.Details(
            self._statistics.links(campaign),
            self._statistics.by("provider", campaign),
            self._statistics.failures(campaign),
            self._statistics.by("mtaid", campaign),
            self._statistics.warnings(campaign),
            self.tables(found),
        )
        return pages.campaign(found, hours, steps, about, int(time.time()), frame)

    def _breakdown(self, what: Dimension, frame: Frame) -> str:
        return pages.breakdown(what, self._statistics.by(what), int(time.time()), frame)

    def _with_times(self, campaign: str) -> tuple[Campaign | None, Counted, Counted]:
        # Steps last, so that they never lack what hours have.
        numbers = self._statistics
        return numbers.campaign(campaign), numbers.hours(campaign), numbers.steps(campaign)

    async def _stream(self, request: Request, pieces: AsyncIterator[str]) -> None:
        if self._streams >= self._most_streams:
            await request.error(503, "Too many live viewers", "Reload the page for new numbers.")
            return
        self._streams += 1
        try:
            await request.stream(pieces)
        finally:
            self._streams -= 1


def _is_under(path: str, request: Request) -> bool:
    return request.path == path or request.path.startswith(f"{path}/")
