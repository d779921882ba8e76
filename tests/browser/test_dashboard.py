"""The dashboard in a browser: on a telephone, in the dark, by keyboard, and while it changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fletching.store.counts import Failures, Link

from tests.browser.chromium import Chromium, Page
from tests.dashboard_client import PASSWORD
from tests.dashboard_numbers import HOUR, OPENED, Numbers, campaign, row, served

pytestmark = pytest.mark.slow

SEARCH = "/?q=news&from=2026-11-01&order=unique_opens_share"
PAGES = [
    "/",
    SEARCH,
    "/campaign/aaaabbbbcccc",
    "/by/mail_class",
    "/by/day",
    "/trace",
    "/login",
    "/nowhere",
]

# The contrast of every text with what is behind it, as WCAG 2.2 (1.4.3) reckons; the worst one.
CONTRAST = """(() => {
  const parts = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((part) => part / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (parts(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let worst = [21, ""];
  while (walker.nextNode()) {
    const text = walker.currentNode, around = text.parentElement;
    if (!text.data.trim() || around.closest("script, style")) continue;
    const lights = [light(getComputedStyle(around).color), light(behind(around))];
    const ratio = (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
    if (ratio < worst[0]) worst = [ratio, text.data.trim()];
  }
  return worst;
})()"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with Chromium() as browser:
        yield browser


def log_in(page: Page) -> None:
    """Logs in on the login page, as a person does."""
    page.value(f"document.querySelector('[name=password]').value = {PASSWORD!r}")
    page.follow("document.querySelector('form.login button').click()")
    assert page.value("document.querySelector('.account').innerText.trim()") == "Log out"


@pytest.fixture
def numbers() -> Numbers:
    """Three campaigns with long names and links."""
    made = Numbers(
        campaign("aaaabbbbcccc", sent=1_234_567, opens=400_000, clicks=70_000, bot_clicks=8_000),
        campaign("aaaabbbbdddd", "newsletter_to_all_customers_in_the_north20261120", sent=50),
        campaign("aaaabbbbeeee", "transactional1"),
    )
    made.counted = {
        "sent": {OPENED: 1_000_000, OPENED + HOUR: 234_567},
        "opens": {OPENED + hour * HOUR: 40_000 // (hour + 1) for hour in range(30)},
        "clicks": {OPENED + hour * HOUR: 9_000 // (hour + 1) for hour in range(30)},
    }
    made.clicked = (
        Link("https://shop.example.com/" + "spring" * 30 + "?a=1", 50_000, 40_000, 7_000),
        Link("https://shop.example.com/", 20_000, 15_000, 1_000),
    )
    long = "550 5.1.1 " + "unbroken" * 20
    made.failed = (Failures("user_unknown", long, 1_234_567, 7_654_321, "microsoft"),)
    made.rows["provider"] = (row("yahoo_japan", delivered=1_234_567, bounces_hard=1_234_567),)
    for what in ("mail_class", "day"):
        made.rows[what] = (row("a_rather_long_name_of_something", sent=1_234_567), row("", sent=1))
    return made


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 768, 1600])
@pytest.mark.parametrize("path", PAGES)
def test_is_readable(
    chromium: Chromium, numbers: Numbers, path: str, width: int, dark: bool
) -> None:
    with served(numbers) as port:
        page = chromium.open(f"http://127.0.0.1:{port}{path}", width, dark=dark)
        assert page.value("document.documentElement.scrollWidth") <= width, "it has to be pushed"
        ratio, text = page.value(CONTRAST)
        assert ratio >= 4.5, text
        background = page.value("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(20, 23, 26)" if dark else "rgb(255, 255, 255)")
        if width == 320:
            sizes = page.value(
                "[...document.querySelectorAll('main *')].map((each) =>"
                " parseFloat(getComputedStyle(each).fontSize))"
            )
            assert min(sizes) >= 14


@pytest.mark.parametrize("path", PAGES)
def test_asks_nobody_else_and_breaks_no_rule(
    chromium: Chromium, numbers: Numbers, path: str
) -> None:
    with served(numbers) as port:
        home = f"http://127.0.0.1:{port}"
        page = chromium.open(home + path)
        if "Campaigns" in page.value("document.title") and path != SEARCH:
            page.until("document.querySelector('[data-state]').textContent === 'Live.'")
        asked = [url for url in page.requests if not url.startswith(("data:", home + "/"))]
        assert asked == []
        expected = 1 if path == "/nowhere" else 0  # the 404 itself
        assert len(page.complaints) == expected, page.complaints


def test_what_the_policy_forbids_does_not_run(chromium: Chromium, numbers: Numbers) -> None:
    """The test above can fail."""
    with served(numbers) as port:
        page = chromium.open(f"http://127.0.0.1:{port}/")
        page.value("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=f()>')")
        page.value(
            "document.body.append(Object.assign(document.createElement('script'),"
            " {textContent: 'window.ran = true'}))"
        )
        assert page.value("window.ran") is None
        assert page.complaints


def test_numbers_change_while_the_page_is_open(chromium: Chromium, numbers: Numbers) -> None:
    cell = "document.querySelector('[data-cell=\"aaaabbbbcccc.clicks\"]').textContent"
    state = "document.querySelector('[data-state]').textContent"
    with served(numbers) as port:
        page = chromium.open(f"http://127.0.0.1:{port}/")
        page.value("window.same = true")
        numbers.set("aaaabbbbcccc", clicks=70_001)
        page.until(f"{cell} === '70,001'")
        numbers.away = True
        page.until(f"{state}.startsWith('Redis is unavailable')")
        numbers.set("aaaabbbbcccc", clicks=70_002)
        numbers.away = False
        page.until(f"{cell} === '70,002' && {state} === 'Live.'")
        numbers.all["aaaabbbbffff"] = campaign("aaaabbbbffff", "fresh1")
        page.until("document.querySelector('[data-news]').textContent.includes('new campaigns')")
        assert page.value("window.same") is True, "it was loaded anew"
        assert page.complaints == []


def test_a_campaigns_curve_grows(chromium: Chromium, numbers: Numbers) -> None:
    with served(numbers) as port:
        page = chromium.open(f"http://127.0.0.1:{port}/campaign/aaaabbbbcccc")
        numbers.counted = {"sent": {OPENED: 4711}}
        numbers.set("aaaabbbbcccc", sent=4711)
        page.until("document.querySelector('svg.curve').ariaLabel.includes('4,711 sent')")
        assert page.complaints == []


def test_times_are_those_of_the_browser_or_utc(chromium: Chromium, numbers: Numbers) -> None:
    time = "document.querySelector('main time').textContent"
    title = "document.querySelector('main time').title"
    note = "document.querySelector('[data-zone]').firstChild.data.trim()"
    button = "document.querySelector('[data-zone] button')"
    with served(numbers) as port:
        page = chromium.open(f"http://127.0.0.1:{port}/")
        page.ask("Emulation.setTimezoneOverride", timezoneId="Asia/Kolkata")
        for path in ("/?q=news", "/campaign/aaaabbbbcccc"):
            page.go(f"http://127.0.0.1:{port}{path}")
            assert page.value(time) == "2026-11-21 13:30"
            assert page.value(title) == "2026-11-21 08:00 UTC"
            zone = page.value(note)
            assert zone.startswith("Times are those of Asia/")
            page.value(f"{button}.click()")
            assert page.value(f"{button}.textContent") == "Show local time"
            assert (page.value(time), page.value(note)) == ("2026-11-21 08:00", "Times are UTC.")
        page.go(f"http://127.0.0.1:{port}/campaign/aaaabbbbcccc")
        page.value("document.querySelector('[data-curve]').remove()")
        assert page.complaints == []


def test_search_is_in_the_days_of_the_browser(chromium: Chromium, numbers: Numbers) -> None:
    """It began at 13:30 in Kolkata, which is 22:00 of the day before in Honolulu."""
    show = "document.querySelector('main form button').click()"
    with served(numbers) as port:
        page = chromium.open(f"http://127.0.0.1:{port}/")
        for zone, found in (("Asia/Kolkata", 3), ("Pacific/Honolulu", 0)):
            page.ask("Emulation.setTimezoneOverride", timezoneId=zone)
            page.go(f"http://127.0.0.1:{port}/")
            page.value("document.querySelector('[name=from]').value = '2026-11-21'")
            page.follow(show)
            assert page.value("document.querySelectorAll('tbody tr').length") == found
            assert "zone=" in page.value("location.search")


def test_it_says_when_the_server_is_gone(chromium: Chromium, numbers: Numbers) -> None:
    with served(numbers) as port:
        page = chromium.open(f"http://127.0.0.1:{port}/")
        page.until("document.querySelector('[data-state]').textContent === 'Live.'")
    page.until("document.querySelector('[data-state]').textContent.startsWith('Disconnected')")


def test_by_keyboard(chromium: Chromium, numbers: Numbers) -> None:
    focus = "document.activeElement.textContent"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    with served(numbers) as port:
        page = chromium.open(f"http://127.0.0.1:{port}/")
        reached = []
        for _ in range(16):
            page.press("Tab")
            reached.append(page.value(focus).strip().split("\n")[0])
            assert page.value(outline) == "solid", "what has the focus has a border"
            if not reached[1:]:
                box = page.value("document.activeElement.getBoundingClientRect().left")
                assert box >= 0, "the way past the navigation is seen"
        nav = ["Fletching", "Campaigns", "Mail Classes", "Lists", "VirtualMTAs", "Days"]
        nav += ["Providers", "Reasons", "Health", "Warnings", "Pauses and limits", "Suppression"]
        assert reached[:13] == ["Skip to content", *nav]
        assert reached[14:16] == ["Find message", "Read-only"]
        for _ in range(20):
            page.press("Tab")
            assert page.value(outline) == "solid", "what has the focus has a border"
            if page.value(focus) == "newsletter20261121":
                break
        page.press("Enter")
        page.until("document.title.startsWith('newsletter20261121')")


@pytest.mark.parametrize("width", [320, 1280])
def test_assistive_programs_are_told(chromium: Chromium, numbers: Numbers, width: int) -> None:
    with served(numbers) as port:
        first = chromium.open(f"http://127.0.0.1:{port}/", width).named()
        page = chromium.open(f"http://127.0.0.1:{port}/campaign/aaaabbbbcccc", width).named()
    for role in ("table", "row", "rowheader", "columnheader", "cell"):
        assert role in {role for role, _ in first}, f"at {width} px it is no table any more"
    assert ("columnheader", "Unique clicks") in first
    assert ("link", "newsletter20261121") in first
    assert ("heading", "newsletter20261121") in page
    pictures = [name for role, name in page if role in ("image", "img")]
    assert len(pictures) == 2
    assert "1,234,567 sent" in pictures[0]
    assert all(name for role, name in first + page if role in ("link", "image", "navigation"))
