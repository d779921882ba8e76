"""One mail causes limited work in Postfix, the log and our memory (docs/limits.md)."""

from __future__ import annotations

import pytest
from fletching import log, log_lines
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message
from fletching.outgoing import edits
from fletching.outgoing.flow import TOO_MANY_EDITS, Outcome
from fletching.policy.control import MOST_FIELDS
from fletching.policy.decide import TOO_MANY_FIELDS
from fletching.policy.trust import needs_body

from tests.setting import CLASSIFIED, SITE, carried, envelope, mail, names, newsletter, setup

UNTRUSTED = "192.0.2.1"
UNKNOWN = [f"X-GreenArrow-J{number}: b" for number in range(MOST_FIELDS)]
SAME = ["X-GreenArrow-J: b"] * MOST_FIELDS
ROUTES = ["X-Fletching-Route: vmta-a"] * MOST_FIELDS
ONE_MORE = "X-GreenArrow-K: b"


def sent(message: Message, client: str) -> Outcome:
    return carried(message, envelope(client=client))


@pytest.mark.parametrize("client", ["127.0.0.1", UNTRUSTED])
@pytest.mark.parametrize("fields", [UNKNOWN, SAME, ROUTES], ids=["unknown", "same", "routes"])
class TestControlHeaders:
    def test_hundred_control_headers_are_removed(self, fields: list[str], client: str) -> None:
        outcome = sent(mail(*fields), client)
        assert outcome.refusal is None
        assert not any(name.lower().startswith(b"x-greena") for name in names(outcome.final))

    def test_more_than_hundred_control_headers_are_rejected(
        self, fields: list[str], client: str
    ) -> None:
        outcome = sent(mail(*fields, ONE_MORE), client)
        assert (outcome.refusal, outcome.edits) == (TOO_MANY_FIELDS, ())


def test_forged_routes_in_a_second_pass_are_limited() -> None:
    (info,) = (header for header in carried(newsletter()).final.all(b"x-mailer-info"))
    again = f"X-Mailer-Info:{info.value.decode()}".replace("\r\n", "\n")
    assert carried(mail(again, *ROUTES)).refusal is None
    assert carried(mail(again, *ROUTES, ROUTES[0])).refusal == TOO_MANY_FIELDS


@pytest.mark.parametrize("client", ["127.0.0.1", UNTRUSTED])
def test_too_many_edits_in_a_long_header_are_rejected(client: str) -> None:
    # For each edit, cleanup(8) reads all fields before the one that it changes.
    few = ["A: b"] * (edits.MOST_WORK // MOST_FIELDS - MOST_FIELDS - 10)
    assert sent(mail(*few, *SAME), client).refusal is None
    many = [*few, *["A: b"] * 20]
    outcome = sent(mail(*many, *SAME), client)
    assert (outcome.refusal, outcome.edits) == (TOO_MANY_EDITS, ())
    assert sent(mail(*many), client).refusal is None


def test_folded_fields_count_as_edits() -> None:
    long = [f"A{number}: {'b ' * 600}" for number in range(3000)]
    outcome = carried(mail(*long, "X-GreenArrow-MailClass: newsletter"))
    assert outcome.refusal == TOO_MANY_EDITS


# The log


def line(capfd: pytest.CaptureFixture[str], *facts: tuple[str, object]) -> str:
    log.mails([("4Abc", False, facts)])
    return capfd.readouterr().err


@pytest.mark.parametrize(
    ("facts", "left_out"),
    [
        ([("rcpt", f"recipient{number}@example.org") for number in range(5000)], True),
        ([("warning", f"X-GreenArrow-J{number}: unknown") for number in range(8000)], True),
        ([("warning", "\u2028" * 600), ("warning", "x" * 5000)] * 3, True),
        ([("rcpt", "é" * 100)] * 20, True),
        ([("rcpt", "ada@example.org")] * 20, False),
    ],
    ids=["recipients", "unknown headers", "escaped", "two bytes each", "as usual"],
)
def test_log_line_has_a_maximum_length(
    capfd: pytest.CaptureFixture[str], facts: list[tuple[str, object]], left_out: bool
) -> None:
    text = line(capfd, ("verdict", "accept"), *facts)
    assert len(text.encode()) <= log_lines.LONGEST + 1
    assert text.count("\n") == 1
    assert text.startswith("mail queue_id=4Abc verdict=accept ")
    assert ("left_out=" in text) == left_out
    if left_out:
        shown = len(text.split(" left_out=")[0].split(f" {facts[0][0]}=")) - 1
        assert int(text.rsplit("=", 1)[1]) == len(facts) - shown


def test_many_log_lines_at_once_stay_whole(capfd: pytest.CaptureFixture[str]) -> None:
    facts = (("rcpt", "x" * 400),)
    log.mails([(f"4Q{number}", bool(number % 2), facts) for number in range(100)])
    lines = capfd.readouterr().err.splitlines()
    assert [each.split()[1] for each in lines] == [f"queue_id=4Q{n}" for n in range(100)]


@pytest.mark.parametrize("character", ["\U000e0001", "\x1b", "\n", '"', "\\", "é", "\udcff", "x"])
def test_long_log_value_is_cut(capfd: pytest.CaptureFixture[str], character: str) -> None:
    """However long the login that a client sends, the log line has the verdict."""
    text = line(capfd, ("login", character * 600), ("reply", "550 5.6.0 no"), ("edits", 1))
    assert text.endswith(' reply="550 5.6.0 no" edits=1\n')
    login = text.partition(" login=")[2].partition(" reply=")[0]
    assert '..."' in login or login == "x" * 512 + "..."
    assert len(login.encode()) <= 517


# Memory


@pytest.mark.parametrize(
    ("site", "fields", "around", "kept"),
    [
        (SITE, [CLASSIFIED], envelope(), True),
        (SITE, ["X-GreenArrow-Nosuch: b"], envelope(), True),
        (SITE, [], envelope(), False),
        (SITE, [], envelope(login="nobody"), False),
        (SITE, [CLASSIFIED], envelope(client=UNTRUSTED), False),
        (SITE + "default_mail_class: newsletter\n", [], envelope(), True),
        (SITE + "default_mail_class: newsletter\n", [], envelope(client=UNTRUSTED), False),
        (SITE, [], envelope(login="shop"), True),
        (SITE, [], envelope(login="a@b"), False),
    ],
)
def test_body_is_kept_only_if_it_may_be_read(
    site: str, fields: list[str], around: Envelope, kept: bool
) -> None:
    message, opened = mail(*fields), setup(site)
    assert needs_body(message.headers, around, opened.config) == kept
    outcome = carried(message, around, opened)
    if not kept:
        empty = Message(message.headers, b"")
        assert carried(empty, around, opened).edits == outcome.edits
