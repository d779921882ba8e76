"""A URL that gets events by POST: signed JSON arrays, or GreenArrow's legacy form.

Here live the request, its headers and the connection. The outside is met with suspicion: time-outs,
no redirect followed, TLS verified, no more read of an answer than it takes to judge it. What an
answer means is in `rules.py`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

from fletching.destinations import form, rules
from fletching.destinations.rules import Answer, Queued, failed
from fletching.events import rfc3339

TIMEOUT = 10.0
"""Seconds for the connection, and for each wait for a part of the answer."""

DEADLINE = 30.0
"""Seconds for the whole of a request and its answer."""

LONGEST_ANSWER = 64 * 1024
"""Octets that are read of an answer."""

_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class _Place:
    """What a URL says."""

    tls: bool
    host: str
    port: int
    target: str

    @classmethod
    def of(cls, url: str) -> _Place:
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(tls, parts.hostname or "", parts.port or (443 if tls else 80), target)


class Webhook:
    """One URL. ``secret`` None: what it gets is not signed."""

    def __init__(self, url: str, secret: bytes | None, *, as_form: bool) -> None:
        self.most = 1 if as_form else 100
        self._place = _Place.of(url)
        self._secret = secret
        self._as_form = as_form
        self._tls = ssl.create_default_context() if self._place.tls else None
        self._open: HTTPConnection | None = None

    def deliver(self, batch: Sequence[Queued], attempt: int) -> Answer:
        """One request with all of them."""
        body = self._body(batch)
        headers = self._headers(batch, attempt, body)
        try:
            status, told = self._ask(body, headers)
        except (OSError, HTTPException) as error:
            self.close()
            return failed(f"{type(error).__name__}: {error}")
        return rules.of_form(status, told) if self._as_form else rules.of_webhook(status)

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
            "Content-Type": _FORM if self._as_form else _JSON,
            "User-Agent": "Fletching",
            "X-Fletching-Attempt": str(attempt),
            "X-Fletching-First-Queued": rfc3339(min(event.queued for event in batch)),
        }
        if self._secret is not None:
            now = int(time.time())
            headers["X-Fletching-Signature"] = rules.signature(self._secret, now, body)
        return headers

    def _ask(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and beginning of the answer. Raises OSError and HTTPException."""
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
    ) -> tuple[int, bytes]:
        # Each wait has its end, but they may be many: an answer that comes in drops.
        is_late = threading.Event()
        patience = threading.Timer(DEADLINE, _cut, (connection, is_late))
        patience.start()
        try:
            connection.request("POST", self._place.target, body, headers)
            answer = connection.getresponse()
            told = _beginning(answer)
        finally:
            patience.cancel()
        if is_late.is_set():
            # What was cut off may look like the end of an answer.
            raise TimeoutError(f"no whole answer within {DEADLINE:g} seconds")
        if not answer.isclosed():
            self.close()
        return answer.status, told

    def _connection(self) -> HTTPConnection:
        place = self._place
        if self._tls is None:
            return HTTPConnection(place.host, place.port, timeout=TIMEOUT)
        return HTTPSConnection(place.host, place.port, timeout=TIMEOUT, context=self._tls)


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
