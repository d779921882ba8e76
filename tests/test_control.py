"""control.py: valid and invalid values of every control header, and the rules."""

from __future__ import annotations

from itertools import product

import pytest
from fletching.mail.message import Header, parse
from fletching.policy.control import _FIELDS, Control, read
from fletching.policy.grammar import LONGEST_URI
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every


def control(*fields: str) -> Control:
    """What a mail with these fields asks for."""
    return read(parse("\n".join((*fields, "", "")).encode("utf-8", "surrogateescape")).headers)


def value(found: Control, setting: str) -> object:
    """What is offered for a setting, None for nothing."""
    return {each.name: offer.value for each, offer in found.offers.by_setting.items()}.get(setting)


def invalid(*fields: str) -> list[str]:
    return [str(each) for each in control(*fields).invalid]


# Each header: its setting, valid values and their meaning, invalid values and the rule.

PRINTABLE = "must be 1 to 255 printable ASCII characters"
SWITCH = "must be yes, no, 1 or 0"
CLASS = "must be 1 to 64 letters (A to Z, a to z) and underscores"
LIST_ID = "must be 1 to 20 of A to Z, a to z, 0 to 9, _ and +"
ADDRESS = "must be a mail address such as name@example.com"
DOMAIN = "must be http:// or https://, a host and optionally a port, without a path"
URL = "must be an http or https URL without spaces, control characters, <, > and commas"
DECIMAL = "must be a decimal number from 0 to 100"
DIGITS = "must be at most 20 ASCII letters and digits"
ASCII = "must be ASCII"

VALID: list[tuple[str, str, str, object]] = [
    ("MailClass", "mail_class", "newsletter", "newsletter"),
    ("MailClass", "mail_class", "a", "a"),
    ("MailClass", "mail_class", "News_Letter", "News_Letter"),
    ("MailClass", "mail_class", "x" * 64, "x" * 64),
    ("InstanceID", "instance_id", "100525", "100525"),
    ("InstanceID", "instance_id", "0", "0"),
    ("InstanceID", "instance_id", "9abcXYZ", "9abcXYZ"),
    ("InstanceID", "instance_id", "1" * 20, "1" * 20),
    ("ListID", "list_id", "t100", "t100"),
    ("ListID", "list_id", "A_+9", "A_+9"),
    ("ListID", "list_id", "a" * 20, "a" * 20),
    ("MtaID", "virtual_mta", "transactional", "transactional"),
    ("MtaID", "virtual_mta", "IP 7 (Berlin)", "IP 7 (Berlin)"),
    ("MtaID", "virtual_mta", "m" * 200, "m" * 200),
    ("BounceMailboxOverride", "bounce_mailbox", "b@example.com", "b@example.com"),
    ("BounceMailboxOverride", "bounce_mailbox", "b+x@EXAMPLE.com", "b+x@EXAMPLE.com"),
    ("Obscured-Email", "obscured_email", "userid-1", "userid-1"),
    ("Obscured-Email", "obscured_email", "x@y, <z> \"q\"", "x@y, <z> \"q\""),
    ("Obscured-Email", "obscured_email", "o" * 255, "o" * 255),
    ("URL-Domain", "url_domain", "https://example.com", "https://example.com"),
    ("URL-Domain", "url_domain", "http://example.com", "http://example.com"),
    ("URL-Domain", "url_domain", "HTTPS://Click.EXAMPLE.com:8443", "https://click.example.com:8443"),
    ("URL-Domain", "url_domain", "http://192.0.2.1", "http://192.0.2.1"),
    ("URL-Domain", "url_domain", "https://[2001:db8::1]", "https://[2001:db8::1]"),
    ("Click-Tracking-Do", "click_tracking", "yes", True),
    ("Click-Tracking-Do", "click_tracking", "1", True),
    ("Click-Tracking-Do", "click_tracking", "no", False),
    ("Click-Tracking-Do", "click_tracking", "0", False),
    ("Click-Tracking-Do", "click_tracking", "Yes", True),
    ("Click-Tracking-ID", "click_tracking_id", "4711", "4711"),
    ("Click-Tracking-ID", "click_tracking_id", "a|b {c}; \"d\" ~", "a|b {c}; \"d\" ~"),
    ("Click-Tracking-ID", "click_tracking_id", "", ""),
    ("Click-Tracking-ID", "click_tracking_id", "i" * 300, "i" * 300),
    ("List-Unsubscribe-HTTP-URL", "list_unsubscribe_url", "https://example.com/u/1-2-3",
     "https://example.com/u/1-2-3"),
    ("List-Unsubscribe-HTTP-URL", "list_unsubscribe_url", "HTTP://e.com?a=%2C&b=(x)#y",
     "HTTP://e.com?a=%2C&b=(x)#y"),
    ("List-Unsubscribe-HTTP-URL", "list_unsubscribe_url", "https://e.com/".ljust(LONGEST_URI, "x"),
     "https://e.com/".ljust(LONGEST_URI, "x")),
    ("Tracker-Format", "tracker_format", "a", "a"),
    ("Tracker-Format", "tracker_format", "b", "b"),
    ("Tracker-Format", "tracker_format", "c", "c"),
    ("Tracker-Format", "tracker_format", "C", "c"),
    ("SeedDo", "seed", "yes", True),
    ("SeedDo", "seed", "0", False),
    ("SeedProgress", "seed_progress", "0", 0.0),
    ("SeedProgress", "seed_progress", "50.23", 50.23),
    ("SeedProgress", "seed_progress", "100", 100.0),
    ("SeedProgress", "seed_progress", "100.00", 100.0),
]  # fmt: skip

INVALID: list[tuple[str, str, str]] = [
    ("MailClass", "", CLASS),
    ("MailClass", "news letter", CLASS),
    ("MailClass", "news1", CLASS),
    ("MailClass", "news-letter", CLASS),
    ("MailClass", "x" * 65, CLASS),
    ("MailClass", "größe", ASCII),
    ("InstanceID", "", "must start with a digit"),
    ("InstanceID", "a1", "must start with a digit"),
    ("InstanceID", "-1", "must start with a digit"),
    ("InstanceID", "1" * 21, DIGITS),
    ("InstanceID", "1_2", DIGITS),
    ("InstanceID", "1 2", DIGITS),
    ("InstanceID", "1ä", ASCII),
    ("ListID", "", LIST_ID),
    ("ListID", "a" * 21, LIST_ID),
    ("ListID", "a-b", LIST_ID),
    ("ListID", "t 1", LIST_ID),
    ("MtaID", "", "must be 1 to 200 printable ASCII characters"),
    ("MtaID", "a,b", "must be 1 to 200 printable ASCII characters"),
    ("MtaID", "a@b", "must be 1 to 200 printable ASCII characters"),
    ("MtaID", "m" * 201, "must be 1 to 200 printable ASCII characters"),
    ("BounceMailboxOverride", "", ADDRESS),
    ("BounceMailboxOverride", "bounces", ADDRESS),
    ("BounceMailboxOverride", "@example.com", ADDRESS),
    ("BounceMailboxOverride", "b@", ADDRESS),
    ("BounceMailboxOverride", "b@exa mple.com", ADDRESS),
    ("BounceMailboxOverride", "b@example.com, c@example.com", ADDRESS),
    ("BounceMailboxOverride", "b@example.com>", ADDRESS),
    ("BounceMailboxOverride", "x" * 65 + "@example.com", ADDRESS),
    ("BounceMailboxOverride", "b@exämple.com", ASCII),
    ("Obscured-Email", "", PRINTABLE),
    ("Obscured-Email", "o" * 256, PRINTABLE),
    ("Obscured-Email", "a\tb", PRINTABLE),
    ("Obscured-Email", "a\x7fb", PRINTABLE),
    ("Obscured-Email", "ä", ASCII),
    ("URL-Domain", "", DOMAIN),
    ("URL-Domain", "example.com", DOMAIN),
    ("URL-Domain", "ftp://example.com", DOMAIN),
    ("URL-Domain", "https://", DOMAIN),
    ("URL-Domain", "https://example.com/", DOMAIN),
    ("URL-Domain", "https://example.com/track", DOMAIN),
    ("URL-Domain", "https://example.com?x", DOMAIN),
    ("URL-Domain", "https://user@example.com", DOMAIN),
    ("URL-Domain", "https://user:pass@example.com", DOMAIN),
    ("URL-Domain", "https://exa mple.com", DOMAIN),
    ("URL-Domain", "https://example.com:99999", DOMAIN),
    ("URL-Domain", "https://example.com\"onload=x", DOMAIN),
    ("Click-Tracking-Do", "", SWITCH),
    ("Click-Tracking-Do", "true", SWITCH),
    ("Click-Tracking-Do", "2", SWITCH),
    ("Click-Tracking-Do", "yes no", SWITCH),
    ("Click-Tracking-ID", "i" * 301, "must be at most 300 printable ASCII characters"),
    ("Click-Tracking-ID", "a\tb", "must be at most 300 printable ASCII characters"),
    ("Click-Tracking-ID", "a\0b", "must be at most 300 printable ASCII characters"),
    ("Click-Tracking-ID", "ü", ASCII),
    ("List-Unsubscribe-HTTP-URL", "", URL),
    ("List-Unsubscribe-HTTP-URL", "example.com/u", URL),
    ("List-Unsubscribe-HTTP-URL", "mailto:u@example.com", URL),
    ("List-Unsubscribe-HTTP-URL", "https:///u", URL),
    ("List-Unsubscribe-HTTP-URL", "https://?u", URL),
    ("List-Unsubscribe-HTTP-URL", "https://e.com/a b", URL),
    ("List-Unsubscribe-HTTP-URL", "https://e.com/a,b", URL),
    ("List-Unsubscribe-HTTP-URL", "https://e.com/<u>", URL),
    ("List-Unsubscribe-HTTP-URL", "https://e.com/a\tb", URL),
    ("List-Unsubscribe-HTTP-URL", "https://e.com/a\0b", URL),
    ("List-Unsubscribe-HTTP-URL", "https://e.com/ä", ASCII),
    ("List-Unsubscribe-HTTP-URL", "https://e.com/".ljust(LONGEST_URI + 1, "x"),
     f"must be at most {LONGEST_URI} characters long"),
    ("Tracker-Format", "", "must be a, b or c"),
    ("Tracker-Format", "d", "must be a, b or c"),
    ("Tracker-Format", "ab", "must be a, b or c"),
    ("SeedDo", "", SWITCH),
    ("SeedDo", "maybe", SWITCH),
    ("SeedProgress", "", DECIMAL),
    ("SeedProgress", "-1", DECIMAL),
    ("SeedProgress", "100.01", DECIMAL),
    ("SeedProgress", "101", DECIMAL),
    ("SeedProgress", "1e2", DECIMAL),
    ("SeedProgress", "nan", DECIMAL),
    ("SeedProgress", "5,5", DECIMAL),
    ("SeedProgress", "50%", DECIMAL),
    ("SeedProgress", "9" * 400, DECIMAL),
]  # fmt: skip


@for_every(VALID)
def test_valid(name: str, setting: str, text: str, meaning: object) -> None:
    found = control(f"X-GreenArrow-{name}: {text}")
    assert value(found, setting) == meaning
    assert {each.source for each in found.offers.by_setting.values()} == {f"X-GreenArrow-{name}"}
    assert found.invalid == ()
    assert found.remove == {0}
    assert found.count == 1


@for_every(INVALID)
def test_invalid(name: str, text: str, rule: str) -> None:
    found = control(f"X-GreenArrow-{name}: {text}")
    (wrong,) = found.invalid
    assert wrong.source == f"X-GreenArrow-{name}"
    assert wrong.rule.startswith(rule)
    # The value is sent to no client and written to no log.
    assert text in rule or text not in str(wrong)
    # An invalid URL domain never refuses a mail (docs/headers.md).
    assert wrong.strict == (name != "URL-Domain")
    assert found.remove == {0}
    assert found.offers.by_setting == {}


def test_tables_have_every_header() -> None:
    """Every header that is valid by itself."""
    names = {name for name, _ in _FIELDS.values()}
    post = "X-GreenArrow-List-Unsubscribe-HTTP-URL-Post"
    assert {f"X-GreenArrow-{name}" for name, _, _, _ in VALID} == names - {post}
    assert {f"X-GreenArrow-{name}" for name, _, _ in INVALID} == names - {post}


EXAMPLE = {name: text for name, _, text, _ in VALID}
OTHER = {
    "MailClass": "other",
    "InstanceID": "7",
    "ListID": "t7",
    "MtaID": "other",
    "BounceMailboxOverride": "other@example.com",
    "Obscured-Email": "other",
    "URL-Domain": "http://other.example.com",
    "Click-Tracking-Do": "yes",
    "Click-Tracking-ID": "other",
    "List-Unsubscribe-HTTP-URL": "https://other.example.com",
    "Tracker-Format": "a",
    "SeedDo": "no",
    "SeedProgress": "7",
}
SETTING = {name: setting for name, setting, _, _ in VALID}


@pytest.mark.parametrize("name", SETTING)
def test_header_given_twice_with_the_same_value_counts_once(name: str) -> None:
    field = f"X-GreenArrow-{name}: {EXAMPLE[name]}"
    found = control(field, f"x-greenarrow-{name.lower()}:\n\t{EXAMPLE[name]}  ")
    assert found.invalid == ()
    assert value(found, SETTING[name]) == value(control(field), SETTING[name]) is not None
    assert found.remove == {0, 1}
    assert found.count == 2


@pytest.mark.parametrize("name", SETTING)
def test_header_given_twice_with_different_values_is_invalid(name: str) -> None:
    first, second = EXAMPLE[name], OTHER[name]
    if first == second:
        first = {"yes": "no", "no": "yes"}[second]
    found = control(f"X-GreenArrow-{name}: {first}", f"X-GreenArrow-{name}: {second}")
    assert [str(each) for each in found.invalid] == [
        f"X-GreenArrow-{name}: must not be given twice with different values"
    ]
    assert value(found, SETTING[name]) is None
    assert found.remove == {0, 1}


@for_every([*product(SETTING, (str.lower, str.upper, str.swapcase))])
def test_header_names_are_case_insensitive(name: str, case: object) -> None:
    assert callable(case)
    written = case(f"X-GreenArrow-{name}")
    found = control(f"{written}: {EXAMPLE[name]}")
    assert value(found, SETTING[name]) is not None
    assert found.invalid == ()


@pytest.mark.parametrize(
    ("field", "meaning"),
    [
        ("X-GreenArrow-MailClass:newsletter", "newsletter"),
        ("X-GreenArrow-MailClass : newsletter", "newsletter"),
        ("X-GreenArrow-MailClass: \t newsletter \t ", "newsletter"),
        ("X-GreenArrow-MailClass:\n newsletter", "newsletter"),
        ("X-GreenArrow-MailClass:\n\t\n newsletter", "newsletter"),
        # Unfolding removes the line end and nothing else (RFC 5322 section 2.2.3).
        ("X-GreenArrow-MailClass: news\n letter", None),
    ],
)
def test_values_are_unfolded_and_trimmed(field: str, meaning: str | None) -> None:
    assert value(control(field), "mail_class") == meaning


def test_folded_value_keeps_its_spaces() -> None:
    found = control("X-GreenArrow-Click-Tracking-ID: order\n  7,\n\tshop")
    assert value(found, "click_tracking_id") is None, "a tab is no printable character"
    found = control("X-GreenArrow-Click-Tracking-ID: order\n  7,\n shop")
    assert value(found, "click_tracking_id") == "order  7, shop"


# Unknown control headers, and other headers.


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("X-GreenArrow-Foo", "X-GreenArrow-Foo"),
        ("x-greenarrow-", "x-greenarrow-"),
        ("X-GREENARROW-Mail-Class", "X-GREENARROW-Mail-Class"),
        ("X-GreenArrow-" + "y" * 100, "X-GreenArrow-" + "y" * 51),
    ],
)
def test_unknown_control_header_is_removed_with_a_warning(name: str, shown: str) -> None:
    found = control("Subject: x", f"{name}: whatever")
    (wrong,) = found.invalid
    assert str(wrong) == f"{shown}: unknown control header"
    assert not wrong.strict
    assert found.remove == {1}


def test_unknown_control_header_is_reported_once() -> None:
    found = control("X-GreenArrow-Foo: 1", "x-greenarrow-foo: 2", "X-GreenArrow-Bar: 3")
    assert len(found.invalid) == 2
    assert found.remove == {0, 1, 2}


def test_header_name_that_is_not_ascii_is_shown_safely() -> None:
    found = read((Header(b"X-GreenArrow-\xff\xfe", b" x", 0),))
    assert str(found.invalid[0]) == "X-GreenArrow-\ufffd\ufffd: unknown control header"


@pytest.mark.parametrize(
    "name", ["X-GreenArrow", "GreenArrow-MailClass", "XX-GreenArrow-MailClass", "X-CampaignID",
             "X-Mailer-Info", "List-Unsubscribe"],
)  # fmt: skip
def test_other_headers_are_not_control_headers(name: str) -> None:
    assert control(f"{name}: newsletter") == Control()


def test_forged_route_is_removed_and_not_counted() -> None:
    found = control("X-Fletching-Route: vmta-a", "x-fletching-route : b", "Subject: x")
    assert found.remove == {0, 1}
    assert found.count == 0
    assert found.invalid == ()


def test_fields_that_we_added_are_not_removed() -> None:
    assert read((Header(b"X-GreenArrow-MailClass", b" a"),)).remove == frozenset()


def test_mail_without_control_headers_asks_for_nothing() -> None:
    assert control("Subject: x", "To: y@example.org") == Control()


# List-Unsubscribe-HTTP-URL and its Post header.

POST = "X-GreenArrow-List-Unsubscribe-HTTP-URL-Post"
LINK = "X-GreenArrow-List-Unsubscribe-HTTP-URL"


def test_post_header_with_its_url_is_valid() -> None:
    found = control(f"{POST}: List-Unsubscribe=One-Click", f"{LINK}: https://example.com/u")
    assert value(found, "list_unsubscribe_post") == "List-Unsubscribe=One-Click"
    assert value(found, "list_unsubscribe_url") == "https://example.com/u"
    assert found.invalid == ()


def test_post_header_alone_is_invalid() -> None:
    found = control(f"{POST}: List-Unsubscribe=One-Click")
    assert value(found, "list_unsubscribe_post") is None
    assert invalid(f"{POST}: x") == [f"{POST}: requires a valid {LINK}"]


def test_post_header_with_an_invalid_url_is_invalid() -> None:
    found = control(f"{LINK}: nonsense", f"{POST}: List-Unsubscribe=One-Click")
    assert value(found, "list_unsubscribe_post") is None
    assert [each.source for each in found.invalid] == [LINK, POST]


@pytest.mark.parametrize("text", ["", "a\tb", "x" * 256])
def test_invalid_post_header_leaves_the_url(text: str) -> None:
    found = control(f"{LINK}: https://example.com/u", f"{POST}: {text}")
    assert [str(each) for each in found.invalid] == [f"{POST}: {PRINTABLE}"]
    assert value(found, "list_unsubscribe_url") == "https://example.com/u"
    assert value(found, "list_unsubscribe_post") is None


# Any bytes.

NAMES = st.sampled_from([*SETTING, "DKIM", "List-Unsubscribe-HTTP-URL-Post", "Foo", ""])


@given(st.lists(st.tuples(NAMES, st.binary(max_size=80)), max_size=8))
def test_any_bytes_are_read(fields: list[tuple[str, bytes]]) -> None:
    headers = tuple(
        Header(f"X-GreenArrow-{name}".encode(), value, place)
        for place, (name, value) in enumerate(fields)
    )
    found = read(headers)
    assert found.remove == set(range(len(fields)))
    for wrong in found.invalid:
        assert str(wrong).isprintable()
