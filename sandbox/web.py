"""The web around Fletching: a reader's browser that follows nothing, and a customer's webhook."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from sandbox.processes import Server, wait_until

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a web server said. Names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def location(self) -> str | None:
        return self.headers.get("location")


def ask(
    port: int,
    url: str,
    method: str = "GET",
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Asks for a URL as a proxy before a loopback port would; the target goes out as it stands."""
    parts = urlsplit(url)
    target = url[url.index(parts.netloc) + len(parts.netloc) :].partition("#")[0]
    sent = {"Host": parts.netloc, "User-Agent": AGENT, **(headers or {})}
    if body is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    client = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        client.request(method, target, body, sent)
        response = client.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, told, response.read())
    finally:
        client.close()


def is_signed(secret: str, signature: str, body: bytes) -> bool:
    """Whether X-Fletching-Signature is right for a batch, whatever its time."""
    found = re.fullmatch(r"t=(\d+), ?v1=([0-9a-f]{64})", signature)
    return found is not None and hmac.compare_digest(
        hmac.digest(secret.encode(), found[1].encode() + b"." + body, hashlib.sha256),
        bytes.fromhex(found[2]),
    )


class Webhook(Server):
    """A customer's program: it takes batches, looks at their signature, and keeps the events."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._events: list[dict[str, Any]] = []
        self.unsigned = 0
        """Batches whose signature was not right."""
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.take(self.headers["X-Fletching-Signature"] or "", body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def take(self, signature: str, body: bytes) -> None:
        self.unsigned += not is_signed(self._secret, signature, body)
        self._events += json.loads(body)

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events that have come, in order."""
        return list(self._events)

    def wait(self, count: int) -> list[dict[str, Any]]:
        """Waits until that many events have come; more are an error."""
        wait_until(f"not {count} events: {self._events}", lambda: len(self._events) >= count)
        assert len(self._events) == count, self._events
        return self.events

    def clear(self) -> None:
        self._events.clear()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
