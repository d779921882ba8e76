"""One request to the dashboard, and the ways to respond: a page, an error page, a stream.

Here live the headers that every response has. What a page shows is in `pages.py`.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from fletching.daemons.dashboard import pages
from fletching.daemons.dashboard.frame import Frame

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Render = Callable[[Frame], str]
"""Renders a page, given what surrounds it."""

_PAGE = re.compile("[1-9][0-9]{0,5}")
_HTML, _EVENTS = b"text/html; charset=utf-8", b"text/event-stream; charset=utf-8"
_CSV = b"text/csv; charset=utf-8"
_LARGEST_FORM = 8192
_HEADERS = (
    (b"cache-control", b"no-store"),
    # With no-referrer, browsers would send a form with `Origin: null`.
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # nginx would delay a stream until a buffer is full.
    (b"x-accel-buffering", b"no"),
)
_POLICY = (
    "default-src 'none'; style-src 'nonce-{0}'; script-src 'nonce-{0}'; img-src data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class NotFound(Exception):
    """There is no such campaign."""


class Request:
    """One request, and the ways to respond."""

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.method = str(scope["method"])
        self.path = str(scope["path"])
        self.query = _fields(scope["query_string"])
        page = self.query.get("page", "")
        self.page_number = int(page) if _PAGE.fullmatch(page) else 1
        self.client = str((scope.get("client") or ("",))[0])
        self.can_log_in = False
        """Whether there is a password; `access.py` sets it, and `form_token`."""

        self.form_token = ""
        """What the forms of this session have; empty if nobody is logged in."""

        query = scope["query_string"]
        raw = scope.get("raw_path") or scope["path"].encode()
        self.target = (raw + (b"?" + query if query else b"")).decode("latin-1")
        """Path and query as they were sent."""

        self._headers = tuple(scope["headers"])
        self._receive = receive
        self._send = send
        self._answered = False

    def header(self, name: bytes) -> bytes:
        """The value of a header; empty if it is missing or repeated."""
        values = self.values(name)
        return values[0] if len(values) == 1 else b""

    def values(self, name: bytes) -> list[bytes]:
        """All values of a header: some proxies add a field to one that the client sent."""
        return [bytes(value) for found, value in self._headers if found == name]

    @property
    def is_of_another_site(self) -> bool:
        """Whether a page of another site may have made the browser send this.

        Browsers add Sec-Fetch-Site where TLS or loopback protects it, and Origin to every POST.
        """
        site = self.header(b"sec-fetch-site")
        if site:
            return site != b"same-origin"
        host = self.header(b"host")
        return not host or self.header(b"origin") not in (b"http://" + host, b"https://" + host)

    async def form(self) -> Mapping[str, str]:
        """The fields of the form in the body. Raises ValueError if that is too large or cut."""
        body, more = b"", True
        while more:
            message = await self._receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > _LARGEST_FORM or message["type"] == "http.disconnect":
                raise ValueError("no form of at most 8 KiB")
        return _fields(body)

    async def redirect(self, path: str, *headers: tuple[bytes, bytes]) -> None:
        """Sends the browser to a page, after a change."""
        await self._begin(303, _HTML, (b"location", path.encode("ascii")), *headers)
        await self._body("")

    async def download(self, name: str, pieces: AsyncIterator[str]) -> None:
        """Responds with a CSV file. ``name``: ASCII, without quotes."""
        disposition = f'attachment; filename="{name}"'.encode("ascii")
        await self._begin(200, _CSV, (b"content-disposition", disposition))
        await self._send_all(pieces)

    def _frame(self) -> Frame:
        return Frame(secrets.token_urlsafe(16), self.form_token, self.can_log_in)

    async def page(self, render: Render, status: int = 200) -> None:
        """Responds with a page, or with 404."""
        frame = self._frame()
        try:
            page = await asyncio.to_thread(render, frame)
        except NotFound:
            await self.error(404, "Campaign not found", "It may have expired.")
        else:
            await self._html(status, page, frame.nonce)

    async def error(
        self, status: int, title: str, text: str, *headers: tuple[bytes, bytes]
    ) -> None:
        """Responds with an error page, unless a response has begun."""
        if not self._answered:
            frame = self._frame()
            await self._html(status, pages.error(title, text, frame), frame.nonce, *headers)

    async def stream(self, pieces: AsyncIterator[str]) -> None:
        """Responds with a stream, until the client disconnects."""
        await self._begin(200, _EVENTS)
        sending = asyncio.ensure_future(self._send_all(pieces))
        gone = asyncio.ensure_future(self._disconnected())
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            sending.cancel()
            gone.cancel()

    async def _send_all(self, pieces: AsyncIterator[str]) -> None:
        if self.method != "HEAD":
            async for piece in pieces:
                await self._body(piece, more=True)
        await self._body("")

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _html(
        self, status: int, page: str, nonce: str, *headers: tuple[bytes, bytes]
    ) -> None:
        policy = (b"content-security-policy", _POLICY.format(nonce).encode())
        length = (b"content-length", str(len(page.encode())).encode())
        await self._begin(status, _HTML, policy, length, *headers)
        await self._body("" if self.method == "HEAD" else page)

    async def _begin(self, status: int, content_type: bytes, *headers: tuple[bytes, bytes]) -> None:
        self._answered = True
        fields = [(b"content-type", content_type), *_HEADERS, *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": fields})

    async def _body(self, text: str, *, more: bool = False) -> None:
        await self._send({"type": "http.response.body", "body": text.encode(), "more_body": more})


def _fields(encoded: bytes) -> Mapping[str, str]:
    """The fields of a form or a query; of equal names the last one. Nothing if it has too many."""
    try:
        return dict(parse_qsl(encoded.decode("latin-1"), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        return {}
