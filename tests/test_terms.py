"""What is remembered of a kind of mail: what one mail asks for is nothing to another.

The decisions themselves are in test_plan*.py, each with a memory of its own; here mails share one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import starmap
from typing import Any

import pytest
from fletching.mail.envelope import Envelope, Recipient
from fletching.mail.message import Message
from fletching.policy.terms import decided_once
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.setting import CLASSIFIED, NOW, config, envelope, mail, plan, setup

SITE = config()
"""Parsed once; what is remembered is not in it."""

FIELDS = {
    "MailClass": ("newsletter", "crm", "nobody", "not a name"),
    "InstanceID": ("1", "2", "none"),
    "ListID": ("t1", "t2", "not a list"),
    "MtaID": ("a", "b", "bulk", "nowhere"),
    "BounceMailboxOverride": ("b@example.org", "not an address"),
    "URL-Domain": ("https://c.example.org", "click.example.com", "not a URL"),
    "Click-Tracking-Do": ("yes", "no", "perhaps"),
    "Click-Tracking-ID": ("order-1", "order-2"),
    "Obscured-Email": ("reader-1", "\x80"),
    "List-Unsubscribe-HTTP-URL": ("https://example.com/bye", "bye"),
    "Tracker-Format": ("a", "c", "d"),
    "SeedDo": ("yes", "1", "maybe"),
    "SeedProgress": ("50", "200"),
}

AROUND: dict[str, tuple[object, ...]] = {
    "recipients": tuple(
        tuple(starmap(Recipient, zip(("r@example.org", "s@example.net"), mailers, strict=False)))
        for mailers in (
            *(["smtp"], ["local"], [None], ["smtp", "smtp"], ["smtp", "local"]),
            *(["local", "virtual"], ["virtual", "local"]),
        )
    ),
    "sender": ("app@example.com", ""),
    "client": ("127.0.0.1", "192.0.2.1"),
    "login": (None, "crm", "shop", "else"),
    "unsubscribe": ((), ("List-Unsubscribe: <mailto:x@example.org>",)),
    "now": (NOW, NOW + timedelta(days=1)),
}
CHOICES = {name: (None, *values) for name, values in FIELDS.items()} | AROUND

some = st.fixed_dictionaries({name: st.sampled_from(v) for name, v in CHOICES.items()})


def made(what: Mapping[str, Any]) -> tuple[Message, Envelope, datetime]:
    """A mail, its envelope and when it comes."""
    fields = (f"X-GreenArrow-{name}: {what[name]}" for name in FIELDS if what[name] is not None)
    around = envelope(sender=what["sender"], client=what["client"], login=what["login"])
    around = replace(around, recipients=what["recipients"])
    return mail(*fields, *what["unsubscribe"]), around, what["now"]


@pytest.mark.parametrize("name", CHOICES)
@given(usual=some)
@settings(max_examples=30)
def test_a_mail_that_differs_in_one_thing_is_decided_about_as_if_it_were_alone(
    name: str, usual: dict[str, Any]
) -> None:
    shared = decided_once(SITE, frozenset())
    for value in CHOICES[name]:
        message, around, now = made({**usual, name: value})
        alone = plan(message, around, SITE, now=now)
        assert plan(message, around, SITE, now=now, terms=shared) == alone


def test_mails_to_two_readers_are_of_one_kind() -> None:
    shared = decided_once(SITE, frozenset())
    one, other = (
        plan(
            mail(CLASSIFIED, f"X-GreenArrow-Click-Tracking-ID: {reader}"),
            envelope(f"{reader}@example.org"),
            SITE,
            terms=shared,
        )
        for reader in ("one", "other")
    )
    assert (one.email, other.email) == ("one@example.org", "other@example.org")
    assert (one.click_tracking_id, other.click_tracking_id) == ("one", "other")
    assert one.route is other.route, "decided once"
    assert one.tracking is other.tracking


def test_a_pause_is_heeded_by_a_kind_that_is_known() -> None:
    opened = setup()
    message = mail(CLASSIFIED, "X-GreenArrow-MtaID: b")
    names = []
    for paused in (frozenset[str](), frozenset({"b"}), frozenset({"a", "b"})):
        opened = replace(opened, paused=paused)
        route = plan(message, site=opened.config, terms=opened.terms_of).route
        assert route is not None
        names.append([member.name for member in route.members])
    assert names == [["b"], ["a"], []]


def test_no_more_kinds_are_remembered_than_there_is_room_for() -> None:
    shared = decided_once(SITE, frozenset())
    first = mail(CLASSIFIED, "X-GreenArrow-InstanceID: 0")
    before = plan(first, site=SITE, terms=shared)
    for instance in range(1, 600):
        plan(mail(CLASSIFIED, f"X-GreenArrow-InstanceID: {instance}"), site=SITE, terms=shared)
    again = plan(first, site=SITE, terms=shared)
    assert again == before
    assert again.tracking is not before.tracking, "decided anew"
