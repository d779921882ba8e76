"""A page of a mailbox provider, in a browser, that unsubscribes its reader with one click."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from fletching.keys.link_keys import new_link_key, read_link_keys
from fletching.store.events import EventLog
from fletching.tokens import Facts, Kind

from sandbox.processes import Daemon, answers, free_port
from sandbox.redis_server import RedisServer
from tests.browser.chromium import Chromium, Page
from tests.stores import open_store

pytestmark = pytest.mark.slow

FACTS = Facts("abcdefghijkl", 7, "News", "01", "T100", "u|s", "r@example.org", "bulk", 1)

POST = """fetch({url!r}, {{method: "POST", headers: {headers},
    body: "List-Unsubscribe=One-Click", credentials: "omit"}})
    .then((answer) => answer.status, (error) => error.name)"""


class _Provider(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = b"<!doctype html><title>Inbox</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def inbox() -> Iterator[Page]:
    """A page of an origin that is not ours."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        with Chromium() as browser:
            yield browser.open(f"http://127.0.0.1:{server.server_port}/")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Web:
    """`fletching web`, and the links that it answers."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self._keys = folder / "link-keys"
        new_link_key(self._keys, 1)
        self.port = free_port()
        config = {
            "redis": redis.url,
            "workers": 1,
            "state_dir": str(folder / "state"),
            "link_keys": str(self._keys),
            "web": {
                "listen": f"127.0.0.1:{self.port}",
                "admin_listen": f"127.0.0.1:{free_port()}",
            },
        }
        file = folder / "fletching.yaml"
        file.write_text(yaml.safe_dump(config))
        argv: list[str | Path] = [sys.executable, "-m", "fletching", "web", "--config", file]
        self.daemon = Daemon(argv, folder / "log")
        self._events = EventLog(open_store(redis.url))

    def link(self, noun: str, kind: Kind, url: str) -> str:
        sealed = read_link_keys(self._keys).seal(kind, FACTS, url)
        return f"http://127.0.0.1:{self.port}/{noun}?{sealed}"

    def recorded(self) -> list[dict[str, Any]]:
        return [json.loads(event) for _, event in self._events.read("0", 1000)]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with RedisServer() as redis:
        made = Web(tmp_path, redis)
        made.daemon.start(lambda: answers(made.port))
        try:
            yield made
        finally:
            made.daemon.stop()


def posted(inbox: Page, url: str, headers: dict[str, str]) -> object:
    """The status that the page gets to see, or the name of the browser's error."""
    script = POST.format(url=url, headers=json.dumps(headers))
    found = inbox.ask("Runtime.evaluate", expression=script, awaitPromise=True)
    return found["result"].get("value")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/x-www-form-urlencoded", "x-requested-with": "inbox"},
    ],
    ids=["without a preflight", "with a preflight"],
)
def test_one_click_works_from_another_origin(
    inbox: Page, web: Web, headers: dict[str, str]
) -> None:
    url = web.link("unsub", Kind.LIST_UNSUBSCRIBE, "")
    assert posted(inbox, url, headers) == 200
    (told,) = web.recorded()
    assert (told["event_type"], told["email"]) == ("engine_unsub", "r@example.org")


@pytest.mark.parametrize(
    ("noun", "kind", "url"),
    [
        ("unsub", Kind.UNSUBSCRIBE_HTML, "https://shop.example/out"),
        ("click", Kind.CLICK_HTML, "https://shop.example/"),
        ("open", Kind.OPEN, ""),
    ],
)
def test_nothing_else_is_open_to_another_origin(
    inbox: Page, web: Web, noun: str, kind: Kind, url: str
) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded", "x-requested-with": "inbox"}
    assert posted(inbox, web.link(noun, kind, url), headers) == "TypeError"
    assert web.recorded() == []
