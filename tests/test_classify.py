"""Why a mail was not delivered: reason and type from a server's words and codes."""

from __future__ import annotations

from typing import NamedTuple, get_args

from fletching.config.load import parse
from fletching.config.sections import BounceReason
from fletching.returning import classify as classifying
from fletching.returning.classify import LONGEST, classify
from fletching.returning.entries import Entry, Table, entries, plain
from fletching.returning.returned import BounceType, Failure, Reason
from fletching.returning.rules import compiled
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every
from tests.effort import is_linear
from tests.test_config import FILE


class Case(NamedTuple):
    """What a server says, and what it means."""

    status: str
    code: int
    text: str
    reason: str
    type: str = "s"


REPLIES = {
    "postfix, unknown user": Case(
        "5.1.1",
        0,
        "host mx.example.net[192.0.2.1] said: 550 5.1.1 <joe@example.net>: Recipient address"
        " rejected: User unknown in local recipient table (in reply to RCPT TO command)",
        "user_unknown",
        "h",
    ),
    "unknown user after the content": Case(
        "5.0.0",
        0,
        "host mx.example.net[192.0.2.1] said: 550 unknown user (in reply to end of DATA command)",
        "recipient_filtered",
    ),
    "unknown user by the code, after the content": Case(
        "5.1.1",
        0,
        "host mx.example.net said: 550 5.1.1 unknown user (in reply to end of DATA command)",
        "user_unknown",
        "h",
    ),
    "unknown user for now": Case("4.1.1", 450, "unknown user", "user_unknown", "h"),
    "full": Case("5.2.2", 552, "Sorry, the user's mailbox is over its quota", "mailbox_full"),
    "full, by the code alone": Case("4.2.2", 452, "try again", "mailbox_full"),
    "full, by the reply code alone": Case("", 552, "no", "mailbox_full"),
    "words before the status": Case("5.1.1", 550, "Mailbox full", "mailbox_full"),
    "disabled": Case("5.2.1", 550, "this account has been disabled", "mailbox_disabled"),
    "domain": Case(
        "5.4.4",
        0,
        "Host or domain name not found. Name service error for name=a.example type=MX: Host not"
        " found",
        "domain_unknown",
        "h",
    ),
    "domain, name server silent": Case(
        "4.4.3",
        0,
        "Host or domain name not found. Name service error for name=a.example type=MX: Host not"
        " found, try again",
        "network",
    ),
    "sender's domain": Case(
        "5.1.8", 553, "Domain of sender address a@b.example does not exist", "sender_rejected"
    ),
    "domain, by a code about the sender": Case(
        "5.1.8", 553, "From: domain does not exist", "sender_rejected"
    ),
    "unknown user after MAIL": Case(
        "5.0.0",
        0,
        "host mx.example.net[192.0.2.1] said: 550 unknown user (in reply to MAIL FROM command)",
        "sender_rejected",
    ),
    "no mail from this sender": Case(
        "", 550, "We do not accept mail from this sender", "sender_rejected"
    ),
    "network, by the code alone": Case("5.4.0", 0, "", "network"),
    "null MX": Case(
        "5.1.0", 0, "Domain a.example does not accept mail (nullMX)", "no_mail_service", "h"
    ),
    "null MX, temporary": Case("4.1.0", 0, "null MX", "no_mail_service", "s"),
    "no service for this client": Case(
        "4.0.0",
        0,
        "host mx.example.net[192.0.2.1] refused to talk to me: 554 No SMTP service here",
        "blocked",
    ),
    "moved": Case("5.1.6", 551, "", "moved", "h"),
    "blocklist": Case("5.7.1", 554, "Client host [192.0.2.1] blocked using a.b", "blocked"),
    "reverse DNS": Case("5.7.25", 550, "no", "blocked"),
    "DMARC": Case("5.7.1", 550, "Rejected, see your DMARC policy", "auth_failure"),
    "spam": Case("5.7.1", 554, "This looks like spam to us", "spam"),
    "virus": Case("5.7.1", 554, "virus detected by our spam filter", "virus"),
    "too big": Case(
        "5.3.4", 0, "message size 12 exceeds size limit 10 of server mx.example.net", "too_big"
    ),
    "rate": Case("4.7.0", 421, "Too many connections from your host", "rate_limited"),
    "relay": Case("5.7.1", 554, "<a@b.example>: Relay access denied", "relay_denied"),
    "policy": Case("5.7.1", 550, "Access denied", "policy"),
    "greylisted": Case("4.2.0", 450, "Greylisted, see http://a.example/", "policy"),
    "refused greeting": Case(
        "5.0.0", 0, "host a[192.0.2.1] refused to talk to me: 550 Go away", "blocked"
    ),
    "timed out": Case("4.4.1", 0, "connect to a[192.0.2.1]:25: Connection timed out", "network"),
    "lost while greeting": Case(
        "4.4.2", 0, "lost connection with a[192.0.2.1] while performing the HELO", "network"
    ),
    "loop": Case("5.4.6", 0, "mail for a.example loops back to myself", "network"),
    "system": Case("4.3.0", 451, "Internal error, sorry", "system"),
    "syntax": Case("5.5.2", 501, "huh", "protocol"),
    "recipient's own filter": Case("5.7.1", 550, "rejected by recipient", "recipient_filtered"),
    "mailbox unavailable": Case("", 550, "mailbox unavailable", "user_unknown", "h"),
    "mailbox unavailable for now": Case("", 450, "mailbox unavailable", "other", "o"),
    "recipient refused by policy": Case("5.7.1", 550, "recipient rejected", "policy"),
    "nothing said": Case("", 0, "", "other", "o"),
    "550 alone": Case("", 550, "no", "other", "o"),
    "Exchange Online": Case(
        "5.4.1", 550, "Recipient address rejected: Access denied", "user_unknown", "h"
    ),
    "an unknown detail of a known kind": Case("5.7.606", 550, "sorry", "blocked"),
    "code repeated on each line": Case(
        "", 0, "550-5.2.1 The mailbox 550-5.2.1 is disabled, 550 5.2.1 see a.b", "mailbox_disabled"
    ),
    "gateway's preface": Case(
        "5.1.0", 0, "5.1.0 - Unknown address error 550-'over quota'", "mailbox_full"
    ),
    "words in an address": Case("5.7.9", 554, "no: <user-unknown@spam.example>", "policy"),
    "curly apostrophe": Case("", 550, "recipient\u2019s mailbox is full", "mailbox_full"),
}


@for_every(REPLIES)
def test_reason_and_type(status: str, code: int, text: str, reason: str, type: str) -> None:
    found = classify(status, code, text)
    assert (found.reason, found.type) == (reason, type), found


COMMANDS = {
    "greeting": ("CONN", "blocked"),
    "EHLO": ("EHLO", "blocked"),
    "MAIL": ("MAIL", "sender_rejected"),
    "RCPT": ("RCPT", "policy"),
}


@for_every(COMMANDS)
def test_refused_command_decides_where_words_do_not(command: str, reason: str) -> None:
    assert classify("5.7.1", 550, "Denied", command=command).reason == reason


CODES = {
    "given": (("5.1.1", 550, "x"), ("5.1.1", 550)),
    "in the text": (("", 0, "550 5.1.1 no"), ("5.1.1", 550)),
    "first line of several": (("", 0, "smtp; 550-5.1.1 no"), ("5.1.1", 550)),
    "behind the host": (("", 0, "host a[192.0.2.1] said: 452 4.2.2 full"), ("4.2.2", 452)),
    "more exact in the text": (("5.0.0", 0, "550 5.2.2 full"), ("5.2.2", 550)),
    "the digits of the status": (("4.4.1", 0, "timeout"), ("4.4.1", 441)),
    "an IP address is no status": (("", 0, "connect to 5.1.1.9"), ("", 0)),
    "none": (("", 0, "no"), ("", 0)),
}


@for_every(CODES)
def test_status_and_code(said: tuple[str, int, str], codes: tuple[str, int]) -> None:
    found = classify(*said)
    assert (found.status, found.code) == codes


def test_text_is_one_short_line() -> None:
    found = classify("", 0, "550 no\r\n\tno\0\ud800" + "x" * 5000)
    assert found.text.startswith("550 no no xxx")
    assert len(found.text) == LONGEST


ENTRIES = {
    "words": ("5.1.1", "no such user", 'words "no such user" (many)'),
    "provider": ("5.2.2", "Out of storage space", 'words "out of storage space" (Gmail)'),
    "status": ("5.2.2", "no", "status 5.2.2"),
    "nothing": ("", "no", "no entry"),
}


@for_every(ENTRIES)
def test_deciding_entry_is_shown(status: str, text: str, entry: str) -> None:
    assert classify(status, 0, text).entry == entry


def test_entry_does_not_count_in_comparisons() -> None:
    one = classify("5.2.2", 0, "")
    assert one == Failure(BounceType.SOFT, Reason.MAILBOX_FULL, "5.2.2", 522)


RULES = b"""\
bounces:
  rules:
    - {pattern: /no .*quota/, reason: policy}
    - {pattern: /quota/, reason: user_unknown, type: soft}
"""

RULED = {
    "first that matches": ("no more QUOTA", "policy", "s", "rule /no .*quota/"),
    "its own type": ("quota", "user_unknown", "s", "rule /quota/"),
    "none matches": ("mailbox full", "mailbox_full", "s", 'words "mailbox full" (many)'),
}


@for_every(RULED)
def test_rules_of_the_configuration_come_first(
    text: str, reason: str, type: str, entry: str
) -> None:
    rules = compiled(parse(RULES, FILE).bounces.rules)
    found = classify("5.2.2", 552, text, rules=rules)
    assert (found.reason, found.type, found.entry) == (reason, type, entry)


def test_configuration_has_all_reasons() -> None:
    assert get_args(BounceReason) == tuple(Reason)


def test_mail_class_overrides_thresholds() -> None:
    text = (
        b"bounces: {hard: 2, copy_to: a@b.example}\nmail_classes: {x: {bounces: {soft: 9}}, y: {}}"
    )
    config = parse(text, FILE)
    of_x, of_y = config.bounces_of("X"), config.bounces_of("y")
    assert (of_x.hard, of_x.soft, of_x.within) == (2, 9, 864000)
    assert (of_y.hard, of_y.soft, of_y.copy_to) == (2, 5, "a@b.example")


def every_entry() -> dict[str, Entry]:
    table = (*classifying._CERTAIN.entries, *classifying._VAGUE.entries)
    return {f"{each.words} {each.reason}": each for each in table}


@for_every(every_entry)
def test_every_entry_matches_its_own_words(entry: Entry) -> None:
    text = f" {' and '.join(part.strip() for part in entry.parts)} $ "
    assert entry.matches(text)
    assert Table((entry,)).first(text) is entry


def test_no_entry_is_hidden_by_another_reason() -> None:
    """An entry with words that an earlier entry has would never decide."""
    hidden = {}
    for entry in classifying._CERTAIN.entries:
        first = classifying._CERTAIN.first(f" {' and '.join(p.strip() for p in entry.parts)} ")
        if first is not None and first.reason is not entry.reason:
            hidden[entry.words] = first.words
    assert hidden == {}


MATCHES = {
    "case and punctuation": ("user unknown", "550 User, 'unknown'!", True),
    "beginning of a word": ("rbl", "see the marble", False),
    "anywhere": ("*rbl", "see http://xrbl.example", True),
    "gap": ("user .. not listed", "User joe@a.example (Joe) not listed", True),
    "end": ("rejected $", "550 <a@b.example>: rejected.", True),
    "not at the end": ("rejected $", "550 rejected: wait", False),
    "a colon where a word is missing": ("550 : user", "550 : User unknown", True),
    "a colon behind a word": ("550 : user", "550: User unknown", False),
    "gap in order": ("user .. not listed", "not listed: user", False),
}


@for_every(MATCHES)
def test_words_match(words: str, text: str, matches: bool) -> None:
    (entry,) = entries(Reason.OTHER, "", words)
    assert entry.matches(f" {plain(text)} $ ") is matches


@given(st.sampled_from(["", "5.1.1", "4.7.650", "9.9", "5..", "x"]), st.text(max_size=300))
def test_anything_is_classified(status: str, text: str) -> None:
    found = classify(status, 0, text)
    assert found.reason in Reason
    assert found.text.isprintable()


@for_every(["a", "a@", "550 ", "no ", ".", "5.1.1"])
def test_effort_is_linear(piece: str) -> None:
    assert is_linear(lambda size: lambda: classify("", 0, piece * size), 200)
