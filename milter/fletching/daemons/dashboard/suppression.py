"""Suppression lists on the dashboard: search, show, add, remove, download.

Here live the requests. Whether a request may change anything is decided in `access.py`.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
import time
from collections.abc import AsyncIterator, Mapping
from itertools import islice
from urllib.parse import urlencode

from fletching import log
from fletching.config import values
from fletching.daemons.dashboard import pages
from fletching.daemons.dashboard.access import Access
from fletching.daemons.dashboard.frame import Frame
from fletching.daemons.dashboard.request import Request
from fletching.policy.lists import check_suppressible
from fletching.store.suppression import BY_HAND, COLUMNS, DASHBOARD, Suppression

PATH = "/suppression"

_EXPORT = f"{PATH}/export"
_ADD, _REMOVE = f"{PATH}/add", f"{PATH}/remove"
_LISTS = 100
"""Lists on a page."""

_ROWS = 1000
"""Rows of a download that are read at a time."""


class SuppressionPages:
    """Answers the requests under `PATH`."""

    def __init__(self, suppression: Suppression, access: Access) -> None:
        self._suppression = suppression
        self._access = access

    async def answer(self, request: Request) -> None:
        """Responds to a request. Raises StoreUnavailable."""
        is_change = request.path in (_ADD, _REMOVE)
        if is_change and request.method == "POST":
            await self._change(request)
        elif is_change or request.method not in ("GET", "HEAD"):
            allow = (b"allow", b"POST" if is_change else b"GET, HEAD")
            await request.error(405, "Method not allowed", "Use the forms.", allow)
        elif request.path == PATH:
            await request.page(lambda frame: self._page(request, frame))
        elif request.path == _EXPORT:
            listid = request.query.get("listid")
            await request.download(_file_name(listid), self._rows(listid))
        else:
            await request.error(404, "Page not found", "Use the links above.")

    def _page(self, request: Request, frame: Frame) -> str:
        address = request.query.get("address", "").strip()
        listid = request.query.get("listid")
        if address:
            found = list(self._suppression.of_address(address))
            return pages.suppression(pages.Suppressed(address=address, entries=found), frame)
        if listid is not None:
            entries, after = self._suppression.page(listid, _cursor(request.query))
            shown = pages.Suppressed(listid=listid, entries=entries, after=after)
            return pages.suppression(shown, frame)
        number = request.page_number
        sizes = self._suppression.sizes()[(number - 1) * _LISTS :]
        more = len(sizes) > _LISTS
        shown = pages.Suppressed(sizes=sizes[:_LISTS], number=number, more=more)
        return pages.suppression(shown, frame)

    async def _change(self, request: Request) -> None:
        form = await self._access.form(request)
        if form is None:
            return
        listid, address = form.get("listid", "").strip(), form.get("address", "").strip()
        try:
            if request.path == _REMOVE:
                await asyncio.to_thread(self._suppression.remove, listid, address)
            else:
                _check(listid, address, obscured="obscured" in form)
                await asyncio.to_thread(self._add, listid, address)
        except ValueError as error:
            await request.error(422, "Not changed", str(error))
            return
        action = "suppression_remove" if request.path == _REMOVE else "suppression_add"
        facts = [("listid", listid), ("address", address)]
        log.dashboard_action(self._access.client(request), action, facts)
        await request.redirect(f"{PATH}?{urlencode({'address': address})}")

    def _add(self, listid: str, address: str) -> None:
        now = time.time_ns() // 1_000_000
        self._suppression.add(listid, address, BY_HAND, now, DASHBOARD)

    async def _rows(self, listid: str | None) -> AsyncIterator[str]:
        """The entries of a list, or of all lists, as `fletching suppression export` prints them."""
        entries = self._suppression.entries(listid)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        while rows := await asyncio.to_thread(lambda: list(islice(entries, _ROWS))):
            writer.writerows(entry.cells for entry in rows)
            yield text.getvalue()
            text.seek(0)
            text.truncate()
        yield text.getvalue()


def _check(listid: str, address: str, *, obscured: bool) -> None:
    """Raises ValueError, with the name of the field."""
    try:
        values.list_id(listid)
    except ValueError as error:
        raise ValueError(f"ListID: {error}") from None
    try:
        check_suppressible(address, obscured=obscured)
    except ValueError as error:
        raise ValueError(f"Address: {error}") from None


def _cursor(query: Mapping[str, str]) -> int:
    """Where the page of a list begins; a cursor of Redis has 64 bits."""
    after = query.get("after", "")
    return int(after) % 2**64 if re.fullmatch("[0-9]{1,20}", after) else 0


def _file_name(listid: str | None) -> str:
    """A ListID from a mail may contain anything."""
    safe = re.sub("[^A-Za-z0-9_+]", "_", listid or "")[:50]
    return f"suppression-{safe}.csv" if safe else "suppression.csv"
