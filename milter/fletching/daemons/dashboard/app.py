"""The dashboard: statistics for the operator, live, on a listener of its own.

Here live the ASGI application and the access rules. What a page looks like is in `pages.py`, what
an open page is sent in `live.py`, what changes suppression lists in `suppression.py`; its password
and its process, in `main.py`.

Access: without `web.admin_password_file`, everyone who reaches the listener, which must be loopback
or a Unix socket; else everyone with the password (RFC 7617, any user name).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import ip_address

from fletching import log
from fletching.daemons.dashboard import live, pages
from fletching.daemons.dashboard.frame import BREAKDOWNS, Frame
from fletching.daemons.dashboard.guesses import Guesses
from fletching.daemons.dashboard.request import Message, NotFound, Receive, Request, Send
from fletching.daemons.dashboard.suppression import PATH, SuppressionPages
from fletching.daemons.dashboard.traces import PATH as TRACE
from fletching.daemons.dashboard.traces import TracePages
from fletching.daemons.dashboard.virtual_mtas import PATH as VIRTUAL_MTAS
from fletching.daemons.process.log_limit import LogLimit
from fletching.returning import visitor
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
_CHALLENGE = (b"www-authenticate", b'Basic realm="Fletching", charset="UTF-8"')


class Dashboard:
    """The ASGI application. Without a password, everyone who reaches it may see it.

    ``tables``: makes further tables for the page of a campaign.
    """

    def __init__(
        self,
        statistics: Statistics,
        suppression: Suppression,
        traces: TracePages,
        virtual_mtas: Callable[[Frame], str],
        password: str | None,
        proxies: Sequence[visitor.Network] = (),
        *,
        guesses: Guesses | None = None,
        most_streams: int = MOST_STREAMS,
    ) -> None:
        self.password = password
        self.traces = traces
        self.virtual_mtas = virtual_mtas
        self.tables: Callable[[Campaign], Sequence[tuple[str, pages.Table]]] = lambda _: ()
        self._proxies = proxies
        self._guesses = guesses or Guesses()
        self._away = LogLimit(_LOG_EVERY)
        self._statistics = statistics
        self._suppression = SuppressionPages(suppression)
        self._all = live.Shared(lambda: statistics.campaigns(pages.MOST_CAMPAIGNS + 1))
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
        found = _CAMPAIGN.fullmatch(request.path)
        what = _BREAKDOWNS.get(request.path)
        if (wait := self._must_wait(request)) > 0:
            text = f"Try again in {math.ceil(wait)} seconds."
            after = (b"retry-after", b"%d" % math.ceil(wait))
            await request.error(429, "Too many wrong passwords", text, after)
        elif not self._may_see(request):
            await self._refuse(request)
        elif request.path == PATH or request.path.startswith(f"{PATH}/"):
            await self._suppression.answer(request)
        elif request.method not in ("GET", "HEAD"):
            await request.error(405, "Method not allowed", "Use GET or HEAD.", _ALLOW)
        elif request.path == TRACE or request.path.startswith(f"{TRACE}/"):
            await self.traces.answer(request)
        elif request.path == VIRTUAL_MTAS:
            await request.page(lambda frame: self.virtual_mtas(frame))
        elif request.path == "/":
            number = request.page_number
            await request.page(lambda frame: self._campaigns(number, frame))
        elif request.path == "/live":
            await self._stream(request, live.stream(self._all, live.CampaignList().news))
        elif found and not found[2]:
            await request.page(lambda frame: self._campaign(found[1], frame))
        elif found:
            pieces = live.stream(lambda: self._with_hours(found[1]), live.CampaignPage().news)
            await self._stream(request, pieces)
        elif what:
            await request.page(lambda frame: self._breakdown(what, frame))
        else:
            await request.error(404, "Page not found", "Use the links above.")

    # Access

    def _must_wait(self, request: Request) -> float:
        """Seconds until a password is checked, even a correct one."""
        if self.password is None or not request.header(b"authorization"):
            return 0.0
        return self._guesses.wait(self._address(request), time.monotonic())

    def _address(self, request: Request) -> str:
        forwarded = b",".join(request.values(b"x-forwarded-for")).decode("latin-1")
        return visitor.address(request.client, forwarded, self._proxies)

    def _may_see(self, request: Request) -> bool:
        if self.password is not None:
            given = _password_in(request.header(b"authorization"))
            # Digests: otherwise the time taken would reveal the length of the password.
            return hmac.compare_digest(_digest(given), _digest(self.password.encode()))
        # With DNS rebinding, another site can make its host name point here, but not an IP address.
        return _is_address_or_localhost(request.header(b"host"))

    async def _refuse(self, request: Request) -> None:
        if self.password is None:
            text = "Without a password, use an IP address or localhost in the URL."
            await request.error(421, "Host not allowed", text)
            return
        if request.header(b"authorization"):
            address = self._address(request)
            self._guesses.count_wrong(address, time.monotonic())
            log.dashboard_refused(address)
        await request.error(401, "Password required", "Any user name is accepted.", _CHALLENGE)

    # Pages. Each of them queries Redis, so it runs in a thread.

    def _campaigns(self, number: int, frame: Frame) -> str:
        if number == 1:
            found = self._all()
        else:
            most = pages.MOST_CAMPAIGNS
            found = self._statistics.campaigns(most + 1, (number - 1) * most)
        return pages.campaigns(found, number, int(time.time()), frame)

    def _campaign(self, campaign: str, frame: Frame) -> str:
        found, hours = self._with_hours(campaign)
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
        return pages.campaign(found, hours, about, int(time.time()), frame)

    def _breakdown(self, what: Dimension, frame: Frame) -> str:
        return pages.breakdown(what, self._statistics.by(what), int(time.time()), frame)

    def _with_hours(self, campaign: str) -> tuple[Campaign | None, live.Hours]:
        return self._statistics.campaign(campaign), self._statistics.hours(campaign)

    async def _stream(self, request: Request, pieces: AsyncIterator[str]) -> None:
        if self._streams >= self._most_streams:
            await request.error(503, "Too many live viewers", "Reload the page for new numbers.")
            return
        self._streams += 1
        try:
            await request.stream(pieces)
        finally:
            self._streams -= 1


def _password_in(authorization: bytes) -> bytes:
    """The password of Basic credentials (RFC 7617, section 2); empty if there are none."""
    scheme, _, coded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(coded.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def _is_address_or_localhost(host: bytes) -> bool:
    """Whether a Host header (RFC 9110, section 7.2) is an address or localhost."""
    name = re.sub(r":[0-9]*$", "", host.decode("latin-1")).strip("[]")
    try:
        return name.lower() == "localhost" or bool(ip_address(name))
    except ValueError:
        return False
