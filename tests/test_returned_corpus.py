"""Returned mails from the world, and what two other programs make of them.

The corpus is not part of the repository: its mails are read where they are, beside it. Where this
program disagrees with the other one, `DISAGREEMENTS` says who is right.
"""

from __future__ import annotations

import json
from email import message_from_bytes
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fletching.returning.reading import read
from fletching.returning.returned import BounceType, MailKind, ReturnedMail, ReturnedRecipient
from flufl.bounce import all_failures

from tests.corpora import flufl_bounces

pytestmark = pytest.mark.slow

CORPUS = Path(__file__).parent.parent.parent / "shared" / "data" / "bounces"

# The other program's reasons, and ours (the README of the corpus).
REASONS = {
    "userunknown": "user_unknown",
    "hasmoved": "moved",
    "hostunknown": "domain_unknown",
    "notaccept": "no_mail_service",
    "mailboxfull": "mailbox_full",
    "suspend": "mailbox_disabled",
    "filtered": "recipient_filtered",
    "expired": "expired",
    "networkerror": "network",
    "mesgtoobig": "too_big",
    "exceedlimit": "too_big",
    "contenterror": "content",
    "spamdetected": "spam",
    "virusdetected": "virus",
    "policyviolation": "policy",
    "securityerror": "policy",
    "authfailure": "auth_failure",
    "blocked": "blocked",
    "badreputation": "blocked",
    "requireptr": "blocked",
    "toomanyconn": "rate_limited",
    "speeding": "rate_limited",
    "rejected": "sender_rejected",
    "norelaying": "relay_denied",
    "notcompliantrfc": "protocol",
    "syntaxerror": "protocol",
    "systemerror": "system",
    "systemfull": "system",
    "mailererror": "system",
    "onhold": "other",
    "undefined": "other",
}
COMPLAINTS = ("", "abuse", "fraud")

NO_SUCH_USER = "the server says that there is no such user, and nothing speaks against it"
DISAGREEMENTS = {
    "lhost-apachejames-01": NO_SUCH_USER,
    "lhost-mailfoundry-01": NO_SUCH_USER,
    "lhost-mxlogic-03": NO_SUCH_USER,
    "lhost-postfix-07": NO_SUCH_USER,
    "lhost-receivingses-01": NO_SUCH_USER,
    "lhost-surfcontrol-01": NO_SUCH_USER,
    "lhost-x1-01": NO_SUCH_USER,
    "lhost-x2-01": NO_SUCH_USER,
    "lhost-zoho-03": NO_SUCH_USER,
    "rfc3464-35": NO_SUCH_USER,
    "rfc3464-42": NO_SUCH_USER,
    "lhost-postfix-01": "the delivery program exits with EX_NOUSER, status 5.1.1",
    "rfc3464-01": "the report says 5.1.1 User Unknown; the text is that of another mail",
    "lhost-exim-37": "the domain that does not exist is the sender's: not the recipient's fault",
    "lhost-postfix-80": "the sender's domain is on a blocklist",
    "lhost-trendmicro-03": "no reason is given",
    "lhost-dragonfly-17": "undecided: rejected for a reason that no table knows",
    "lhost-postfix-74": "undecided: for complaints or volume, so the sending IP address is meant",
    "lhost-opensmtpd-12": "soft, since delivery goes on: delayed, status 4.0.0",
    "lhost-sendmail-21": "the connection was refused until the time was over",
    "lhost-v5sendmail-05": "the last failure named is that the connection was reset",
    "rhost-franceptt-10": "the service is refused, the same words as with 421",
    "rhost-franceptt-12": "the sending host was rejected",
    "rhost-nttdocomo-03": "the same words as in others that it reads as we do",
    "rhost-zoho-03": "flagged as spam, says the server",
}
"""Why we read a reason or type in another way than the other program, by file."""


class Compared(NamedTuple):
    """One recipient that the other program names, and what is read here."""

    file: str
    expected: dict[str, Any]
    mail: ReturnedMail
    found: ReturnedRecipient | None


def expected() -> dict[str, list[dict[str, Any]]]:
    if not CORPUS.is_dir():
        pytest.skip("the corpus of returned mails is not beside the repository")
    lines = (CORPUS / "expected.jsonl").read_text("utf-8").splitlines()
    return {found["file"]: found["bounces"] for found in map(json.loads, lines)}


@pytest.fixture(scope="module")
def compared() -> list[Compared]:
    found = []
    for file, bounces in expected().items():
        mail = read((CORPUS / "mail" / file).read_bytes())
        named = {
            email.lower(): each
            for each in mail.recipients
            for email in (each.original, each.email)
            if email
        }
        alone = mail.recipients[0] if len(mail.recipients) == 1 else None
        for each in bounces:
            recipient = named.get(each["recipient"].lower())
            found.append(Compared(file[:-4], each, mail, recipient or alone))
    return found


def share(values: list[bool]) -> float:
    return sum(values) / len(values)


def failures(compared: list[Compared]) -> list[Compared]:
    """What bounced or is delayed, and is found here."""
    return [each for each in compared if each.expected["reason"] in REASONS and each.found]


def is_hard(recipient: ReturnedRecipient | None) -> bool:
    failure = recipient.failure if recipient else None
    return failure is not None and failure.type is BounceType.HARD


def reason(recipient: ReturnedRecipient | None) -> str:
    return recipient.failure.reason.value if recipient and recipient.failure else ""


def test_recipients_are_found(compared: list[Compared]) -> None:
    found: dict[str, bool] = {}
    for each in compared:
        wanted = each.expected["recipient"].lower()
        named = [
            email.lower() for one in each.mail.recipients for email in (one.email, one.original)
        ]
        found[each.file] = found.get(each.file, True) and wanted in named
    assert share(list(found.values())) >= 0.98, [file for file, ok in found.items() if not ok]


def test_hard_and_not_hard_agree_or_the_disagreement_is_listed(compared: list[Compared]) -> None:
    failed = failures(compared)
    agrees = [is_hard(each.found) == each.expected["hard"] for each in failed]
    different = {each.file for each, ok in zip(failed, agrees, strict=True) if not ok}
    assert different <= set(DISAGREEMENTS)
    assert share(agrees) >= 0.94


def test_reasons_agree_or_the_disagreement_is_listed(compared: list[Compared]) -> None:
    failed = failures(compared)
    agrees = [reason(each.found) == REASONS[each.expected["reason"]] for each in failed]
    different = {each.file for each, ok in zip(failed, agrees, strict=True) if not ok}
    assert different <= set(DISAGREEMENTS)
    assert share(agrees) >= 0.92


def test_every_listed_disagreement_is_one(compared: list[Compared]) -> None:
    different = {
        each.file
        for each in failures(compared)
        if is_hard(each.found) != each.expected["hard"]
        or reason(each.found) != REASONS[each.expected["reason"]]
    }
    assert different == set(DISAGREEMENTS)


def test_complaints_are_complaints_and_no_other_report_is(compared: list[Compared]) -> None:
    reports = [each for each in compared if each.expected["reason"] == "feedback"]
    assert len(reports) > 10
    for each in reports:
        is_complaint = each.expected["feedbacktype"] in COMPLAINTS
        assert (each.mail.kind is MailKind.COMPLAINT) == is_complaint, each.file


def test_delivered_is_delivered(compared: list[Compared]) -> None:
    delivered = [each for each in compared if each.expected["reason"] == "delivered"]
    assert delivered
    assert {each.mail.kind for each in delivered} == {MailKind.DELIVERED}


def test_automatic_replies_and_letters_are_no_bounces() -> None:
    answers = [file for file in expected() if file.startswith("rfc3834-")]
    assert {read((CORPUS / "mail" / file).read_bytes()).kind for file in answers} == {
        MailKind.AUTO_REPLY
    }
    letters = sorted((CORPUS / "not").iterdir())
    assert {read(file.read_bytes()).kind for file in letters} == {MailKind.NONE}


# Names without a domain; the other program knows the domains of the one site that wrote so.
ONLY_GUESSED = {"yale_01.txt"}


def test_every_address_that_flufl_bounce_finds_is_found() -> None:
    missing = {}
    for file in flufl_bounces():
        raw = file.read_bytes()
        temporary, permanent = all_failures(message_from_bytes(raw))
        wanted = {email.decode("utf-8", "replace").lower() for email in temporary | permanent}
        named = {
            email.lower() for each in read(raw).recipients for email in (each.email, each.original)
        }
        if not wanted <= named and file.name not in ONLY_GUESSED:
            missing[file.name] = wanted - named
    assert missing == {}
