"""What a trace says in words, and what a search text means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fletching import events, traces
from fletching.store.find_traces import Trace
from fletching.tokens import Facts, Keyring, Kind, LinkKey
from fletching.traces import ACCEPTED, Moment
from fletching.tracing import timeline
from fletching.tracing.search import NoTrace, Search

from tests.cases import for_every

ACCEPTED_AT = 1_796_054_400
"""2026-11-30 16:00:00 UTC."""
BERLIN = ZoneInfo("Europe/Berlin")
C = "nkytxaascfgt"
KEYS = Keyring((LinkKey(1, 0, b"k" * 32),))
FACTS = Facts(C, 7, "News", "1", "t100", "", "joe@example.org", "", 0)
LINK = traces.link_digest("https://shop.example/")


def moment(type: str, after: int = 0, **details: Any) -> Moment:
    return Moment(ACCEPTED_AT + after, type, details)


MAIL = moment(ACCEPTED, queue_id="4F1A", mtaid="vmta-a")
RELAY = {"relay": "mx.example.org[192.0.2.1]"}


def trace(*moments: Moment) -> Trace:
    return Trace(FACTS, (MAIL, *moments), {LINK: "https://shop.example/"})


def delivery(status: str, after: int = 3, **details: Any) -> Moment:
    return moment(events.DELIVERY, after, status=status, **RELAY | details)


SENTENCES: dict[str, tuple[Moment, str]] = {
    "delivered": (delivery("success"), "Delivered: accepted by mx.example.org[192.0.2.1]."),
    "deferred": (
        delivery("deferral", bounce_reason="rate_limited"),
        "Deferred by mx.example.org[192.0.2.1]: too much mail at once.",
    ),
    "refused": (
        delivery("failure", bounce_reason="user_unknown"),
        "Refused by mx.example.org[192.0.2.1]: the mailbox does not exist.",
    ),
    "refused for an unknown reason": (
        delivery("failure", bounce_reason="other"),
        "Refused by mx.example.org[192.0.2.1].",
    ),
    "expired": (delivery("failure_toolong"), "Given up: the time for delivery is over."),
    "lost": (moment(events.DELIVERY), "A delivery attempt; its details are lost."),
    "of one of several": (
        delivery("success", relay="", recipient="ann@example.net"),
        "Delivered for ann@example.net: accepted.",
    ),
    "bounce of one of several": (
        moment(events.BOUNCE, bounce_type="h", recipient="ann@example.net", synchronous=True),
        "Counted as a hard bounce of ann@example.net.",
    ),
    "bounced": (
        moment(events.BOUNCE, bounce_type="h", bounce_reason="user_unknown"),
        "Returned by mail, a hard bounce: the mailbox does not exist.",
    ),
    "bounced at once": (
        moment(events.BOUNCE, bounce_type="s", synchronous=True),
        "Counted as a soft bounce.",
    ),
    "bounced somehow": (
        moment(events.BOUNCE, bounce_type="o"),
        "Returned by mail, a bounce of an unknown kind.",
    ),
    "complaint": (
        moment(events.COMPLAINT, feedback_type="abuse"),
        "The recipient complained (abuse).",
    ),
    "unsubscribed": (
        moment(events.UNSUBSCRIBE, by="web"),
        "The recipient unsubscribed on the web, by a link or with one click.",
    ),
    "unsubscribed by mail": (
        moment(events.UNSUBSCRIBE, by="mail"),
        "The recipient unsubscribed by mail.",
    ),
    "bad address": (
        moment(events.BAD_ADDRESS, bounce_type="h"),
        "The address is suppressed from now on: it is a bad address.",
    ),
    "open": (moment(events.OPEN), "Opened."),
    "privacy open": (
        moment(events.OPEN, is_privacy_open=True),
        "Opened by the mailbox provider's proxy: it is unknown whether a person read it.",
    ),
    "bot open": (
        moment(events.OPEN, is_bot=True, bot_reason="user_agent"),
        "Opened by a program, not by a person (user_agent).",
    ),
    "click": (moment(events.CLICK, link=LINK), "Clicked: https://shop.example/"),
    "bot click": (
        moment(events.CLICK, link=LINK, is_bot=True),
        "Clicked by a program, not by a person: https://shop.example/",
    ),
    "click on a forgotten link": (
        moment(events.CLICK, link="0" * 16),
        "Clicked: a link that is no longer known",
    ),
}


@for_every(SENTENCES)
def test_moment_in_words(happened: Moment, sentence: str) -> None:
    told = timeline.timeline(trace(happened), ACCEPTED_AT + 60, BERLIN)
    assert told.entries[1].text == sentence


def test_every_bounce_reason_has_words() -> None:
    from fletching.returning.returned import Reason

    without = {Reason.OTHER}
    assert {each.value for each in Reason if each not in without} == set(timeline._REASONS)


STATES: dict[str, tuple[tuple[Moment, ...], str]] = {
    "nothing": ((), "No delivery attempt is known: it is in Postfix's queue, or Postfix's log"),
    "delivered": ((delivery("deferral"), delivery("success")), "It was delivered to the"),
    "deferred": (
        (delivery("deferral"), delivery("deferral")),
        "It is not delivered yet: after 2 attempts, Postfix will try again.",
    ),
    "refused": ((delivery("failure"),), "It was not delivered: the recipient's mail server"),
    "expired": (
        (delivery("deferral"), delivery("failure_toolong")),
        "It was not delivered: Postfix gave up",
    ),
    "bounced later": (
        (delivery("success"), moment(events.BOUNCE, bounce_type="h")),
        "It was accepted by a server, and bounced later.",
    ),
    "bounced at once": (
        (delivery("failure"), moment(events.BOUNCE, bounce_type="h", synchronous=True)),
        "It was not delivered: the recipient's mail server refused it.",
    ),
    "complained": (
        (delivery("success"), moment(events.COMPLAINT)),
        "The recipient complained about it.",
    ),
    "opened": ((moment(events.OPEN),), "It was delivered: it was opened or clicked."),
}


@for_every(STATES)
def test_state_of_a_message(moments: tuple[Moment, ...], state: str) -> None:
    assert timeline.state(trace(*moments)).startswith(state)


def test_times_are_local_and_relative() -> None:
    happened = (delivery("success", 3), moment(events.OPEN, 7203), moment(events.OPEN, 300_000))
    told = timeline.timeline(trace(*happened), ACCEPTED_AT + 310_000, BERLIN)
    assert [(entry.when, entry.after) for entry in told.entries] == [
        ("2026-11-30 17:00:00 CET", "3 days ago"),
        ("2026-11-30 17:00:03 CET", "3 seconds later"),
        ("2026-11-30 19:00:03 CET", "2 hours later"),
        ("2026-12-04 04:20:00 CET", "3 days later"),
    ]


def test_what_is_known_of_a_message() -> None:
    told = timeline.timeline(trace(), ACCEPTED_AT, BERLIN)
    assert told.title == "Message 7 of campaign News1"
    assert told.facts == (
        ("Recipient", "joe@example.org"),
        ("Mail Class", "News"),
        ("Campaign", "News1"),
        ("List", "t100"),
        ("Queue id", "4F1A"),
    )
    assert told.entries[0].text == "Accepted from the application, to be sent by VirtualMTA vmta-a."


def test_warnings_are_notes() -> None:
    warned = Moment(ACCEPTED_AT, ACCEPTED, {"warnings": ("no key", "too big")})
    told = timeline.timeline(Trace(FACTS, (warned,), {}), ACCEPTED_AT, BERLIN)
    (entry,) = told.entries
    assert entry.text.endswith("to be sent by Postfix's own routing.")
    assert entry.notes == ("Warning: no key", "Warning: too big")


def test_several_recipients_have_a_delivery_each() -> None:
    mail = moment(ACCEPTED, recipients=("a@one.example", "b@two.example"))
    happened = (
        delivery("success", recipient="a@one.example", relay="mx.one.example"),
        delivery("deferral", recipient="b@two.example", relay="mx.two.example"),
    )
    found = Trace(replace(FACTS, email=""), (mail, *happened), {})
    told = timeline.timeline(found, ACCEPTED_AT, BERLIN)
    assert told.facts[0] == ("Recipient", "a@one.example, b@two.example")
    assert [entry.text for entry in told.entries[1:]] == [
        "Delivered for a@one.example: accepted by mx.one.example.",
        "Deferred for b@two.example by mx.two.example.",
    ]
    assert told.state == "It went to several recipients, with different results: see below."


def test_json_has_a_fixed_order() -> None:
    click = moment(events.CLICK, 9, is_bot=True, bot_reason="agent", link=LINK)
    told = timeline.as_json(trace(delivery("success", message="250 Ok"), click))
    assert list(told) == [
        *("campaign", "message_number", "sendid", "mail_class", "instance_id", "listid"),
        *("click_tracking_id", "email", "recipients", "queue_id", "mtaid", "state", "events"),
    ]
    assert told["events"] == [
        {
            "event_type": "accepted",
            "event_time": ACCEPTED_AT,
            "timestamp": "2026-11-30T16:00:00.000Z",
            "warnings": [],
        },
        {
            "event_type": "delivery_attempt",
            "event_time": ACCEPTED_AT + 3,
            "timestamp": "2026-11-30T16:00:03.000Z",
            "status": "success",
            "relay": "mx.example.org[192.0.2.1]",
            "message": "250 Ok",
        },
        {
            "event_type": "engine_click",
            "event_time": ACCEPTED_AT + 9,
            "timestamp": "2026-11-30T16:00:09.000Z",
            "click_url": "https://shop.example/",
            "is_bot": True,
            "bot_reason": "agent",
        },
    ]


class Asked:
    """Traces that note what was asked for."""

    def __init__(self) -> None:
        self.asked: object = None
        self.found = [trace()]

    def named(self, name: str, most: int) -> list[Trace]:
        self.asked = name
        return self.found

    def of(self, messages: list[tuple[str, int]]) -> list[Trace]:
        (self.asked,) = messages
        return self.found


def search(asked: Asked, memory: int = 7 * 86400) -> Search:
    return Search(asked, KEYS, memory)  # type: ignore[arg-type]


TOKEN = KEYS.seal(Kind.CLICK_HTML, FACTS, "https://shop.example/")
TAG = KEYS.tag(C, 7)
MESSAGE = (C, 7)
TEXTS: dict[str, tuple[str, object]] = {
    "address": ("joe@example.org", "joe@example.org"),
    "address in brackets": (" <joe@example.org>\n", "joe@example.org"),
    "queue id": ("4F1A2B3C", "4F1A2B3C"),
    "long queue id": ("4SfQ1k0pZ2z1xXy", "4SfQ1k0pZ2z1xXy"),
    "Message-ID": ("<1234.abc@shop.example>", "1234.abc@shop.example"),
    "Message-ID field": ("Message-ID: <1234.abc@shop.example>", "1234.abc@shop.example"),
    "obscured address": ("subscriber 4711", "subscriber 4711"),
    "click link": (f"https://click.example.com/click?{TOKEN}", MESSAGE),
    "click link with junk": (f"https://click.example.com/click/{TOKEN}?utm_id=1", MESSAGE),
    "token alone": (TOKEN, MESSAGE),
    "mailto link": (f"mailto:u@example.com?subject={TOKEN}", MESSAGE),
    "folded header": (f"X-Mailer-Info: {TOKEN[:50]}\r\n {TOKEN[50:]}", MESSAGE),
    "return path": (f"bounces+{TAG}@example.com", MESSAGE),
    "return path in upper case": (f"<BOUNCES+{TAG.upper()}@EXAMPLE.COM>", MESSAGE),
    "return path with a transport": (f"bounces+{TAG}-abcd@example.com", MESSAGE),
    "tag alone": (TAG, MESSAGE),
    "forged return path": (f"bounces+{'a' * 32}@example.com", f"bounces+{'a' * 32}@example.com"),
    "address like a URL": ("http@example.org", "http@example.org"),
    "many characters": ("x" * 5000, "x" * 1000),
}


@for_every(TEXTS)
def test_what_a_text_means(text: str, wanted: object) -> None:
    asked = Asked()
    assert search(asked).find(text, 10) == asked.found
    assert asked.asked == wanted


NOTHING: dict[str, tuple[str, str]] = {
    "address": ("joe@example.org", "no message of the last 7d (trace_memory) has this address"),
    "foreign link": ("https://shop.example/", "not one of our links: it has no token"),
    "altered link": (f"https://c.example/click?{TOKEN[:-3]}abc", "not one of our links"),
    "old link": (f"https://c.example/click?{TOKEN}", "nothing is kept of message 7 of campaign"),
    "link of an untracked mail": (
        KEYS.seal(Kind.LIST_UNSUBSCRIBE, replace(FACTS, campaign="", number=0)),
        "this mail was sent while Redis was unavailable",
    ),
}


@for_every(NOTHING)
def test_why_nothing_is_found(text: str, why: str) -> None:
    asked = Asked()
    asked.found = []
    with pytest.raises(NoTrace) as raised:
        search(asked).find(text, 10)
    assert str(raised.value).startswith(why)


def test_traces_may_be_switched_off() -> None:
    with pytest.raises(NoTrace, match="trace_memory is 0"):
        search(Asked(), 0).find("joe@example.org", 10)
