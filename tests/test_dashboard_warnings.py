"""The warnings of the last day, from the milter's batches to the page."""

from __future__ import annotations

import time

import html5lib  # type: ignore[import-untyped]
import pytest
from fletching.daemons.milter.afterwards import Answered, kind_of, warnings_by_kind
from fletching.policy.verdict import Verdict
from fletching.store import keys
from fletching.store.warned import MOST, OTHER, Example, Warned, WarnedMails
from fletching.tokens import Facts

from sandbox.redis_server import RedisServer
from tests.dashboard_client import Browser
from tests.dashboard_numbers import Numbers, served
from tests.stores import open_store
from tests.test_dashboard_traces import words

pytestmark = pytest.mark.slow

NOW = 1_796_000_000
FACTS = Facts("abcdefghijkl", 7, "News", "01", "T100", "u|s", "r@example.org", "bulk", 1)


@pytest.fixture
def warned(redis: RedisServer) -> WarnedMails:
    redis.client.flushall()
    return WarnedMails(open_store(redis.url))


@pytest.mark.parametrize(
    ("warning", "kind"),
    [
        ("not tracked: url_domain is not set", "not tracked: url_domain is not set"),
        ("X-GreenArrow-Invented7: unknown control header", "unknown control header"),
        ("X-Mailgun-Odd: unknown vendor header", "unknown vendor header"),
        ("no key for 'shop.example'", "no key for …"),
        ('value "a b" is too long', "value … is too long"),
        ("redirected to ann@example.org, bob@example.org", "redirected to …, …"),
        ("a" * 999, "a" * 255),
    ],
)
def test_kind_of_a_warning_has_no_values(warning: str, kind: str) -> None:
    assert kind_of(warning) == kind


def answered(
    queue_id: str, *warnings: str, verdict: Verdict = Verdict.ACCEPT, message: Facts | None = FACTS
) -> Answered:
    return Answered(queue_id, verdict, 0.1, warnings=warnings, message=message)


def test_batch_is_counted_by_kind_with_its_last_mail() -> None:
    batch = [
        answered("1A", "not tracked: a", "X-A: unknown control header"),
        answered("2B", "X-B: unknown control header", "X-C: unknown control header"),
        answered("3C", "no Mail Class", message=None),
        answered("4D", "X-D: unknown control header", verdict=Verdict.REJECT),
        answered("5E"),
    ]
    assert warnings_by_kind(batch, "mx1", NOW) == [
        Warned("not tracked: a", 1, Example("not tracked: a", "1A", NOW, "mx1", "abcdefghijkl")),
        Warned(
            "unknown control header",
            3,
            Example("X-D: unknown control header", "4D", NOW, "mx1", ""),
        ),
        Warned("no Mail Class", 1, Example("no Mail Class", "3C", NOW, "mx1", "")),
    ]


def one(kind: str, mails: int = 1, seconds: int = NOW) -> Warned:
    return Warned(kind, mails, Example(kind, "4F1A", seconds, "mx1", "abcdefghijkl"))


def test_day_is_the_sum_of_its_hours(warned: WarnedMails) -> None:
    warned.count([one("a", 2), one("b", 1)], NOW)
    warned.count([one("a", 3, NOW - 3600)], NOW - 3600)
    warned.count([one("a", 100)], NOW - 26 * 3600)
    assert warned.of_last_day(NOW) == [one("a", 5), one("b", 1)]


def test_example_is_the_latest_one(warned: WarnedMails) -> None:
    warned.count([one("a", 1, NOW - 50)], NOW - 50)
    warned.count([one("a", 1, NOW)], NOW)
    assert warned.of_last_day(NOW)[0].example.seconds == NOW


def test_number_of_kinds_is_bounded(warned: WarnedMails, redis: RedisServer) -> None:
    warned.count([one(f"kind {number}") for number in range(3 * MOST)], NOW)
    warned.count([one("kind 7"), one("a new one")], NOW)
    found = {each.kind: each.mails for each in warned.of_last_day(NOW)}
    assert len(found) == MOST + 1
    assert (found["kind 7"], found[OTHER]) == (2, 2 * MOST + 1)
    assert 0 < redis.client.ttl(keys.warned(NOW // 3600)) <= 26 * 3600


@pytest.mark.parametrize("example", ["", "[", "{}", '{"text": 1}', "null"])
def test_damaged_example_is_not_shown(
    warned: WarnedMails, redis: RedisServer, example: str
) -> None:
    name = keys.warned(NOW // 3600)
    redis.client.hset(name, "n:a", "1")
    redis.client.hset(name, "e:a", example)
    assert warned.of_last_day(NOW) == []


def test_page_shows_kinds_and_examples(warned: WarnedMails, redis: RedisServer) -> None:
    now = int(time.time())
    with served(Numbers(), redis=redis.url) as port:
        browser = Browser(port)
        assert "No message had a warning" in browser.get("/warnings").text
        example = Example("<script>alert(1)</script>", "4F<1A", now, "mx<1>", "abcdefghijkl")
        warned.count([Warned("<script>", 1_234, example), one("often", 9_999)], now)
        page = browser.get("/warnings").text
    html5lib.HTMLParser(strict=True).parse(page)
    assert "<script>alert" not in page
    assert 'href="/trace?q=4F%3C1A"' in page
    assert 'href="/campaign/abcdefghijkl"' in page
    shown = words(page)
    assert shown.index("often 9,999") < shown.index("<script> <script>alert(1)</script> 1,234")
