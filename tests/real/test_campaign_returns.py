"""A campaign through Postfix to servers that refuse, defer, accept and complain: every recipient
ends with the right events once, in the statistics and on the suppression list.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fletching.store.events import EventLog
from fletching.store.suppression import Suppression

from sandbox.postfix import Postfix
from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail
from tests.stores import open_store, statistics_of

from .fletching import Fletching
from .mails import NEWSLETTER, SENDER, mail
from .test_bounces import FEEDBACK, report

pytestmark = pytest.mark.slow

Sinks = Mapping[str, Sink]

TO_A = b"X-GreenArrow-MtaID: a"
TYPES = ["delivery_attempt", "bounce_all", "bounce_bad_address", "scomp"]
HIDDEN = "incognito"
"""What no file may contain. Redis' file also has what other tests wrote."""
PATIENCE = 120


@dataclass(frozen=True)
class Recipients:
    """Numbered; the last digit says what becomes of the mail. ``obscured``: as events name them."""

    count: int
    obscured: bool

    def address(self, number: int) -> str:
        return f"{HIDDEN if self.obscured else 'person'}{number:03}@gmail.example"

    def name(self, number: int) -> str:
        """The recipient in events."""
        return f"h{number:03}@obscured.example" if self.obscured else self.address(number)

    def with_digit(self, digit: int) -> set[str]:
        return {self.name(number) for number in range(digit, self.count, 10)}

    def mail(self, number: int) -> bytes:
        hidden = b"X-GreenArrow-Obscured-Email: " + self.name(number).encode()
        return mail(NEWSLETTER, TO_A, *([hidden] if self.obscured else []))


REFUSED, DEFERRED, BOUNCES_LATER, COMPLAINS = range(4)


def digit(address: str) -> int:
    return int(address.partition("@")[0][-1])


def server() -> Callable[[str], str]:
    """The answers to RCPT TO of a server that refuses and defers some."""
    seen: set[str] = set()

    def answer(address: str) -> str:
        if digit(address) == REFUSED:
            return f"550 5.1.1 <{address}>: no such user"
        if digit(address) == DEFERRED and address not in seen:
            seen.add(address)
            return "451 4.7.1 greylisted, try again in 60 seconds"
        return "250 2.1.5 recipient accepted"

    return answer


def late_bounce(address: str) -> bytes:
    """What a server sends that has accepted a mail for a full mailbox (RFC 3464)."""
    return (
        "From: MAILER-DAEMON@gmail.example\r\nSubject: Undelivered mail\r\n"
        f"Message-ID: <{address}>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.gmail.example\r\n\r\n"
        f"Final-Recipient: rfc822; {address}\r\nAction: failed\r\nStatus: 5.2.2\r\n"
        f"Diagnostic-Code: smtp; 552 5.2.2 <{address}>: mailbox full\r\n\r\n--b--\r\n"
    ).encode()


@pytest.fixture
def fletching(fresh: Path, postfix: Postfix, redis: RedisServer) -> Iterator[Fletching]:
    destination = {"name": "f", "file": str(fresh / "events"), "types": TYPES}
    change: dict[str, Any] = {
        "postfix": {"log": str(postfix.root / "maillog")},
        "lmtp": {"listen": f"unix:{fresh}/sockets/lmtp.sock"},
        "feedback_mailbox": FEEDBACK,
        "events": {"destinations": [destination]},
    }
    with Fletching(fresh, redis.unix_url, change, command="run") as running:
        running.join(postfix)
        postfix.set(relay_domains="example.com")
        yield running


@pytest.mark.parametrize(
    "recipients",
    [Recipients(500, obscured=False), Recipients(100, obscured=True)],
    ids=["real addresses", "obscured addresses"],
)
def test_every_recipient_ends_with_the_right_events_once(
    fletching: Fletching,
    postfix: Postfix,
    redis: RedisServer,
    sinks: Sinks,
    recipients: Recipients,
) -> None:
    sink, tenth = sinks["vmta-a"], recipients.count // 10
    sink.answer_to = server()

    def submit(number: int) -> bool:
        to = recipients.address(number)
        return postfix.submit(recipients.mail(number), SENDER, [to]).accepted

    def come_back(arrived: SunkMail) -> bool:
        (address,) = arrived.recipients
        if digit(address) == BOUNCES_LATER:
            return postfix.submit(late_bounce(address), "", [arrived.sender]).accepted
        if digit(address) == COMPLAINS:
            header = arrived.raw.partition(b"\r\n\r\n")[0]
            return postfix.submit(report(header), "fbl@gmail.example", [FEEDBACK]).accepted
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(submit, range(recipients.count)))
        arrived = sink.wait(9 * tenth)
        assert all(threads.map(come_back, arrived))
    postfix.wait_empty()

    def found() -> dict[tuple[str, str], list[str]]:
        """The recipients of events, by type and outcome."""
        by_kind: dict[tuple[str, str], list[str]] = {}
        for _, text in EventLog(open_store(redis.unix_url)).read("0", 10_000):
            event = json.loads(text)
            kind = event["event_type"], str(event.get("status", event.get("bounce_type", "")))
            by_kind.setdefault(kind, []).append(event["email"])
        return by_kind

    wanted = {
        ("delivery_attempt", "success"): set().union(*map(recipients.with_digit, range(1, 10))),
        ("delivery_attempt", "failure"): recipients.with_digit(REFUSED),
        ("bounce_all", "h"): recipients.with_digit(REFUSED),
        ("bounce_bad_address", "h"): recipients.with_digit(REFUSED),
        ("bounce_all", "s"): recipients.with_digit(BOUNCES_LATER),
        ("scomp", ""): recipients.with_digit(COMPLAINS),
    }
    wait_until(
        "not all events are there",
        lambda: all(len(found().get(kind, ())) >= len(names) for kind, names in wanted.items()),
        PATIENCE,
    )
    events = found()
    assert set(events.pop(("delivery_attempt", "deferral"))) == recipients.with_digit(DEFERRED)
    assert {kind: Counter(names) for kind, names in events.items()} == {
        kind: dict.fromkeys(names, 1) for kind, names in wanted.items()
    }
    are_as_they_should_be(redis, recipients)
    if recipients.obscured:
        is_nowhere(HIDDEN.encode(), fletching, redis)


def are_as_they_should_be(redis: RedisServer, recipients: Recipients) -> None:
    """Statistics and suppression."""
    tenth, told = recipients.count // 10, statistics_of(redis.unix_url)
    (campaign,) = told.campaigns()
    kinds = ("sent", "delivered", "deferred", "bounces_hard", "bounces_soft", "complaints")
    assert {kind: getattr(campaign, kind) for kind in kinds} == {
        "sent": 10 * tenth,
        "delivered": 9 * tenth,
        "deferred": tenth,
        "bounces_hard": tenth,
        "bounces_soft": tenth,
        "complaints": tenth,
    }
    reasons = {each.reason: each for each in told.failures(campaign.campaign)}
    unknown = reasons["user_unknown"]
    assert (unknown.words, unknown.bounced) == ("550 5.1.1 <address>: no such user", tenth)
    assert reasons["mailbox_full"].bounced == tenth
    assert sum(each.deferred for each in reasons.values()) == tenth
    entries = Suppression(open_store(redis.unix_url)).entries()
    assert {entry.address: entry.reason for entry in entries} == {
        **dict.fromkeys(recipients.with_digit(REFUSED), "bad_address"),
        **dict.fromkeys(recipients.with_digit(COMPLAINS), "complained"),
    }


def is_nowhere(text: bytes, fletching: Fletching, redis: RedisServer) -> None:
    """In no file, key, event, log line or trace of ours."""
    fletching.stop()
    files = [
        path
        for folder in (fletching.directory, redis.directory)
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert any(b"@obscured.example" in path.read_bytes() for path in files)
    assert [path for path in files if re.search(text, path.read_bytes(), re.I)] == []
