"""What lines of Postfix's log mean for messages of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fletching.daemons.logtail.deliveries import Walk, WalkSettings
from fletching.daemons.logtail.memory import InQueue
from fletching.events import Event
from fletching.returning.rules import compiled
from fletching.store.bounce_claims import Claim, failure_of
from fletching.tokens import Facts

from tests.cases import for_every
from tests.log_lines import CAMPAIGN, FULL, KEYS, Mail, placed

NOW = datetime(2026, 11, 30, 16, 0, tzinfo=UTC)
ANN = "ann@example.org"
FACTS = Facts(CAMPAIGN, 1, "News", "20261130", "t100", "c|s", ANN, "a", 0)
MAIL = Mail("4jdT9k6120zCXPc")
OTHERS = Mail("4jdT9k65NzzCXPg", campaign="")


@dataclass
class Host:
    """A host whose log is read in batches."""

    facts: Facts = FACTS
    reading: WalkSettings = field(default_factory=lambda: WalkSettings(KEYS, "mx1"))
    queue: dict[str, InQueue] = field(default_factory=dict)
    arrived: set[str] = field(default_factory=set)
    claims: list[Claim] = field(default_factory=list)
    ours: int = 0
    offset: int = 0
    named: frozenset[str] = frozenset()

    def read(self, *lines: str) -> list[Event]:
        batch = placed(list(lines), self.offset)
        self.offset += sum(len(line) + 1 for line in lines)
        walk = Walk(batch, self.reading)
        known = {id: self.queue[id] for id in walk.ids() & self.queue.keys()}
        messages = walk.messages(known)
        facts = {each: replace(self.facts, number=each[1]) for each in messages}
        if not self.facts.mail_class:
            facts = {}
        named = dict.fromkeys(messages, self.named)
        found = walk.go(known, walk.next_ids() & self.arrived, facts, NOW, named)
        self._remember(walk)
        self.claims += [claim for _, claim in found if claim is not None]
        return [event for event, _ in found]

    def _remember(self, walk: Walk) -> None:
        self.queue |= {id: known for id, known in walk.queue.items() if known is not None}
        for id in [id for id, known in walk.queue.items() if known is None]:
            self.queue.pop(id, None)
        self.arrived |= set(walk.arrivals)
        self.ours += walk.ours


DELIVERED = {
    "status": "success",
    "is_retry": 0,
    "message": "250 2.0.0 Ok: queued as 12345",
    "bounce_status": "2.0.0",
    "bounce_code": 250,
    "recipient_domain": "example.org",
    "mx_hostname": "mx.example.org",
    "mx_ip": "192.0.2.25",
    "outmtaid": "vmta-a",
    "sender": MAIL.sender,
    "channel": "remote",
    "queue_id": MAIL.queue_id,
    "delay": 0.53,
}
WORDS = (
    "550 5.1.1 <ann@example.org>: Recipient address rejected: User unknown in virtual mailbox table"
)
REFUSED = DELIVERED | {
    "status": "failure",
    "message": WORDS,
    "bounce_status": "5.1.1",
    "bounce_code": 550,
    "bounce_reason": "user_unknown",
}
BOUNCED = {
    "bounce_type": "h",
    "bounce_code": 550,
    "bounce_text": WORDS,
    "bounce_status": "5.1.1",
    "bounce_reason": "user_unknown",
    "synchronous": True,
    "attributed": True,
    "mx_hostname": "mx.example.org",
}


def kinds(found: Sequence[Event]) -> list[str]:
    return [f"{each.type} {each.details.get('status', '')}".strip() for each in found]


def test_delivery() -> None:
    host = Host()
    (event,) = host.read(*MAIL.delivered(), *OTHERS.delivered())
    assert event.type == "delivery_attempt"
    assert event.details == DELIVERED
    assert event.facts == FACTS
    assert event.server_id == "mx1"
    assert event.fields()["timestamp"] == "2026-11-30T15:54:50.000Z"
    assert not host.queue
    assert host.ours == 3


def test_refusal_is_an_attempt_and_a_bounce() -> None:
    host = Host()
    attempt, bounce = host.read(MAIL.active(), MAIL.bounced(), MAIL.removed())
    assert (attempt.type, attempt.details) == ("delivery_attempt", REFUSED)
    assert (bounce.type, bounce.details) == ("bounce_all", BOUNCED)
    assert bounce.facts.email == ANN
    assert host.claims == [Claim(CAMPAIGN, 1, failure_of(MAIL.queue_id, ANN))]
    assert attempt.id[-16:] != bounce.id[-16:]


def test_deferral_and_retry_days_later() -> None:
    host = Host()
    first = host.read(MAIL.active(), MAIL.deferred())
    again = host.read(MAIL.active(), MAIL.deferred())
    last = host.read(MAIL.active(), MAIL.sent(), MAIL.removed())
    found = first + again + last
    assert kinds(found) == ["delivery_attempt deferral"] * 2 + ["delivery_attempt success"]
    assert [each.details["is_retry"] for each in found] == [0, 1, 1]
    assert first[0].details["bounce_reason"] == "mailbox_full"
    assert not host.claims
    assert not host.queue


def test_expiry_ends_with_the_words_of_the_last_attempt() -> None:
    host = Host()
    host.read(MAIL.active(), MAIL.deferred())
    attempt, bounce = host.read(MAIL.active(), MAIL.deferred(), MAIL.expired(), MAIL.removed())[1:]
    assert attempt.details["status"] == "failure_toolong"
    assert attempt.details["is_retry"] == 1
    assert (bounce.type, bounce.details["bounce_type"]) == ("bounce_all", "s")
    assert bounce.details["bounce_reason"] == "mailbox_full"
    assert bounce.details["bounce_text"] == FULL
    assert host.claims == [Claim(CAMPAIGN, 1, failure_of(MAIL.queue_id, ANN))]


def test_expiry_of_a_message_whose_lines_were_not_read() -> None:
    attempt, bounce = Host().read(MAIL.expired())
    assert attempt.details["status"] == "failure_toolong"
    assert bounce.details["bounce_reason"] == "expired"
    assert bounce.details["bounce_status"] == "4.4.7"


def test_expiry_after_words_that_say_nothing() -> None:
    host = Host()
    host.read(MAIL.active(), MAIL.deferred("450 wait", "4.0.0"))
    bounce = host.read(MAIL.expired())[-1]
    assert bounce.details["bounce_reason"] == "expired"
    assert bounce.details["bounce_type"] == "s"


def test_soft_bounce_is_a_deferral() -> None:
    said = "host a[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)"
    line = MAIL.attempt(f"dsn=4.1.1, status=SOFTBOUNCE ({said})")
    (event,) = Host().read(MAIL.active(), line)
    assert event.details["status"] == "deferral"
    assert event.details["bounce_status"] == "4.1.1"


def test_rewritten_status_wins_over_the_words() -> None:
    """smtp_delivery_status_filter: the status is Postfix's, the text the server's."""
    attempt, bounce = Host().read(MAIL.active(), MAIL.bounced(FULL, "5.2.2"))
    assert attempt.details["bounce_status"] == bounce.details["bounce_status"] == "5.2.2"
    assert bounce.details["bounce_text"] == FULL
    assert bounce.details["bounce_reason"] == "mailbox_full"


def test_rule_of_the_admin_decides() -> None:
    @dataclass(frozen=True)
    class Rule:
        pattern: str = "user unknown"
        reason: str = "policy"
        type: str | None = "soft"

    host = Host(reading=WalkSettings(KEYS, "mx1", compiled([Rule()])))
    bounce = host.read(MAIL.active(), MAIL.bounced())[1]
    assert bounce.details["bounce_reason"] == "policy"
    assert bounce.details["bounce_type"] == "s"


def test_queue_id_of_another_mail_is_not_ours_any_more() -> None:
    host = Host()
    host.read(MAIL.active(), MAIL.deferred())
    other = replace(MAIL, campaign="")
    assert host.read(other.active(), other.sent()) == []
    assert not host.queue


def test_handing_over_to_another_queue_of_this_host_is_no_delivery() -> None:
    """Two instances, or a content filter: the second queue id is in the same log."""
    second = replace(MAIL, queue_id="4jdT9k6B0zzCXPc", name="postfix-out")
    first = [
        MAIL.queued(),
        MAIL.active(),
        second.queued(),
        MAIL.sent(f"250 ok: queued as {second.queue_id}"),
    ]
    host = Host()
    assert host.read(*first, MAIL.removed()) == []
    assert kinds(host.read(second.active(), second.bounced())) == [
        "delivery_attempt failure",
        "bounce_all",
    ]


def test_handing_over_is_recognized_in_the_next_batch() -> None:
    second = replace(MAIL, queue_id="4jdT9k6B0zzCXPc", name="postfix-out")
    host = Host()
    host.read(MAIL.queued(), MAIL.active(), second.queued())
    assert host.read(MAIL.sent(f"250 ok: queued as {second.queue_id}")) == []


def test_copy_to_another_recipient_is_left_out() -> None:
    """always_bcc: what becomes of the copy says nothing about the recipient."""
    mail = replace(MAIL, recipients=2)
    copy = mail.to_other("archive@example.com")
    host = Host()
    assert host.read(mail.active(), copy.bounced()) == []
    assert kinds(host.read(mail.sent())) == ["delivery_attempt success"]
    # When it is tried again, nrcpt is 1.
    assert host.read(MAIL.active(), copy.bounced()) == []


def test_alias_is_known_by_the_original_recipient() -> None:
    mail = replace(MAIL, recipients=2, to="target@example.net")
    attempt, bounce = Host().read(mail.active(), mail.bounced(alias=ANN.upper()))
    assert bounce.facts.email == ANN
    assert attempt.details["recipient_domain"] == "example.net"


SEVERAL = replace(FACTS, email="")


def test_each_of_several_recipients_has_its_attempts() -> None:
    host = Host(SEVERAL)
    mail = replace(MAIL, recipients=2)
    bob = mail.to_other("bob@example.org")
    found = host.read(mail.active(), mail.deferred(), bob.bounced(), mail.active(), mail.sent())
    assert kinds(found) == [
        *("delivery_attempt deferral", "delivery_attempt failure", "bounce_all"),
        "delivery_attempt success",
    ]
    assert [each.details.get("is_retry") for each in found] == [0, 0, None, 1]
    assert host.claims == [Claim(CAMPAIGN, 1, failure_of(MAIL.queue_id, bob.to))]


def test_recipients_that_may_be_named_are() -> None:
    host = Host(SEVERAL)
    host.named = frozenset({ANN.lower(), "bob@example.org"})
    mail = replace(MAIL, recipients=2)
    bob, copy = mail.to_other("Bob@example.org"), mail.to_other("archive@example.com")
    found = host.read(mail.active(), mail.sent(), bob.bounced(), copy.sent())
    assert [(each.facts.email, each.details["recipients"]) for each in found] == [
        *((ANN, 2), ("Bob@example.org", 2), ("Bob@example.org", 2)),
        ("", 2),
    ]
    assert [each.details.get("recipient_domain") for each in found] == [
        *("example.org", "example.org", None, ""),
    ]


def test_recipient_that_may_be_named_is_known_when_the_mail_expires() -> None:
    host = Host(SEVERAL)
    host.named = frozenset({ANN.lower()})
    mail = replace(MAIL, recipients=2)
    host.read(mail.active(), mail.deferred())
    found = host.read(mail.expired())
    assert {each.facts.email for each in found} == {ANN}


OBSCURED = {
    "obscured": "u1@hidden.example",
    "without a domain": "u1",
    "no recipient is recorded": "",
}


@for_every(list(OBSCURED.values()))
def test_real_address_is_in_no_event_and_in_no_memory(email: str) -> None:
    host = Host(replace(FACTS, email=email))
    mail = replace(MAIL, to="Ann.Real@Example.org")
    words = "550 5.1.1 <ann.real@example.org>: no mailbox ANN.REAL here"
    found = host.read(mail.active(), mail.deferred(words, "4.1.1"))
    found += host.read(mail.active(), mail.bounced(words))
    found += host.read(mail.deferred(words, "4.1.1"), mail.expired())
    assert kinds(found) == [
        *("delivery_attempt deferral", "delivery_attempt failure", "bounce_all"),
        *("delivery_attempt deferral", "delivery_attempt failure_toolong", "bounce_all"),
    ]
    for event in found:
        assert "ann.real" not in event.json().lower()
        assert event.facts.email == email
        assert event.details.get("recipient_domain", "") == ""
    assert "ann.real" not in repr(host.queue).lower()
    assert "ann.real" not in repr(host.claims).lower()


def test_message_that_redis_does_not_know_has_campaign_and_number() -> None:
    host = Host(Facts("", 0, "", "", "", "", "", "", 0))
    attempt, bounce = host.read(MAIL.active(), MAIL.bounced())
    assert attempt.facts == bounce.facts == Facts(CAMPAIGN, 1, "", "", "", "", "", "", 0)
    assert ANN not in bounce.json()


def test_same_line_gives_the_same_ids_at_any_time() -> None:
    lines = [MAIL.active(), MAIL.bounced()]
    first, again = Host().read(*lines), Host().read(*lines)
    elsewhere = Host(offset=7).read(*lines)
    assert [each.id for each in first] == [each.id for each in again]
    assert not {each.id for each in first} & {each.id for each in elsewhere}


def test_long_words_are_cut() -> None:
    attempt, bounce = Host().read(MAIL.active(), MAIL.bounced("550 5.1.1 " + "x" * 1900))
    assert len(str(attempt.details["message"])) == 1000
    assert len(str(bounce.details["bounce_text"])) == 1000


def _details(events: Sequence[Event]) -> list[Mapping[str, object]]:
    return [event.details for event in events]


def test_lines_in_one_batch_or_in_many_give_the_same() -> None:
    lines = [MAIL.active(), MAIL.deferred(), *OTHERS.delivered(), MAIL.active(), MAIL.bounced()]
    lines += [MAIL.removed()]
    at_once, host = Host().read(*lines), Host()
    one_by_one = [event for line in lines for event in host.read(line)]
    assert _details(at_once) == _details(one_by_one)
