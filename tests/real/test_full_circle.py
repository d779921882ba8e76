"""A campaign of 500 and everything that comes back: deliveries, bounces, complaints, unsubscribes.

Each recipient ends with the right events, each of them once, in the statistics and on the
suppression list. With X-GreenArrow-Obscured-Email, the real address is nowhere.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from smtplib import SMTP
from typing import Any

import pytest
from fletching.store.suppression import Suppression

from sandbox.postfix import Postfix, send
from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from sandbox.returned_mails import bounce, complaint, unsubscribe
from sandbox.sinks import Sink, SunkMail
from tests.stores import open_store, statistics_of

from .fletching import Fletching
from .mails import NEWSLETTER, SENDER

pytestmark = pytest.mark.slow

RECIPIENTS = 500
FEEDBACK = "fbl@example.com"
TYPES = (*("bounce_all", "bounce_bad_address", "delivery_attempt", "engine_unsub", "scomp"),)
SUCCESS = ("delivery_attempt", "success")
HARD, SOFT = ("h", "user_unknown"), ("s", "mailbox_full")
REFUSED, DEFERRED, BOUNCED, COMPLAINED, UNSUBSCRIBED, FULL = range(6)
"""What happens to the recipients whose number ends with this digit; the others get the mail."""

EVENTS: Mapping[int, tuple[tuple[object, ...], ...]] = {
    REFUSED: (
        ("delivery_attempt", "failure"),
        ("bounce_all", *HARD, True),
        ("bounce_bad_address", *HARD, True),
    ),
    DEFERRED: (("delivery_attempt", "deferral"), SUCCESS),
    BOUNCED: (SUCCESS, ("bounce_all", *HARD, False), ("bounce_bad_address", *HARD, False)),
    COMPLAINED: (SUCCESS, ("scomp", "abuse")),
    UNSUBSCRIBED: (SUCCESS, ("engine_unsub",)),
    FULL: (SUCCESS, ("bounce_all", *SOFT, False)),
}
SUPPRESSED = {
    REFUSED: "bad_address",
    BOUNCED: "bad_address",
    COMPLAINED: "complained",
    UNSUBSCRIBED: "unsubscribed",
}


@dataclass(frozen=True, slots=True)
class Audience:
    """The recipients. Their addresses begin with ``name``: Redis keeps those of earlier tests."""

    name: str
    is_obscured: bool

    def address(self, number: int) -> str:
        return f"{self.name}.{number:03}.Real@mailbox{number % 7}.example"

    def shown(self, number: int) -> str:
        if self.is_obscured:
            return f"hidden-{number:03}@obscured.example"
        return self.address(number)


@dataclass
class Server:
    """A recipient's server: refuses some, lets others wait once."""

    waited: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, address: str) -> str:
        case = int(address.split(".")[1]) % 10
        if case == REFUSED:
            return f"550 5.1.1 <{address.lower()}>: no such user here"
        with self.lock:
            if case == DEFERRED and address not in self.waited:
                self.waited.add(address)
                return f"451 4.2.1 <{address}>: try again later"
        return "250 2.1.5 recipient accepted"


@pytest.fixture
def daemons(fresh: Path, postfix: Postfix, redis: RedisServer) -> Iterator[Fletching]:
    change = {
        "lmtp": {"listen": f"unix:{fresh}/sockets/lmtp.sock"},
        "postfix": {"log": str(postfix.root / "maillog")},
        "feedback_mailbox": FEEDBACK,
        "events": {
            "destinations": [
                {"name": "all", "file": str(fresh / "events.jsonl"), "types": list(TYPES)}
            ]
        },
    }
    with Fletching(fresh, redis.unix_url, change, command="run") as fletching:
        fletching.join(postfix)
        postfix.set(relay_domains="example.com")
        yield fletching


@pytest.mark.parametrize(
    "audience",
    [Audience("Joan", False), Audience("Maud", True)],
    ids=["real address", "obscured address"],
)
def test_each_recipient_has_its_events_once(
    daemons: Fletching,
    postfix: Postfix,
    redis: RedisServer,
    sinks: Mapping[str, Sink],
    audience: Audience,
) -> None:
    sink = sinks["vmta-a"]
    sink.answer_to = Server().answer
    before = len(postfix.log())
    with postfix.client() as smtp:
        for number in range(RECIPIENTS):
            submit(smtp, number, audience)
    sink.wait(RECIPIENTS * 9 // 10)
    with postfix.client() as smtp:
        for arrived in sink.mails:
            send_back(smtp, arrived)

    wanted = {
        audience.shown(number): Counter(EVENTS.get(number % 10, (SUCCESS,)))
        for number in range(RECIPIENTS)
    }
    events = daemons.directory / "events.jsonl"
    wait_until("not all events", lambda: total(found_in(events)) >= total(wanted), 120)
    postfix.wait_empty()
    daemons.settle()
    found = found_in(events)
    assert {to: each for to, each in found.items() if each != wanted.get(to)} == {}
    assert found.keys() == wanted.keys()

    tenth = RECIPIENTS // 10
    (campaign,) = json.loads(daemons.command("stats", "--json"))["campaigns"]
    expected = {
        "sent": RECIPIENTS,
        "delivered": 9 * tenth,
        "deferred": tenth,
        "bounces_hard": 2 * tenth,
        "bounces_soft": tenth,
        "complaints": tenth,
        "unsubscribes": tenth,
    }
    assert {name: campaign[name] for name in expected} == expected

    failures = statistics_of(redis.unix_url).failures(campaign["campaign"])
    assert {each.words: (each.bounced, each.deferred) for each in failures} == {
        "550 5.1.1 <address>: no such user here": (tenth, 0),
        "550 5.1.1 no mailbox <address>": (tenth, 0),
        "452 4.2.2 over quota <address>": (tenth, 0),
        "451 4.2.1 <address>: try again later": (0, tenth),
    }

    suppressed = {
        audience.shown(number).lower(): SUPPRESSED[number % 10]
        for number in range(RECIPIENTS)
        if number % 10 in SUPPRESSED
    }
    lists = Suppression(open_store(redis.unix_url))
    assert {entry.address: entry.reason for entry in lists.entries("t100")} == suppressed

    one = 10 + DEFERRED
    assert "try again later" in daemons.command("trace", audience.shown(one))
    if audience.is_obscured:
        assert audience.address(one).lower() in postfix.log()[before:].lower()
        assert_nowhere(rb"maud\.\d{3}\.real", daemons, redis)


def submit(smtp: SMTP, number: int, audience: Audience) -> None:
    fields = [
        NEWSLETTER.decode(),
        "X-GreenArrow-InstanceID: 7circle",
        "X-GreenArrow-MtaID: a",
        f"X-GreenArrow-Click-Tracking-ID: {number}",
    ]
    if audience.is_obscured:
        fields.append(f"X-GreenArrow-Obscured-Email: {audience.shown(number)}")
    fields += [
        "From: Shop <shop@example.com>",
        f"To: {audience.address(number)}",
        "Subject: Offers",
        "Date: Sat, 21 Nov 2026 09:00:00 +0000",
        f"Message-ID: <{number}@example.com>",
    ]
    raw = "\r\n".join([*fields, "", "Hello", ""]).encode()
    reply = send(smtp, raw, SENDER, [audience.address(number)])
    assert reply.accepted, reply


def send_back(smtp: SMTP, arrived: SunkMail) -> None:
    """What the recipient's provider, or the recipient, sends back."""
    (to,) = arrived.recipients
    case = int(to.split(".")[1]) % 10
    header = arrived.raw.partition(b"\r\n\r\n")[0].decode()
    if case == BOUNCED:
        sender, back, raw = "", arrived.sender, bounce(to, header, "5.1.1", "550 5.1.1 no mailbox")
    elif case == FULL:
        sender, back, raw = "", arrived.sender, bounce(to, header, "4.2.2", "452 4.2.2 over quota")
    elif case == COMPLAINED:
        sender, back, raw = "fbl@isp.example", FEEDBACK, complaint(to, header)
    elif case == UNSUBSCRIBED:
        uris = str(arrived.message["List-Unsubscribe"])
        found = re.search(r"<mailto:([^?>]+)\?subject=([^>\s]+)>", uris)
        assert found is not None
        sender, back = to, found[1]
        raw = unsubscribe(to, back, found[2])
    else:
        return
    reply = send(smtp, raw.encode(), sender, [back])
    assert reply.accepted, reply


def found_in(events: Path) -> dict[str, Counter[tuple[object, ...]]]:
    """What happened to each recipient, and how often it was delivered."""
    found: dict[str, Counter[tuple[object, ...]]] = {}
    with suppress(FileNotFoundError):
        for line in events.read_text().splitlines():
            event = json.loads(line)
            found.setdefault(event["email"], Counter())[summary(event)] += 1
    return found


def summary(event: Mapping[str, Any]) -> tuple[object, ...]:
    names = {
        "delivery_attempt": ("status",),
        "bounce_all": ("bounce_type", "bounce_reason", "synchronous"),
        "bounce_bad_address": ("bounce_type", "bounce_reason", "synchronous"),
        "scomp": ("feedback_type",),
    }
    return event["event_type"], *(event[name] for name in names.get(event["event_type"], ()))


def total(found: Mapping[str, Counter[tuple[object, ...]]]) -> int:
    return sum(each.total() for each in found.values())


def assert_nowhere(pattern: bytes, daemons: Fletching, redis: RedisServer) -> None:
    """No file of ours and no key has a text that matches, in whatever case."""
    daemons.stop()
    folders = (daemons.directory, redis.directory)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert any(b"hidden-" in path.read_bytes() for path in files)
    assert [path for path in files if re.search(pattern, path.read_bytes(), re.IGNORECASE)] == []
