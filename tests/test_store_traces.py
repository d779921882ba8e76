"""Traces in Redis: found by every name, in order of time, each event once, and gone when due."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fletching import events
from fletching.numbering import campaign_id
from fletching.store import keys, trace_texts, write_traces
from fletching.store.events import EventLog
from fletching.store.find_traces import Traces
from fletching.store.write_traces import AcceptedTraces
from fletching.tokens import Facts
from fletching.traces import ACCEPTED, Accepted

from sandbox.redis_cluster import Stores
from tests.stores import open_store
from tests.trace_setting import NOW, RECIPIENT, WEEK, Site

pytestmark = pytest.mark.slow


def kept(store: Stores, *kinds: str) -> list[str]:
    """The keys of traces, of all kinds or of some."""
    every = list(store.keys())
    return [key for key in every if kind(key) in (kinds or ("trace", "tracenames", "tracetexts"))]


def kind(key: str) -> str:
    return key.split(":")[1]


@pytest.fixture
def site(store: Stores) -> Site:
    return Site(store)


@pytest.mark.parametrize(
    "name", [RECIPIENT, RECIPIENT.upper(), "4F1A2B3C", "4f1a2b3c", "4F1A2B3C@shop.example"]
)
def test_message_is_found_by_each_of_its_names(site: Site, name: str) -> None:
    facts = site.accepted(warnings=("a warning",))
    site.accepted("4F1A2B3D", email="another@example.org")
    (found,) = site.find(name)
    assert (found.facts.campaign, found.facts.number) == (facts.campaign, facts.number)
    assert (found.facts.email, found.facts.listid) == (RECIPIENT, "t100")
    accepted = found.accepted
    assert accepted is not None
    assert accepted.seconds == NOW
    assert dict(accepted.details) == {
        "queue_id": "4F1A2B3C",
        "mtaid": "vmta-a",
        "warnings": ("a warning",),
    }


@pytest.mark.parametrize("name", ["nobody@example.org", "4F1A2B3E", "", "\0", "\N{SNOWMAN}"])
def test_unknown_name_finds_nothing(site: Site, name: str) -> None:
    site.accepted()
    assert site.find(name) == []


def test_moments_are_in_order_of_time(site: Site) -> None:
    facts = site.accepted()
    link = "https://shop.example/sale"
    happened = [
        site.event(facts, events.CLICK, 40, click_url=link, is_bot=False),
        site.event(facts, events.DELIVERY, 9, status="success", message="250 2.0.0 Ok"),
        site.event(facts, events.DELIVERY, 0, status="deferral", message="451 4.7.1 Later"),
        site.event(facts, events.OPEN, 30, is_bot=False),
        site.event(facts, events.COMPLAINT, 50, feedback_type="abuse"),
        site.event(facts, events.UNSUBSCRIBE, 60, click_url=""),
    ]
    site.write(happened)
    (found,) = site.find(RECIPIENT)
    assert [moment.type for moment in found.moments] == [
        *(ACCEPTED, events.DELIVERY, events.DELIVERY, events.OPEN, events.CLICK),
        *(events.COMPLAINT, events.UNSUBSCRIBE),
    ]
    assert found.moments[1].details["message"] == "451 4.7.1 Later"
    assert found.links[str(found.moments[4].details["link"])] == link


def test_events_written_again_are_in_the_trace_once(site: Site, store: Stores) -> None:
    facts = site.accepted()
    happened = [
        site.event(facts, events.DELIVERY, status="success", message=f"250 2.0.0 Ok: {at}")
        for at in range(5)
    ]
    site.write(happened)
    site.write(happened)
    # Redis has lost how far the journal was, and the journal begins again.
    store.look.delete(keys.JOURNALS, keys.counted(facts.campaign))
    site.write(happened[2:], first=100)
    assert site.of(facts) == [ACCEPTED, *[events.DELIVERY] * 5]


def test_mail_written_again_is_in_the_trace_once(site: Site, store: Stores) -> None:
    for _ in range(2):
        mail = Accepted(campaign_id(NOW, b"1234"), 1, NOW, "4F1A", "", (RECIPIENT,))
        site.traces.add(mail)
        assert not site.traces.write()
    store.look.zadd(keys.CAMPAIGNS, {mail.campaign: NOW})
    (found,) = site.find(RECIPIENT)
    assert len(found.moments) == 1


def test_several_messages_are_newest_first(site: Site) -> None:
    for at, second in enumerate((NOW - 90_000, NOW - 10, NOW - 200, NOW)):
        site.accepted(f"4F1{at}", seconds=second, sendid=f"news{at % 2}")
    found = [str(each.moments[0].details["queue_id"]) for each in site.find(RECIPIENT)]
    assert found == ["4F13", "4F11", "4F12", "4F10"]
    assert len(site.find(RECIPIENT, 3)) == 3


def test_more_messages_than_a_round_trip_reads(site: Site) -> None:
    for at in range(130):
        site.accepted(f"4F{at:04}")
    assert len(site.find(RECIPIENT, 125)) == 125


def test_mail_to_several_recipients_is_found_by_each(site: Site) -> None:
    names = ("one@example.org", "two@example.net")
    facts = site.accepted(email="", names=names)
    named = replace(facts, email="two@example.net")
    site.write([site.event(named, events.DELIVERY, status="success", recipients=2)])
    for name in names:
        (found,) = site.find(name)
        assert found.moments[0].details["recipients"] == names
        assert found.moments[1].details["recipient"] == "two@example.net"


def test_digest_that_another_name_has_is_no_match(site: Site, monkeypatch: Any) -> None:
    site.accepted()
    digest = write_traces.name_digest(RECIPIENT)
    monkeypatch.setattr("fletching.store.find_traces.name_digest", lambda name: digest)
    assert site.find("another@example.org") == []
    assert len(site.find(RECIPIENT)) == 1


def test_common_texts_are_kept_once(site: Site, store: Stores) -> None:
    facts = [site.accepted(f"4F{at:04}") for at in range(50)]
    words = "250 2.0.0 Ok: queued as"
    relay: dict[str, Any] = {"mx_hostname": "mx.example.org", "mx_ip": "192.0.2.1"}
    site.write(
        [
            site.event(each, events.DELIVERY, status="success", message=f"{words} {at}F", **relay)
            for at, each in enumerate(facts)
        ]
    )
    texts = kept(store, "tracetexts")
    assert len(texts) == 1
    assert 0 < store.look.hlen(texts[0]) < 5
    for at, each in enumerate(facts):
        (found,) = Traces(site.store, WEEK).of([(each.campaign, each.number)])
        assert found.moments[1].details["message"] == f"{words} {at}F"
        assert found.moments[1].details["relay"] == "mx.example.org[192.0.2.1]"


def test_lost_common_texts_are_written_again(site: Site) -> None:
    now = [0.0]
    texts = trace_texts.TraceTexts(WEEK, lambda: now[0])

    def written() -> int:
        encode = texts.encoder(NOW)
        for _ in range(10):
            encode("a common text")
        return len(list(texts.writes()))

    assert (written(), written()) == (2, 0)
    now[0] += trace_texts.AGAIN_AFTER
    assert (written(), written()) == (2, 0)
    texts.forget()
    assert written() == 2


def test_message_with_too_many_events_leaves_room_for_others(site: Site, store: Stores) -> None:
    facts, other = site.accepted("4F01"), site.accepted("4F02")
    for start in range(0, write_traces.CROWDED // 2 + 1000, 500):
        site.write([site.event(facts, events.OPEN, start + at) for at in range(500)], start + 1)
    site.write([site.event(other, events.OPEN)], 10_000)
    block = kept(store, "trace")
    assert store.look.llen(block[0]) in (write_traces.CROWDED + 2, write_traces.CROWDED + 3)
    assert site.of(other) == [ACCEPTED, events.OPEN]


def test_everything_expires(site: Site, store: Stores) -> None:
    facts = [site.accepted(f"4F{at:04}") for at in range(10)]
    site.write([site.event(each, events.DELIVERY, status="success") for each in facts])
    found = kept(store)
    assert {kind(key) for key in found} == {"trace", "tracenames", "tracetexts"}
    for key in found:
        day = 0 if kind(key) == "trace" else 86400
        assert WEEK - 60 <= store.look.ttl(key) <= WEEK + day, key


def test_events_do_not_keep_a_trace_longer(site: Site, store: Stores) -> None:
    facts = site.accepted()
    (block,) = kept(store, "trace")
    store.look.expire(block, 1000)
    site.write([site.event(facts, events.OPEN)])
    assert store.look.ttl(block) <= 1000
    site.accepted("4F02")
    assert store.look.ttl(block) > 1000


def test_open_of_an_old_mail_begins_no_trace(site: Site) -> None:
    facts = site.numbered(RECIPIENT)
    site.write([site.event(facts, events.OPEN, WEEK + 1)])
    assert site.of(facts) == []


def test_late_bounce_is_kept(site: Site) -> None:
    facts = site.numbered(RECIPIENT)
    of_record = Facts(facts.campaign, facts.number, "News", "1", "t100", "", RECIPIENT, "", 0)
    site.write([site.event(of_record, events.BOUNCE, WEEK + 1, bounce_type="h")])
    assert site.of(facts) == [events.BOUNCE]


def test_without_trace_memory_nothing_is_kept(store: Stores) -> None:
    site = Site(store)
    site.traces = AcceptedTraces(site.store, 0)
    site.log = EventLog(site.store)
    facts = site.accepted()
    site.write([site.event(facts, events.OPEN)])
    assert kept(store) == []


def test_mails_wait_while_redis_is_away(store: Stores) -> None:
    nowhere = AcceptedTraces(open_store("unix:///no/such/socket"), WEEK)
    nowhere.add(Accepted(campaign_id(NOW, b"1234"), 1, NOW, "4F1A", ""))
    for _ in range(write_traces._MOST_ATTEMPTS - 1):
        assert nowhere.write()
    assert not nowhere.write()
