"""A URL that gets events by POST: signed JSON arrays, or GreenArrow's legacy form.

Here live the request, its headers and the connection, perhaps through a proxy. The outside is met
with suspicion: time-outs, no redirect followed, TLS verified, no more read of an answer than it
takes to judge it. What an answer means is in `rules.py`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from types import MappingProxyType
from urllib.parse import urlsplit

from fletching.destinations import answers, form
from fletching.destinations.answers import Answer, Queued, failed
from fletching.events import rfc3339

TIMEOUT = 10.0
"""Seconds for the connection, and for each wait for a part of the answer."""

DEADLINE = 30.0
"""Seconds for the whole of a request and its answer."""

LONGEST_ANSWER = 64 * 1024
"""Octets that are read of an answer."""

_MOST_INTERIM = 100
_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class _Place:
    """What a URL says."""

    tls: bool
    host: str
    port: int
    path: str
    """With the query."""
    url: str
    """Without the fragment."""

    @classmethod
    def of(cls, url: str) -> _Place:
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        whole = f"{parts.scheme}://{parts.netloc}{path}"
        return cls(tls, parts.hostname or "", parts.port or (443 if tls else 80), path, whole)


class _FinalResponse(HTTPResponse):
    """An answer behind all interim ones (RFC 9110, section 15.2); http.client skips 100 only."""

    def begin(self) -> None:
        super().begin()
        for _ in range(_MOST_INTERIM):
            if self.status >= 200 or self.status == HTTPStatus.SWITCHING_PROTOCOLS:
                return
            self.headers = None  # type: ignore[assignment]
            super().begin()
        raise HTTPException("interim answers without end")


class Webhook:
    """One URL.

    ``secret`` None: what it gets is not signed. ``headers``: what each request has beside our own.
    ``proxy``: the URL of an HTTP proxy.
    """

    def __init__(
        self,
        url: str,
        secret: bytes | None,
        *,
        as_form: bool,
        headers: Mapping[str, str] = MappingProxyType({}),
        proxy: str | None = None,
    ) -> None:
        self.most = 1 if as_form else 100
        self._place = _Place.of(url)
        self._proxy = None if proxy is None else _Place.of(proxy)
        self._secret = secret
        self._as_form = as_form
        self._more_headers = headers
        self._tls = ssl.create_default_context() if self._place.tls else None
        self._open: HTTPConnection | None = None

    def deliver(self, batch: Sequence[Queued], attempt: int) -> Answer:
        """One request with all of them."""
        body = self._body(batch)
        headers = self._headers(batch, attempt, body)
        try:
            status, told, wait = self._ask(body, headers)
        except (OSError, HTTPException) as error:
            self.close()
            return failed(f"{type(error).__name__}: {error}")
        if self._as_form:
            return answers.of_form(status, told, wait)
        return answers.of_webhook(status, wait)

    def close(self) -> None:
        """The connection ends; a delivery after it makes a new one."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _body(self, batch: Sequence[Queued]) -> bytes:
        if self._as_form:
            (event,) = batch
            return form.encoded(event.fields)
        return f"[{','.join(event.json for event in batch)}]".encode()

    def _headers(self, batch: Sequence[Queued], attempt: int, body: bytes) -> dict[str, str]:
        headers = {
            **self._more_headers,
            "Content-Type": _FORM if self._as_form else _JSON,
            "User-Agent": "Fletching",
            "X-Fletching-Attempt": str(attempt),
            "X-Fletching-First-Queued": rfc3339(min(event.queued for event in batch)),
        }
        if self._secret is not None:
            now = int(time.time())
            headers["X-Fletching-Signature"] = answers.signature(self._secret, now, body)
        return headers

    def _ask(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, float]:
        """Status and beginning of the answer, and the seconds to wait that it asks for.

        Raises OSError and HTTPException.
        """
        if self._open is not None:
            try:
                return self._ask_at(self._open, body, headers)
            except (ConnectionError, HTTPException):
                # It has been idle, and the other side may have closed it.
                self.close()
        self._open = self._connection()
        return self._ask_at(self._open, body, headers)

    def _ask_at(
        self, connection: HTTPConnection, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes, float]:
        # Each wait has its end, but they may be many: an answer that comes in drops.
        is_late = threading.Event()
        patience = threading.Timer(DEADLINE, _cut, (connection, is_late))
        patience.start()
        try:
            connection.request("POST", self._target, body, headers)
            answer = connection.getresponse()
            told = _beginning(answer)
        finally:
            patience.cancel()
        if is_late.is_set():
            # What was cut off may look like the end of an answer.
            raise TimeoutError(f"no whole answer within {DEADLINE:g} seconds")
        if not answer.isclosed():
            self.close()
        return (
            answer.status,
            told,
            answers.retry_after(answer.getheader("Retry-After"), time.time()),
        )

    @property
    def _target(self) -> str:
        """A proxy wants the whole URL, unless it only passes TLS on (RFC 9112, section 3.2)."""
        is_passed_on = self._proxy is None or self._place.tls
        return self._place.path if is_passed_on else self._place.url

    def _connection(self) -> HTTPConnection:
        place, to = self._place, self._proxy or self._place
        connection = (
            HTTPConnection(to.host, to.port, timeout=TIMEOUT)
            if self._tls is None
            else HTTPSConnection(to.host, to.port, timeout=TIMEOUT, context=self._tls)
        )
        connection.response_class = _FinalResponse
        if self._proxy is not None and place.tls:
            connection.set_tunnel(place.host, place.port)
        return connection


def _cut(connection: HTTPConnection, is_late: threading.Event) -> None:
    """Ends the connection under whoever waits for it."""
    is_late.set()
    with contextlib.suppress(OSError):
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)


def _beginning(answer: HTTPResponse) -> bytes:
    """At most `LONGEST_ANSWER`, and what has come within `TIMEOUT` where it comes in drops."""
    end = time.monotonic() + TIMEOUT
    told = b""
    while len(told) < LONGEST_ANSWER and time.monotonic() < end:
        part = answer.read1(LONGEST_ANSWER - len(told))
        if not part:
            break
        told += part
    if answer.length == 0:
        # All is read, and the connection is good for another request; http.client is not told.
        answer.close()
    return told
