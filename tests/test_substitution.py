"""substitution.py and templates.py: placeholders in the values of rules and added headers."""

from __future__ import annotations

import re

import pytest
from fletching.config import templates
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message, parse
from fletching.policy.substitution import LONGEST, clean, substitute
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every
from tests.setting import envelope, mail


class Submitted:
    def __init__(self, message: Message, around: Envelope) -> None:
        self.message, self.envelope = message, around


ONE = Submitted(
    mail("X-Job: 4711", "X-Name: =?utf-8?Q?M=C3=BCller?=", "X-Twice: a", "X-Twice: b"),
    envelope("Reader@Example.ORG", sender="app@Shop.example", login="crm"),
)
TWO = Submitted(mail(), envelope("a@example.org", "b@EXAMPLE.org", sender=""))
APART = Submitted(mail(), envelope("a@example.org", "b@example.net"))

FILLED = {
    "plain text": (ONE, "abc", "abc"),
    "a header": (ONE, "{header.X-Job}", "4711"),
    "a header in another case": (ONE, "job-{header.x-JOB}!", "job-4711!"),
    "an encoded header": (ONE, "{header.X-Name}", "M\u00fcller"),
    "the topmost of several": (ONE, "{header.X-Twice}", "a"),
    "no such header": (ONE, "<{header.X-None}>", "<>"),
    "sender": (ONE, "{sender} {sender_domain}", "app@Shop.example shop.example"),
    "null sender": (TWO, "<{sender}{sender_domain}>", "<>"),
    "recipient": (ONE, "{recipient} {recipient_domain}", "Reader@Example.ORG example.org"),
    "several recipients": (TWO, "<{recipient}> {recipient_domain}", "<> example.org"),
    "several domains": (APART, "<{recipient}{recipient_domain}>", "<>"),
    "login": (ONE, "{login}", "crm"),
    "no login": (TWO, "<{login}>", "<>"),
    "braces": (ONE, "{{login}} {{{login}}}", "{login} {crm}"),
}


@for_every(FILLED)
def test_substitute(submitted: Submitted, template: str, text: str) -> None:
    assert templates.check(template) == template
    assert substitute(template, submitted) == text


def test_a_further_value_wins_over_that_of_the_mail() -> None:
    extra = {"recipient": "r-17", "campaign": "abc"}
    assert substitute("{recipient} {campaign}", ONE, extra) == "r-17 abc"


CLEANED = {
    "line end": ("a\r\nBcc: b", "a  Bcc: b"),
    "tab": ("a\tb", "a b"),
    "NUL and escape": ("a\0\x1b[2Jb", "a[2Jb"),
    "no-break space, line separator": ("a\u00a0b\u2028c", "a b c"),
    "right-to-left override": ("a\u202eb", "ab"),
    "surrogates of bytes that are not UTF-8": ("a\udcffb", "ab"),
    "blanks at its ends": ("  a \n", "a"),
}


@for_every(CLEANED)
def test_values_are_cleaned(value: str, text: str) -> None:
    assert clean(value) == text


@given(st.text(max_size=50) | st.text(min_size=1, max_size=3).map(lambda text: text * LONGEST))
def test_a_clean_value_is_printable_and_bounded(value: str) -> None:
    found = clean(value)
    assert found.isprintable()
    assert len(found) <= LONGEST


@given(st.binary(max_size=80))
def test_no_bytes_of_a_mail_get_through_uncleaned(value: bytes) -> None:
    message = parse(b"X-Job: " + value + b"\r\n\r\nHello.\r\n")
    assert substitute("{header.X-Job}", Submitted(message, envelope())).isprintable()


BROKEN = {
    "unknown": ("{job}", "unknown placeholder: must be one of {header.NAME}, {login}"),
    "empty": ("{}", "unknown placeholder"),
    "only in class headers": ("{campaign}", "unknown placeholder"),
    "header without a name": ("{header.}", "unknown placeholder"),
    "header with a colon": ("{header.a:b}", "unknown placeholder"),
    "open": ("{login", "must have { and } in pairs"),
    "closed": ("login}", "must have { and } in pairs"),
    "nested": ("{{x{login}", None),
    "line end": ("a\nb", "must not contain line ends or control characters"),
    "too long": ("a" * 1001, "must be at most 1000 characters long"),
}


@for_every(BROKEN)
def test_check(template: str, rule: str | None) -> None:
    if rule is None:
        assert templates.check(template)
        return
    with pytest.raises(ValueError, match=re.escape(rule)):
        templates.check(template)


def test_class_headers_have_more_placeholders() -> None:
    template = "{sendid}:{campaign}:{mail_class}:{header.X-Job}"
    assert templates.check(template, templates.CLASS_NAMES) == template
    assert templates.placeholders(template) == ("sendid", "campaign", "mail_class", "header.X-Job")
