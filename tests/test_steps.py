"""A campaign's first hours in steps of ten minutes, and its subject, in a real Redis."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from fletching import events
from fletching.events import Event
from fletching.numbering import Question, campaign_id
from fletching.store import keys
from fletching.store.campaigns import Campaigns
from fletching.store.counts import FIRST_HOURS, HOUR, STEP, Wanted, step
from fletching.store.events import EventLog
from fletching.store.sent import Sent
from fletching.tokens import Facts

from sandbox.redis_cluster import Stores
from tests.sending import send
from tests.stores import open_store, shared_store, statistics_of

BEGAN = 1_795_248_000
"""The start of an hour."""

FIRST = BEGAN + 1234
A = campaign_id(FIRST, bytes(4))
LAST = BEGAN + FIRST_HOURS * HOUR
FACTS = Facts(A, 1, "News", "1", "t100", "", "r@example.net", "vmta", FIRST)


def question(**given: object) -> Question:
    asked: dict[str, object] = {
        "sendid": "News1",
        "mail_class": "News",
        "instance_id": "1",
        "monitor": "",
        "now": FIRST,
        "window": 86400,
        "candidate": A,
        "remember": (),
        "bounce_memory": 0,
        "listid": "t100",
        "subject": "Spring sale",
    }
    return Question(**asked | given)  # type: ignore[arg-type]


def event(type: str, number: int, seconds: int, **details: object) -> Event:
    if type == events.CLICK:
        details["click_url"] = "https://shop.example/"
    facts = replace(FACTS, number=number)
    return Event(type, seconds * 1000, f"e{number}", "mx1", facts, details)  # type: ignore[arg-type]


def begin(store: Stores, **given: object) -> None:
    send(Campaigns(shared_store(store.url)), Sent(shared_store(store.url)), question(**given))


def test_first_hours_are_counted_in_steps(store: Stores) -> None:
    begin(store)
    happened = [
        event(events.OPEN, 1, FIRST + 60),
        event(events.OPEN, 2, BEGAN + 3 * STEP - 1),
        event(events.OPEN, 3, BEGAN + 3 * STEP),
        event(events.OPEN, 3, LAST - 1),
        event(events.OPEN, 3, LAST),
        event(events.OPEN, 4, FIRST, is_bot=True),
        event(events.CLICK, 1, FIRST),
        event(events.UNSUBSCRIBE, 1, FIRST),
        event(events.UNSUBSCRIBE, 1, FIRST + STEP),
        event(events.BOUNCE, 5, FIRST, bounce_type="h"),
        event(events.BOUNCE, 6, FIRST, bounce_type="s"),
        event(events.DELIVERY, 1, FIRST, status="success"),
    ]
    EventLog(shared_store(store.url)).append(happened)
    second = BEGAN + 2 * STEP
    statistics = statistics_of(store.url)
    assert statistics.steps(A) == {
        "sent": {second: 1},
        "opens": {second: 2, BEGAN + 3 * STEP: 1, LAST - STEP: 1},
        "clicks": {second: 1},
        "unsubscribes": {second: 1},
        "bounces": {second: 2},
        "delivered": {second: 1},
        "deferred": {},
    }
    in_hours: dict[str, Counter[int]] = {}
    for kind, steps in statistics.steps(A).items():
        in_hours[kind] = Counter()
        for time, count in steps.items():
            in_hours[kind][time // HOUR * HOUR] += count
    hours = {
        kind: {time: count for time, count in counted.items() if time < LAST}
        for kind, counted in statistics.hours(A).items()
    }
    assert in_hours == hours


def test_sent_mails_that_wait_for_redis_are_counted_once_in_the_step_of_the_last(
    store: Stores,
) -> None:
    begin(store)
    sent = Sent(open_store(store.url))
    for seconds in (FIRST, FIRST + STEP, FIRST + STEP):
        sent.add(replace(FACTS, sent=seconds))
    assert not sent.write()
    sent.add(replace(FACTS, sent=FIRST + 2 * STEP))
    assert not sent.write()
    at = FIRST // STEP * STEP
    assert statistics_of(store.url).steps(A)["sent"] == {at: 1, at + STEP: 3, at + 2 * STEP: 1}


def test_steps_expire_with_their_campaign(store: Stores) -> None:
    begin(store)
    assert 0 < store.look.ttl(keys.steps(A)) <= store.look.ttl(keys.campaign(A)) + 1


@pytest.mark.parametrize(
    ("seconds", "number"),
    [
        (BEGAN - 1, ""),
        (BEGAN, str(BEGAN // STEP)),
        (LAST - 1, str((LAST - 1) // STEP)),
        (LAST, ""),
    ],
)
def test_only_the_first_hours_have_steps(seconds: int, number: str) -> None:
    assert step(A, seconds) == number


def test_campaign_without_a_time_in_its_id_has_no_steps() -> None:
    assert step("not a campaign", BEGAN) == ""


def test_subject_and_list_of_the_first_message_are_stored(store: Stores) -> None:
    begin(store, subject="Grüße, Joe")
    begin(store, subject="Grüße, Ann", listid="other")
    found = statistics_of(store.url).campaign(A)
    assert found is not None
    assert (found.subject, found.listid, found.sent) == ("Grüße, Joe", "t100", 2)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(search="NEWS1"), True),
        (Wanted(search="grüße"), True),
        (Wanted(search="T10"), True),
        (Wanted(search=A), True),
        (Wanted(search="shop"), False),
        (Wanted(until=FIRST), False),
        (Wanted(until=FIRST + 1), True),
        (Wanted(since=FIRST, until=FIRST + 1, mail_class="news", search="GRÜ"), True),
        (Wanted(since=FIRST + 1), False),
    ],
)
def test_wanted_campaigns(store: Stores, wanted: Wanted, found: bool) -> None:
    begin(store, subject="Grüße, Joe")
    statistics = statistics_of(store.url)
    assert bool(statistics.campaigns(wanted=wanted)) == found
