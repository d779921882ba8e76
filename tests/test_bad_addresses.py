"""Bad addresses in a real Redis, one server and a cluster: each gets one event and one entry.

Bounces and deliveries go in where they do in the product, through `EventLog`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from fletching import events
from fletching.config.sections import Bounces
from fletching.events import BAD_ADDRESS, BOUNCE, DELIVERY, Event
from fletching.store import keys
from fletching.store.bad_addresses import BadAddresses
from fletching.store.connection import StoreUnavailable
from fletching.store.events import EventLog
from fletching.store.suppression import SuppressedAddress, Suppression
from fletching.store.writing import EventBatch, JournalLine
from fletching.tokens import Facts
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.redis_cluster import Stores
from tests.stores import open_store, shared_store

NOW = 1_795_259_482_236
DAY = 86_400_000
FACTS = Facts("c" * 12, 1, "News", "1", "T100", "id", "Reader@Example.net", "vmta", 0)
EMAIL = "reader@example.net"
H, S, D = "h", "s", "d"


def thresholds(mail_class: str) -> Bounces:
    """Of a strict class and of all others."""
    return Bounces(hard=2, soft=3) if mail_class == "Strict" else Bounces()


def bounce(type: str = H, number: int = 1, ms: int = NOW, **given: Any) -> Event:
    """``given``: facts by their names, and details."""
    facts = {name: given.pop(name) for name in list(given) if hasattr(FACTS, name)}
    told = replace(FACTS, number=number, **facts)
    id = events.unique_id(ms, f"{type}{number:09}".encode())
    if type == D:
        return Event(DELIVERY, ms, id, "mx1", told, {"status": "success"} | given)
    details: dict[str, Any] = {
        "bounce_type": type,
        "bounce_code": 550,
        "bounce_text": "no such user",
        "bounce_status": "5.1.1",
        "bounce_reason": "user_unknown",
        "synchronous": False,
        "attributed": True,
    }
    return Event(BOUNCE, ms, id, "mx1", told, details | given)


def several(types: str, apart: int = 1000, **given: Any) -> list[Event]:
    """Events of messages 1, 2, 3 ... to the same address."""
    return [bounce(type, at, NOW + at * apart, **given) for at, type in enumerate(types, 1)]


def record(store: Stores, happened: Sequence[Event], journal: str = "") -> None:
    log = EventLog(shared_store(store.url), thresholds=thresholds)
    if not journal:
        log.append(happened)
        return
    runs = log.state([]).runs
    assert runs
    lines = [JournalLine(at, each, each.json()) for at, each in enumerate(happened, 1)]
    assert log.write(EventBatch(lines, journal, runs)).is_complete


def report(store: Stores) -> int:
    return BadAddresses(shared_store(store.url)).report()


def bad(store: Stores) -> list[dict[str, Any]]:
    """The events of bad addresses in the stream."""
    found = [json.loads(event) for _, event in EventLog(shared_store(store.url)).read("0", 10_000)]
    return [event for event in found if event["event_type"] == BAD_ADDRESS]


def suppressed(store: Stores) -> list[SuppressedAddress]:
    return list(Suppression(shared_store(store.url)).entries())


@pytest.mark.parametrize(
    ("name", "happened", "is_bad"),
    [
        ("a hard bounce", several("h"), True),
        ("four soft bounces", several("ssss"), False),
        ("five soft bounces", several("sssss"), True),
        ("a delivery in between", several("ssssdssss"), False),
        ("a delivery, and then five", several("ssdsssss"), True),
        ("other bounces", several("oooooooo"), False),
        ("soft bounces of one message", [bounce(S, 1, NOW + at) for at in range(9)], False),
        ("five in ten days", several("sssss", DAY * 2), True),
        ("five in twelve days", several("sssss", DAY * 3), False),
        (
            "four, and five more after ten days",
            [bounce(S, 10 + at, NOW - 11 * DAY) for at in range(4)] + several("sssss"),
            True,
        ),
        (
            "four, and four more after ten days",
            [bounce(S, 10 + at, NOW - 11 * DAY) for at in range(4)] + several("ssss"),
            False,
        ),
        ("one hard bounce of a strict class", several("h", mail_class="Strict"), False),
        ("two hard bounces of a strict class", several("hh", mail_class="Strict"), True),
        ("a delivery between hard bounces", several("hdh", mail_class="Strict"), True),
        ("three soft bounces of a strict class", several("sss", mail_class="Strict"), True),
        (
            "the log and Postfix's own bounce report the same failure",
            [bounce(S, 1, NOW + at, synchronous=at == 0) for at in (0, 5)] + several("sss"),
            False,
        ),
        ("not attributed", several("hhhhh", attributed=False), False),
        ("no campaign", several("hhhhh", campaign=""), False),
        ("no recipient", several("hhhhh", email=""), False),
        ("a failed attempt alone", [bounce(D, status="failure")] * 9, False),
        (
            "five of different addresses",
            [bounce(S, at, email=f"{at}@example.net") for at in range(5)],
            False,
        ),
        ("five of different lists", [bounce(S, at, listid=f"t{at}") for at in range(5)], False),
        (
            "five in different cases",
            [bounce(S, at, email=FACTS.email.swapcase()) for at in range(2)] + several("xxxsss"),
            True,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_address_is_bad_when_it_reaches_a_threshold(
    store: Stores, name: str, happened: list[Event], is_bad: bool
) -> None:
    for each in happened:
        record(store, [each])
    assert report(store) == is_bad
    assert len(bad(store)) == is_bad
    assert [entry.address for entry in suppressed(store)] == ([EMAIL] if is_bad else [])
    assert store.keys(f"{keys.DUE}*") == []


def test_event_has_the_words_of_its_bounce(store: Stores) -> None:
    record(store, [bounce(H, 7, synchronous=True)])
    report(store)
    (event,) = bad(store)
    assert event["event_unique_id"] != bounce(H, 7).id
    assert event["event_unique_id"][:10] == bounce(H, 7).id[:10], "the time is the same"
    assert (
        event.items()
        >= {
            "email": FACTS.email,
            "listid": "t100",
            "campaign": FACTS.campaign,
            "message_number": 7,
            "mail_class": "News",
            "click_tracking_id": "id",
            "mtaid": "vmta",
            "server_id": "mx1",
            "event_time": NOW // 1000,
            "bounce_type": "h",
            "bounce_code": 550,
            "bounce_text": "no such user",
            "bounce_status": "5.1.1",
            "bounce_reason": "user_unknown",
            "synchronous": True,
        }.items()
    )
    assert "attributed" not in event
    assert suppressed(store) == [SuppressedAddress("t100", EMAIL, "bad_address", NOW, "log")]


def test_address_is_reported_once_for_each_list(store: Stores) -> None:
    record(store, several("hhh") + several("hh", listid="t200"))
    assert report(store) == 2
    record(store, [bounce(H, 20, NOW + DAY), *several("sssss")])
    assert report(store) == 0
    assert sorted(event["listid"] for event in bad(store)) == ["t100", "t200"]


def test_positions_in_the_stream_go_on(store: Stores) -> None:
    record(store, [bounce(H, 1), bounce(H, 2, email="b@example.net")])
    report(store)
    record(store, [bounce(S, 3)])
    positions = [int(fields["position"]) for _, fields in store.look.xrange(keys.EVENTS)]
    assert positions == [1, 2, 3, 4, 5]


def test_removed_address_becomes_bad_by_a_later_bounce_only(store: Stores) -> None:
    lists = Suppression(shared_store(store.url))
    record(store, [bounce(H, 1)])
    report(store)
    assert lists.remove("t100", EMAIL)
    record(store, [bounce(H, 1), bounce(H, 2)])
    assert (report(store), suppressed(store)) == (0, [])
    later = lists.removed("t100", EMAIL) + 1
    record(store, [bounce(H, 3, later)])
    assert report(store) == 1
    assert [entry.address for entry in suppressed(store)] == [EMAIL]
    record(store, [bounce(H, 4, later + 1)])
    assert report(store) == 0
    assert len(bad(store)) == 2


def test_unsubscribed_address_keeps_its_reason(store: Stores) -> None:
    Suppression(shared_store(store.url)).add("t100", EMAIL, "unsubscribed", NOW)
    record(store, several("hh"))
    assert report(store) == 1
    assert [entry.reason for entry in suppressed(store)] == ["unsubscribed"]


def test_failures_expire(store: Stores) -> None:
    record(store, several("ss"))
    (key,) = store.keys(f"{keys.FAILURES}*")
    assert 10 * DAY - 60_000 < store.look.pttl(key) <= 10 * DAY
    record(store, [bounce(D, 9, NOW + 9000)])
    assert 10 * DAY - 60_000 < store.look.pttl(key) <= 10 * DAY
    record(store, [bounce(D, 9, email="other@example.net")])
    assert store.keys(f"{keys.FAILURES}*") == [key], "an address that never failed takes no memory"


def test_names_from_clients_are_escaped_in_keys(store: Stores) -> None:
    record(store, [bounce(S, listid="a|b\n{t}", email="\udcff\0 x|y@{z}")])
    (key,) = store.keys(f"{keys.FAILURES}*")
    assert key == f"{keys.FAILURES}a%7Cb%0A%7Bt%7D|%EF%BF%BD%EF%BF%BD%20x%7Cy@%7Bz%7D"
    record(store, [bounce(H, listid="a|b\n{t}", email="\udcff\0 x|y@{z}")])
    assert report(store) == 1


@given(st.lists(st.sampled_from("hsdo"), max_size=12), st.data())
@settings(max_examples=60, deadline=None)
def test_events_written_again_change_nothing(
    running_store: Stores, types: list[str], data: st.DataObject
) -> None:
    """A journal that is written again, by parts, while the courier works."""
    running_store.flush()
    happened = several("".join(types), mail_class="Strict")
    record(running_store, happened, "w")
    report(running_store)
    once = bad(running_store), suppressed(running_store)
    for _ in range(2):
        start = data.draw(st.integers(0, len(types)))
        record(running_store, happened[start:], "w")
        record(running_store, happened, "another")
        report(running_store)
    assert (bad(running_store), suppressed(running_store)) == once


class Interrupted(Exception):
    """Where a courier is killed."""


class Killed(BadAddresses):
    """A courier that is killed before its n-th request."""

    def __init__(self, store: Stores, requests: int) -> None:
        opened = open_store(store.url)
        ask, left = opened.ask, iter(range(requests))

        def limited(work: Callable[[Any], Any]) -> Any:
            if next(left, None) is None:
                raise Interrupted
            return ask(work)

        opened.ask = limited  # type: ignore[method-assign, assignment]
        super().__init__(opened)


def test_courier_may_be_killed_anywhere(store: Stores) -> None:
    kills = 0
    for number in range(40):
        store.flush()
        record(store, several("hs"))
        try:
            Killed(store, number).report()
        except Interrupted:
            kills += 1
            report(store)
        assert (len(bad(store)), len(suppressed(store))) == (1, 1)
        assert store.keys(f"{keys.DUE}*") == []
    assert 4 < kills < 20, "it was interrupted before each of its requests, and finished at last"


def test_couriers_at_the_same_time_make_one_event(store: Stores) -> None:
    record(store, [bounce(H, at, email=f"{at}@example.net") for at in range(200)])
    made: list[int] = []

    def run() -> None:
        made.append(BadAddresses(open_store(store.url)).report())

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(made), len(bad(store)), len(suppressed(store))) == (200, 200, 200)


def test_lost_stream_gets_the_event_again(store: Stores) -> None:
    """Redis loses all; the journals have the bounces, and the event has the same id."""
    record(store, several("h"), "w")
    report(store)
    before = bad(store)
    store.flush()
    record(store, several("h"), "w")
    report(store)
    assert bad(store) == before
    assert len(suppressed(store)) == 1


def test_lost_failures_make_no_second_event(store: Stores) -> None:
    record(store, several("h"), "w")
    report(store)
    store.look.delete(keys.DUE, *store.keys(f"{keys.FAILURES}*"))
    record(store, several("h"), "w")
    assert report(store) == 0
    assert len(bad(store)) == 1


def test_without_thresholds_no_address_is_judged(store: Stores) -> None:
    EventLog(shared_store(store.url)).append(several("hhh"))
    assert store.keys(f"{keys.FAILURES}*") + store.keys(f"{keys.DUE}*") == []


def test_report_raises_without_redis() -> None:
    with pytest.raises(StoreUnavailable):
        BadAddresses(open_store("unix:///no/such/socket")).report()
