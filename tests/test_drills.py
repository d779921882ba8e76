"""The judge of the failure drills: what it takes for a broken promise, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bench.drills.judge import (
    CLICK,
    UNSUBSCRIBE,
    Findings,
    Kept,
    Mail,
    Request,
    Sending,
    judge,
    total,
)

ADA, BOB = "ada@recipient.example", "bob@recipient.example"


def event(kind: str, number: int, email: str, unique: str, **more: object) -> dict[str, Any]:
    named = {"event_type": kind, "event_unique_id": unique, "email": email}
    return named | {"campaign": "c1", "message_number": number, "is_bot": False} | more


def row(campaign: str = "c1", **counts: int | None) -> Mapping[str, Any]:
    whole = {"sent": 2, "clicks": 1, "unique_clicks": 1, "bot_clicks": 0, "unsubscribes": 1}
    return {"campaign": campaign, **whole, **counts}


MAILS = (Mail(ADA, "c1", 1, "b+1@example.com"), Mail(BOB, "c1", 2, "b+2@example.com"))
REQUESTS = (Request(CLICK, ADA, 1, True), Request(UNSUBSCRIBE, BOB, 1, True))
SENDING = Sending(wanted=2, began=10.0, accepted=(11.0, 14.5), tempfailed=3)
CLICKED, GONE = event(CLICK, 1, ADA, "e1"), event(UNSUBSCRIBE, 2, BOB, "e2")
KEPT = Kept((CLICKED, GONE), (row(),), frozenset({BOB}))


def test_nothing_is_broken_where_all_is_kept() -> None:
    findings = judge(MAILS, REQUESTS, SENDING, KEPT)
    assert findings.broken == {}
    assert findings == Findings(
        accepted=2, tempfailed=3, campaigns=1, unsubscribes=1, clicks=1, gap=3.5
    )


BROKEN_MAILS = {
    "a number on two mails": (replace(MAILS[1], number=1), {"numbers_twice": 1}),
    "a return path on two mails": (
        replace(MAILS[1], return_path=MAILS[0].return_path),
        {"tags_twice": 1},
    ),
}


@pytest.mark.parametrize("name", BROKEN_MAILS)
def test_what_mails_break(name: str) -> None:
    second, broken = BROKEN_MAILS[name]
    assert judge((MAILS[0], second), REQUESTS, SENDING, KEPT).broken == broken


def test_one_number_in_two_campaigns_is_fine() -> None:
    mails = (MAILS[0], replace(MAILS[1], campaign="c2", number=1))
    kept = replace(KEPT, campaigns=(row(sent=1), row("c2", sent=1)))
    findings = judge(mails, REQUESTS, SENDING, kept)
    assert (findings.numbers_twice, findings.campaigns) == (0, 2)


BROKEN_KEPT = {
    "an unsubscribe without an event": (
        replace(KEPT, events=(CLICKED,)),
        {"unsubscribes_missing": 1, "statistics_off": 1},
    ),
    "an unsubscribe that is not on the suppression list": (
        replace(KEPT, suppressed=frozenset()),
        {"unsubscribes_missing": 1},
    ),
    "a click without an event": (
        replace(KEPT, events=(GONE,)),
        {"clicks_missing": 1, "statistics_off": 2},
    ),
    "an event that no request made": (
        replace(
            KEPT, events=(CLICKED, GONE, event(CLICK, 1, ADA, "e3")), campaigns=(row(clicks=2),)
        ),
        {"other_id": 1},
    ),
    "a click that is counted twice": (
        replace(KEPT, campaigns=(row(clicks=2),)),
        {"statistics_off": 1},
    ),
    "a mail that is not counted": (replace(KEPT, campaigns=(row(sent=1),)), {"statistics_off": 1}),
    "a campaign that is forgotten": (replace(KEPT, campaigns=()), {"statistics_off": 5}),
    "a campaign nobody got a mail of": (
        replace(KEPT, campaigns=(row(), row("c0", clicks=0, unique_clicks=0))),
        {"statistics_off": 3},
    ),
}


@pytest.mark.parametrize("name", BROKEN_KEPT)
def test_what_redis_breaks(name: str) -> None:
    kept, broken = BROKEN_KEPT[name]
    assert judge(MAILS, REQUESTS, SENDING, kept).broken == broken


FINE = {
    "an event twice in the stream": (KEPT, REQUESTS),
    "a request that was sent twice made two events": (
        replace(KEPT, campaigns=(row(clicks=2),)),
        (Request(CLICK, ADA, 2, True), REQUESTS[1]),
    ),
    "a request without an answer made an event": (
        KEPT,
        (Request(CLICK, ADA, 1, False), REQUESTS[1]),
    ),
    "a request without an answer made none": (
        KEPT,
        (*REQUESTS, Request(UNSUBSCRIBE, ADA, 1, False)),
    ),
}
MORE_EVENTS = {
    "an event twice in the stream": (CLICKED,),
    "a request that was sent twice made two events": (event(CLICK, 1, ADA, "e3"),),
}


@pytest.mark.parametrize("name", FINE)
def test_what_breaks_nothing(name: str) -> None:
    kept, requests = FINE[name]
    kept = replace(kept, events=(*kept.events, *MORE_EVENTS.get(name, ())))
    findings = judge(MAILS, requests, SENDING, kept)
    assert findings.broken == {}
    assert findings.same_id == (name == "an event twice in the stream")


def test_a_bot_click_is_counted_apart() -> None:
    kept = replace(
        KEPT,
        events=(CLICKED | {"is_bot": True}, GONE),
        campaigns=(row(clicks=0, unique_clicks=0, bot_clicks=1),),
    )
    assert judge(MAILS, REQUESTS, SENDING, kept).broken == {}


def test_a_dash_in_the_statistics_is_nothing() -> None:
    kept = replace(KEPT, events=(CLICKED,), campaigns=(row(unsubscribes=None),))
    assert judge(MAILS, REQUESTS[:1], SENDING, kept).broken == {}


def test_a_campaign_that_does_not_end() -> None:
    sending = replace(SENDING, wanted=3)
    assert judge(MAILS, REQUESTS, sending, KEPT).broken == {"never_accepted": 1}


def test_rounds_are_added_and_the_longest_gap_stays() -> None:
    one, other = Findings(accepted=2, clicks_missing=1, gap=3.0), Findings(accepted=3, gap=1.0)
    both = total([one, other])
    assert (both.rounds, both.accepted, both.gap) == (2, 5, 3.0)
    assert both.broken == {"clicks_missing": 1}
