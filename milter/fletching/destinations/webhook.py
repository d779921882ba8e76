"""A URL that gets events by POST, in one of the formats of `formats/`.

Here live the request, the connection, perhaps through a proxy, and what the answer means. The other
side is not trusted: every wait has a limit, redirects are not followed, TLS certificates are
verified, and no more of an answer is read than it takes to judge it.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from types import MappingProxyType
from urllib.parse import urlsplit

from fletching.destinations.answers import (
    ARRIVED,
    Answer,
    QueuedEvent,
    Verdict,
    failed,
    retry_after,
)
from fletching.destinations.formats.greenarrow import ARRAY
from fletching.destinations.formats.post import Format, Post, Signing
from fletching.events import rfc3339

TIMEOUT = 10.0
"""Seconds to connect, and for each wait for a part of the answer."""

DEADLINE = 30.0
"""Seconds for a whole request and its answer."""

LONGEST_ANSWER = 64 * 1024
"""Bytes that are read of an answer."""

_MOST_INTERIM = 100
_OK = re.compile(rb"\s*ok\b", re.IGNORECASE)
_NOT_ACCEPTABLE, _GONE, _TOO_LARGE = 406, 410, 413
_MALFORMED = (400, 422)
_LATER = (429, 503)


@dataclass(frozen=True, slots=True)
class _Url:
    """The parts of a URL. ``path``: with the query. ``whole``: without the fragment."""

    tls: bool
    host: str
    port: int
    path: str
    whole: str

    @classmethod
    def parse(cls, url: str) -> _Url:
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        whole = f"{parts.scheme}://{parts.netloc}{path}"
        return cls(tls, parts.hostname or "", parts.port or (443 if tls else 80), path, whole)


class _FinalResponse(HTTPResponse):
    """An answer after all interim ones (RFC 9110, section 15.2); http.client skips only 100."""

    def begin(self) -> None:
        super().begin()
        for _ in range(_MOST_INTERIM):
            if self.status >= 200 or self.status == HTTPStatus.SWITCHING_PROTOCOLS:
                return
            self.headers = None  # type: ignore[assignment]
            super().begin()
        raise HTTPException("too many interim responses")


class Webhook:
    """One URL.

    ``format``: that of the requests. ``secret``: signs them; None leaves them unsigned.
    ``headers``: sent in addition to our own. ``proxy``: the URL of an HTTP proxy. ``timeout`` and
    ``deadline``: in seconds.
    """

    def __init__(
        self,
        url: str,
        secret: bytes | None,
        *,
        format: Format = ARRAY,
        headers: Mapping[str, str] = MappingProxyType({}),
        proxy: str | None = None,
        timeout: float = TIMEOUT,
        deadline: float = DEADLINE,
    ) -> None:
        self.batch_size = format.most
        self._url = _Url.parse(url)
        self._proxy = None if proxy is None else _Url.parse(proxy)
        self._secret = secret
        self._format = format
        self._more_headers = headers
        self._timeout = timeout
        self._deadline = deadline
        self._tls = ssl.create_default_context() if self._url.tls else None
        self._connection: HTTPConnection | None = None

    def deliver(self, batch: Sequence[QueuedEvent], attempt: int) -> Answer:
        """Sends all events of the batch in one request, those that have a counterpart there."""
        now = int(time.time())
        post = self._format.post([event.fields for event in batch], Signing(now, self._secret))
        if post is None:
            return ARRIVED
        headers = self._headers(batch, attempt, post, now)
        try:
            status, answer, wait = self._post(post.body, headers)
        except (OSError, HTTPException) as error:
            self.close()
            return failed(f"{type(error).__name__}: {error}")
        return judge_form(status, answer, wait) if self._format.says_ok else judge(status, wait)

    def close(self) -> None:
        """Closes the connection; the next delivery opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _headers(
        self, batch: Sequence[QueuedEvent], attempt: int, post: Post, now: int
    ) -> dict[str, str]:
        headers = {
            **self._more_headers,
            "Content-Type": post.content_type,
            **post.headers,
            "User-Agent": "Fletching",
            "X-Fletching-Attempt": str(attempt),
            "X-Fletching-First-Queued": rfc3339(min(event.queued_at for event in batch)),
        }
        if self._secret is not None:
            headers["X-Fletching-Signature"] = signature(self._secret, now, post.body)
        return headers

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, float]:
        """The answer's status, the beginning of its body, and the seconds that it asks to wait.

        Raises OSError and HTTPException.
        """
        if self._connection is not None:
            try:
                return self._post_on(self._connection, body, headers)
            except (ConnectionError, HTTPException):
                # The other side may have closed it while it was idle.
                self.close()
        self._connection = self._connect()
        return self._post_on(self._connection, body, headers)

    def _post_on(
        self, connection: HTTPConnection, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes, float]:
        # Each wait has a limit, but an answer that arrives byte by byte makes many waits.
        is_late = threading.Event()
        timer = threading.Timer(self._deadline, _cut, (connection, is_late))
        timer.start()
        try:
            connection.request("POST", self._target, body, headers)
            answer = connection.getresponse()
            beginning = self._beginning(answer)
        finally:
            timer.cancel()
        if is_late.is_set():
            # A connection that was cut may look like the end of an answer.
            raise TimeoutError(f"no complete response within {self._deadline:g} seconds")
        if not answer.isclosed():
            self.close()
        wait = retry_after(answer.getheader("Retry-After"), time.time())
        return answer.status, beginning, wait

    @property
    def _target(self) -> str:
        """A proxy needs the whole URL, unless it only passes TLS on (RFC 9112, section 3.2)."""
        is_passed_on = self._proxy is None or self._url.tls
        return self._url.path if is_passed_on else self._url.whole

    def _connect(self) -> HTTPConnection:
        url, to = self._url, self._proxy or self._url
        connection = (
            HTTPConnection(to.host, to.port, timeout=self._timeout)
            if self._tls is None
            else HTTPSConnection(to.host, to.port, timeout=self._timeout, context=self._tls)
        )
        connection.response_class = _FinalResponse
        if self._proxy is not None and url.tls:
            connection.set_tunnel(url.host, url.port)
        return connection

    def _beginning(self, answer: HTTPResponse) -> bytes:
        """At most `LONGEST_ANSWER` bytes of the body, and what arrives within the time-out."""
        end = time.monotonic() + self._timeout
        body = b""
        while len(body) < LONGEST_ANSWER and time.monotonic() < end:
            part = answer.read1(LONGEST_ANSWER - len(body))
            if not part:
                break
            body += part
        if answer.length == 0:
            # All is read, so the connection can be used again. http.client has to be informed.
            answer.close()
        return body


def _cut(connection: HTTPConnection, is_late: threading.Event) -> None:
    """Ends the connection while another thread waits for it."""
    is_late.set()
    with contextlib.suppress(OSError):
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)


def judge(status: int, wait: float = 0.0) -> Answer:
    """What the answer to a JSON webhook means, by its status (RFC 9110, section 15).

    ``wait``: the seconds in its Retry-After.
    """
    if 200 <= status < 300:
        return ARRIVED
    why = f"status {status}"
    if status == _GONE:
        return Answer(Verdict.STOP, why)
    if status == _TOO_LARGE:
        return Answer(Verdict.SPLIT, why)
    if status == _NOT_ACCEPTABLE:
        return Answer(Verdict.DEAD_LETTER, why)
    if status in _MALFORMED:
        return Answer(Verdict.REFUSED, why)
    if 300 <= status < 400:
        return failed(f"{why}: redirects are not followed: configure the final URL")
    return replace(failed(why), wait=wait if status in _LATER else 0.0)


def judge_form(status: int, body: bytes, wait: float = 0.0) -> Answer:
    """What the answer to a legacy form post means: its body must begin with `ok`."""
    answer = judge(status, wait)
    if answer.verdict is Verdict.DELIVERED and not _OK.match(body):
        return failed("the response does not begin with ok")
    return answer


def signature(secret: bytes, seconds: int, body: bytes) -> str:
    """The value of X-Fletching-Signature: HMAC-SHA256 over the time, a full stop and the body.

    ``seconds``: unix time, by which the receiver recognizes an old request that is replayed.
    """
    mac = hmac.new(secret, f"{seconds}.".encode() + body, "sha256")
    return f"t={seconds},v1={mac.hexdigest()}"
