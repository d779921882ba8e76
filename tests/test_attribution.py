"""Which message a returned mail is about, and the events of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fletching import events
from fletching.policy.return_path import sender_suffix
from fletching.returning.attribution import (
    MOST_UNATTRIBUTED,
    Arrival,
    Attribution,
    EventOrigin,
    attribution,
    events_of,
    message_of,
    unsubscribe,
    unsubscribed,
    without_addresses,
)
from fletching.returning.returned import (
    BounceType,
    Failure,
    MailKind,
    Reason,
    ReturnedMail,
    ReturnedRecipient,
)
from fletching.tokens import Facts, Keyring, Kind, LinkKey

from tests.cases import for_every

KEYS = Keyring((LinkKey(1, 0, bytes(range(32))), LinkKey(2, 1, bytes(range(1, 33)))))
FOREIGN = Keyring((LinkKey(2, 1, bytes(32)),))
FACTS = Facts("a" * 12, 7, "News", "0101", "t100", "id 7", "r@example.net", "bulk", 1_795_000_000)
OTHER = replace(FACTS, number=8, email="s@example.net")
TAG = KEYS.tag(FACTS.campaign, FACTS.number)
INFO = KEYS.seal(Kind.MAILER_INFO, FACTS)
MESSAGE = FACTS.campaign, FACTS.number
HIGH = KEYS.tag("a" * 12, 2**45)
UNKNOWN = Failure(BounceType.HARD, Reason.USER_UNKNOWN, "5.1.1", 550, "<r@example.net>: unknown")
ORIGIN = EventOrigin(1_795_259_482_236, "mx1", lambda index: bytes(9) + bytes([index]))

RETURN_PATHS = {
    "with tag": f"bounces+{TAG}@example.com",
    "in upper case": f"BOUNCES+{TAG.upper()}@EXAMPLE.COM",
    "with another delimiter": f"bounces={TAG}@example.com",
    "with two delimiters": f"news+bounces+{TAG}@example.com",
    "with the suffix of a transport": f"b-{TAG}-{sender_suffix('bulk')}@example.com",
    "made with an older key": f"b+{Keyring(KEYS.keys[:1]).tag(*MESSAGE)}@example.com",
    "quoted": f'"bounces+{TAG}"@example.com',
    "rewritten by a forwarder (SRS)": f"SRS0=ab12=XY=example.com=bounces+{TAG}@forwarder.test",
    "without a mailbox": f"{TAG}@example.com",
}
NO_TAGS = {
    "no tag": "bounces@example.com",
    "tag of another key": f"bounces+{FOREIGN.tag(*MESSAGE)}@example.com",
    "changed tag": f"bounces+{TAG[:-1]}{'b' if TAG[-1] == 'a' else 'a'}@example.com",
    "changed authentication": f"bounces+{'b' if TAG[0] == 'a' else 'a'}{TAG[1:]}@example.com",
    "tag that is cut off": f"bounces+{TAG[:-1]}@example.com",
    "tag as the beginning of a word": f"bounces+{TAG}x@example.com",
    "tag as the end of a word": f"bounces+x{TAG}@example.com",
    "tag in the domain": f"bounces@{TAG}",
    "Kelvin sign for k": f"bounces+{KEYS.tag('k' * 12, 7)}@e".replace("k", "\N{KELVIN SIGN}"),
    "nothing": "",
    "null sender": "<>",
    "many characters": "bounces+" + "a" * 100_000 + "@example.com",
}


@for_every(RETURN_PATHS)
def test_return_path_names_its_message(address: str) -> None:
    assert message_of(address, KEYS) == MESSAGE


@for_every(NO_TAGS)
def test_no_other_address_names_a_message(address: str) -> None:
    assert message_of(address, KEYS) is None


def test_return_path_with_a_high_number_names_its_message() -> None:
    assert message_of(f"bounces+{HIGH}@example.com", KEYS) == ("a" * 12, 2**45)


def mail(
    kind: MailKind = MailKind.BOUNCE, *recipients: ReturnedRecipient, **more: Any
) -> ReturnedMail:
    return ReturnedMail(kind, recipients, **more)


def arrival(*recipients: str, **more: Any) -> Arrival:
    return Arrival(mail(MailKind.BOUNCE, **more), recipients)


BARE, WITH_TAG = "bounces@example.com", f"bounces+{TAG}@example.com"
WITH_OTHER_TAG = f"bounces+{KEYS.tag(OTHER.campaign, OTHER.number)}@example.com"
ATTRIBUTIONS = {
    "recipient": (arrival(WITH_TAG), Attribution(MESSAGE)),
    "original recipient": (arrival(BARE, WITH_TAG), Attribution(MESSAGE)),
    "quoted Return-Path": (arrival(BARE, return_paths=(BARE, WITH_TAG)), Attribution(MESSAGE)),
    "recipient before quoted Return-Path": (
        arrival(WITH_TAG, return_paths=(WITH_OTHER_TAG,)),
        Attribution(MESSAGE),
    ),
    "X-Mailer-Info": (arrival(BARE, mailer_info=INFO), Attribution(MESSAGE, FACTS)),
    "folded X-Mailer-Info": (
        arrival(BARE, mailer_info=f" {INFO[:72]}\r\n {INFO[72:]}"),
        Attribution(MESSAGE, FACTS),
    ),
    "both of one message": (arrival(WITH_TAG, mailer_info=INFO), Attribution(MESSAGE, FACTS)),
    "tag before X-Mailer-Info": (
        arrival(WITH_OTHER_TAG, mailer_info=INFO),
        Attribution((OTHER.campaign, OTHER.number)),
    ),
    "tag beside a forged X-Mailer-Info": (
        arrival(WITH_TAG, mailer_info=FOREIGN.seal(Kind.MAILER_INFO, OTHER)),
        Attribution(MESSAGE),
    ),
    "token of another purpose": (
        arrival(BARE, mailer_info=KEYS.seal(Kind.LIST_UNSUBSCRIBE, FACTS)),
        Attribution(),
    ),
    "token of a copy for the operator": (
        arrival(BARE, mailer_info=KEYS.seal(Kind.MAILER_INFO, Facts())),
        Attribution(),
    ),
    "nothing": (arrival(BARE), Attribution()),
    "no recipient": (arrival(), Attribution()),
}


@for_every(ATTRIBUTIONS)
def test_attribution_is_by_tag_then_by_mailer_info(came: Arrival, wanted: Attribution) -> None:
    assert attribution(came, KEYS) == wanted


def test_without_keys_nothing_is_attributed() -> None:
    assert attribution(arrival(WITH_TAG, mailer_info=INFO), Keyring(())) == Attribution()


def test_bounce_has_the_fields_of_its_message() -> None:
    recipient = ReturnedRecipient("R@Example.net", UNKNOWN)
    (event,) = events_of(mail(MailKind.BOUNCE, recipient), FACTS, ORIGIN)
    assert event.type == events.BOUNCE
    assert event.facts == FACTS
    assert event.milliseconds == ORIGIN.milliseconds
    assert event.server_id == "mx1"
    assert dict(event.details) == {
        "bounce_type": "h",
        "bounce_code": 550,
        "bounce_text": "<r@example.net>: unknown",
        "bounce_status": "5.1.1",
        "bounce_reason": "user_unknown",
        "synchronous": False,
        "attributed": True,
    }


def test_forwarded_mail_is_a_bounce_of_the_recipient_that_we_sent_to() -> None:
    elsewhere = ReturnedRecipient("r@elsewhere.test", replace(UNKNOWN, text="r@elsewhere.test?"))
    (event,) = events_of(mail(MailKind.BOUNCE, elsewhere, elsewhere), FACTS, ORIGIN)
    assert event.facts.email == "r@example.net"
    assert "elsewhere" not in event.json()


def test_bounce_of_several_recipients_is_that_of_ours() -> None:
    other = ReturnedRecipient("x@example.net", replace(UNKNOWN, code=551))
    ours = ReturnedRecipient("R@EXAMPLE.NET", UNKNOWN)
    (event,) = events_of(mail(MailKind.BOUNCE, other, ours), FACTS, ORIGIN)
    assert event.details["bounce_code"] == 550


def test_bounce_that_names_nobody_is_still_one_of_its_message() -> None:
    (event,) = events_of(mail(MailKind.BOUNCE), FACTS, ORIGIN)
    assert event.facts == FACTS
    assert event.details["bounce_type"] == "o"
    assert event.details["bounce_reason"] == "other"


def test_message_to_several_recipients_has_an_event_for_each_and_names_none() -> None:
    facts = replace(FACTS, email="")
    named = [ReturnedRecipient(f"r{n}@example.net", UNKNOWN) for n in (1, 2)]
    found = events_of(mail(MailKind.BOUNCE, *named), facts, ORIGIN)
    assert len({event.id for event in found}) == 2
    assert [event.facts for event in found] == [facts, facts]
    assert not any("example.net" in event.json() for event in found)


def test_recipient_whose_mail_is_only_delayed_has_no_event() -> None:
    bounced = ReturnedRecipient("a@example.net", UNKNOWN)
    delayed = ReturnedRecipient("b@example.net", UNKNOWN, is_delayed=True)
    (event,) = events_of(mail(MailKind.BOUNCE, bounced, delayed), None, ORIGIN)
    assert event.facts.email == "a@example.net"


def test_mail_that_is_not_attributed_names_an_address_and_no_message() -> None:
    named = [ReturnedRecipient("a@example.net", UNKNOWN), ReturnedRecipient("", UNKNOWN)]
    for kind in (MailKind.BOUNCE, MailKind.COMPLAINT):
        (event,) = events_of(mail(kind, *named), None, ORIGIN)
        assert event.facts == Facts("", 0, "", "", "", "", "a@example.net", "", 0)
        assert event.details["attributed"] is False


@for_every(["", "abuse", "fraud"])
def test_complaint_is_an_event(feedback_type: str) -> None:
    (event,) = events_of(mail(MailKind.COMPLAINT, feedback_type=feedback_type), FACTS, ORIGIN)
    assert event.type == events.COMPLAINT
    assert event.facts == FACTS
    assert dict(event.details) == {"feedback_type": feedback_type, "attributed": True}


@for_every([kind for kind in MailKind if kind not in (MailKind.BOUNCE, MailKind.COMPLAINT)])
def test_other_mail_is_no_event(kind: MailKind) -> None:
    assert not events_of(mail(kind, ReturnedRecipient("r@example.net", UNKNOWN)), FACTS, ORIGIN)


OBSCURED = replace(FACTS, email="h4sh@obscured.test")
TEXTS = {
    "address": ("<real.name@example.net>: unknown", "<h4sh@obscured.test>: unknown"),
    "in another case": ("REAL.NAME@EXAMPLE.NET unknown", "h4sh@obscured.test unknown"),
    "local part": ("no mailbox Real.Name here", "no mailbox h4sh@obscured.test here"),
    "another address": ("sent to alias@host.test", "sent to h4sh@obscured.test"),
    "part of another word": ("surreal.names stay", "surreal.names stay"),
    "several": (
        "real.name@example.net,(real.name@example.net)",
        "h4sh@obscured.test,(h4sh@obscured.test)",
    ),
    "at both ends": ("real.name or Real.Name", "h4sh@obscured.test or h4sh@obscured.test"),
    "beside a letter that is longer in lower case": (
        "\u0130 Real.Name \u0130",
        "\u0130 h4sh@obscured.test \u0130",
    ),
    "nothing": ("mailbox is full", "mailbox is full"),
}


@for_every(TEXTS)
def test_text_of_an_obscured_recipient_has_no_address(text: str, wanted: str) -> None:
    assert without_addresses(text, "real.name@example.net", OBSCURED.email) == wanted
    recipient = ReturnedRecipient("Real.Name@Example.net", replace(UNKNOWN, text=text))
    (event,) = events_of(mail(MailKind.BOUNCE, recipient), OBSCURED, ORIGIN)
    assert event.details["bounce_text"] == wanted
    assert event.facts.email == OBSCURED.email


def test_odd_address_of_an_obscured_recipient_is_replaced_as_a_whole() -> None:
    for odd in ('"real name"@example.net', "o'real@example.net", "a+b@[192.0.2.1]"):
        assert without_addresses(f"to <{odd.upper()}> ", odd, "x@y") == "to <x@y> "


ODD_LOCAL_PARTS = {
    "quotes left out": ('"real name"@example.net', "no Real Name here"),
    "quotes of the address left out": ('"real name"@example.net', "no real name@example.net here"),
    "quoted pair as its character": (r'"real\"name"@example.net', 'no real"name here'),
    "detail left out": ("real+news@example.net", "no Real here"),
    "detail": ("real+news@example.net", "no real+news here"),
}


@for_every(ODD_LOCAL_PARTS)
def test_odd_local_part_of_an_obscured_recipient_is_replaced(email: str, text: str) -> None:
    assert without_addresses(text, email, "h4sh") == "no h4sh here"


def test_local_part_before_forwarding_is_replaced() -> None:
    failure = replace(UNKNOWN, text="no mailbox Real.Name here")
    recipient = ReturnedRecipient("alias@host.test", failure, original="real.name@example.net")
    (event,) = events_of(mail(MailKind.BOUNCE, recipient), OBSCURED, ORIGIN)
    assert event.details["bounce_text"] == "no mailbox h4sh@obscured.test here"


@pytest.mark.parametrize("text", ["a" * 200_000, "a@" * 100_000, "@" * 200_000, "a " * 100_000])
def test_long_text_takes_linear_time(text: str) -> None:
    recipient = ReturnedRecipient("r@elsewhere.test", replace(UNKNOWN, text=text))
    (event,) = events_of(mail(MailKind.BOUNCE, recipient), FACTS, ORIGIN)
    assert len(str(event.details["bounce_text"])) <= 1000


LIST = KEYS.seal(Kind.LIST_UNSUBSCRIBE, FACTS)
UNSUBSCRIBES = {
    "subject": (LIST, ("unsubscribe@example.com",)),
    "subject with a prefix": (f"Re: {LIST}", ("unsubscribe@example.com",)),
    "folded subject": (f"{LIST[:60]}\r\n {LIST[60:]}", ("unsubscribe@example.com",)),
    "address": ("", (f"unsubscribe+{LIST}@example.com",)),
    "token of a link in the mail": (
        KEYS.seal(Kind.UNSUBSCRIBE_TEXT, FACTS),
        ("unsubscribe@example.com",),
    ),
}
NO_UNSUBSCRIBES = {
    "word": "unsubscribe",
    "nothing": "",
    "token of a click": KEYS.seal(Kind.CLICK_HTML, FACTS, "https://example.com/"),
    "X-Mailer-Info": INFO,
    "token of another key": FOREIGN.seal(Kind.LIST_UNSUBSCRIBE, FACTS),
    "changed token": LIST[:-2] + "AA",
    "token without a recipient": KEYS.seal(Kind.LIST_UNSUBSCRIBE, replace(FACTS, email="")),
}


@for_every(UNSUBSCRIBES)
def test_mailed_unsubscribe_has_its_token_in_subject_or_address(
    subject: str, recipients: tuple[str, ...]
) -> None:
    for kind in (MailKind.UNSUBSCRIBE, MailKind.NONE, MailKind.AUTO_REPLY):
        assert unsubscribe(Arrival(mail(kind, unsubscribe=subject), recipients), KEYS) == FACTS


@for_every(NO_UNSUBSCRIBES)
def test_nothing_else_unsubscribes(subject: str) -> None:
    came = Arrival(mail(MailKind.UNSUBSCRIBE, unsubscribe=subject), ("unsubscribe@example.com",))
    assert unsubscribe(came, KEYS) is None


def test_bounce_never_unsubscribes() -> None:
    assert unsubscribe(Arrival(mail(MailKind.BOUNCE, unsubscribe=LIST), ("u@e",)), KEYS) is None


def test_unsubscribe_event_has_no_link() -> None:
    event = unsubscribed(FACTS, ORIGIN)
    assert event.type == events.UNSUBSCRIBE
    assert dict(event.details) == {"click_url": ""}


def test_mail_that_is_not_attributed_has_few_events() -> None:
    named = [ReturnedRecipient(f"r{number}@example.net", UNKNOWN) for number in range(1000)]
    for kind in (MailKind.BOUNCE, MailKind.COMPLAINT):
        found = events_of(mail(kind, *named), None, ORIGIN)
        assert [event.facts.email for event in found] == [
            f"r{number}@example.net" for number in range(MOST_UNATTRIBUTED)
        ]


@pytest.mark.parametrize("email", ["a\0b@example.net", "a\x1b@example.net", "a\u202e@example.net"])
def test_address_with_control_characters_has_no_event(email: str) -> None:
    assert not events_of(mail(MailKind.BOUNCE, ReturnedRecipient(email, UNKNOWN)), None, ORIGIN)
