"""added_headers.py: `add_headers` and `repair`, globally and in a Mail Class."""

from __future__ import annotations

import re
from datetime import datetime
from email import message_from_bytes
from email.utils import parsedate_to_datetime

import dkim
import pytest
from fletching.keys.dkim_keys import dkim_record
from fletching.mail.message import Message, parse
from fletching.outgoing.edits import replay
from fletching.outgoing.flow import Outcome
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every
from tests.setting import (
    CAMPAIGN,
    DKIM_KEY,
    NOW,
    RECIPIENT,
    SITE,
    UNTRACKED,
    Store,
    carried,
    envelope,
    mail,
    newsletter,
    reason,
    setup,
)

CLASS = "newsletter: {list_id: t100"
HIDDEN = "X-GreenArrow-Obscured-Email: userid-1"


def site(*lines: str, of_class: str = "", base: str = SITE) -> str:
    """The configuration with further lines, and further options of the newsletter."""
    return base.replace(CLASS, f"{CLASS}, {of_class}" if of_class else CLASS) + "\n".join(lines)


def added(outcome: Outcome, name: str) -> list[str]:
    """The values of a field in the mail as it leaves."""
    return [header.text.decode() for header in outcome.final.all(name.lower().encode())]


def value(template: str, *fields: str, base: str = SITE, **around: str | None) -> list[str]:
    """What a template becomes in a header field of the newsletter."""
    text = site(f"add_headers: {{X-Note: '{template}'}}", base=base)
    outcome = carried(newsletter(*fields), envelope(**around), setup(text))  # type: ignore[arg-type]
    return added(outcome, "X-Note")


FILLED = {
    "text": ("abc", ["abc"]),
    "of the class": (
        "{mail_class} {list_id} {instance_id} {sendid}",
        ["newsletter t100 100525 newsletter100525"],
    ),
    "of the answer": ("{campaign}:{message_number}", [f"{CAMPAIGN}:1"]),
    "the VirtualMTA that sends it, not the pool": ("{virtual_mta}", ["a"]),
    "of the envelope": ("{recipient} {sender_domain}", [f"{RECIPIENT} example.com"]),
    "a control header": ("{header.X-GreenArrow-Click-Tracking-ID}", ["order-4711"]),
    "braces": ("{{{sendid}}}", ["{newsletter100525}"]),
    "nothing": ("{login}{header.X-None}", []),
}


@for_every(FILLED)
def test_placeholders(template: str, values: list[str]) -> None:
    assert value(template) == values


def test_an_obscured_address_stands_for_the_recipient() -> None:
    assert value("<{recipient}>", HIDDEN) == ["<userid-1>"]
    assert value("<{recipient}>", HIDDEN, "X-GreenArrow-Obscured-Email: b") == ["<>"]


def test_without_the_store_there_is_no_campaign() -> None:
    text = site("add_headers: {X-Note: '{sendid}:{campaign}:{message_number}'}", base=UNTRACKED)
    outcome = carried(newsletter(), opened=setup(text), store=Store(None))
    assert added(outcome, "X-Note") == ["newsletter100525::"]


def test_several_recipients_are_not_named() -> None:
    text = site("add_headers: {X-Note: '<{recipient}>'}")
    outcome = carried(newsletter(), envelope(RECIPIENT, "b@example.org"), setup(text))
    assert added(outcome, "X-Note") == ["<>"]


def test_the_class_wins_over_the_global_option_by_name() -> None:
    text = site("add_headers: {X-A: g, X-B: g}", of_class="add_headers: {x-b: c, X-C: c}")
    outcome = carried(newsletter(), opened=setup(text))
    assert [added(outcome, name) for name in ("X-A", "X-B", "X-C")] == [["g"], ["c"], ["c"]]
    assert reason(outcome.plan, "header x-b") == ("c", "class newsletter")
    assert reason(outcome.plan, "header X-A") == ("g", "global")


def test_a_header_that_is_present_stays() -> None:
    outcome = carried(newsletter("x-a: mine"), opened=setup(site("add_headers: {X-A: ours}")))
    assert added(outcome, "X-A") == ["mine"]


def test_an_empty_value_is_not_added_with_a_warning() -> None:
    outcome = carried(newsletter(), opened=setup(site("add_headers: {X-A: '{login}'}")))
    assert added(outcome, "X-A") == []
    assert "no X-A: its value is empty" in outcome.warnings


def test_mail_without_a_class_gets_nothing() -> None:
    outcome = carried(mail(), opened=setup(site("add_headers: {X-A: ours}")))
    assert outcome.edits == ()


def test_long_values_are_cut() -> None:
    job = "{header.X-Job}"
    for template, length in ((job, 1000), (job * 60, 4000)):
        (found,) = value(template, "X-Job: " + "x" * 1500)
        assert found.replace(" ", "") == "x" * length, "folded before signing"


def test_a_client_cannot_add_a_line() -> None:
    found = value("{header.X-Job}", "X-Job: =?utf-8?Q?a=0D=0ABcc:_evil@example.org?=")
    assert found == ["a  Bcc: evil@example.org"]


def test_text_that_is_not_ascii_becomes_encoded_words() -> None:
    text = site("add_headers: {List-ID: '\"M\u00fcller\" <news.example.com>'}")
    outcome = carried(newsletter(), opened=setup(text))
    assert added(outcome, "List-ID") == ["=?utf-8?B?TcO8bGxlcg==?= <news.example.com>"]
    assert signed_and_verified(outcome)


def signed_and_verified(outcome: Outcome) -> bool:
    """Whether dkimpy accepts the signature."""
    record = dkim_record(DKIM_KEY).encode()
    return bool(dkim.verify(bytes(outcome.final), dnsfunc=lambda name, timeout=5: record))


def covered(outcome: Outcome) -> set[str]:
    """The fields that the signature covers."""
    (found,) = outcome.final.all(b"dkim-signature")
    names = re.search(rb"\bh=([^;]*);", found.text)
    assert names is not None
    return set(re.sub(rb"\s", b"", names[1]).decode().split(":"))


@pytest.mark.parametrize(
    "name", ["Feedback-ID", "List-ID", "CFBL-Address", "CFBL-Feedback-ID", "Date", "Message-ID"]
)
def test_added_headers_are_signed(name: str) -> None:
    text = site(
        "add_headers: {Feedback-ID: '{campaign}:{mail_class}:shop', List-ID: <news.example.com>,"
        " CFBL-Address: fbl@example.com; report=arf, CFBL-Feedback-ID: '{campaign}:1'}"
    )
    outcome = carried(without_message_id(newsletter()), opened=setup(text))
    assert len(added(outcome, name)) == 1
    assert name.lower() in covered(outcome)
    assert signed_and_verified(outcome)


def without_message_id(message: Message) -> Message:
    lines = bytes(message).split(b"\r\n")
    return parse(b"\r\n".join(line for line in lines if not line.startswith(b"Message-ID")))


FEEDBACK = {
    "the From domain signs": ("fbl@example.com; report=arf", "news@example.com", ""),
    "an address in a subdomain": ("fbl@fbl.example.com", "news@example.com", ""),
    "another From domain": (
        "fbl@example.com",
        "news@shop.example",
        "no CFBL-Address: requires a DKIM signature of the From domain",
    ),
    "a subdomain in From": (
        "fbl@example.com",
        "news@mail.example.com",
        "no CFBL-Address: requires a DKIM signature of the From domain",
    ),
    "an address of another domain": (
        "fbl@esp.example",
        "news@example.com",
        "no CFBL-Address: requires a DKIM signature of the address's domain",
    ),
    "no address": ("none", "news@example.com", "no CFBL-Address: its value must begin with a"),
}


@for_every(FEEDBACK)
def test_cfbl_address_requires_a_signature(address: str, sender: str, warning: str) -> None:
    text = site(f"add_headers: {{CFBL-Address: {address}}}")
    message = mail("X-GreenArrow-MailClass: newsletter", sender=sender)
    outcome = carried(message, opened=setup(text))
    assert bool(added(outcome, "CFBL-Address")) == (not warning)
    assert any(each.startswith(warning) for each in outcome.warnings) or not warning


def test_cfbl_address_requires_dkim() -> None:
    text = site("add_headers: {CFBL-Address: fbl@example.com}").replace(
        "dkim: {", "dkim: {enabled: false, "
    )
    outcome = carried(newsletter(), opened=setup(text))
    assert added(outcome, "CFBL-Address") == []


# Repair.


def test_a_missing_date_is_added_in_the_time_zone_of_the_mail() -> None:
    (date,) = added(carried(newsletter()), "Date")
    assert parsedate_to_datetime(date) == NOW.replace(microsecond=0)
    assert date == "Sun, 01 Mar 2026 09:00:00 +0000"


def test_a_date_that_is_present_stays() -> None:
    date = "Date: Sat, 28 Feb 2026 09:00:00 +0000"
    assert added(carried(newsletter(date)), "Date") == [date[6:]]


@pytest.mark.parametrize(
    ("sender", "domain"),
    [
        ("Shop <news@Example.com>", "example.com"),
        ("news@b\u00fccher.example", "xn--bcher-kva.example"),
        ("undisclosed", "example.com"),
    ],
    ids=["From", "From that is not ASCII", "envelope sender"],
)
def test_a_missing_message_id_is_added(sender: str, domain: str) -> None:
    message = without_message_id(mail("X-GreenArrow-MailClass: newsletter", sender=sender))
    (found,) = added(carried(message), "Message-ID")
    assert re.fullmatch(rf"<20260301090000\.[0-9a-f]{{16}}@{re.escape(domain)}>", found)


def test_without_any_domain_there_is_no_message_id() -> None:
    message = without_message_id(mail("X-GreenArrow-MailClass: newsletter", sender="nobody"))
    outcome = carried(message, envelope(sender=""))
    assert added(outcome, "Message-ID") == []
    assert "no Message-ID: neither From nor the envelope sender has a domain" in outcome.warnings


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        (site(), ["Date", "Message-ID"]),
        (site("repair: {date: false}"), ["Message-ID"]),
        (site("repair: {date: false}", of_class="repair: {date: true}"), ["Date", "Message-ID"]),
        (site(of_class="repair: {date: false, message_id: false}"), []),
    ],
    ids=["default", "global", "class over global", "class"],
)
def test_repair_is_switched_globally_and_by_class(text: str, repaired: list[str]) -> None:
    outcome = carried(without_message_id(newsletter()), opened=setup(text))
    assert [name for name in ("Date", "Message-ID") if added(outcome, name)] == repaired


def test_an_added_header_is_not_repaired_too() -> None:
    text = site("add_headers: {Date: 'Sat, 28 Feb 2026 09:00:00 +0000'}")
    assert len(added(carried(newsletter(), opened=setup(text)), "Date")) == 1


TEXT = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=400)


@given(TEXT)
def test_any_value_replays_verifies_and_fits_on_lines(text: str) -> None:
    """Law 1 with added header fields, which neither we nor Postfix break after signing."""
    message = newsletter("X-Job: " + text)
    outcome = carried(
        message, opened=setup(site("add_headers: {Feedback-ID: 'a{header.X-Job}b{campaign}'}"))
    )
    assert replay(message, outcome.edits) == outcome.final
    assert signed_and_verified(outcome)
    assert all(len(line) <= 998 for line in bytes(outcome.final).split(b"\r\n"))
    parsed = message_from_bytes(bytes(outcome.final))
    assert len(parsed.get_all("Feedback-ID", [])) == 1
    assert isinstance(parsedate_to_datetime(parsed["Date"]), datetime)
