"""Rules: which mail they match, and what they set."""

from __future__ import annotations

from copy import copy
from typing import get_args

import pytest
from fletching.config.rules import RuleControls
from fletching.config.steering import Control
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message
from fletching.policy.grammar import CONTROLS
from fletching.policy.plan import Plan
from fletching.policy.rules.facts import Facts
from fletching.policy.setup import Setup
from fletching.providers import Providers
from fletching.startup import providers
from fletching.tokens import Keyring

from tests import setting
from tests.cases import for_every
from tests.setting import RECIPIENT, SITE, config, envelope, mail, plan, reason


def opened(rules: str) -> Setup:
    site = config(f"{SITE}\nrules:\n{rules}")
    return Setup(site, Keyring(()), (), frozenset(), providers(site))


def matches(when: str, message: Message, around: Envelope) -> bool:
    """Whether a rule with that `when` matches."""
    found = opened(f"  - when: {when}\n    last: true\n")
    return bool(found.rules.matching(message, around, found.providers).rules)


MAIL = mail(
    "X-Priority: 1",
    "X-Segment: =?utf-8?q?Sch=C3=B6ne?=\r\n =?utf-8?q?_Kunden?=",
    "X-Job: 7",
    "X-Job: eight",
    "X-Empty:",
    sender='"Shop, Ltd" <News@Example.com>, b@example.net',
)
ENVELOPE = envelope(
    "Joe@gmail.com", "ann@googlemail.com", sender="app@crm.example.com", login="Shop"
)

# The test, and whether it holds for that mail.
TESTS = {
    "{header: {X-Priority: 1}}": True,
    "{header: {x-priority: '1'}}": True,
    "{header: {X-Priority: [2, 3]}}": False,
    "{header: {X-Priority: true}}": True,
    "{header: {X-Priority: false}}": False,
    "{header: {X-None: true}}": False,
    "{header: {X-None: false}}": True,
    "{header: {X-None: '*'}}": False,
    "{header: {X-Empty: true}}": True,
    "{header: {X-Empty: ''}}": True,
    "{header: {X-Empty: '?'}}": False,
    "{header: {X-Segment: schöne kunden}}": True,
    "{header: {X-Segment: 'SCHÖNE*'}}": True,
    "{header: {X-Segment: /^sch.ne/}}": True,
    "{header: {X-Segment: /kunde/}}": True,
    "{header: {X-Segment: kunde}}": False,
    "{header: {X-Job: eight}}": True,
    "{header: {X-Job: '?'}}": True,
    "{header: {X-Job: '??'}}": False,
    "{header: {X-Job: 7, X-Priority: 2}}": False,
    "{sender: app@crm.example.com}": True,
    "{sender: '*@CRM.example.com'}": True,
    "{sender: '*@example.com'}": False,
    "{sender: '*@*.example.com'}": True,
    "{sender: '<>'}": False,
    "{from: news@example.com}": True,
    "{from: 'b@*'}": True,
    "{from: shop}": False,
    "{recipient: '*@gmail.com'}": False,
    "{recipient: ['*@gmail.com', ann@GOOGLEMAIL.com]}": True,
    "{recipient_domain: gmail.com}": False,
    "{recipient_domain: [gmail.com, googlemail.com]}": True,
    "{recipient_domain: '*mail.com'}": True,
    "{provider: google}": True,
    "{provider: 'goo*'}": True,
    "{provider: other}": False,
    "{login: shop}": True,
    "{login: '*'}": True,
    "{login: crm}": False,
    "{client: 127.0.0.0/8}": True,
    "{client: [10.0.0.0/8, 127.0.0.1]}": True,
    "{client: '::1'}": False,
    "{size: '> 100'}": True,
    "{size: '> 1KiB'}": False,
    "{size: ['> 1KiB', '< 20KiB']}": True,
    "{not: {login: crm}}": True,
    "{not: {login: shop}}": False,
    "{not: {login: shop, sender: x}}": True,
    "{any: [{login: crm}, {provider: google}]}": True,
    "{any: [{login: crm}, {provider: yahoo}]}": False,
    "{login: shop, any: [{login: crm}, {provider: google}], not: {size: '> 1KiB'}}": True,
    "{login: crm, any: [{login: crm}, {provider: google}]}": False,
    "{}": True,
}


@for_every(TESTS.items())
def test_whether_a_test_holds(when: str, expected: bool) -> None:
    assert matches(when, MAIL, ENVELOPE) == expected


OTHERS = {
    "null sender": ("{sender: '<>'}", envelope(sender=""), True),
    "null sender, empty text": ("{sender: ''}", envelope(sender=""), True),
    "no login": ("{login: '*'}", envelope(), False),
    "no client": ("{client: 0.0.0.0/0}", envelope(client=""), False),
    "IPv4 client over IPv6": ("{client: 192.0.2.0/24}", envelope(client="::ffff:192.0.2.1"), True),
    "international domain": (
        "{recipient_domain: bücher.example}",
        envelope("a@bücher.example"),
        True,
    ),
    "the same as A-labels": (
        "{recipient_domain: bücher.example}",
        envelope("a@XN--BCHER-KVA.example"),
        True,
    ),
    "address that is not UTF-8": (
        "{recipient: /^.@example/}",
        envelope("\udcff@example.org"),
        True,
    ),
    "no recipient": ("{recipient: '*'}", Envelope("a@example.com", (), "127.0.0.1"), False),
}


@for_every(OTHERS)
def test_whether_a_test_of_the_envelope_holds(when: str, around: Envelope, expected: bool) -> None:
    assert matches(when, mail(), around) == expected


def test_size_is_that_of_the_whole_mail() -> None:
    message = mail("X-A: b", body="Hello.\n" * 9)
    assert Facts(message, envelope(), Providers("")).size == len(bytes(message))


def steered(rules: str, *fields: str, around: Envelope | None = None) -> Plan:
    return plan(mail(*fields), around, f"{SITE}\nrules:\n{rules}")


def test_rule_sets_the_mail_class() -> None:
    found = steered(
        "  - {name: priority, when: {header: {X-Priority: 1}}, set: {mail_class: CRM}}\n",
        "X-Priority: 1",
    )
    assert reason(found, "mail_class") == ("crm", "priority")


def test_rule_without_name_is_called_by_its_line() -> None:
    found = steered("  - {set: {mail_class: crm}}\n")
    line = SITE.count("\n") + 3
    assert reason(found, "mail_class") == ("crm", f"rule 1 (fletching.yaml:{line})")


def test_first_matching_rule_wins_each_setting() -> None:
    found = steered("""\
  - {name: other, when: {login: x}, set: {instance_id: "1"}}
  - {name: one, set: {mail_class: crm}}
  - {name: two, set: {mail_class: newsletter, instance_id: "2"}}
  - {name: three, set: {instance_id: "3", list_id: c3}}
""")
    assert [reason(found, each) for each in ("mail_class", "instance_id", "list_id")] == [
        ("crm", "one"),
        ("2", "two"),
        ("c3", "three"),
    ]


def test_no_rule_counts_below_last() -> None:
    found = steered("""\
  - {name: one, set: {mail_class: crm}, last: true}
  - {name: two, set: {list_id: two}}
""")
    assert reason(found, "list_id") == ("c1", "class crm")


def test_rule_loses_to_control_header_and_wins_over_login() -> None:
    rules = "  - {name: one, set: {mail_class: newsletter, list_id: one}}\n"
    found = steered(rules, "X-GreenArrow-ListID: mine", around=envelope(login="shop"))
    assert reason(found, "list_id") == ("mine", "X-GreenArrow-ListID")
    assert reason(found, "mail_class") == ("newsletter", "one")


def test_placeholders_are_filled_in_and_checked() -> None:
    rules = """\
  - {name: one, set: {mail_class: "{header.X-Class}", instance_id: "{header.X-Job}"}}
  - {name: two, set: {mail_class: crm, instance_id: "1{header.X-Job}"}}
"""
    found = steered(rules, "X-Class: =?utf-8?q?crm?=", "X-Job: seven")
    assert reason(found, "mail_class") == ("crm", "one")
    assert reason(found, "instance_id") == ("1seven", "two")
    assert "one: instance_id must start with a digit" in found.warnings
    found = steered(rules, "X-Class: unknown", "X-Job: é")
    assert reason(found, "mail_class") == ("crm", "two")
    assert "one: must name a configured Mail Class" in found.warnings
    assert "one: instance_id must be ASCII" in found.warnings


OBSCURED = "X-GreenArrow-Obscured-Email: userid-1"
IN_PLACE_OF_RECIPIENT = {
    "not obscured": (["X-Job: 1"], [RECIPIENT], RECIPIENT),
    "obscured": ([OBSCURED], [RECIPIENT], "userid-1"),
    "obscured by an alias": (["X-User: userid-2"], [RECIPIENT], "userid-2"),
    "obscured wrongly": ([OBSCURED, f"{OBSCURED}2"], [RECIPIENT], ""),
    "obscured, several recipients": ([OBSCURED], [RECIPIENT, "b@example.org"], ""),
}


@for_every(IN_PLACE_OF_RECIPIENT)
def test_rule_records_no_recipient_that_is_obscured(
    fields: list[str], recipients: list[str], recorded: str
) -> None:
    rules = "header_aliases: {X-User: obscured_email}\nrules:\n"
    rules += "  - set: {mail_class: newsletter, click_tracking_id: '{recipient}'}\n"
    decided = plan(mail(*fields), envelope(*recipients), f"{SITE}\n{rules}")
    assert decided.click_tracking_id == recorded


def test_invalid_value_that_an_earlier_rule_outranks_is_no_reason_to_refuse() -> None:
    site = "on_invalid_header: reject\n"
    rules = """\
  - {set: {mail_class: crm, instance_id: "7"}}
  - {set: {instance_id: "{header.X-Job}"}}
"""
    assert plan(mail("X-Job: seven"), None, f"{site}{SITE}\nrules:\n{rules}").refusal is None
    swapped = "".join(reversed(rules.splitlines(keepends=True)))
    found = plan(mail("X-Job: seven"), None, f"{site}{SITE}\nrules:\n{swapped}")
    assert "instance_id must start with a digit" in str(found.refusal)
    assert "seven" not in str(found.refusal)


def test_mail_without_class_is_not_refused_for_what_a_rule_sets() -> None:
    rules = "rules: [{set: {instance_id: '{header.X-Job}', mail_class: '{header.X-Class}'}}]\n"
    site = f"on_invalid_header: reject\n{SITE}\n{rules}"
    found = plan(mail("X-Job: seven", "X-Class: unknown"), None, site)
    assert found.refusal is None
    assert found.nothing
    assert len(found.warnings) == 2
    assert plan(mail("X-Job: seven", "X-Class: crm"), None, site).refusal is not None


def test_rule_is_ignored_for_untrusted_mail() -> None:
    found = steered("  - {set: {mail_class: crm}}\n", around=envelope(client="203.0.113.1"))
    assert found.mail_class is None
    assert found.nothing


@pytest.mark.parametrize("login", [None, "nobody"])
def test_mail_without_matching_rule_leaves_with_no_edits(login: str | None) -> None:
    found = steered(
        "  - {when: {login: x}, set: {mail_class: crm}}\n", around=envelope(login=login)
    )
    assert found.nothing


def test_matched_rules_give_their_actions() -> None:
    found = opened("""\
  - {name: one, do: {hold: looks wrong}}
  - {name: two, when: {login: x}, do: {discard: true}}
  - {name: three, do: {bcc: [a@example.com]}, last: true}
  - {name: four, do: {discard: true}}
""")
    matched = found.rules.matching(mail(), envelope(), found.providers)
    assert [(source, do.model_fields_set) for source, do in matched.actions] == [
        ("one", {"hold"}),
        ("three", {"bcc"}),
    ]


def test_rule_can_set_controls() -> None:
    """Those that are about one message or the mail's own state, only the mail can set."""
    never = {"obscured_email", "list_unsubscribe_post", "seed_progress"}
    assert set(RuleControls.by_name()) == set(get_args(Control)) - never
    assert set(RuleControls.by_name()) <= set(CONTROLS)


def test_setup_can_be_handed_over() -> None:
    found = setting.setup(f"{SITE}\nrules: [{{when: {{from: /x/}}, last: true}}]")
    # As pickle does.
    assert len(copy(found).rules.all) == 1
