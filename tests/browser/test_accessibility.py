"""Every page in a browser, judged by axe-core: the dashboard's, and those that recipients see.

In light and dark, on a phone, a tablet and a large screen. No page is wider than its window, and
every button and link is reached by the keyboard.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fletching.daemons.process.presence import Mark
from fletching.daemons.web.pages import SHOWN, Pages
from fletching.numbering import Candidate, Question
from fletching.policy import limits
from fletching.startup import stamp, zone
from fletching.store.campaigns import Campaigns
from fletching.store.counts import Failures, Link
from fletching.store.hosts import Hosts, Report
from fletching.store.suppression import Suppression
from fletching.store.warned import Example, Warned, WarnedMails

from sandbox.redis_server import RedisServer
from tests.browser.axe import axe, violations
from tests.browser.chromium import Chromium, Page
from tests.browser.test_dashboard import log_in
from tests.dashboard_client import PASSWORD
from tests.dashboard_numbers import HOUR, OPENED, Numbers, campaign, row, served
from tests.setting import config
from tests.stores import open_store

pytestmark = pytest.mark.slow

WIDTHS = (390, 768, 1600)
SITE = """\
server_id: mx1.example.com
state_dir: %s
virtual_mtas:
  a: {transport: vmta-a, limits: {hour: 500}}
  a_rather_long_name_of_a_virtual_mta: {transport: vmta-b, address: 192.0.2.9, fallback: a}
  warm: {transport: vmta-w, warmup: {since: 2026-11-01, start: 100, growth: 2, until: 1000}}
  bulk: {pool: {a: 3, warm: 1}}
"""
DASHBOARD = (
    *("/", "/campaign/aaaabbbbcccc", "/by/mail_class", "/by/provider", "/trace", "/trace?q=nobody"),
    *("/health", "/warnings", "/virtual-mtas", "/virtual-mtas/pause?name=a"),
    *("/suppression", "/suppression?listid=t100", "/suppression?address=ann@example.org"),
    *("/login", "/nowhere"),
)

# Everything that can be used, and is seen.
USABLE = """[...document.querySelectorAll(
    'a[href], button, input:not([type=hidden]), select, [tabindex="0"]')].filter(
    (each) => each.getClientRects().length)"""


@pytest.fixture(scope="module")
def script() -> str:
    return axe()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with Chromium() as browser:
        yield browser


def numbers() -> Numbers:
    made = Numbers(
        campaign("aaaabbbbcccc", sent=1_234_567, opens=400_000, clicks=70_000, bot_clicks=8_000),
        campaign("aaaabbbbdddd", "newsletter_to_all_customers_in_the_north20261120", sent=50),
    )
    made.counted = {"sent": {OPENED: 1_000_000, OPENED + HOUR: 234_567}}
    made.clicked = (Link("https://shop.example.com/" + "spring" * 30, 50_000, 40_000, 7_000),)
    made.failed = (Failures("user_unknown", "550 5.1.1 " + "unbroken" * 20, 7, 4, "microsoft"),)
    made.warned = (("not tracked: charset unknown", 1_234),)
    made.rows = {what: (row("a_rather_long_name", sent=7),) for what in ("mail_class", "provider")}
    return made


@pytest.fixture(scope="module")
def dashboard(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a dashboard with something on each page."""
    redis.client.flushall()
    state_dir, now = tmp_path_factory.mktemp("state"), int(time.time())
    store, site = open_store(redis.url), SITE % state_dir
    lists = Suppression(store)
    lists.add("t100", "ann@example.org", "complained", 1000, "mail")
    lists.add("t100", "a" * 60 + "@example.org", "by_hand", 1000, "import")
    example = Example("X-A: unknown control header", "4F1A", now, "mx1", "aaaabbbbcccc")
    WarnedMails(store).count([Warned("unknown control header", 7, example)], now)
    Hosts(store).report(Report("mx1.example.com", now, "0.1.0", ("milter",), ()))
    Hosts(store).report(Report("mx2.example.com", now - 900, "0.1.0", (), ("redis: no answer",)))
    use(store_url=redis.url, site=site)
    mark = Mark(state_dir, "courier")
    with served(numbers(), PASSWORD, redis=redis.url, site=site) as port:
        yield f"http://127.0.0.1:{port}"
    mark.end()


def use(store_url: str, site: str) -> None:
    """Something is used of a limit."""
    opened = config(site)
    mta = opened.virtual_mta("a")
    assert mta is not None
    candidate = Candidate("a", limits.periods(mta, stamp(zone(opened)).time))
    question = Question(
        *("a1", "a", "1", "", 0, 86400, "a" * 12, (), 86400),
        candidates=(candidate,),
        counted=(("google", 20),),
    )
    assert Campaigns(open_store(store_url)).campaign_of(question)


@pytest.fixture(scope="module")
def recipients_pages() -> Iterator[list[str]]:
    """The addresses of the pages that recipients see, in each language."""
    rendered = Pages(None, ["unsubscribe@example.com"])
    shown = [rendered.page(body, language) for body in SHOWN for language in rendered.languages]

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = shown[int(self.path[1:])] if self.path[1:].isdecimal() else b""
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield [f"http://127.0.0.1:{server.server_port}/{number}" for number in range(len(shown))]
    server.shutdown()
    thread.join()
    server.server_close()


def log_out(page: Page) -> None:
    page.follow("document.querySelector('.account button').click()")


def judged(page: Page, script: str, url: str, width: int) -> list[str]:
    """What is wrong with a page."""
    page.go(url)
    found = [f"{url}: {each}" for each in violations(page, script)]
    wide = page.value("document.documentElement.scrollWidth")
    return [*found, *([f"{url}: {wide} px wide"] if wide > width else [])]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_dashboard_has_no_violations(
    chromium: Chromium, dashboard: str, script: str, width: int, dark: bool
) -> None:
    page = chromium.open(f"{dashboard}/login", width, dark=dark)
    found = violations(page, script)
    log_in(page)
    for path in DASHBOARD:
        found += judged(page, script, dashboard + path, width)
    log_out(page)
    assert found == []


def test_read_only_dashboard_has_no_violations(
    chromium: Chromium, redis: RedisServer, script: str, tmp_path: Path
) -> None:
    with served(numbers(), redis=redis.url, site=SITE % tmp_path) as port:
        page = chromium.open(f"http://127.0.0.1:{port}/login", WIDTHS[0])
        found = violations(page, script)
        for path in ("/virtual-mtas", "/suppression"):
            found += judged(page, script, f"http://127.0.0.1:{port}{path}", WIDTHS[0])
    assert found == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_recipients_pages_have_no_violations(
    chromium: Chromium, recipients_pages: list[str], script: str, width: int, dark: bool
) -> None:
    page = chromium.open(recipients_pages[0], width, dark=dark)
    found = [each for url in recipients_pages for each in judged(page, script, url, width)]
    assert found == []


def test_judge_finds_what_is_wrong(chromium: Chromium, dashboard: str, script: str) -> None:
    page = chromium.open(f"{dashboard}/login")
    page.value("document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=data:,>')")
    assert [each.partition(":")[0] for each in violations(page, script)] == ["image-alt"]


def test_keyboard_reaches_everything_in_order(chromium: Chromium, dashboard: str) -> None:
    page = chromium.open(f"{dashboard}/login", 1600)
    log_in(page)
    for path in ("/health", "/warnings", "/virtual-mtas", "/suppression?listid=t100"):
        page.go(dashboard + path)
        count = page.value(f"{USABLE}.length")
        reached = []
        for _ in range(count):
            page.press("Tab")
            reached.append(page.value(f"{USABLE}.indexOf(document.activeElement)"))
            outline = page.value("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid", f"{path}: the focus is not seen"
        assert reached == list(range(count)), path
    log_out(page)


def test_virtual_mta_is_paused_by_keyboard(chromium: Chromium, dashboard: str) -> None:
    page = chromium.open(f"{dashboard}/login")
    log_in(page)
    page.go(f"{dashboard}/virtual-mtas")
    page.value("document.querySelector('[aria-label=\"Pause a\"]').focus()")
    page.press_to_follow("Enter")
    assert page.value("document.title").startswith("Pause a")
    page.value("document.querySelector('main button').focus()")
    page.press_to_follow("Enter")
    page.value("document.querySelector('[aria-label=\"Resume a\"]').focus()")
    page.press_to_follow("Enter")
    assert page.value("!!document.querySelector('[aria-label=\"Pause a\"]')")
    assert page.complaints == []
    log_out(page)
