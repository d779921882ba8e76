"""Check mails of `fletching check --live`: the mark that authenticates one, and what it changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fletching.mail.envelope import Envelope, Recipient
from fletching.mail.message import Message
from fletching.numbering import Numbered, Question
from fletching.outgoing.edits import AddHeader
from fletching.outgoing.flow import Outcome, carry
from fletching.outgoing.text_parts import TextPartCache
from fletching.policy import check_mail
from fletching.policy.setup import Setup, Stamp
from fletching.tokens import Facts, Keyring, Kind, LinkKey

from tests.setting import CAMPAIGN, CLASSIFIED, KEYRING, NOW, RECIPIENT, envelope, mail, setup

SINK = "[127.0.0.1]:2525"
SECONDS = int(NOW.timestamp())
MARK = check_mail.mark(KEYRING, RECIPIENT, SINK, SECONDS)
OTHER_KEYS = Keyring((LinkKey(1, 0, b"x" * 32),))


def marked(mark: str = MARK, *headers: str) -> Message:
    return mail(f"X-Fletching-Check: {mark}", *(headers or (CLASSIFIED,)))


def carried(
    message: Message, setting: Setup | None = None, client: str = "127.0.0.1", late: int = 0
) -> tuple[Outcome, list[Question]]:
    """What becomes of a mail, and the questions to the store."""
    questions: list[Question] = []

    def answer(question: Question) -> Numbered:
        questions.append(question)
        return Numbered(CAMPAIGN, 7)

    stamp = Stamp(NOW + timedelta(seconds=late), bytes(8))
    sent = replace(envelope(RECIPIENT), client=client)
    return carry(message, sent, setting or setup(), answer, stamp, TextPartCache()), questions


def route(outcome: Outcome) -> str | None:
    """Where the route header leads."""
    values = (each.value for each in outcome.edits if isinstance(each, AddHeader))
    first = next(iter(values), b"").decode()
    return first.strip() if ":" in first or "vmta" in first else None


def is_check(outcome: Outcome) -> bool:
    return outcome.plan.check_mail is not None


FORGED = [
    pytest.param("x", 0, id="no token"),
    pytest.param(KEYRING.seal(Kind.SEED, Facts(email=RECIPIENT, sent=SECONDS), "[]"), 0, id="seed"),
    pytest.param(check_mail.mark(OTHER_KEYS, RECIPIENT, SINK, SECONDS), 0, id="other key"),
    pytest.param(check_mail.mark(KEYRING, "b@example.org", SINK, SECONDS), 0, id="other recipient"),
    pytest.param(
        check_mail.mark(KEYRING, RECIPIENT, "[192.0.2.1]:25", SECONDS), 0, id="other host"
    ),
    pytest.param(check_mail.mark(KEYRING, RECIPIENT, "mx.example.org", SECONDS), 0, id="a name"),
    pytest.param(MARK, check_mail.LIFETIME + 1, id="expired"),
    pytest.param(MARK, -check_mail.LIFETIME - 1, id="from the future"),
]


@pytest.mark.parametrize(("mark", "late"), FORGED)
def test_mark_that_proves_nothing_is_removed_and_ignored(mark: str, late: int) -> None:
    outcome, (question,) = carried(marked(mark), late=late)
    assert not is_check(outcome)
    assert not outcome.final.has(b"x-fletching-check")
    assert question.is_listed
    assert outcome.facts is not None
    assert not outcome.facts.seed


def test_mark_counts_for_no_mail_that_has_other_recipients_too() -> None:
    recipients = (Recipient(RECIPIENT, "smtp"), Recipient("b@example.org", "smtp"))
    sent = Envelope("a@example.com", recipients, "127.0.0.1")
    assert check_mail.read(marked(), sent, KEYRING, SECONDS) is None


def test_check_mail_is_routed_to_the_sink_by_the_transport_of_its_virtual_mta() -> None:
    outcome, _ = carried(marked(MARK, CLASSIFIED, "X-GreenArrow-MtaID: b"))
    assert is_check(outcome)
    assert outcome.final.first(b"x-fletching-check") is None
    assert route(outcome) == f"vmta-b:{SINK}"


def test_folded_mark_counts() -> None:
    folded = MARK[:40] + "\r\n " + MARK[40:]
    assert is_check(carried(marked(folded))[0])


@pytest.mark.parametrize("headers", [("Subject: no class",), (CLASSIFIED,)])
def test_check_mail_of_untrusted_client_goes_to_the_sink_too(headers: tuple[str, ...]) -> None:
    outcome, questions = carried(marked(MARK, *headers), client="192.0.2.7")
    assert is_check(outcome)
    assert outcome.plan.mail_class is None
    assert route(outcome) == f"smtp:{SINK}"
    assert not questions


def test_mark_gives_no_trust() -> None:
    outcome, _ = carried(marked(), client="192.0.2.7")
    assert not outcome.plan.trusted
    assert outcome.plan.mail_class is None


def test_check_mail_counts_nowhere() -> None:
    outcome, (question,) = carried(marked())
    assert outcome.facts is not None
    assert outcome.facts.seed
    assert question.sendid == check_mail.SENDID
    assert not question.is_listed
    assert ("seed", "yes") in question.remember
    assert question.bounce_memory == question.window == check_mail.KEPT


LIMITED = """
link_keys: k
unsubscribe_mailbox: u@example.com
mail_classes: {newsletter: {virtual_mta: a, suppress: refuse, seed: {list: main, end: 9}}}
seed_lists: {main: [seed@example.net]}
virtual_mtas: {a: {transport: vmta-a, limits: {hour: 5}}}
rules:
  - do: {hold: for a person, bcc: [boss@example.com], redirect: other@example.com}
"""


def test_check_mail_uses_no_limit_and_no_rule_changes_its_recipients() -> None:
    outcome, (question,) = carried(marked(), setup(LIMITED))
    assert question.candidates == ()
    assert question.suppress == "off"
    plan = outcome.plan
    assert (plan.hold, plan.added, plan.removed, plan.seeding) == (None, (), (), None)
    assert outcome.warnings == ()
