"""The page of suppression lists in a browser: its forms work, and a page of another site cannot use
them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from fletching.store.suppression import Suppression

from sandbox.redis_server import RedisServer
from tests.browser.chromium import Chromium
from tests.browser.test_dashboard import CONTRAST, log_in
from tests.dashboard_client import PASSWORD
from tests.dashboard_numbers import Numbers, served
from tests.stores import open_store

pytestmark = pytest.mark.slow

SUBMIT = "document.querySelector('form[action=\"/suppression/{0}\"] button').click()"
FILL = "document.querySelector('form[action=\"/suppression/add\"] [name={0}]').value = '{1}'"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """A browser that has logged in: cookies are those of a host, whatever its port."""
    with Chromium() as browser, served(Numbers(), PASSWORD) as port:
        log_in(browser.open(f"http://127.0.0.1:{port}/login"))
        yield browser


@pytest.fixture
def lists(redis: RedisServer) -> Suppression:
    redis.client.flushall()
    return Suppression(open_store(redis.url))


@pytest.fixture
def home(redis: RedisServer, lists: Suppression) -> Iterator[str]:
    with served(Numbers(), PASSWORD, redis=redis.url) as port:
        yield f"http://127.0.0.1:{port}"


def test_address_is_added_and_removed(chromium: Chromium, home: str, lists: Suppression) -> None:
    page = chromium.open(f"{home}/suppression")
    page.value(FILL.format("listid", "t100"))
    page.value(FILL.format("address", "ann@example.org"))
    page.follow(SUBMIT.format("add"))
    assert page.value("document.querySelector('tbody th').textContent") == "ann@example.org"
    (entry,) = lists.entries()
    assert (entry.address, entry.source) == ("ann@example.org", "dashboard")
    page.follow(SUBMIT.format("remove"))
    assert "is on no suppression list" in page.value("document.body.textContent")
    assert list(lists.entries()) == []
    assert page.complaints == []


@contextmanager
def foreign_page(html: str) -> Iterator[str]:
    """A page of another site, here of another port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_form_on_another_site_changes_nothing(
    chromium: Chromium, home: str, lists: Suppression
) -> None:
    lists.add("t100", "ann@example.org", "complained", 1000)
    html = (
        f'<form method="post" action="{home}/suppression/remove">'
        '<input name="listid" value="t100"><input name="address" value="ann@example.org"></form>'
    )
    with foreign_page(html) as url:
        page = chromium.open(url)
        page.follow("document.forms[0].submit()")
        assert page.value("document.querySelector('h1').textContent") == "Not changed"
    assert lists.contains("t100", "ann@example.org")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("path", ["", "?listid=t100", "?address=" + "a" * 60 + "@example.org"])
def test_is_readable(
    chromium: Chromium, home: str, lists: Suppression, path: str, width: int, dark: bool
) -> None:
    for number in range(30):
        lists.add("t100", f"{'ann' * 10}{number}@mail.example.org", "complained", 1000, "mail")
        lists.add(f"t{number}", "a" * 60 + "@example.org", "by_hand", 1000, "import")
    page = chromium.open(f"{home}/suppression{path}", width, dark=dark)
    assert page.value("document.querySelectorAll('tbody tr').length") > 0
    assert page.value("document.documentElement.scrollWidth") <= width, "it has to be pushed"
    table = "document.querySelector('.scroll')"
    assert page.value(f"{table}.scrollWidth <= {table}.clientWidth"), "the table has to be pushed"
    ratio, text = page.value(CONTRAST)
    assert ratio >= 4.5, text
    assert page.complaints == []
