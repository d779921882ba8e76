"""Messages on the dashboard: the search field, and the time line of one message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import quote

import html5lib  # type: ignore[import-untyped]
import pytest
from fletching import events

from sandbox.redis_server import RedisServer
from tests.dashboard_numbers import Numbers, served
from tests.test_dashboard import HOSTILE, body, get
from tests.trace_setting import RECIPIENT, Site

pytestmark = pytest.mark.slow


@pytest.fixture
def site(redis: RedisServer) -> Site:
    redis.client.flushall()
    return Site(redis)


@pytest.fixture
def port(redis: RedisServer) -> Iterator[int]:
    with served(Numbers(), redis=redis.url) as port:
        yield port


def find(port: int, text: str) -> str:
    page = body(port, f"/trace?q={quote(text)}")
    html5lib.HTMLParser(strict=True).parse(page)
    return page


def words(page: str) -> str:
    """The text of a page's main part."""
    main = page.partition('<main id="main">')[2].partition("</main>")[0]
    return " ".join(unescape(re.sub("<[^>]*>", " ", main)).split())


def test_every_page_has_the_search_field(port: int) -> None:
    for path in ("/", "/by/day", "/suppression", "/trace", "/trace?q=nobody"):
        assert 'action="/trace" role="search"' in body(port, path)


def test_one_message_has_a_time_line(port: int, site: Site) -> None:
    facts = site.accepted(warnings=("no key",))
    reply = {"status": "success", "message": "250 2.0.0 Ok: queued as 12345", "mx_hostname": "mx"}
    site.write([site.event(facts, events.DELIVERY, 3, **reply)])
    page = find(port, RECIPIENT.lower())
    told = words(page)
    assert told.startswith(
        "Message 1 of campaign News1 It was delivered to the recipient's mail server."
    )
    assert "Recipient Reader@Example.org Mail Class News Campaign News1 List t100" in told
    assert told.endswith(
        "UTC 3 seconds later Delivered: accepted by mx. 250 2.0.0 Ok: queued as 12345"
    )
    assert "Warning: no key" in told
    assert f'value="{RECIPIENT.lower()}"' in page
    assert f'href="/campaign/{facts.campaign}"' in page


def test_several_messages_lead_to_their_own_pages(port: int, site: Site) -> None:
    facts = [site.accepted(f"4F{at}") for at in range(2)]
    page = find(port, RECIPIENT)
    addresses = re.findall(r'href="(/trace/[^"]+)"', page)
    assert addresses == [f"/trace/{facts[0].campaign}/{number}" for number in (2, 1)]
    assert "Queue id 4F1" in words(body(port, addresses[0]))


def test_message_that_is_not_found_says_why(port: int, site: Site) -> None:
    site.accepted()
    assert "No message of the last 7d (trace_memory) has this address" in find(port, "4F99")
    assert "Nothing is kept of message 9 of campaign aaaa" in body(port, "/trace/aaaa/9")
    assert "Search for a recipient" in body(port, "/trace")


@pytest.mark.parametrize("path", ["/trace/", "/trace/aaaa", "/trace/aaaa/0", "/trace/A1/1"])
def test_other_paths_are_not_found(port: int, path: str) -> None:
    assert get(port, path).status == 404


def test_searching_takes_no_post(port: int) -> None:
    assert get(port, "/trace", "POST").status == 405


def test_texts_are_escaped(port: int, site: Site) -> None:
    facts = site.accepted(warnings=(HOSTILE,))
    attempt = {"status": "failure", "message": f"550 {HOSTILE}", "mx_hostname": HOSTILE}
    click = {"click_url": f"https://a.example/{HOSTILE}"}
    site.write(
        [
            site.event(facts, events.DELIVERY, **attempt),  # type: ignore[arg-type]
            site.event(facts, events.CLICK, **click),  # type: ignore[arg-type]
        ]
    )
    page = find(port, RECIPIENT)
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 4
    for text in (RECIPIENT, HOSTILE):
        assert "<script>alert" not in find(port, text)


def test_page_says_so_while_redis_is_unavailable() -> None:
    with served(Numbers(), redis="unix:///nowhere") as port:
        response = get(port, "/trace?q=a@example.org")
    assert response.status == 503
