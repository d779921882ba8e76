"""Dialects among the other sources: trust, rank, mail without a Mail Class."""

from __future__ import annotations

import re

from fletching.mail.message import parse
from fletching.outgoing.edits import Discard
from fletching.policy.dialects import DIALECTS
from fletching.policy.trust import needs_body
from fletching.policy.vendor_headers import is_asked

from tests.cases import for_every
from tests.setting import (
    CLASSIFIED,
    SITE,
    carried,
    config,
    envelope,
    mail,
    plan,
    reason,
    setup,
)

BOTH = SITE + "dialects: [mailgun, sendgrid]\n"
ALIASED = BOTH + "header_aliases: {X-Pool: virtual_mta}\n"
POOL_A, POOL_B = "X-Mailgun-Sending-Ip-Pool: a", 'X-SMTPAPI: {"ip_pool": "b"}'


def chosen(*fields: str, site: str = ALIASED) -> tuple[str, str]:
    return reason(plan(mail(CLASSIFIED, *fields), site=site), "virtual_mta")


RANKS = {
    "dialect over class": ((POOL_A,), ("a", "X-Mailgun-Sending-Ip-Pool")),
    "alias over dialect": ((POOL_A, "X-Pool: b"), ("b", "X-Pool")),
    "control header over dialect": (
        (POOL_A, "X-GreenArrow-MtaID: b"),
        ("b", "X-GreenArrow-MtaID"),
    ),
    "first dialect over second": ((POOL_B, POOL_A), ("a", "X-Mailgun-Sending-Ip-Pool")),
    "second dialect where the first names an unknown one": (
        (POOL_B, "X-Mailgun-Sending-Ip-Pool: nowhere"),
        ("b", "X-SMTPAPI ip_pool"),
    ),
}


@for_every(RANKS)
def test_strongest_source_wins(fields: tuple[str, ...], expected: tuple[str, str]) -> None:
    assert chosen(*fields) == expected


def test_order_of_the_option_decides_between_dialects() -> None:
    site = SITE + "dialects: [sendgrid, mailgun]\n"
    assert chosen(POOL_A, POOL_B, site=site) == ("b", "X-SMTPAPI ip_pool")


def test_click_tracking_of_a_dialect_loses_to_the_control_header() -> None:
    fields = ("X-Mailgun-Track: no", "X-GreenArrow-Click-Tracking-Do: yes")
    found = plan(mail(CLASSIFIED, *fields), site=BOTH).tracking
    assert (found.body, found.clicks, found.opens) == (True, True, True)
    fields = ("X-Mailgun-Track-Clicks: yes", "X-GreenArrow-Click-Tracking-Do: no")
    assert not plan(mail(CLASSIFIED, *fields), site=BOTH).tracking.body


def test_headers_of_untrusted_clients_are_left_alone() -> None:
    outcome = carried(mail(POOL_B), envelope(client="192.0.2.1"), setup(BOTH))
    assert outcome.edits == ()
    assert outcome.plan.warnings == ()


def test_headers_are_not_read_unless_their_dialect_is_on() -> None:
    assert carried(mail(POOL_B), opened=setup(SITE)).edits == ()


def test_mail_without_class_keeps_the_headers_with_a_warning() -> None:
    outcome = carried(mail(POOL_B), opened=setup(BOTH))
    assert outcome.edits == ()
    assert outcome.warnings == ("no Mail Class; headers of dialects ignored",)


def test_mail_without_class_and_vendor_headers_is_unchanged() -> None:
    assert carried(mail("X-Other: 1"), opened=setup(BOTH)).edits == ()


WRONG = {
    "X-Mailgun-Track: maybe": (
        "X-Mailgun-Track: must be yes, no, htmlonly, true or false",
        "X-GreenArrow-Click-Tracking-Do: no",
    ),
    'X-SMTPAPI: {"ip_pool": 5}': ("X-SMTPAPI ip_pool: must be text", "X-GreenArrow-MtaID: a"),
    "X-Mailgun-Tag: é": ("X-Mailgun-Tag: must be ASCII", "X-GreenArrow-Click-Tracking-ID: a"),
    "X-Mailgun-Campaign-Id: é": (
        "X-Mailgun-Campaign-Id: must be ASCII",
        "X-GreenArrow-InstanceID: 1",
    ),
}
"""Invalid fields: the rule, and a control header that makes the value no matter."""


@for_every([(wrong, *more) for wrong, more in WRONG.items()])
def test_invalid_value_refuses_only_if_it_would_count(wrong: str, rule: str, control: str) -> None:
    strict = ALIASED + "on_invalid_header: reject\n"
    assert str(plan(mail(CLASSIFIED, wrong), site=strict).refusal) == f"550 5.6.0 {rule}"
    assert plan(mail(CLASSIFIED, wrong, control), site=strict).refusal is None


def test_class_s_own_reaction_counts() -> None:
    site = BOTH.replace("crm: {list_id: c1}", "crm: {list_id: c1, on_invalid_header: reject}")
    wrong = "X-Mailgun-Track: maybe"
    assert plan(mail(CLASSIFIED, wrong), site=site).refusal is None
    assert plan(mail("X-GreenArrow-MailClass: crm", wrong), site=site).refusal is not None


def test_rule_of_the_page_discards_mail_in_test_mode() -> None:
    (note,) = (each for each in DIALECTS["mailgun"].notes if "test mode" in each)
    (rule,) = re.findall("`({.*})`", note)
    opened = setup(f"{BOTH}rules: [{rule}]\n")
    assert carried(mail("X-Mailgun-Drop-Message: yes"), opened=opened).edits == (Discard(),)
    assert Discard() not in carried(mail("X-Mailgun-Drop-Message: no"), opened=opened).edits


def test_body_matters_to_a_mail_with_vendor_headers() -> None:
    def matters(*lines: str, site: str = BOTH) -> bool:
        headers = parse("\n".join((*lines, "", "")).encode()).headers
        return needs_body(headers, envelope(), config(site))

    assert matters("Subject: x", POOL_B)
    assert matters("X-Mailgun-Other: 1")
    assert not matters("Subject: x")
    assert not is_asked(mail(POOL_B).headers, ())
    assert not matters(POOL_B, site=SITE)
