"""hits.py: the answer to each request and the event that is recorded. No server, no store."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from fletching import events
from fletching.returning import bots, bursts, hits, redirects
from fletching.returning.hits import Body, Hit, Moment, Request, answer
from fletching.tokens import Facts, Keyring, Kind, LinkKey
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every

SENT = 1_767_225_600
NOW = Moment((SENT + 60) * 1000 + 7, bytes(range(10)))
FACTS = Facts(
    "abcdefghijkl", 7, "News", "0101", "T100", "uid|sid", "reader@example.org", "bulk", SENT
)
KEYS = Keyring((LinkKey(1, 1, b"1" * 32), LinkKey(5, 2, b"5" * 32)))
OTHERS_KEYS = Keyring((LinkKey(5, 2, b"x" * 32),))
SETTINGS = hits.Settings(KEYS, "mx1", bots.lists("scanner barracuda\nprefetch Mozilla/5.0"))
AT_ONCE = replace(SETTINGS, immediate={"": False, "news": True})
URL = "https://shop.example/a?b=1&c=2#d"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
HERE = "192.0.2.1"
ONE_CLICK = b"List-Unsubscribe=One-Click"
BUTTON = ONE_CLICK + b"&from=page"
LINKS = {"a": "/{}/{}", "b": "/{}?{}", "c": "/{}?qs={}"}


def token(kind: Kind = Kind.CLICK_HTML, url: str = URL, facts: Facts = FACTS) -> str:
    return KEYS.seal(kind, facts, url)


def ask(
    target: str,
    method: str = "GET",
    *,
    agent: str = BROWSER,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    settings: hits.Settings = SETTINGS,
    now: Moment = NOW,
) -> Hit:
    sent = {"user-agent": agent, **(headers or {})}
    return answer(Request(method, target, HERE, sent, body), now, settings)


def header(hit: Hit, name: str) -> str | None:
    found = [value for key, value in hit.answer.headers if key == name]
    assert len(found) <= 1
    return found[0] if found else None


def fields(hit: Hit) -> dict[str, Any]:
    assert hit.event is not None
    return hit.event.fields()


# Clicks

JUNK = ["", ".", ")", "&utm_source=mail", "&fbclid=x%20y", "%22", ",", "#top", ">", "=", "*",
        "&ref=https://x.example/", "&u=https://x.example/click?BAEC"]  # fmt: skip


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("form", LINKS)
def test_click_leads_to_its_destination(form: str, junk: str) -> None:
    hit = ask(LINKS[form].format("click", token()) + junk)
    assert (hit.answer.status, header(hit, "location"), hit.answer.body) == (302, URL, Body.NOTHING)
    assert header(hit, "cache-control") == "no-store"
    assert fields(hit)["event_type"] == events.CLICK


ROADS = {
    "slash before the question mark": "/{noun}/?{token}",
    "two of them": "/{noun}//?{token}",
    "slash before qs": "/{noun}/?qs={token}",
    "slash before other parameters": "/{noun}/?utm_source=x&{token}=&a=b",
    "two slashes": "//{noun}?{token}",
    "three slashes": "///{noun}?{token}",
    "two slashes and a path": "//{noun}//{token}",
    "slash behind the token": "/{noun}/{token}/",
    "encoded token": "/{noun}?{encoded_token}",
    "encoded token in small letters": "/{noun}/{small_encoded_token}",
    "encoded qs": "/{noun}?%71%73={token}",
    "encoded name": "/{encoded_noun}?{token}",
    "all encoded": "//{encoded_noun}/?{encoded_token}=",
}


def encoded(text: str) -> str:
    return "".join(f"%{ord(each):02X}" for each in text)


def road(name: str, noun: str, made: str) -> str:
    return ROADS[name].format(
        noun=noun,
        token=made,
        encoded_noun=encoded(noun),
        encoded_token=encoded(made),
        small_encoded_token=encoded(made).lower(),
    )


@pytest.mark.parametrize("name", ROADS)
def test_a_link_that_a_mail_program_changed_still_redirects(name: str) -> None:
    click = ask(road(name, "click", token()))
    assert (click.answer.status, header(click, "location")) == (302, URL)
    assert ask(road(name, "open", token(Kind.OPEN, ""))).event is not None
    target = road(name, "unsub", token(Kind.LIST_UNSUBSCRIBE, ""))
    assert ask(target, "POST", body=ONE_CLICK).event is not None


@pytest.mark.parametrize("name", ROADS)
def test_a_changed_link_made_with_an_unknown_key_is_404(name: str) -> None:
    for made in (token()[:-1], OTHERS_KEYS.seal(Kind.CLICK_HTML, FACTS, URL), "", "x"):
        hit = ask(road(name, "click", made))
        assert (hit.answer.status, hit.answer.body, hit.event) == (404, Body.UNKNOWN, None)


def test_a_click_event_has_all_fields() -> None:
    assert fields(ask(f"/click?{token(Kind.CLICK_TEXT)}")) == {
        "event_type": "engine_click",
        "event_time": SENT + 60,
        "timestamp": "2026-01-01T00:01:00.007Z",
        "event_unique_id": events.unique_id(NOW.milliseconds, NOW.entropy),
        "server_id": "mx1",
        "email": "reader@example.org",
        "listid": "t100",
        "sendid": "news0101",
        "click_tracking_id": "uid|sid",
        "mail_class": "News",
        "instance_id": "0101",
        "campaign": "abcdefghijkl",
        "message_number": 7,
        "mtaid": "bulk",
        "click_url": URL,
        "engine_ip": HERE,
        "user_agent": BROWSER,
        "html_or_text": "text",
        "is_privacy_open": False,
        "is_bot": False,
        "bot_reason": "",
    }


@pytest.mark.parametrize(
    ("destination", "to"),
    [
        ("https://example.com", "https://example.com"),
        ("HTTP://Example.COM/%7ea?x=%", "HTTP://Example.COM/%7ea?x=%"),
        ("https://example.com/ü?ü#ü", "https://example.com/%C3%BC?%C3%BC#%C3%BC"),
        ('https://example.com/a b"<>', "https://example.com/a%20b%22%3C%3E"),
        ("https://example.com/\r\nSet-Cookie: a=b", "https://example.com/%0D%0ASet-Cookie:%20a=b"),
        ("https://example.com/\udcff\0\x7f", "https://example.com/%FF%00%7F"),
        ("https://example.com/{a}|^`\\'()[]~!*$", "https://example.com/{a}|^`\\'()[]~!*$"),
        ("https://user:pw@example.com:8443/", "https://user:pw@example.com:8443/"),
    ],
)
def test_location_of_a_redirect(destination: str, to: str) -> None:
    hit = ask(f"/click?{token(url=destination)}")
    assert (hit.answer.status, header(hit, "location")) == (302, to)


@pytest.mark.parametrize(
    "destination",
    [
        "javascript:alert(1)", "data:text/html,x", "ftp://example.com/", "mailto:a@example.com",
        "//example.com/", "/relative", "https:example.com", "https:///", "https://", "http:\\\\x",
        " https://example.com/", "\nhttps://example.com/", "http\u017f://x/", "vbscript:x",
    ],
)  # fmt: skip
def test_a_destination_that_is_not_http_is_404(destination: str) -> None:
    hit = ask(f"/click?{token(url=destination)}")
    assert (hit.answer.status, hit.event, header(hit, "location")) == (404, None, None)


@given(st.text())
def test_location_is_one_line_of_ascii(text: str) -> None:
    to = redirects.location(f"https://example.com/{text}")
    assert to is not None
    assert to.isascii()
    assert to.isprintable()
    assert " " not in to


def test_head_redirects_and_records_nothing() -> None:
    hit = ask(f"/click?{token()}", "HEAD")
    assert (hit.answer.status, header(hit, "location"), hit.event) == (302, URL, None)


# Links that we did not make

OF_NOBODY = {
    "nothing": "/click?",
    "no token": "/click?x",
    "another path": "/",
    "another name": f"/clock?{token()}",
    "longer name": f"/clicks?{token()}",
    "below something": f"/a/click?{token()}",
    "bare": f"/{token()}",
    "another's key": f"/click?{OTHERS_KEYS.seal(Kind.CLICK_HTML, FACTS, URL)}",
    "cut off": f"/click?{token()[:-1]}",
    "with a letter more": f"/click?{token()}A",
    "a URL": "/click?https://evil.example/",
    "a URL behind qs": "/click?qs=https://evil.example/",
    "two slashes": "//evil.example/click?x",
    "a host": f"//click/x?{token()}",
    "below something and two slashes": f"/a//click?{token()}",
    "an encoded slash": f"%2Fclick?{token()}",
    "an encoded question mark": f"/click%3F{token()}",
    "a name encoded twice": f"/%2563lick?{token()}",
    "a token encoded twice": f"/click?{encoded(encoded(token()))}",
    "slashes alone": "//click//?",
    "open's token": f"/click?{token(Kind.OPEN, '')}",
    "unsubscribe's token": f"/click?{token(Kind.UNSUBSCRIBE_HTML)}",
    "X-Mailer-Info": f"/click?{token(Kind.MAILER_INFO, '')}",
    "click's token to unsubscribe": f"/unsub?{token()}",
    "open's token to unsubscribe": f"/unsub?{token(Kind.OPEN, '')}",
}


@for_every([*product(OF_NOBODY, ("GET", "HEAD"))])
def test_a_link_that_we_did_not_make_is_404(name: str, method: str) -> None:
    hit = ask(OF_NOBODY[name], method)
    assert (hit.answer.status, hit.answer.body, hit.event) == (404, Body.UNKNOWN, None)
    assert header(hit, "location") is None


def test_changed_tokens_do_not_redirect() -> None:
    """100,000 of them: characters changed, left out, doubled, swapped; heads and tails of others.

    Seeded: the same ones each time.
    """
    chance = random.Random(4)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.%/?=&#\0ü"
    real = [token(kind, f"https://example.com/{kind}") for kind in Kind]
    real += [OTHERS_KEYS.seal(Kind.CLICK_HTML, FACTS, URL)]
    seen = 0
    while seen < 100_000:
        was = chance.choice(real)
        at = chance.randrange(len(was))
        text = chance.choice(
            [
                was[:at] + chance.choice(alphabet) + was[at + 1 :],
                was[:at] + chance.choice(alphabet) + was[at:],
                was[:at] + was[at + 1 :],
                was[:at],
                was[:at] + chance.choice(real)[at:],
                was[:at] + was[at:][::-1],
                was.swapcase() if at % 2 else was[::-1],
            ]
        )
        if any(text.startswith(each) for each in real):
            continue  # a real one, with something behind it
        seen += 1
        noun = chance.choice(["click", "unsub"])
        hit = ask(LINKS[chance.choice("abc")].format(noun, text))
        assert hit.event is None, text
        assert hit.answer.status == 404, text
        assert header(hit, "location") is None, text


@given(st.text(), st.sampled_from(["GET", "HEAD", "POST", "PUT", "x"]), st.binary(max_size=200))
def test_any_request_gets_an_answer(target: str, method: str, body: bytes) -> None:
    for each in (target, f"/click?{target}", f"/unsub/{target}", f"/open?qs={target}"):
        hit = ask(each, method, body=body)
        assert hit.event is None
        assert header(hit, "location") is None


@pytest.mark.parametrize(
    ("method", "noun", "allowed"),
    [
        ("POST", "click", "GET, HEAD"),
        ("POST", "open", "GET, HEAD"),
        ("PUT", "unsub", "GET, HEAD, POST, OPTIONS"),
        ("DELETE", "click", "GET, HEAD"),
        ("OPTIONS", "click", "GET, HEAD"),
        ("OPTIONS", "open", "GET, HEAD"),
    ],
)
def test_other_methods_are_405(method: str, noun: str, allowed: str) -> None:
    hit = ask(f"/{noun}?{token(Kind.LIST_UNSUBSCRIBE, '')}", method, body=ONE_CLICK)
    assert (hit.answer.status, header(hit, "allow"), hit.event) == (405, allowed, None)


@pytest.mark.parametrize(
    ("target", "body", "status"),
    [
        (f"/click?{token()}&" + "x" * hits.LONGEST_TARGET, b"", 414),
        (f"/unsub?{token(Kind.LIST_UNSUBSCRIBE, '')}", ONE_CLICK + b"&" * hits.LONGEST_BODY, 413),
    ],
)
def test_a_long_target_or_body_is_refused(target: str, body: bytes, status: int) -> None:
    hit = ask(target, "POST" if body else "GET", body=body)
    assert (hit.answer.status, hit.event) == (status, None)


def test_a_destination_of_20000_characters_fits() -> None:
    url = "https://example.com/" + "x" * 20_000
    assert header(ask(f"/click?qs={token(url=url)}"), "location") == url


def test_a_token_of_an_older_key_redirects() -> None:
    old = Keyring(KEYS.keys[:1]).seal(Kind.CLICK_HTML, FACTS, URL)
    assert header(ask(f"/click?{old}"), "location") == URL


# Opens


@pytest.mark.parametrize("form", LINKS)
def test_an_open_returns_the_pixel_and_an_event(form: str) -> None:
    hit = ask(LINKS[form].format("open", token(Kind.OPEN, "")))
    assert (hit.answer.status, hit.answer.body) == (200, Body.PIXEL)
    assert header(hit, "content-type") == "image/gif"
    assert header(hit, "cache-control") == "no-store"
    event = fields(hit)
    assert (event["event_type"], event["click_url"], event["html_or_text"]) == (
        events.OPEN,
        "",
        "html",
    )


@pytest.mark.parametrize(
    ("target", "method"),
    [
        ("/open?x", "GET"),
        ("/open/", "GET"),
        (f"/open?{token()}", "GET"),
        (f"/open?{token(Kind.OPEN, '')[:-2]}", "GET"),
        (f"/open?{token(Kind.OPEN, '')}", "HEAD"),
    ],
)
def test_an_invalid_open_returns_the_pixel_without_an_event(target: str, method: str) -> None:
    hit = ask(target, method)
    assert hit.event is None
    assert hit.answer == ask(f"/open?{token(Kind.OPEN, '')}").answer


@pytest.mark.parametrize(("agent", "is_privacy"), [("Mozilla/5.0", True), (BROWSER, False)])
def test_an_open_by_a_privacy_proxy_is_flagged(agent: str, is_privacy: bool) -> None:
    event = fields(ask(f"/open?{token(Kind.OPEN, '')}", agent=agent))
    assert (event["is_privacy_open"], event["is_bot"]) == (is_privacy, False)


# Unsubscribes

ALL_UNSUBSCRIBES = [Kind.UNSUBSCRIBE_HTML, Kind.UNSUBSCRIBE_TEXT, Kind.LIST_UNSUBSCRIBE]
WITH_RECIPIENT = (
    "https://shop.example/a?b=1&c=2&email=reader%40example.org&sendid=News0101&listid=T100#d"
)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("url", [URL, ""])
@pytest.mark.parametrize("kind", ALL_UNSUBSCRIBES)
@pytest.mark.parametrize("form", LINKS)
def test_opening_the_unsubscribe_page_unsubscribes_nobody(
    form: str, kind: Kind, url: str, method: str
) -> None:
    hit = ask(LINKS[form].format("unsub", token(kind, url)), method)
    assert (hit.answer.status, hit.answer.body, hit.event) == (200, Body.UNSUBSCRIBE, None)


POSTS = {
    "as in RFC 8058": ONE_CLICK,
    "with a line end": ONE_CLICK + b"\r\n",
    "with more": b"a=b&" + ONE_CLICK + b"&c=d",
    "in small letters": ONE_CLICK.lower(),
    "with encoded hyphens": b"List%2DUnsubscribe=One%2dClick",
    "with letters encoded": encoded("List-Unsubscribe").encode() + b"=" + b"%4fne-Click",
    "the pair as a name": b"List-Unsubscribe%3DOne-Click=",
    "the pair as a name between others": b"a=b&List-Unsubscribe%3dOne-Click=&c=d",
    "the pair encoded": encoded("List-Unsubscribe=One-Click").encode(),
    "multipart": (
        b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--'
    ),
    "multipart with a type": (
        b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n'
        b"Content-Type: text/plain\r\n\r\nOne-Click\r\n--x--"
    ),
    "multipart with the name twice": (
        b'--x\r\nContent-Disposition: form-data; name=a; filename=b; name="List-Unsubscribe";'
        b" name=List-Unsubscribe; filename=c\r\nX: y\r\n\r\nOne-Click\r\n--x--"
    ),
}


@for_every([*product(POSTS, ALL_UNSUBSCRIBES, (URL, ""))])
def test_one_click_unsubscribes(name: str, kind: Kind, url: str) -> None:
    """RFC 8058: no redirect and no cookie; a repeated request gets the same answer."""
    for _ in range(2):
        hit = ask(f"/unsub?{token(kind, url)}", "POST", body=POSTS[name])
        assert (hit.answer.status, hit.answer.body) == (200, Body.DONE)
        assert header(hit, "location") is None
        assert header(hit, "set-cookie") is None
        event = fields(hit)
        assert (event["event_type"], event["click_url"]) == (events.UNSUBSCRIBE, url)
        assert (event["listid"], event["email"]) == ("t100", "reader@example.org")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"List-Unsubscribe=", b"xList-Unsubscribe=One-Click", b"One-Click", b"from=page",
        b"List%252DUnsubscribe=One-Click", b"List-Unsubscribe%253DOne-Click",
        b"x%3DList-Unsubscribe=One-Click", b"x%26List-Unsubscribe=One-Click",
        b"List-Unsubscribe=One-Click%26", b"List-Unsubscribe=One-Clicks",
        b"List-Unsubscribe==One-Click", b"List-Unsubscribe=One-Click==",
    ],
)  # fmt: skip
def test_a_post_without_one_click_shows_the_page(body: bytes) -> None:
    hit = ask(f"/unsub?{token(Kind.LIST_UNSUBSCRIBE, '')}", "POST", body=body)
    assert (hit.answer.status, hit.answer.body, hit.event) == (400, Body.UNSUBSCRIBE, None)


@pytest.mark.parametrize(
    "piece",
    [
        b"name=List-Unsubscribe", b"name=List-Unsubscribe\nx", b'name="List-Unsubscribe"\r\nx\r\n',
        b"name=", b"\r\n", b"\nx", b"%", b"%2", b"%4C", b"&List-Unsubscribe%3D",
        b"&List-Unsubscribe=One-Click" + b" " * 2000 + b"x",
    ],
)  # fmt: skip
def test_a_post_is_read_in_linear_time(piece: bytes) -> None:
    """A hundred times the longest body: if time were not linear, this would take an hour."""
    longest = 100 * hits.LONGEST_BODY
    target = f"/unsub?{token(Kind.LIST_UNSUBSCRIBE, '')}"
    body = (piece * (longest // len(piece) + 1))[: longest - 1] + b"x"
    hit = answer(
        Request("POST", target, HERE, {"user-agent": BROWSER}, body), NOW, SETTINGS, longest
    )
    assert (hit.answer.status, hit.answer.body, hit.event) == (400, Body.UNSUBSCRIBE, None)


def cors(hit: Hit) -> set[str]:
    return {name for name, _ in hit.answer.headers if name.startswith("access-control-")}


PREFLIGHT = {f"access-control-{name}" for name in (
    "allow-origin", "allow-methods", "allow-headers", "max-age",
)}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "method", "target", "body", "status", "found"),
    [
        ("preflight", "OPTIONS", "/unsub?{one_click}", b"", 200, PREFLIGHT),
        ("POST", "POST", "/unsub?{one_click}", ONE_CLICK, 200, {"access-control-allow-origin"}),
        ("another POST", "POST", "/unsub?{one_click}", b"", 400, {"access-control-allow-origin"}),
        ("page of one click", "GET", "/unsub?{one_click}", b"", 200, set()),
        ("preflight of a link in the body", "OPTIONS", "/unsub?{in_body}", b"", 200, set()),
        ("POST to a link in the body", "POST", "/unsub?{in_body}", ONE_CLICK, 200, set()),
        ("preflight of a forged token", "OPTIONS", "/unsub?{one_click}x", b"", 404, set()),
        ("POST to a forged token", "POST", "/unsub?{one_click}x", ONE_CLICK, 404, set()),
        ("preflight of a click's token", "OPTIONS", "/unsub?{click}", b"", 404, set()),
        ("preflight of a click", "OPTIONS", "/click?{click}", b"", 405, set()),
        ("a click", "GET", "/click?{click}", b"", 302, set()),
        ("preflight of nothing", "OPTIONS", "/", b"", 404, set()),
        ("preflight of all", "OPTIONS", "*", b"", 404, set()),
    ],
)
def test_cross_origin_requests_are_allowed_for_one_click_only(
    name: str, method: str, target: str, body: bytes, status: int, found: set[str]
) -> None:
    tokens = {
        "one_click": token(Kind.LIST_UNSUBSCRIBE, ""),
        "in_body": token(Kind.UNSUBSCRIBE_HTML, ""),
        "click": token(),
    }
    hit = ask(target.format(**tokens), method, body=body)
    assert (hit.answer.status, cors(hit)) == (status, found)
    counts = status in (200, 302) and method != "OPTIONS" and name != "page of one click"
    assert (hit.event is not None) == counts


def test_the_button_redirects_to_the_destination() -> None:
    hit = ask(f"/unsub?{token(Kind.UNSUBSCRIBE_HTML)}", "POST", body=BUTTON)
    assert (hit.answer.status, header(hit, "location")) == (303, WITH_RECIPIENT)
    assert fields(hit)["click_url"] == URL


def test_the_button_without_a_destination_shows_a_page() -> None:
    hit = ask(f"/unsub?{token(Kind.LIST_UNSUBSCRIBE, '')}", "POST", body=BUTTON)
    assert (hit.answer.status, hit.answer.body) == (200, Body.DONE)
    assert hit.event is not None


@pytest.mark.parametrize(
    ("destination", "query"),
    [
        ("https://example.com/", ""),
        ("https://example.com/?", ""),
        ("https://example.com/?a=b", "a=b"),
        ("https://example.com/?a=b&", "a=b"),
        ("https://example.com/#x?y", ""),
    ],
)
def test_the_destination_gets_recipient_and_list(destination: str, query: str) -> None:
    hit = ask(f"/unsub?{token(Kind.UNSUBSCRIBE_TEXT, destination)}", "POST", body=BUTTON)
    to = urlsplit(header(hit, "location") or "")
    added = [("email", "reader@example.org"), ("sendid", "News0101"), ("listid", "T100")]
    assert parse_qsl(to.query) == parse_qsl(query) + added
    assert to.fragment == urlsplit(destination).fragment


@pytest.mark.parametrize(
    ("name", "how", "is_at_once"),
    [
        ("a person", {}, True),
        ("HEAD", {"method": "HEAD"}, False),
        ("a scanner", {"agent": "barracuda"}, False),
        ("Chrome fetches ahead", {"headers": {"sec-purpose": "prefetch;prerender"}}, False),
        ("Safari fetches ahead", {"headers": {"purpose": "preview"}}, False),
        ("Firefox fetches ahead", {"headers": {"x-moz": "prefetch"}}, False),
        ("another class", {"settings": replace(SETTINGS, immediate={"": False, "x": True})}, False),
        ("all classes", {"settings": replace(SETTINGS, immediate={"": True})}, True),
    ],
)
def test_an_immediate_unsubscribe_needs_no_page(
    name: str, how: dict[str, Any], is_at_once: bool
) -> None:
    hit = ask(f"/unsub?{token(Kind.UNSUBSCRIBE_HTML)}", **{"settings": AT_ONCE, **how})
    assert (hit.event is not None) is is_at_once
    if is_at_once:
        assert (hit.answer.status, header(hit, "location")) == (303, WITH_RECIPIENT)


NOBODY = replace(FACTS, email="")
MAILBOXES = {"": "all@example.com", "news": "news@example.com"}


@pytest.mark.parametrize(
    ("name", "method", "body", "status"),
    [
        ("a look", "GET", b"", 200),
        ("HEAD", "HEAD", b"", 200),
        ("one click", "POST", ONE_CLICK, 422),
        ("the page's button of before", "POST", BUTTON, 422),
        ("another POST", "POST", b"", 422),
    ],
)
@pytest.mark.parametrize("settings", [SETTINGS, AT_ONCE], ids=["confirm", "immediate"])
@pytest.mark.parametrize("url", [URL, ""])
@pytest.mark.parametrize("kind", ALL_UNSUBSCRIBES)
def test_a_token_without_recipient_unsubscribes_nobody(
    kind: Kind, url: str, settings: hits.Settings, name: str, method: str, body: bytes, status: int
) -> None:
    link = f"/unsub?{token(kind, url, NOBODY)}"
    hit = ask(link, method, body=body, settings=replace(settings, mailboxes=MAILBOXES))
    assert (hit.answer.status, hit.answer.body, hit.event) == (status, Body.NO_RECIPIENT, None)
    assert hit.answer.mailbox == "news@example.com"
    assert header(hit, "location") is None


def test_an_obscured_recipient_can_unsubscribe() -> None:
    facts = replace(FACTS, email="user-1", click_tracking_id="")
    assert ask(f"/unsub?{token(Kind.LIST_UNSUBSCRIBE, '', facts)}", "POST", body=ONE_CLICK).event


@pytest.mark.parametrize(
    ("mail_class", "mailbox"),
    [("News", "news@example.com"), ("NEWS", "news@example.com"), ("x", "all@example.com")],
)
def test_the_page_shows_the_mailbox_of_the_mail_class(mail_class: str, mailbox: str) -> None:
    assert replace(SETTINGS, mailboxes=MAILBOXES).mailbox(mail_class) == mailbox
    assert SETTINGS.mailbox(mail_class) == ""


def test_a_program_found_later_gets_the_page_instead_of_an_immediate_unsubscribe() -> None:
    hit = ask(f"/unsub?{token(Kind.UNSUBSCRIBE_HTML)}", settings=AT_ONCE)
    assert hit.for_program is not None
    assert (hit.for_program.status, hit.for_program.body) == (200, Body.UNSUBSCRIBE)


def test_the_link_of_the_header_field_is_never_immediate() -> None:
    hit = ask(f"/unsub?{token(Kind.LIST_UNSUBSCRIBE, '')}", settings=AT_ONCE)
    assert (hit.answer.body, hit.event) == (Body.UNSUBSCRIBE, None)


# Bots

SOON = replace(NOW, milliseconds=SENT * 1000 + bots.SOONEST - 1)
LATER = replace(NOW, milliseconds=SENT * 1000 + bots.SOONEST)


@pytest.mark.parametrize(
    ("name", "how", "reason"),
    [
        ("a person", {}, ""),
        ("a scanner", {"agent": "x Barracuda y"}, bots.KNOWN_SCANNER),
        ("too soon", {"now": SOON}, bots.TOO_SOON),
        ("not too soon", {"now": LATER}, ""),
        ("fetched ahead", {"headers": {"sec-purpose": "prefetch"}}, bots.PREFETCH),
        ("to be shown", {"headers": {"sec-purpose": "prefetch;prerender"}}, bots.PREFETCH),
        ("by a proxy", {"headers": {"sec-purpose": "Prefetch;Anonymous-Client-IP"}}, bots.PREFETCH),
        ("by an older Chrome", {"headers": {"purpose": "prefetch"}}, bots.PREFETCH),
        ("by Safari", {"headers": {"x-purpose": "PREVIEW"}}, bots.PREFETCH),
        ("by Firefox", {"headers": {"x-moz": "prefetch"}}, bots.PREFETCH),
        ("another purpose", {"headers": {"purpose": "reading"}}, ""),
    ],
)
@pytest.mark.parametrize("noun", ["click", "open"])
def test_bot_reason_of_a_single_request(
    noun: str, name: str, how: dict[str, Any], reason: str
) -> None:
    kind = Kind.CLICK_HTML if noun == "click" else Kind.OPEN
    event = fields(ask(f"/{noun}?{token(kind)}", **how))
    assert (event["is_bot"], event["bot_reason"]) == (bool(reason), reason)


def test_a_click_with_the_user_agent_of_an_image_proxy_is_a_bot() -> None:
    """No person's browser has this User-Agent; for an image, it means a privacy open."""
    assert fields(ask(f"/click?{token()}", agent="Mozilla/5.0"))["bot_reason"] == bots.KNOWN_SCANNER
    opened = fields(ask(f"/open?{token(Kind.OPEN, '')}", agent="Mozilla/5.0"))
    assert (opened["is_bot"], opened["is_privacy_open"]) == (False, True)


@pytest.mark.parametrize(
    ("noun", "kind", "url", "method", "what"),
    [
        ("click", Kind.CLICK_HTML, URL, "GET", bursts.LINK),
        ("click", Kind.CLICK_TEXT, URL, "HEAD", bursts.HEAD),
        ("click", Kind.CLICK_HTML, "", "GET", bursts.HIDDEN),
        ("click", Kind.CLICK_HTML, "", "HEAD", bursts.HIDDEN),
        ("unsub", Kind.UNSUBSCRIBE_HTML, URL, "GET", bursts.LINK),
        ("unsub", Kind.LIST_UNSUBSCRIBE, "", "HEAD", bursts.HEAD),
    ],
)
def test_a_request_for_a_link_is_a_touch(
    noun: str, kind: Kind, url: str, method: str, what: str
) -> None:
    hit = ask(f"/{noun}?{token(kind, url)}", method)
    assert hit.message == "abcdefghijkl:7"
    assert hit.touch == (NOW.milliseconds, HERE, what, bursts.link_name(url))


@pytest.mark.parametrize(
    ("noun", "kind", "method"),
    [
        ("open", Kind.OPEN, "GET"),
        ("open", Kind.OPEN, "HEAD"),
        ("unsub", Kind.LIST_UNSUBSCRIBE, "POST"),
        ("unsub", Kind.LIST_UNSUBSCRIBE, "OPTIONS"),
    ],
)
def test_a_request_that_follows_no_link_is_no_touch(noun: str, kind: Kind, method: str) -> None:
    assert ask(f"/{noun}?{token(kind, '')}", method).touch is None


def test_get_of_the_hidden_link_is_a_bot_click_and_404() -> None:
    hit = ask(f"/click?{token(url='')}")
    assert (hit.answer.status, header(hit, "location")) == (404, None)
    assert fields(hit)["bot_reason"] == bots.HIDDEN_LINK


def test_head_on_the_hidden_link_is_no_click() -> None:
    hit = ask(f"/click?{token(url='')}", "HEAD")
    assert (hit.answer.status, header(hit, "location")) == (404, None)
    assert hit.event is None


def test_a_long_user_agent_is_cut() -> None:
    assert len(fields(ask(f"/click?{token()}", agent="x" * 9999))["user_agent"]) == 500
