"""Deliveries of a real Postfix: what its log says becomes the events of our messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fletching.store.events import EventLog

from sandbox.postfix import Postfix
from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink
from tests.stores import open_store

from .fletching import Fletching
from .mails import NEWSLETTER, RECIPIENT, SENDER, mail

pytestmark = pytest.mark.slow

Sinks = Mapping[str, Sink]
Event = dict[str, Any]

TYPES = ["delivery_attempt", "bounce_all"]
TO_A = b"X-GreenArrow-MtaID: a"
REAL, OBSCURED = "ada.real@gmail.example", "h4sh@obscured.example"
HIDDEN = b"X-GreenArrow-Obscured-Email: " + OBSCURED.encode()


@dataclass(frozen=True)
class Site:
    """All daemons of one host behind Postfix."""

    fletching: Fletching
    redis: RedisServer

    def log(self) -> str:
        return self.fletching.log()

    def events(self, count: int) -> list[Event]:
        """The events of deliveries in the stream, once there are so many."""
        stream = EventLog(open_store(self.redis.unix_url))

        def found() -> list[Event]:
            events = [json.loads(event) for _, event in stream.read("0", 10_000)]
            return [event for event in events if event["event_type"] in TYPES]

        wait_until(f"not {count} events", lambda: len(found()) >= count)
        return found()


@pytest.fixture(scope="module")
def running_site(
    directory: Path, running_postfix: Postfix, running_redis: RedisServer
) -> Iterator[Fletching]:
    running_redis.reset()
    destination = {"name": "f", "file": str(directory / "delivery-events"), "types": TYPES}
    change: dict[str, Any] = {
        "postfix": {"log": str(running_postfix.root / "maillog")},
        "events": {"destinations": [destination]},
    }
    place = directory / "deliveries"
    change["lmtp"] = {"listen": f"unix:{place}/sockets/lmtp.sock"}
    with Fletching(place, running_redis.unix_url, change, command="run") as fletching:
        yield fletching


@pytest.fixture
def site(running_site: Fletching, postfix: Postfix, redis: RedisServer) -> Site:
    running_site.join(postfix)
    return Site(running_site, redis)


def outcomes(events: list[Event]) -> list[str]:
    return [f"{each['event_type']} {each.get('status', '')}".strip() for each in events]


def test_delivery_and_its_facts(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    reply = postfix.submit(mail(NEWSLETTER, TO_A), SENDER, [RECIPIENT])
    (sunk,) = sinks["vmta-a"].wait()
    (event,) = site.events(1)
    assert outcomes([event]) == ["delivery_attempt success"]
    assert (event["email"], event["listid"], event["mtaid"]) == (RECIPIENT, "t100", "a")
    assert (event["outmtaid"], event["channel"]) == ("vmta-a", "remote")
    assert (event["queue_id"], event["sender"]) == (reply.queue_id, sunk.sender)
    assert event["message"] == "250 2.0.0 sunk"
    assert event["recipient_domain"] == "gmail.example"
    assert (event["mx_ip"], event["bounce_status"]) == ("127.0.0.1", "2.0.0")


def test_refusal(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    sinks["vmta-a"].answer_to = lambda address: f"550 5.1.1 <{address}>: no such user"
    postfix.submit(mail(NEWSLETTER, TO_A), SENDER, [RECIPIENT])
    events = site.events(2)
    assert outcomes(events) == ["delivery_attempt failure", "bounce_all"]
    bounce = events[1]
    assert (bounce["bounce_type"], bounce["bounce_reason"]) == ("h", "user_unknown")
    assert (bounce["bounce_code"], bounce["synchronous"]) == (550, True)
    assert bounce["bounce_text"] == f"550 5.1.1 <{RECIPIENT}>: no such user"


def test_bounce_of_postfix_repeats_nothing(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    postfix.set(relay_domains="example.com")
    sinks["vmta-a"].answer_to = lambda address: f"550 5.1.1 <{address}>: no such user"
    for _ in range(20):
        postfix.submit(mail(NEWSLETTER, TO_A), SENDER, [RECIPIENT])
    postfix.wait_empty()
    events = site.events(40)
    # Bounces of the tests before may still come.
    senders = {each["sender"] for each in events if "sender" in each}

    def returned() -> list[str]:
        lines = re.findall(r"(?m)^returned_mail kind=bounce recipient=(\S+) (.*)$", site.log())
        return [rest for recipient, rest in lines if recipient in senders]

    wait_until("the bounces are missing", lambda: len(returned()) >= 20)
    assert sorted(outcomes(events)) == ["bounce_all"] * 20 + ["delivery_attempt failure"] * 20
    assert all(each["synchronous"] for each in events if each["event_type"] == "bounce_all")
    assert returned() == ["reported=log"] * 20


def test_deferral_then_delivery(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    sinks["vmta-a"].answer = "451 4.7.1 greylisted"
    postfix.submit(mail(NEWSLETTER, TO_A), SENDER, [RECIPIENT])
    assert outcomes(site.events(2)[:2]) == ["delivery_attempt deferral"] * 2
    sinks["vmta-a"].answer = "250 2.0.0 sunk"
    postfix.wait_empty()
    wait_until("no delivery", lambda: "success" in outcomes(site.events(3))[-1])
    events = site.events(3)
    assert [each["is_retry"] for each in events] == [0] + [1] * (len(events) - 1)
    assert outcomes(events)[:-1] == ["delivery_attempt deferral"] * (len(events) - 1)


def test_expiry(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    postfix.set(maximal_queue_lifetime="3s")
    sinks["vmta-a"].answer = "452 4.2.2 mailbox full"
    postfix.submit(mail(NEWSLETTER, TO_A), SENDER, [RECIPIENT])
    postfix.wait_log("status=expired")
    wait_until("no bounce", lambda: "bounce_all" in outcomes(site.events(3)))
    events = site.events(3)
    assert outcomes(events)[-2:] == ["delivery_attempt failure_toolong", "bounce_all"]
    assert events[-1]["bounce_reason"] == "mailbox_full"
    assert (events[-1]["bounce_type"], events[-1]["synchronous"]) == ("s", True)


def test_several_recipients(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    postfix.submit(mail(NEWSLETTER, TO_A), SENDER, [RECIPIENT, "bob@other.example"])
    events = site.events(2)
    assert outcomes(events) == ["delivery_attempt success"] * 2
    assert len({each["event_unique_id"] for each in events}) == 2
    assert len({each["message_number"] for each in events}) == 1


def test_mail_without_class_is_no_event(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    postfix.submit(mail(), SENDER, [RECIPIENT])
    sinks["smtp"].wait()
    postfix.submit(mail(NEWSLETTER, TO_A), SENDER, [RECIPIENT])
    assert outcomes(site.events(1)) == ["delivery_attempt success"]


ODD = {
    "apostrophe": "o'brien@gmail.example",
    "quoted": '"two words"@gmail.example',
    "quoted pair": r'"a\"b"@gmail.example',
    "words of the log": '"a>, relay=b[192.0.2.1], dsn=2.0.0, status=sent (250 ok)"@gmail.example',
}


@pytest.mark.parametrize("address", ODD.values(), ids=ODD)
def test_failure_of_an_odd_address_is_reported_once(
    address: str, site: Site, postfix: Postfix, sinks: Sinks
) -> None:
    postfix.set(relay_domains="example.com")
    sinks["vmta-a"].answer_to = lambda _: "550 5.1.1 no, status=sent (250 2.0.0 ok)"
    postfix.submit(mail(NEWSLETTER, TO_A), SENDER, [address])
    postfix.wait_empty()
    events = site.events(2)
    assert outcomes(events) == ["delivery_attempt failure", "bounce_all"]
    assert {each["email"] for each in events} == {address}
    sender = events[0]["sender"]
    wait_until("the bounce is missing", lambda: f"recipient={sender} " in site.log())
    assert f"returned_mail kind=bounce recipient={sender} reported=log" in site.log()


def test_obscured_recipient_is_nowhere(site: Site, postfix: Postfix, sinks: Sinks) -> None:
    name = REAL.partition("@")[0]
    sinks["vmta-a"].answer = f"451 4.1.1 <{REAL.upper()}>: {name} is not known yet"
    assert postfix.submit(mail(NEWSLETTER, TO_A, HIDDEN), SENDER, [REAL]).accepted
    site.events(2)
    sinks["vmta-a"].answer = f"550 5.1.1 <{REAL.upper()}>: {name} is not known"
    postfix.wait_empty()
    wait_until("no bounce", lambda: "bounce_all" in outcomes(site.events(4)))
    events = site.events(4)
    assert {each["email"] for each in events} == {OBSCURED}
    assert {each.get("recipient_domain", "") for each in events} == {""}
    assert "is not known" in events[-1]["bounce_text"]
    site.fletching.stop()  # the last test
    folders = (site.fletching.directory, site.redis.directory)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert any(OBSCURED.encode() in path.read_bytes() for path in files)
    for word in (REAL, name):
        found = [p for p in files if re.search(re.escape(word.encode()), p.read_bytes(), re.I)]
        assert found == []
