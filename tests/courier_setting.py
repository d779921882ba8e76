"""Around the courier: events to carry, and a customer's web server that answers as it is told.

The receiver is Python's own http.server. For the legacy form it behaves as MailWizz does
(docs/events.md, "Legacy form post"): it takes one event per request, and answers `ok`.
"""

from __future__ import annotations

import contextlib
import json
import signal
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from fletching import events
from fletching.destinations.answers import QueuedEvent
from fletching.events import Event
from fletching.tokens import Facts

from sandbox.processes import Daemon, Server, wait_until

NOW = 1_790_000_000_000


def event(number: int, type: str = events.CLICK, mail_class: str = "news", **more: Any) -> Event:
    """The event of one message of a campaign; its id tells its number."""
    facts = Facts(
        campaign="abcdefgh",
        number=number,
        mail_class=mail_class,
        instance_id="20260921",
        listid="T100",
        click_tracking_id="campaign|subscriber",
        email=f"reader{number}@example.org",
        mtaid="a",
        sent=NOW // 1000,
    )
    details = {
        "click_url": "https://shop.example.com/?a=1&b=\xfc",
        "engine_ip": "192.0.2.1",
        "user_agent": "Mozilla/5.0",
        "is_bot": False,
        **more,
    }
    return Event(type, NOW + number, f"id{number:06}", "mx1", facts, details)


def queued(*sent_events: Event) -> list[QueuedEvent]:
    """Events as a destination gets them."""
    return [QueuedEvent.parse(f"{each.milliseconds}-0", each.json()) for each in sent_events]


@dataclass(frozen=True, slots=True)
class Request:
    """What came. Names of headers in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        sent_events: list[dict[str, Any]] = json.loads(self.body)
        return sent_events

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))


@dataclass(frozen=True, slots=True)
class Reply:
    """What the receiver answers."""

    status: int = 204
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


Answering = Callable[[Request], Reply]


class Receiver(Server):
    """A customer's web server. ``answer`` may be changed while it runs."""

    def __init__(self, answer: Answering = lambda _: Reply()) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                receiver.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.path, headers, body)
                receiver.requests.append(request)
                reply = receiver.answer(request)
                self.send_response(reply.status)
                for name, value in reply.headers:
                    self.send_header(name, value)
                if reply.status != 204:
                    self.send_header("Content-Length", str(len(reply.body)))
                # Who asked may have been killed meanwhile.
                with contextlib.suppress(ConnectionError):
                    self.end_headers()
                    self.wfile.write(reply.body)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        class Threads(ThreadingHTTPServer):
            daemon_threads = True
            # A connection that is kept open must not keep the test's end back.
            block_on_close = False

        self._server = Threads(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?of=shop"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def wrap(self, tls: ssl.SSLContext) -> None:
        """It speaks TLS from now on. Threads do the handshake: a broken one stops nobody else."""
        self._server.socket = tls.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events of all requests, in order."""
        return [event for request in list(self.requests) for event in request.events]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def mailwizz(request: Request) -> Reply:
    """As a receiver of GreenArrow's form answers: to an event without a type, no `ok`."""
    known = request.headers["content-type"] == "application/x-www-form-urlencoded"
    if not known or "event_type" not in request.form:
        return Reply(200, b"nothing done")
    return Reply(200, b"ok")


class Courier(Server):
    """`fletching courier` as a process of its own. ``events``: that section, in YAML."""

    def __init__(
        self,
        folder: Path,
        redis: str,
        events: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir()
        self.folder = folder
        self._redis = redis
        self.config = folder / "fletching.yaml"
        self.configure(events)
        words = ("-m", "fletching", "courier", "--config", self.config)
        self.daemon = Daemon([sys.executable, *words], folder / "log", environment)

    def configure(self, events: str) -> None:
        """Writes the configuration anew; a running courier hears of it by `reload`."""
        state = self.folder / "state"
        self.config.write_text(f"redis: {self._redis}\nstate_dir: {state}\nevents: {events}\n")

    def start(self) -> None:
        self.daemon.start(lambda: bool(self.lines("started")))

    def stop(self) -> None:
        ran = self.daemon.running
        status = self.daemon.stop()
        assert status == 0 or not ran, f"ended with {status}:\n{self.log()}"

    def reload(self) -> None:
        """SIGHUP, and waits for what it says of it."""
        before = len(self.lines("configuration"))
        self.daemon.signal(signal.SIGHUP)
        wait_until("no word of a reload", lambda: len(self.lines("configuration")) > before)

    def log(self) -> str:
        """All that it has said."""
        return (self.folder / "log").read_text()

    def lines(self, name: str) -> list[str]:
        """Its lines of that name."""
        return [line for line in self.log().splitlines() if line.partition(" ")[0] == name]
