"""Messages on the dashboard: the search field of every page, and the time line of one message.

Here live the requests. What a text means and what a time line says is in `tracing/`; how it looks,
in `pages.py`.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import tzinfo

from fletching.daemons.dashboard import pages
from fletching.daemons.dashboard.frame import Frame
from fletching.daemons.dashboard.request import Request
from fletching.tracing.search import NoTrace, Search
from fletching.tracing.timeline import timeline

PATH = "/trace"

MOST = 50
"""Messages that a search shows."""

_MESSAGE = re.compile(rf"{PATH}/([a-z2-7]{{1,12}})/([1-9][0-9]{{0,17}})")


@dataclass(frozen=True, slots=True)
class TracePages:
    """Answers the requests under `PATH`. ``zone``: of the times; None: the system's."""

    search: Search
    zone: tzinfo | None

    async def answer(self, request: Request) -> None:
        """Responds to a GET or HEAD request. Raises StoreUnavailable."""
        message = _MESSAGE.fullmatch(request.path)
        if message:
            await request.page(lambda frame: self._message(message[1], int(message[2]), frame))
        elif request.path == PATH:
            text = request.query.get("q", "").strip()
            await request.page(lambda frame: self._found(text, frame))
        else:
            await request.error(404, "Page not found", "Use the links above.")

    def _found(self, text: str, frame: Frame) -> str:
        if not text:
            return pages.no_trace(text, pages.SEARCH_FOR, frame)
        try:
            found = self.search.find(text, MOST + 1)
        except NoTrace as why:
            return pages.no_trace(text, str(why), frame)
        told = [timeline(each, time.time(), self.zone) for each in found[:MOST]]
        if len(told) == 1:
            return pages.trace(text, told[0], frame)
        rows = [(f"{PATH}/{each.campaign}/{each.number}", each) for each in told]
        return pages.traces(text, rows, len(found) > MOST, frame)

    def _message(self, campaign: str, number: int, frame: Frame) -> str:
        try:
            (found,) = self.search.of_message(campaign, number)
        except NoTrace as why:
            return pages.no_trace("", str(why), frame)
        return pages.trace("", timeline(found, time.time(), self.zone), frame)
