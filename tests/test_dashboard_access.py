"""Login, session and forms of the dashboard: who may see it, and who may change anything."""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import html5lib  # type: ignore[import-untyped]
import pytest
from fletching.daemons.dashboard.access import Access
from fletching.daemons.dashboard.guesses import AT_ONCE, Guesses
from fletching.daemons.dashboard.session import SECONDS, Sessions

from sandbox.redis_server import RedisServer
from tests.dashboard_client import PASSWORD, Browser, logged_in
from tests.dashboard_numbers import Numbers, campaign, served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def port(redis: RedisServer) -> Iterator[int]:
    with served(Numbers(campaign("aaaabbbbcccc")), PASSWORD, redis=redis.url) as port:
        yield port


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"x:{password}".encode()).decode()


# Login


def test_browser_is_led_to_the_login_and_back(port: int) -> None:
    browser = Browser(port)
    found = browser.get("/campaign/aaaabbbbcccc", a="b&c")
    assert (found.status, found.headers["Location"]) == (
        *(303, "/login?next=%2Fcampaign%2Faaaabbbbcccc%3Fa%3Db%2526c"),
    )
    form = browser.get(found.headers["Location"]).text
    html5lib.HTMLParser(strict=True).parse(form)
    hidden = re.search('name="next" value="([^"]*)"', form)
    assert hidden
    assert hidden[1] == "/campaign/aaaabbbbcccc?a=b%26c"
    answer = browser.log_in(after=hidden[1])
    assert (answer.status, answer.headers["Location"]) == (303, hidden[1])
    assert browser.get("/campaign/aaaabbbbcccc").status == 200
    assert "Log out" in browser.get("/").text


def test_program_is_asked_for_the_password_by_http(port: int) -> None:
    answer = Browser(port).request("GET", "/", {"Accept": "*/*"})
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_wrong_password_begins_no_session(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    answer = Browser(port).log_in("wrong horse battery")
    assert answer.status == 403
    assert answer.headers["Set-Cookie"] is None
    assert "Wrong password." in answer.text
    assert "wrong horse" not in answer.text
    assert "dashboard_refused client=127.0.0.1\n" in capfd.readouterr().err


def test_login_is_logged(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    logged_in(port)
    assert "dashboard_login client=127.0.0.1\n" in capfd.readouterr().err


@pytest.mark.parametrize(
    "path",
    ["//evil.example/", "/\\evil.example/", "https://evil.example/", "", "/a\r\nX: y", "/login"],
)
def test_login_leads_to_no_other_host(port: int, path: str) -> None:
    assert Browser(port).log_in(after=path).headers["Location"] == "/"


@pytest.mark.parametrize(
    ("origin", "is_secure"), [("http://{}", False), ("https://{}", True)], ids=["http", "https"]
)
def test_cookie_is_kept_from_scripts_and_other_sites(
    port: int, origin: str, is_secure: bool
) -> None:
    browser = Browser(port)
    headers = {"Origin": origin.format(browser.host)}
    cookie = browser.post("/login", headers, password=PASSWORD).headers["Set-Cookie"]
    fields = cookie.split("; ")[1:]
    assert fields[:4] == ["Path=/", f"Max-Age={SECONDS}", "HttpOnly", "SameSite=Strict"]
    assert ("Secure" in fields) == is_secure


def test_form_of_another_site_logs_nobody_in(port: int) -> None:
    answer = Browser(port).post("/login", {"Origin": "http://evil.example"}, password=PASSWORD)
    assert (answer.status, answer.headers["Set-Cookie"]) == (403, None)


def test_guesses_at_the_login_are_limited() -> None:
    with served(Numbers(), PASSWORD, guesses=Guesses(seconds_each=3600.0)) as port:
        browser = Browser(port)
        found = [browser.log_in("guess").status for _ in range(AT_ONCE + 2)]
        assert found == [403] * AT_ONCE + [429] * 2
        assert browser.log_in().status == 429, "even the right one has to wait"
        with_header = browser.request("GET", "/", {"Authorization": basic(PASSWORD)})
        assert with_header.status == 429, "both ways share one limit"


def test_guesses_that_are_sent_together_are_limited() -> None:
    with served(Numbers(), PASSWORD, guesses=Guesses(seconds_each=3600.0)) as port:
        body = b"password=guess"
        head = (
            f"POST /login HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}"
            f"\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode()
        with ExitStack() as stack:
            clients = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
                for _ in range(3 * AT_ONCE)
            ]
            for client in clients:
                client.sendall(head)
            # All requests are being answered by now, as one that came later is.
            assert Browser(port).get("/login").status == 200
            for client in clients:
                client.sendall(body)
            found = [stack.enter_context(each.makefile("rb")).readline() for each in clients]
    assert sum(b" 403 " in each for each in found) == AT_ONCE


def test_session_outlives_guesses_from_its_address() -> None:
    with served(Numbers(), PASSWORD, guesses=Guesses(seconds_each=3600.0)) as port:
        browser = logged_in(port)
        for _ in range(AT_ONCE + 1):
            Browser(port).log_in("guess")
        assert browser.get("/").status == 200


# Session


def test_session_that_was_ended_stays_so_when_the_same_password_is_put_in_force_again() -> None:
    access = Access(PASSWORD)
    sessions = access._sessions
    assert sessions is not None
    cookie = sessions.begin(0)
    sessions.end(cookie)
    access.take(PASSWORD)
    assert access._sessions is not None
    assert not access._sessions.is_valid(cookie, 1)


def test_logout_ends_the_session(port: int) -> None:
    browser = logged_in(port)
    answer = browser.post("/logout")
    assert (answer.status, answer.headers["Location"]) == (303, "/login")
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert browser.get("/").status == 303, "the cookie is worth nothing any more"


def forged(cookie: str) -> str:
    name, _, value = cookie.partition("=")
    ends, random, signature = value.split(".")
    return f"{name}={int(ends) + 1}.{random}.{signature}"


@pytest.mark.parametrize(
    "change",
    [forged, lambda cookie: cookie[:-1], lambda _: "fletching_session=", lambda _: "a;;=;\xff"],
    ids=["a later end", "cut", "empty", "nonsense"],
)
def test_other_cookies_are_no_session(port: int, change: Callable[[str], str]) -> None:
    browser = logged_in(port)
    browser.cookie = change(browser.cookie)
    assert browser.get("/").status == 303


def test_session_ends_by_time_and_with_the_password() -> None:
    cookie = Sessions(PASSWORD).begin(1000)
    again = Sessions(PASSWORD)
    assert again.is_valid(cookie, 1000 + SECONDS - 1), "another process knows it"
    assert not again.is_valid(cookie, 1000 + SECONDS)
    assert not Sessions(f"{PASSWORD}!").is_valid(cookie, 1000)


def test_form_token_belongs_to_one_session() -> None:
    sessions = Sessions(PASSWORD)
    first, second = sessions.begin(1000), sessions.begin(1000)
    assert len({sessions.form_token(first), sessions.form_token(second), first[-64:]}) == 3


# Changes

CHANGES = ["/suppression/add", "/suppression/remove", "/logout"]


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize("token", ["", "0" * 64, "\xff"])
def test_form_without_the_token_of_its_session_changes_nothing(
    port: int, path: str, token: str
) -> None:
    answer = logged_in(port).post(path, token=token, listid="t1", address="a@b.org")
    assert answer.status == 403
    assert "another session" in answer.text


def test_form_of_another_session_changes_nothing(port: int) -> None:
    first, second = logged_in(port), logged_in(port)
    assert first.post("/logout", token=second.token).status == 403


@pytest.mark.parametrize("path", CHANGES)
def test_password_by_http_may_see_but_not_change(port: int, path: str) -> None:
    headers = {"Authorization": basic(PASSWORD), "Sec-Fetch-Site": "same-origin"}
    assert Browser(port).request("GET", "/", headers).status == 200
    answer = Browser(port).post(path, headers, listid="t1", address="a@b.org")
    assert (answer.status, "Log in first." in answer.text) == (403, True)


def test_without_a_password_nothing_can_be_changed(redis: RedisServer) -> None:
    with served(Numbers(), redis=redis.url) as port:
        browser = Browser(port)
        for path in CHANGES:
            answer = browser.post(path, listid="t1", address="a@b.org")
            assert (answer.status, "read-only" in answer.text) == (403, True)
        assert "admin_password_file" in browser.get("/login").text
        page = browser.get("/suppression")
    assert 'method="post"' not in page.text
    assert "Set-Cookie" not in page.headers


def test_change_is_logged_with_its_client(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    browser = logged_in(port)
    browser.post("/suppression/add", listid="t1", address="ann@example.org")
    line = (
        "dashboard_action client=127.0.0.1 action=suppression_add listid=t1 address=ann@example.org"
    )
    assert f"{line}\n" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("DELETE", "/login", 405, "GET, HEAD, POST"),
        ("GET", "/logout", 405, "POST"),
        ("HEAD", "/login", 200, None),
    ],
)
def test_methods_that_login_pages_allow(
    port: int, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = logged_in(port).request(method, path, {})
    assert (answer.status, answer.headers["Allow"]) == (status, allow)
