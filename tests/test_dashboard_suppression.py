"""Suppression lists on the dashboard, over a real Redis: what is shown, and who may change it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping

import html5lib  # type: ignore[import-untyped]
import pytest
from fletching.store.suppression import SuppressedAddress, Suppression

from sandbox.processes import free_port
from sandbox.redis_server import RedisServer
from tests.dashboard_client import PASSWORD, Browser, logged_in
from tests.dashboard_numbers import Numbers, served
from tests.stores import open_store

pytestmark = pytest.mark.slow

HOSTILE = '<script>alert(1)</script>"&@x'


@pytest.fixture
def lists(redis: RedisServer) -> Suppression:
    redis.client.flushall()
    return Suppression(open_store(redis.url))


@pytest.fixture
def browser(redis: RedisServer, lists: Suppression) -> Iterator[Browser]:
    with served(Numbers(), PASSWORD, redis=redis.url) as port:
        yield logged_in(port)


def test_lists_entries_and_an_address_are_shown(browser: Browser, lists: Suppression) -> None:
    assert "No address is suppressed." in browser.get("/suppression").text
    lists.add("t100", "a@example.org", "complained", 1_790_000_000_000, "mail")
    lists.add("t200", "a@example.org", "by_hand", 1_790_000_000_000, "import")
    lists.add("t200", "b@example.org", "unsubscribed", 1_790_000_000_000, "")
    overview = browser.get("/suppression").text
    assert re.findall(r'href="(/suppression\?[^"]+)">([^<]*)<', overview) == [
        ("/suppression?listid=t100", "t100"),
        ("/suppression?listid=t200", "t200"),
    ]
    assert cells(overview) == ["1", "2"]
    assert cells(browser.get("/suppression", listid="t200").text) == [
        *("t200", "by_hand", "2026-09-21 14:13", "import"),
        *("t200", "unsubscribed", "2026-09-21 14:13", "\N{EN DASH}"),
    ]
    found = browser.get("/suppression", address=" A@Example.org ").text
    assert cells(found)[::4] == ["t100", "t200"]
    none = browser.get("/suppression", address="c@example.org").text
    assert "This address is on no suppression list." in none


def cells(page: str) -> list[str]:
    cell = r'<td role="cell" data-title="[^"]+">(?:<time [^>]+>)?([^<]+)</'
    return re.findall(cell, page)


def test_list_of_mail_without_a_list_id_is_shown(browser: Browser, lists: Suppression) -> None:
    lists.add("", "a@example.org", "unsubscribed", 1000, "web")
    assert 'href="/suppression?listid=">(none)<' in browser.get("/suppression").text
    assert "a@example.org" in browser.get("/suppression", listid="").text
    browser.post("/suppression/remove", listid="", address="a@example.org")
    assert not lists.contains("", "a@example.org")


def test_long_list_is_shown_in_pages(browser: Browser, lists: Suppression) -> None:
    wanted = {f"r{number}@example.org" for number in range(2000)}
    lists.add_all(SuppressedAddress("t1", each, "by_hand", 1000, "import") for each in wanted)
    path: str | None = "/suppression?listid=t1"
    seen: set[str] = set()
    count = 0
    while path is not None:
        page = browser.get(path).text
        seen |= set(re.findall(r'scope="row">([^<]+)<', page))
        more = re.search(r'rel="next" href="([^"]+)"', page)
        path = more[1].replace("&amp;", "&") if more else None
        count += 1
    assert seen == wanted
    assert count > 10


def test_many_lists_are_shown_in_pages(browser: Browser, lists: Suppression) -> None:
    lists.add_all(SuppressedAddress(f"t{n:03}", "a@b.org", "by_hand", 1, "") for n in range(150))
    first, second = browser.get("/suppression").text, browser.get("/suppression", page=2).text
    assert (">t099<" in first, ">t100<" in first, ">t100<" in second) == (True, False, True)
    assert 'href="/suppression?page=2"' in first
    assert 'href="/suppression?page=1"' in second


def test_address_is_added_and_removed(browser: Browser, lists: Suppression) -> None:
    added = browser.post("/suppression/add", listid=" T100", address="Ann+x@Example.org ")
    assert (added.status, added.headers["Location"]) == (
        303, "/suppression?address=Ann%2Bx%40Example.org",
    )  # fmt: skip
    (entry,) = lists.entries()
    assert (entry.listid, entry.address, entry.reason, entry.source) == (
        *("t100", "ann+x@example.org", "by_hand", "dashboard"),
    )
    assert "ann+x@example.org" in browser.get(added.headers["Location"]).text
    removed = browser.post("/suppression/remove", listid="t100", address="ann+x@example.org")
    assert removed.status == 303
    assert list(lists.entries()) == []


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ({"listid": "t 100", "address": "a@b.org"}, "ListID: must be 1 to 20 of A to Z"),
        ({"address": "a@b.org"}, "ListID: must be 1 to 20 of A to Z"),
        ({"listid": "t1", "address": "user-7"}, "Address: must be a bare mail address"),
        ({"listid": "t1", "address": "ü", "obscured": "on"}, "Address: must be a mail address, or"),
        ({"listid": "t1", "address": "a" * 9000}, "no form of at most 8 KiB"),
    ],
)
def test_invalid_entry_is_not_added(
    form: dict[str, str], text: str, browser: Browser, lists: Suppression
) -> None:
    response = browser.post("/suppression/add", None, **form)
    assert response.status == 422
    assert text in response.text
    assert list(lists.entries()) == []


def test_obscured_value_is_added(browser: Browser, lists: Suppression) -> None:
    browser.post("/suppression/add", listid="t1", address="user-7", obscured="on")
    assert lists.contains("t1", "user-7")


ORIGIN = {
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "another host of the same site": {"Sec-Fetch-Site": "same-site"},
    "typed by the user": {"Sec-Fetch-Site": "none"},
    "an old browser on another site": {"Origin": "http://evil.example"},
    "a page without an origin": {"Origin": "null"},
    "no browser": {},
    "another port": {"Origin": f"http://127.0.0.1:{free_port()}"},
}


@pytest.mark.parametrize("path", ["/suppression/add", "/suppression/remove"])
@pytest.mark.parametrize("headers", ORIGIN.values(), ids=list(ORIGIN))
def test_other_sites_change_nothing(
    headers: Mapping[str, str], path: str, browser: Browser, lists: Suppression
) -> None:
    lists.add("t1", "a@example.org", "complained", 1000)
    before = list(lists.entries())
    address = "a@example.org" if "remove" in path else "b@example.org"
    response = browser.post(path, headers, listid="t1", address=address)
    assert response.status == 403
    assert list(lists.entries()) == before


def test_browser_without_fetch_metadata_may_change_lists(
    browser: Browser, lists: Suppression
) -> None:
    """Over plain HTTP, browsers send Sec-Fetch-Site only to loopback."""
    origin = {"Origin": f"http://{browser.host}"}
    assert browser.post("/suppression/add", origin, listid="t1", address="a@b.org").status == 303
    assert lists.contains("t1", "a@b.org")


def test_password_and_host_are_checked_before_a_change(
    redis: RedisServer, lists: Suppression
) -> None:
    with served(Numbers(), PASSWORD, redis=redis.url) as port:
        stranger = Browser(port)
        assert stranger.post("/suppression/add", listid="t1", address="a@b.org").status == 403
        assert stranger.get("/suppression/export").headers["Location"].startswith("/login")
    with served(Numbers(), redis=redis.url) as port:
        headers = {"Host": "evil.example", "Sec-Fetch-Site": "same-origin"}
        rebound = Browser(port).post("/suppression/add", headers, listid="t1", address="a@b.org")
        assert rebound.status == 421
    assert list(lists.entries()) == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/suppression/add", 405),
        ("GET", "/suppression/remove", 405),
        ("POST", "/suppression", 405),
        ("DELETE", "/suppression", 405),
        ("GET", "/suppression/nowhere", 404),
        ("GET", "/suppressions", 404),
        ("HEAD", "/suppression", 200),
        ("HEAD", "/suppression/export", 200),
        ("GET", "/suppression?listid=t1&after=99999999999999999999", 200),
        ("GET", "/suppression?listid=t1&after=x", 200),
        ("GET", "/suppression?" + "&".join(f"a{n}=" for n in range(50)), 200),
        ("GET", "/suppression?address=%FF%00", 200),
    ],
)
def test_status_of_each_suppression_request(
    method: str, path: str, status: int, browser: Browser
) -> None:
    assert browser.request(method, path, {}).status == status


def test_download_is_what_the_command_exports(browser: Browser, lists: Suppression) -> None:
    lists.add_all(
        SuppressedAddress("t1", f'"a,{n}"@example.org', "by_hand", 1000 * n, "import")
        for n in range(2500)
    )
    lists.add("t2", "b@example.org", "complained", 0, "")
    one, all_ = browser.get("/suppression/export", listid="t1"), browser.get("/suppression/export")
    assert one.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert one.headers["Content-Disposition"] == 'attachment; filename="suppression-t1.csv"'
    titles, *rows = csv.reader(io.StringIO(one.text))
    assert titles == ["listid", "address", "reason", "since", "source"]
    assert ["t1", '"a,7"@example.org', "by_hand", "1970-01-01T00:00:07Z", "import"] in rows
    assert len({*map(tuple, rows)}) == 2500
    assert len(all_.text.splitlines()) == 2502
    odd = browser.get("/suppression/export", listid='t"\r\nX: y')
    assert odd.headers["Content-Disposition"] == 'attachment; filename="suppression-t___X__y.csv"'


def test_foreign_texts_are_escaped(browser: Browser, lists: Suppression) -> None:
    lists.add(HOSTILE, HOSTILE, HOSTILE.replace(" ", ""), 1000, "web")
    for page in (
        browser.get("/suppression"),
        browser.get("/suppression", listid=HOSTILE),
        browser.get("/suppression", address=HOSTILE),
    ):
        assert page.status == 200
        assert "<script>alert" not in page.text
        html5lib.HTMLParser(strict=True).parse(page.text)


def test_page_without_redis(browser: Browser) -> None:
    with served(Numbers(), PASSWORD, redis=f"redis://127.0.0.1:{free_port()}/0") as port:
        away = Browser(port)
        away.cookie = away.post("/login", password=PASSWORD).headers["Set-Cookie"].split(";")[0]
        assert away.get("/suppression").status == 503
        found = re.search('name="token" value="([0-9a-f]+)"', away.get("/suppression").text)
        assert found, "the error page has the form to log out"
        away.token = found[1]
        assert away.post("/suppression/add", listid="t1", address="a@b.org").status == 503
