"""The tracking web service: it answers the links in tracked mail.

Here live the ASGI side of requests and responses, and their order: an event is recorded before the
response is sent. What a response is, is decided in `returning/hits.py`; the processes are in
`main.py`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from fletching import log
from fletching.config.faults import UnusableError, named_by
from fletching.config.model import Config
from fletching.config.sections import Web
from fletching.daemons.intake.holding import HELD, Holding
from fletching.daemons.intake.recorder import Recorder
from fletching.daemons.web.pages import POLICY, REDIRECTS, PageError, Pages
from fletching.metrics.web_requests import WebRequests
from fletching.returning import bots, hits, visitor
from fletching.returning.hits import Answer, Body, Moment, Request
from fletching.startup import host_name, link_keys

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_WITHIN = 10.0
"""Seconds within which the body of a POST must arrive."""

_APP_LINKS = {
    "/.well-known/apple-app-site-association": "apple-app-site-association",
    "/apple-app-site-association": "apple-app-site-association",
    "/.well-known/assetlinks.json": "assetlinks.json",
}
_USED_HEADERS = {
    b"user-agent", b"x-forwarded-for", b"accept-language",
    b"sec-purpose", b"purpose", b"x-moz", b"x-purpose",
}  # fmt: skip
_NO_EVENT = "none"
_JSON = (("content-type", "application/json"),)


@dataclass(frozen=True)
class Opened:
    """What requests are answered from; all of it is read when the configuration is opened."""

    hits: hits.Settings
    pages: Pages
    proxies: tuple[visitor.Network, ...]
    files: Mapping[str, bytes]


def opened(config: Config) -> Opened:
    """Reads what the configuration names. Raises UnusableError."""
    web = config.web or Web()
    keys = link_keys(config, without="no link can be decrypted")
    for name, folder in (("templates", web.templates), ("app_links", web.app_links)):
        with named_by("web", name, fault=OSError):
            if folder is not None and not folder.is_dir():
                raise UnusableError(("web", name), f"{folder}: not a directory")
    mailboxes = _mailboxes(config)
    with named_by("web", "templates", fault=PageError):
        pages = Pages(web.templates, mailboxes.values())
    settings = hits.Settings(keys, host_name(config), _lists(), _immediate(config), mailboxes)
    return Opened(settings, pages, web.trusted_proxies, _app_links(web.app_links))


def _lists() -> bots.Lists:
    folder = files("fletching.returning")
    texts = [folder.joinpath(name).read_text("utf-8") for name in ("scanners.txt", "networks.txt")]
    return bots.lists("\n".join(texts))


def _immediate(config: Config) -> Mapping[str, bool]:
    """Whether unsubscribe links need no confirmation, by Mail Class; "" is all other classes."""
    found = {"": config.unsubscribe_tag}
    for name, mail_class in config.mail_classes.items():
        found[name.lower()] = mail_class.unsubscribe_tag or config.unsubscribe_tag
    return {name: mode == "immediate" for name, mode in found.items()}


def _mailboxes(config: Config) -> Mapping[str, str]:
    """The mailbox for unsubscribes by mail, by Mail Class; empty for none. "" is all other
    classes.
    """
    found = {"": config.unsubscribe_mailbox or ""}
    for name, mail_class in config.mail_classes.items():
        found[name.lower()] = mail_class.unsubscribe_mailbox or found[""]
    return found


def _app_links(folder: Path | None) -> Mapping[str, bytes]:
    """Contents of the files by URL path; a missing file has no entry."""
    if folder is None:
        return {}
    paths = {path: folder / name for path, name in _APP_LINKS.items()}
    with named_by("web", "app_links", fault=OSError):
        return {path: file.read_bytes() for path, file in paths.items() if file.exists()}


class Application:
    """The ASGI application of one process."""

    def __init__(
        self, opened: Opened, recorder: Recorder, holding: Holding, counts: WebRequests | None
    ) -> None:
        """``counts``: None if the disk had no room for them."""
        self.opened = opened
        self._counts = counts
        self._recorder = recorder
        self._holding = holding

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "no other protocol is switched on"
        method: str = scope["method"]
        path, query = scope["raw_path"], scope["query_string"]
        target = (path + b"?" + query if query else path).decode("latin-1")
        headers = _headers(scope)
        if (file := self.opened.files.get(target)) is not None and method in ("GET", "HEAD"):
            return await _answer(send, method, 200, _JSON, file)
        try:
            body = await _body(receive) if method == "POST" else b""
        except OSError:
            return None  # the client has disconnected
        begun, event = time.perf_counter(), _NO_EVENT
        try:
            address = visitor.address(
                _client(scope), headers.get("x-forwarded-for", ""), self.opened.proxies
            )
            answer, event = await self._answer(Request(method, target, address, headers, body))
        except Exception as error:  # noqa: BLE001 an edge: the client gets 500
            log.page_failed("web", error)
            answer = hits.FAILED
        more, body = self._content(answer, headers)
        if self._counts is not None:
            self._counts.answered(event, answer.status, time.perf_counter() - begun)
        return await _answer(send, method, answer.status, answer.headers + more, body)

    async def _answer(self, request: Request) -> tuple[Answer, str]:
        """The answer, and the type of the event that was recorded."""
        moment = Moment(time.time_ns() // 1_000_000, os.urandom(10))
        hit = hits.answer(request, moment, self.opened.hits)
        if hit.touch is not None:
            self._holding.note(hit.message, hit.touch)
            if hit.for_program and await self._holding.is_program(hit.message, hit.touch):
                return hit.for_program, _NO_EVENT
        if hit.event is not None:
            if hit.event.type in HELD:
                self._holding.hold(hit.event)
            else:
                await self._recorder.record(hit.event)
        return hit.answer, hit.event.type if hit.event is not None else _NO_EVENT

    def _content(self, answer: Answer, headers: Mapping[str, str]) -> tuple[hits.Headers, bytes]:
        """The headers of the content of a response, and the content."""
        if answer.body is Body.NOTHING:
            return (), b""
        if answer.body is Body.PIXEL:
            return (), hits.PIXEL
        pages = self.opened.pages
        language = visitor.language(headers.get("accept-language", ""), pages.languages)
        more = (
            ("content-type", "text/html; charset=utf-8"),
            ("content-language", language),
            ("vary", "accept-language"),
            ("content-security-policy", POLICY + (REDIRECTS if answer.destination else "")),
        )
        return more, pages.page(answer.body, language, answer.mailbox)


def _headers(scope: Scope) -> dict[str, str]:
    """The request headers that are used; repeated ones are joined, in order."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in _USED_HEADERS:
            key, text = name.decode("latin-1"), _decoded(value)
            found[key] = f"{found[key]},{text}" if key in found else text
    return found


def _decoded(value: bytes) -> str:
    """Decodes UTF-8, which some programs send, or else Latin-1 (RFC 9110, section 5.5)."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _client(scope: Scope) -> str:
    """The address of the client; empty for a Unix socket."""
    client = scope.get("client")
    return client[0] if client else ""


async def _body(receive: Receive) -> bytes:
    """The body, or enough of it to show that it is too long."""
    body = b""
    async with asyncio.timeout(BODY_WITHIN):
        while len(body) <= hits.LONGEST_BODY:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client has disconnected")
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
    return body


async def _answer(send: Send, method: str, status: int, headers: hits.Headers, body: bytes) -> None:
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    fields.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
