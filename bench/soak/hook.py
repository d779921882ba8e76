"""The customer's webhook during a soak: it keeps the ids of accepted events, and can fail."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sandbox.processes import Server
from sandbox.web import is_signed

WORKING, BROKEN, BUSY, CUT, SLOW = "working", "500", "503", "cut", "slow"
"""It accepts; answers 500, or 503 with Retry-After; ends the connection without an answer; or
answers after the courier has given up."""

_SLOW = 11.0
"""Seconds; the courier waits 10 for data."""


class Hook(Server):
    """A web server on a free loopback port. ``mode`` may be changed while it runs."""

    def __init__(self, secret: str) -> None:
        self.mode = WORKING
        self.unsigned = 0
        """Batches whose signature was not right."""
        self.batches = self.failed = 0
        self._accepted: dict[str, int] = {}
        self._lock = threading.Lock()
        self._awake = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                mode = hook.mode
                if mode == SLOW:
                    hook._awake.wait(_SLOW)
                if mode != WORKING:
                    hook.failed += 1
                    self.answer_failure(mode)
                    return
                signed = is_signed(secret, self.headers["X-Fletching-Signature"] or "", body)
                hook.accept(body, signed)
                self.send_response(204)
                self.end_headers()

            def answer_failure(self, mode: str) -> None:
                if mode in (BROKEN, BUSY):
                    self.send_response(int(mode))
                    self.send_header("Retry-After", "1")
                    self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        class Threads(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, address: object) -> None:
                """A courier that was killed does not wait for its answer."""

        self._server = Threads(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def accept(self, body: bytes, signed: bool) -> None:
        """Keep a batch."""
        with self._lock:
            self.batches += 1
            self.unsigned += not signed
            for event in json.loads(body):
                id = str(event["event_unique_id"])
                self._accepted[id] = self._accepted.get(id, 0) + 1

    @property
    def accepted(self) -> dict[str, int]:
        """How often each event was accepted, in the order in which they first were."""
        with self._lock:
            return dict(self._accepted)

    def __len__(self) -> int:
        return len(self._accepted)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._awake.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
