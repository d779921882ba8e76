"""hits.py: the exact header fields, limits and event fields of answers."""

from __future__ import annotations

import struct

import pytest
from fletching.returning import hits
from fletching.returning.hits import Body, Request, answer
from fletching.tokens import Kind

from tests.test_hits import AT_ONCE, BUTTON, HERE, NOW, ONE_CLICK, SETTINGS, URL, ask, fields, token

PRIVATE = (
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-robots-tag", "noindex, nofollow"),
)
PAGE = (*PRIVATE, ("x-content-type-options", "nosniff"))
ANY_ORIGIN = ("access-control-allow-origin", "*")
UNSUBSCRIBE_METHODS = ("allow", "GET, HEAD, POST, OPTIONS")
CLICK = f"/click?{token()}"
UNSUBSCRIBE = f"/unsub?{token(Kind.LIST_UNSUBSCRIBE, '')}"
LINK_IN_BODY = f"/unsub?{token(Kind.UNSUBSCRIBE_HTML, '')}"


@pytest.mark.parametrize(
    ("target", "method", "status", "headers"),
    [
        (CLICK, "GET", 302, (("location", URL), *PRIVATE)),
        (CLICK, "HEAD", 302, (("location", URL), *PRIVATE)),
        (f"/open?{token(Kind.OPEN, '')}", "GET", 200, (("content-type", "image/gif"), *PAGE)),
        ("/open?x", "GET", 200, (("content-type", "image/gif"), *PAGE)),
        (UNSUBSCRIBE, "GET", 200, PAGE),
        (UNSUBSCRIBE, "POST", 200, (*PAGE, ANY_ORIGIN)),
        (LINK_IN_BODY, "POST", 200, PAGE),
        (
            UNSUBSCRIBE,
            "OPTIONS",
            200,
            (
                UNSUBSCRIBE_METHODS,
                ANY_ORIGIN,
                ("access-control-allow-methods", "POST"),
                ("access-control-allow-headers", "*"),
                ("access-control-max-age", "86400"),
                *PAGE,
            ),
        ),
        (LINK_IN_BODY, "OPTIONS", 200, (UNSUBSCRIBE_METHODS, *PAGE)),
        ("/click?x", "GET", 404, PAGE),
        (CLICK, "PUT", 405, (("allow", "GET, HEAD"), *PAGE)),
    ],
)
def test_header_fields_of_an_answer(
    target: str, method: str, status: int, headers: hits.Headers
) -> None:
    found = ask(target, method, body=ONE_CLICK).answer
    assert (found.status, found.headers) == (status, headers)


def test_the_pixel_is_a_gif_of_one_transparent_pixel() -> None:
    assert hits.PIXEL.startswith(b"GIF89a")
    assert struct.unpack("<HH", hits.PIXEL[6:10]) == (1, 1)
    # A graphic control extension with the flag for transparency, and the end of the file.
    extension = hits.PIXEL.index(b"\x21\xf9\x04")
    assert hits.PIXEL[extension + 3] & 1
    assert hits.PIXEL.endswith(b"\x00\x3b")


@pytest.mark.parametrize(("length", "status"), [(32 * 1024, 404), (32 * 1024 + 1, 414)])
def test_a_target_has_at_most_32_kib(length: int, status: int) -> None:
    assert ask("/click?".ljust(length, "x")).answer.status == status


@pytest.mark.parametrize(("length", "status"), [(8 * 1024, 400), (8 * 1024 + 1, 413)])
def test_a_body_has_at_most_8_kib(length: int, status: int) -> None:
    assert ask(UNSUBSCRIBE, "POST", body=b"x" * length).answer.status == status


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        (Kind.UNSUBSCRIBE_HTML, {"html_or_text": "html"}),
        (Kind.UNSUBSCRIBE_TEXT, {"html_or_text": "text"}),
        (Kind.LIST_UNSUBSCRIBE, {}),
    ],
)
def test_only_an_unsubscribe_by_a_link_in_the_body_names_its_part(
    kind: Kind, part: dict[str, str]
) -> None:
    event = fields(ask(f"/unsub?{token(kind, '')}", "POST", body=ONE_CLICK))
    assert {name: event[name] for name in event if name == "html_or_text"} == part


def test_a_click_is_never_a_privacy_open() -> None:
    event = fields(ask(CLICK, agent="Mozilla/5.0"))
    assert event["is_privacy_open"] is False


def test_a_request_without_a_user_agent_has_an_empty_one() -> None:
    hit = answer(Request("GET", CLICK, HERE), NOW, SETTINGS)
    assert fields(hit)["user_agent"] == ""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_immediate_unsubscribe_without_a_destination_shows_the_page(method: str) -> None:
    hit = ask(LINK_IN_BODY, method, settings=AT_ONCE)
    assert (hit.answer.status, hit.answer.body, hit.event) == (200, Body.UNSUBSCRIBE, None)


def test_a_page_without_a_destination_redirects_nowhere() -> None:
    assert ask(LINK_IN_BODY).answer.destination == ""
    assert ask(LINK_IN_BODY, "POST", body=BUTTON).answer.destination == ""


def test_a_destination_that_is_no_url_redirects_nowhere() -> None:
    target = f"/unsub?{token(Kind.UNSUBSCRIBE_HTML, 'javascript:alert(1)')}"
    assert ask(target).answer.destination == ""
