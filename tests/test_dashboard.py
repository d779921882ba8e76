"""The dashboard: what its pages show, what they are told while open, and who may see it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from ipaddress import ip_network
from pathlib import Path

import html5lib  # type: ignore[import-untyped]
import pytest
from fletching.config.load import ConfigError, parse
from fletching.daemons.dashboard.campaign_list import MOST_CAMPAIGNS
from fletching.daemons.dashboard.guesses import AT_ONCE, Guesses
from fletching.daemons.dashboard.main import PasswordFileError, read_password
from fletching.store.counts import Failures, Link

from sandbox.processes import wait_until
from tests.dashboard_numbers import HOUR, OPENED, Numbers, campaign, row, served

PASSWORD = "correct horse battery"
HOSTILE = "<script>alert(1)</script>\"'&\r\n"


def get(port: int, path: str, method: str = "GET", **headers: str) -> HTTPResponse:
    """The answer, its body read."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        client.request(method, path, headers=headers)
        response = client.getresponse()
        response.text = response.read().decode()  # type: ignore[attr-defined]
        return response


def body(port: int, path: str) -> str:
    response = get(port, path)
    assert response.status == 200
    return str(response.text)  # type: ignore[attr-defined]


@contextmanager
def listening(port: int, path: str) -> Iterator[Iterator[tuple[str, object]]]:
    """The events of a stream: name and what is told."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        client.request("GET", path)
        response = client.getresponse()
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        yield _events(response)


def _events(response: HTTPResponse) -> Iterator[tuple[str, object]]:
    name = ""
    for line in response:
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def cells(page: str) -> dict[str, str]:
    """The numbers of a page by the keys under which it is told of new ones."""
    found = re.findall(r'data-cell="([^"]+)">([^<]*)<', page)
    return dict(found)


@pytest.fixture
def numbers() -> Numbers:
    return Numbers(
        campaign(
            "aaaabbbbcccc",
            sent=12345,
            delivered=12000,
            opens=4000,
            unique_opens=3086,
            clicks=700,
            bot_clicks=88,
            bot_opens=99,
            bounces_soft=5,
            seeds=3,
        ),
        campaign("aaaabbbbdddd", "transactional1"),
    )


# Pages


def test_first_page_shows_all_campaigns_and_numbers(numbers: Numbers) -> None:
    with served(numbers) as port:
        page = body(port, "/")
    shown = cells(page)
    assert shown["aaaabbbbcccc.sent"] == "12,345"
    assert shown["aaaabbbbcccc.unique_opens"] == "3,086"
    assert shown["aaaabbbbcccc.bot_clicks"] == "88"
    assert shown["aaaabbbbdddd.sent"] == "0"
    assert 'href="/campaign/aaaabbbbcccc">newsletter20261121<' in page
    assert "2026-11-21 08:00" in page


def test_page_of_a_campaign(numbers: Numbers) -> None:
    numbers.counted = {"sent": {OPENED: 12345}, "clicks": {OPENED: 300, OPENED + 5 * HOUR: 400}}
    numbers.clicked = (Link("https://shop.example/a?b=1&c=2", 500, 450, 60),)
    numbers.rows = {"mtaid": (row("vmta-a", sent=9_876),)}
    numbers.warned = (("not tracked: charset unknown", 1_234),)
    with served(numbers) as port:
        page = body(port, "/campaign/aaaabbbbcccc")
    shown = cells(page)
    assert shown["unique_opens"] == "3,086 (25.7\N{NO-BREAK SPACE}% of delivered)"
    assert (shown["bot_opens"], shown["seeds"]) == ("99", "3")
    assert shown["bounces_soft"] == "5 (0.0\N{NO-BREAK SPACE}% of sent)"
    assert ">https://shop.example/a?b=1&amp;c=2<" in page
    assert ">vmta-a<" in page
    assert ">9,876<" in page
    assert ">not tracked: charset unknown<" in page
    assert ">1,234<" in page
    assert "Delivery: 12,345 sent; at most 12,345 per hour" in page
    assert "0 opens, 700 clicks, 0 unsubscribes; at most 400 per hour" in page


def test_deliveries_of_a_campaign(numbers: Numbers) -> None:
    numbers.counted = {
        "sent": {OPENED: 100},
        "delivered": {OPENED: 80, OPENED + HOUR: 15},
        "deferred": {OPENED: 9},
        "bounces": {OPENED + HOUR: 5},
        "opens": {},
    }
    numbers.rows = {
        "provider": (
            row("google", delivered=1_960, bounces_hard=30, bounces_soft=9, bounces_other=1),
            row("other", delivered=None, bounces_hard=7, blocked=1_003),
        )
    }
    numbers.failed = (
        Failures("user_unknown", "550 5.1.1 <address> unknown", 30, 0, "google"),
        Failures("rate_limited", "", 0, 1_002, "other"),
    )
    with served(numbers) as port:
        page = body(port, "/campaign/aaaabbbbcccc")
    assert "Delivery: 100 sent, 95 delivered, 9 deferred, 5 bounces; at most 100 per hour" in page
    assert re.search(">google<.*\n?.*>1,960<.*\n?.*>98.0\N{NO-BREAK SPACE}%<", page)
    assert ">1,003<" in page
    assert ">550 5.1.1 &lt;address&gt; unknown<small>user_unknown</small>" in page
    assert ">(other words)<small>rate_limited</small>" in page
    assert ">1,002<" in page


@pytest.mark.parametrize("what", ["mail_class", "listid", "mtaid", "day", "provider", "reason"])
def test_breakdowns(numbers: Numbers, what: str) -> None:
    counted = "deferred" if what in ("provider", "reason") else "sent"
    numbers.rows = {what: (row("first", **{counted: 1234}), row("", **{counted: 1}))}
    with served(numbers) as port:
        page = body(port, f"/by/{what}")
    assert ">first<" in page
    assert ">1,234<" in page
    assert ">(none)<" in page, "what has no name is said to have none"
    assert f'href="/by/{what}" aria-current="page"' in page


@pytest.mark.parametrize("path", ["/", "/campaign/aaaabbbbcccc", "/by/day"])
def test_pages_without_data(path: str) -> None:
    numbers = Numbers(*([campaign("aaaabbbbcccc")] if "campaign" in path else []))
    with served(numbers) as port:
        page = body(port, path)
    assert re.search("No campaigns yet|No links clicked|No data yet", page)


@pytest.mark.parametrize("path", ["/", "/campaign/a", "/by/listid"])
def test_foreign_texts_are_escaped(path: str) -> None:
    numbers = Numbers(campaign("a", HOSTILE))
    numbers.clicked = (Link(f"https://shop.example/{HOSTILE}", 1, 1, 0),)
    numbers.rows = {"listid": (row(HOSTILE),), "provider": (row(HOSTILE),)}
    numbers.failed = (Failures(HOSTILE, HOSTILE, 1, 1, HOSTILE),)
    numbers.warned = ((HOSTILE, 1),)
    with served(numbers) as port:
        page = body(port, path)
    tree = html5lib.parse(page, namespaceHTMLElements=False)
    scripts = [each.text or "" for each in tree.iter("script")]
    assert not any("alert" in script for script in scripts)
    assert "alert(1)" in "".join(tree.itertext())


@pytest.mark.parametrize("path", ["/", "/campaign/aaaabbbbcccc", "/by/mtaid", "/nowhere"])
def test_pages_are_html_without_errors(numbers: Numbers, path: str) -> None:
    numbers.counted = {"opens": {OPENED: 1, OPENED + HOUR: 3}}
    with served(numbers) as port:
        page = get(port, path).text  # type: ignore[attr-defined]
    html5lib.HTMLParser(strict=True).parse(page)


def test_pages_of_many_campaigns() -> None:
    most = MOST_CAMPAIGNS
    found = [campaign(f"c{chr(97 + n % 26)}{chr(97 + n // 26)}") for n in range(2 * most + 5)]
    with served(Numbers(*found)) as port:
        first, second = body(port, "/"), body(port, "/?page=2")
        third, fourth = body(port, "/?page=3"), body(port, "/?page=4")
    row = '<th role="rowheader" scope="row"><a '
    assert [each.count(row) for each in (first, second, third, fourth)] == [most, most, 5, 0]
    assert 'href="/?page=2">Next page<' in first
    assert "Previous" not in first
    assert 'href="/">Previous page<' in second
    assert 'href="/?page=3">Next page<' in second
    assert 'href="/?page=2">Previous page<' in third
    assert "Next" not in third
    assert "There are no campaigns on this page" in fourth
    assert ["data-live" in each for each in (first, second)] == [True, False]


def test_unmeasured_number_is_a_dash() -> None:
    found = campaign("a", sent=2000, opens=0, unique_opens=0, delivered=None, complaints=None)
    with served(Numbers(found)) as port:
        page, first = body(port, "/campaign/a"), body(port, "/")
    shown = cells(page)
    assert (shown["delivered"], shown["complaints"]) == ("\N{EN DASH}", "\N{EN DASH}")
    assert shown["unique_opens"] == "0 (0.0\N{NO-BREAK SPACE}% of sent)"
    assert (cells(first)["a.complaints"], cells(first)["a.opens"]) == ("\N{EN DASH}", "0")


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "page=1&a=b", "page=-1", "page=9999999", "a"]
)
def test_invalid_page_number_shows_the_first_page(numbers: Numbers, query: str) -> None:
    with served(numbers) as port:
        assert "12,345" in body(port, f"/?{query}")


# What cannot be shown


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/campaign/zzzz", 404),
        ("GET", "/campaign/aaaabbbbcccc/", 404),
        ("GET", "/campaign/AAAABBBBCCCC", 404),
        ("GET", "/campaign/{a}", 404),
        ("GET", "/by/", 404),
        ("GET", "/by/day/by/day", 404),
        ("GET", "/by/email", 404),
        ("GET", "//by/day", 404),
        ("POST", "/", 405),
        ("DELETE", "/campaign/aaaabbbbcccc", 405),
        ("HEAD", "/", 200),
        ("HEAD", "/live", 200),
    ],
)
def test_status_of_each_page(numbers: Numbers, method: str, path: str, status: int) -> None:
    with served(numbers) as port:
        response = get(port, path, method)
    assert response.status == status
    assert (response.headers["Allow"] == "GET, HEAD") == (status == 405)
    if method == "HEAD":
        assert response.text == ""  # type: ignore[attr-defined]


def test_redis_away(numbers: Numbers, capfd: pytest.CaptureFixture[str]) -> None:
    numbers.away = True
    with served(numbers) as port:
        response = get(port, "/")
        assert response.status == 503
        assert "Redis is unavailable" in response.text  # type: ignore[attr-defined]
        assert get(port, "/by/day").status == 503
        assert capfd.readouterr().err.count("redis_unavailable") == 1
        numbers.away = False
        assert "12,345" in body(port, "/")


def test_unexpected_error_is_logged(numbers: Numbers, capfd: pytest.CaptureFixture[str]) -> None:
    numbers.rows = {"day": (None,)}  # type: ignore[dict-item]
    with served(numbers) as port:
        response = get(port, "/by/day")
    assert response.status == 500
    said = capfd.readouterr().err
    assert said.startswith("page_failed daemon=dashboard error=")
    assert "AttributeError" not in response.text  # type: ignore[attr-defined]


# Live


def test_open_page_gets_changed_numbers(numbers: Numbers) -> None:
    with served(numbers) as port, listening(port, "/live") as events:
        name, first = next(events)
        assert (name, first) == ("cells", cells(body(port, "/")))
        numbers.set("aaaabbbbcccc", clicks=701)
        changed = {"aaaabbbbcccc.clicks": "701", "total.clicks": "701"}
        assert next(events) == ("cells", changed)
        numbers.all["aaaabbbbeeee"] = campaign("aaaabbbbeeee", sent=1)
        name, told = next(events)
        assert name == "cells"
        assert isinstance(told, dict)
        assert told["aaaabbbbeeee.sent"] == "1"
        assert next(events)[0] == "news"


def test_open_campaign_page_gets_numbers_and_curve(numbers: Numbers) -> None:
    with served(numbers) as port, listening(port, "/campaign/aaaabbbbcccc/live") as events:
        assert next(events) == ("cells", cells(body(port, "/campaign/aaaabbbbcccc")))
        assert next(events)[0] == "curve"
        numbers.counted = {"clicks": {OPENED: 701}}
        numbers.set("aaaabbbbcccc", clicks=701)
        assert next(events) == ("cells", {"clicks": "701"})
        name, drawn = next(events)
        assert name == "curve"
        assert "701 clicks" in str(drawn)


def test_open_page_is_notified_when_redis_stops_and_returns(numbers: Numbers) -> None:
    with served(numbers) as port, listening(port, "/live") as events:
        assert next(events)[0] == "cells"
        numbers.away = True
        assert next(events)[0] == "away"
        numbers.set("aaaabbbbcccc", clicks=701)
        numbers.away = False
        assert [next(events)[0], next(events)[0]] == ["back", "cells"]


def test_viewers_who_leave_make_room_for_others(numbers: Numbers) -> None:
    with served(numbers, most_streams=1) as port:
        with listening(port, "/live") as events:
            next(events)
            assert get(port, "/live").status == 503
        # It is seen to be gone a moment after it has gone.
        wait_until("no room", lambda: get(port, "/live", "HEAD").status == 200)


# Who may see it


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8091", 200),
        ("[::1]:8091", 200),
        ("localhost:8091", 200),
        ("rebound.example", 421),
        ("rebound.example:8091", 421),
        ("127.0.0.1.rebound.example", 421),
        ("localhost.rebound.example", 421),
        ("", 421),
        ("127.0.0.1@rebound.example", 421),
    ],
)
def test_without_a_password_host_must_be_an_address_or_localhost(
    numbers: Numbers, host: str, status: int
) -> None:
    with served(numbers) as port:
        response = get(port, "/", Host=host)
        assert response.status == status
        assert get(port, "/live", "HEAD", Host=host).status == status
    assert ("newsletter" in response.text) == (status == 200)  # type: ignore[attr-defined]


def basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (basic(f"anyone:{PASSWORD}"), 200),
        (basic(f":{PASSWORD}"), 200),
        (basic(f"anyone:{PASSWORD}").replace("Basic", "bAsIc"), 200),
        (basic("anyone:wrong"), 401),
        (basic(f"anyone:{PASSWORD}x"), 401),
        (basic(PASSWORD), 401),
        (basic("anyone:"), 401),
        ("Basic", 401),
        ("Basic !!!", 401),
        ("Bearer " + PASSWORD, 401),
        ("", 401),
    ],
)
@pytest.mark.parametrize("path", ["/", "/live", "/nowhere"])
def test_with_a_password(numbers: Numbers, path: str, authorization: str, status: int) -> None:
    with served(numbers, PASSWORD) as port:
        response = get(port, path, "HEAD", Host="stats.example", Authorization=authorization)
    if status == 401:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == 'Basic realm="Fletching", charset="UTF-8"'
    else:
        assert response.status == (404 if path == "/nowhere" else 200)


def test_wrong_password_is_logged(numbers: Numbers, capfd: pytest.CaptureFixture[str]) -> None:
    with served(numbers, PASSWORD) as port:
        get(port, "/")
        get(port, "/", Authorization=basic("x:hunter2"))
    assert capfd.readouterr().err == "dashboard_refused client=127.0.0.1\n"


def twice(port: int, *forwarded: str) -> int:
    """The status where each proxy adds a field of its own."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("GET", "/")
    for address in forwarded:
        connection.putheader("X-Forwarded-For", address)
    connection.putheader("Authorization", basic("x:guess"))
    connection.endheaders()
    return connection.getresponse().status


def test_password_guesses_are_limited_by_address(
    numbers: Numbers, capfd: pytest.CaptureFixture[str]
) -> None:
    """Other clients are served meanwhile; behind a trusted proxy, by the address that it sends."""
    proxies = (ip_network("127.0.0.1/32"),)
    with served(numbers, PASSWORD, proxies, guesses=Guesses(seconds_each=3600.0)) as port:

        def ask(client: str, password: str) -> HTTPResponse:
            sent = {"X-Forwarded-For": client, "Authorization": basic(f"x:{password}")}
            return get(port, "/", **sent)

        found = [ask("192.0.2.9", f"guess{number}").status for number in range(AT_ONCE + 5)]
        assert found == [401] * AT_ONCE + [429] * 5
        slowed = ask("192.0.2.9", PASSWORD)
        assert slowed.status == 429
        assert 0 < int(slowed.headers["Retry-After"]) <= 3600
        # What the client forges comes before what the proxy adds.
        assert ask("198.51.100.1, 192.0.2.9", "guess").status == 429
        assert ask("192.0.2.10", PASSWORD).status == 200
        # Some proxies add a field of their own.
        assert twice(port, "198.51.100.1", "192.0.2.9") == 429
        # A request without a password gets 401.
        assert get(port, "/", **{"X-Forwarded-For": "192.0.2.9"}).status == 401
    assert capfd.readouterr().err.splitlines() == ["dashboard_refused client=192.0.2.9"] * AT_ONCE


def test_forged_address_does_not_evade_the_limit(numbers: Numbers) -> None:
    found = []
    with served(numbers, PASSWORD, guesses=Guesses(seconds_each=3600.0)) as port:
        for number in range(AT_ONCE + 5):
            sent = {"X-Forwarded-For": f"192.0.2.{number}", "Authorization": basic("x:guess")}
            found.append(get(port, "/", **sent).status)
    assert found == [401] * AT_ONCE + [429] * 5


@pytest.mark.parametrize("path", ["/", "/campaign/aaaabbbbcccc", "/by/day", "/nowhere", "/live"])
def test_security_headers(numbers: Numbers, path: str) -> None:
    with served(numbers) as port:
        first, second = (get(port, path, "HEAD").headers for _ in range(2))
    assert first["Cache-Control"] == "no-store"
    assert first["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in first
    assert "Server" not in first
    if path != "/live":
        policy = first["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "form-action 'self'" in policy
        assert policy != second["Content-Security-Policy"], "a nonce is used once"


def test_pages_refer_to_no_other_host(numbers: Numbers) -> None:
    with served(numbers) as port:
        page = body(port, "/campaign/aaaabbbbcccc")
    tree = html5lib.parse(page, namespaceHTMLElements=False)
    named = [each.get(name) or "" for each in tree.iter() for name in ("src", "href")]
    assert [each for each in named if each and not each.startswith(("/", "#", "data:,"))] == []
    assert "url(" not in page
    assert "@import" not in page


# Options


def test_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\nanything\n")
    assert read_password(file) == PASSWORD


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "must have at least 12 characters"),
        (b"short\nbut a long second line", "must have at least 12 characters"),
        (b"\xff" * 20, "not valid UTF-8"),
    ],
)
def test_unusable_password_file_is_reported(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PasswordFileError, match=re.escape(f"{file}: {said}")):
        read_password(file)


@pytest.mark.parametrize(
    ("listen", "needs_password"),
    [
        ("127.0.0.1:8091", False),
        ("127.1.2.3:8091", False),
        ("'[::1]:8091'", False),
        ("localhost:8091", False),
        ("unix:/run/fletching/dashboard.sock", False),
        ("0.0.0.0:8091", True),
        ("'[::]:8091'", True),
        ("192.0.2.1:8091", True),
        ("stats.example.com:8091", True),
        ("localhost.example.com:8091", True),
    ],
)
def test_only_loopback_needs_no_password(listen: str, needs_password: bool) -> None:
    def read(more: str) -> None:
        parse(f"web: {{admin_listen: {listen}{more}}}".encode(), Path("fletching.yaml"))

    read(", admin_password_file: password")
    if needs_password:
        with pytest.raises(ConfigError, match="must be a loopback address"):
            read("")
    else:
        read("")
