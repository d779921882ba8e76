"""tracking.py, return_path.py, lists.py: which value wins, and the warnings."""

from __future__ import annotations

from typing import Any

import pytest
from fletching.policy.plan import Plan, Unsubscribe

from tests.cases import for_every
from tests.setting import RECIPIENT, envelope, mail, plan, reason

CLASSIFIED = "X-GreenArrow-MailClass: a"
KEYS = "link_keys: link-keys\n"
DOMAIN = "url_domain: https://global.example.com\n"
MAILBOX = "unsubscribe_mailbox: unsub@global.example.com\n"


def site(options: str = "", everywhere: str = KEYS + DOMAIN) -> str:
    """A configuration with one class `a`."""
    return f"{everywhere}mail_classes: {{a: {{{options}}}}}\n"


def decided(*fields: str, options: str = "", everywhere: str = KEYS + DOMAIN) -> Plan:
    return plan(mail(CLASSIFIED, *fields), site=site(options, everywhere))


def test_honeypot_link_follows_the_global_option() -> None:
    everywhere = KEYS + DOMAIN + "web: {honeypot: true}\n"
    assert decided(options=TRACKED, everywhere=everywhere).tracking.trap
    assert not decided(options=TRACKED).tracking.trap


# The header wins over the class, the class over the global option, and that over the default. Each
# row: the header, the option of the class, the global option, and the result.

TRACKED = "track: {clicks: true}"


def bounce_mailbox(found: Plan) -> Any:
    return found.bounce_mailbox


def domain(found: Plan) -> Any:
    return found.tracking.domain


def form(found: Plan) -> Any:
    return found.tracking.form


def clicks_and_opens(found: Plan) -> Any:
    return found.tracking.clicks, found.tracking.opens


def verp(found: Plan) -> Any:
    return found.verp


def untracked_hosts(found: Plan) -> Any:
    return found.tracking.untracked_hosts


def visible_urls(found: Plan) -> Any:
    return found.tracking.preserve_visible_urls


def post(found: Plan) -> Any:
    assert found.unsubscribe is not None
    return found.unsubscribe.post


def mailbox(found: Plan) -> Any:
    assert found.unsubscribe is not None
    return found.unsubscribe.mailbox


BOUNCE = "X-GreenArrow-BounceMailboxOverride: h@example.com"
GLOBAL_BOUNCE = "bounce_mailbox: g@example.com"
URL = "X-GreenArrow-URL-Domain: https://h.example.com"
FORMAT = "X-GreenArrow-Tracker-Format: a"
YES, NO = "X-GreenArrow-Click-Tracking-Do: yes", "X-GreenArrow-Click-Tracking-Do: 0"

ROWS = [
    (bounce_mailbox, BOUNCE, "bounce_mailbox: c@example.com", GLOBAL_BOUNCE, "h@example.com"),
    (bounce_mailbox, "", "bounce_mailbox: c@example.com", GLOBAL_BOUNCE, "c@example.com"),
    (bounce_mailbox, "X-GreenArrow-BounceMailboxOverride: nonsense",
     "bounce_mailbox: c@example.com", GLOBAL_BOUNCE, "c@example.com"),
    (bounce_mailbox, "", "", GLOBAL_BOUNCE, "g@example.com"),
    (bounce_mailbox, BOUNCE, "", "", "h@example.com"),
    (bounce_mailbox, "", "", "", None),
    (domain, URL, "url_domain: 'https://c.example.com'", DOMAIN, "https://h.example.com"),
    (domain, "X-GreenArrow-URL-Domain: h.example.com", "url_domain: 'https://c.example.com'",
     DOMAIN, "https://c.example.com"),
    (domain, "", "url_domain: 'https://c.example.com'", DOMAIN, "https://c.example.com"),
    (domain, "", "", DOMAIN, "https://global.example.com"),
    (domain, "", "", "", None),
    (form, FORMAT, "tracker_format: c", "tracker_format: b", "a"),
    (form, "X-GreenArrow-Tracker-Format: x", "tracker_format: c", "tracker_format: a", "c"),
    (form, "", "tracker_format: c", "tracker_format: a", "c"),
    (form, "", "", "tracker_format: a", "a"),
    (form, "", "", "", "b"),
    (clicks_and_opens, YES, "track: {}", DOMAIN, (True, True)),
    (clicks_and_opens, NO, "track: {clicks: true, opens: true}", DOMAIN, (False, False)),
    (clicks_and_opens, "X-GreenArrow-Click-Tracking-Do: x", "track: {clicks: true}", DOMAIN,
     (True, False)),
    (clicks_and_opens, "", "track: {clicks: true}", DOMAIN, (True, False)),
    (clicks_and_opens, "", "track: {opens: true}", DOMAIN, (False, True)),
    (clicks_and_opens, "", "", DOMAIN, (False, False)),
    (verp, BOUNCE, "verp: false", "verp: true", False),
    (verp, BOUNCE, "verp: true", "verp: false", True),
    (verp, BOUNCE, "", "verp: false", False),
    (verp, BOUNCE, "", "", True),
    (verp, "", "verp: true", "verp: true", False),  # No mailbox.
    (untracked_hosts, "", "untracked_hosts: [c.example.com]", "untracked_hosts: [g.example.com]",
     ("c.example.com",)),
    (untracked_hosts, "", "untracked_hosts: []", "untracked_hosts: [g.example.com]", ()),
    (untracked_hosts, "", "", "untracked_hosts: [g.example.com]", ("g.example.com",)),
    (untracked_hosts, "", "", "", ()),
    (visible_urls, "", "preserve_visible_urls: false", "preserve_visible_urls: true", False),
    (visible_urls, "", "", "preserve_visible_urls: false", False),
    (visible_urls, "", "", "", True),
    (post, "", "one_click: false", DOMAIN + "one_click: true", None),
    (post, "", "one_click: true", DOMAIN + "one_click: false", "List-Unsubscribe=One-Click"),
    (post, "", "", DOMAIN + "one_click: false", None),
    (post, "", "", DOMAIN, "List-Unsubscribe=One-Click"),
    (mailbox, "", "unsubscribe_mailbox: c@example.com", DOMAIN + MAILBOX, "c@example.com"),
    (mailbox, "", "", DOMAIN + MAILBOX, "unsub@global.example.com"),
    (mailbox, "", "", DOMAIN, None),
]  # fmt: skip


@for_every({f"{row[0].__name__}-{number}": row for number, row in enumerate(ROWS)})
def test_header_wins_over_class_and_class_over_global(
    setting: Any, field: str, options: str, everywhere: str, expected: Any
) -> None:
    fields = (field,) if field else ()
    found = decided(*fields, options=options, everywhere=f"{KEYS}{everywhere}\n")
    assert setting(found) == expected


@pytest.mark.parametrize(
    ("setting", "field", "options", "expected"),
    [
        ("bounce_mailbox", BOUNCE, "", ("h@example.com", "X-GreenArrow-BounceMailboxOverride")),
        ("bounce_mailbox", "A: b", "bounce_mailbox: c@example.com", ("c@example.com", "class a")),
        ("bounce_mailbox", "A: b", "", ("g@example.com", "global")),
        ("clicks", YES, "", ("yes", "X-GreenArrow-Click-Tracking-Do")),
        ("opens", NO, "track: {opens: true}", ("no", "X-GreenArrow-Click-Tracking-Do")),
        ("opens", "A: b", "track: {opens: true}", ("yes", "class a")),
        ("url_domain", URL, "", ("https://h.example.com", "X-GreenArrow-URL-Domain")),
        ("url_domain", "A: b", "", ("https://global.example.com", "global")),
        ("tracker_format", FORMAT, "", ("a", "X-GreenArrow-Tracker-Format")),
        ("tracker_format", "A: b", "", ("b", "global")),
        ("text", YES, "track: {text: false}", ("no", "class a")),
    ],
)
def test_each_decision_names_its_source(
    setting: str, field: str, options: str, expected: tuple[str, str]
) -> None:
    found = decided(field, options=options, everywhere=f"{KEYS}{DOMAIN}{GLOBAL_BOUNCE}\n")
    assert reason(found, setting) == expected


# Return path.


def test_null_sender_stays() -> None:
    found = plan(mail(CLASSIFIED, BOUNCE), envelope(sender=""), site())
    assert found.bounce_mailbox is None
    assert not found.verp
    assert reason(found, "bounce_mailbox") == ("<>", "null sender")


@pytest.mark.parametrize(
    ("local", "route_by", "tagged"),
    [("b" * 31, "header", True), ("b" * 32, "header", False),
     ("b" * 26, "sender", True), ("b" * 27, "sender", False)],
)  # fmt: skip
def test_verp_is_disabled_if_the_local_part_gets_too_long(
    local: str, route_by: str, tagged: bool
) -> None:
    field = f"X-GreenArrow-BounceMailboxOverride: {local}@example.com"
    found = decided(field, everywhere=f"{KEYS}{DOMAIN}route_by: {route_by}\n")
    assert found.bounce_mailbox == f"{local}@example.com"
    assert found.verp == tagged
    warning = "VERP disabled: local part of the bounce mailbox too long"
    assert (warning in found.warnings) != tagged


def test_verp_is_disabled_without_link_keys() -> None:
    found = decided(BOUNCE, everywhere="")
    assert found.bounce_mailbox == "h@example.com"
    assert not found.verp
    assert "VERP disabled: link_keys is not set" in found.warnings


def test_recipient_delimiter_is_in_the_plan() -> None:
    assert decided(everywhere=KEYS + "recipient_delimiter: '='\n").delimiter == "="


# Tracking.


@pytest.mark.parametrize(
    ("fields", "options", "everywhere", "expected"),
    [
        # Nothing is tracked, but unsubscribe tags and opt-out attributes are processed.
        ((), "", KEYS + DOMAIN, (True, False, False)),
        ((NO,), "track: {clicks: true}", KEYS + DOMAIN, (False, False, False)),
        ((YES,), "", KEYS + DOMAIN, (True, True, True)),
        ((YES,), "", KEYS, (False, False, False)),
        ((YES, URL), "", KEYS, (True, True, True)),
        ((YES,), "", DOMAIN, (False, False, False)),
        ((), "", "", (False, False, False)),
    ],
)
def test_tracking_needs_url_domain_and_link_keys(
    fields: tuple[str, ...], options: str, everywhere: str, expected: tuple[bool, bool, bool]
) -> None:
    options = options + ", list_unsubscribe: false" if options else "list_unsubscribe: false"
    found = decided(*fields, options=options, everywhere=everywhere).tracking
    assert (found.body, found.clicks, found.opens) == expected
    assert (found.domain is not None) == ("link_keys" in everywhere
                                          and (DOMAIN in everywhere or URL in fields))  # fmt: skip


@pytest.mark.parametrize(
    ("everywhere", "warning"),
    [
        (KEYS, "not tracked: url_domain is not set"),
        (DOMAIN, "not tracked: link_keys is not set"),
        ("", "not tracked: url_domain is not set"),
    ],
)
def test_missing_url_domain_or_link_keys_is_a_warning(everywhere: str, warning: str) -> None:
    options = "list_unsubscribe: false"
    assert warning in decided(YES, options=options, everywhere=everywhere).warnings
    untracked = decided(NO, options=options, everywhere=everywhere).warnings
    assert not [text for text in untracked if text.startswith("not tracked")]


def test_own_hosts_are_those_of_all_url_domains() -> None:
    text = f"""\
{KEYS}{DOMAIN}
mail_classes:
  a: {{}}
  b: {{url_domain: 'http://b.example.com:8080'}}
"""
    found = plan(mail(CLASSIFIED, "X-GreenArrow-URL-Domain: HTTPS://H.example.com"), site=text)
    assert found.tracking.own_hosts == {
        "global.example.com",
        "b.example.com:8080",
        "h.example.com",
    }


def test_max_rewrite_size_is_in_the_plan() -> None:
    assert decided(everywhere="max_rewrite_size: 1KiB\n" + KEYS).tracking.largest == 1024


def test_text_links_follow_the_class() -> None:
    assert decided().tracking.text
    assert not decided(options="track: {text: false}").tracking.text


# List-Unsubscribe.

LINK = "X-GreenArrow-List-Unsubscribe-HTTP-URL: https://h.example.com/u"
PLAIN_LINK = "X-GreenArrow-List-Unsubscribe-HTTP-URL: http://h.example.com/u"
POST = "X-GreenArrow-List-Unsubscribe-HTTP-URL-Post: a=b"
ONE_CLICK = "List-Unsubscribe=One-Click"
UNSUB = "unsub@global.example.com"
ALL = KEYS + DOMAIN + MAILBOX
H = "https://h.example.com/u"


@pytest.mark.parametrize(
    ("fields", "options", "everywhere", "expected"),
    [
        ((), "", ALL, Unsubscribe(own=True, post=ONE_CLICK, mailbox=UNSUB)),
        ((), "", KEYS + DOMAIN, Unsubscribe(own=True, post=ONE_CLICK)),
        ((), "", KEYS + MAILBOX, Unsubscribe(mailbox=UNSUB)),
        ((), "one_click: false", ALL, Unsubscribe(own=True, mailbox=UNSUB)),
        (("X-GreenArrow-URL-Domain: http://h.example.com",), "", ALL,
         Unsubscribe(own=True, mailbox=UNSUB)),
        ((), "list_unsubscribe: false", ALL, None),
        ((), "", KEYS, None),
        ((), "", "", None),
        # A custom link replaces ours, and only its own header adds List-Unsubscribe-Post.
        ((LINK,), "", ALL, Unsubscribe(url=H, mailbox=UNSUB)),
        ((LINK, POST), "", ALL, Unsubscribe(url=H, post="a=b", mailbox=UNSUB)),
        ((LINK, POST), "one_click: false", ALL, Unsubscribe(url=H, post="a=b", mailbox=UNSUB)),
        ((LINK,), "list_unsubscribe: false", ALL, Unsubscribe(url=H)),
        ((LINK, POST), "", "", Unsubscribe(url=H, post="a=b")),
        ((PLAIN_LINK, POST), "", ALL,
         Unsubscribe(url="http://h.example.com/u", mailbox=UNSUB)),
        ((POST,), "", ALL, Unsubscribe(own=True, post=ONE_CLICK, mailbox=UNSUB)),
        # Also without tracking: an unsubscribe link is not tracking.
        ((NO,), "", ALL, Unsubscribe(own=True, post=ONE_CLICK, mailbox=UNSUB)),
        # An existing List-Unsubscribe stays.
        (("List-Unsubscribe: <mailto:u@example.com>",), "", ALL, None),
        (("list-unsubscribe:", LINK, POST), "", ALL, None),
    ],
)  # fmt: skip
def test_list_unsubscribe_to_add(
    fields: tuple[str, ...], options: str, everywhere: str, expected: Unsubscribe | None
) -> None:
    assert decided(*fields, options=options, everywhere=everywhere).unsubscribe == expected


@pytest.mark.parametrize(
    ("fields", "options", "expected"),
    [
        ((), "", ("yes", "class a")),
        ((LINK,), "", ("yes", "X-GreenArrow-List-Unsubscribe-HTTP-URL")),
        ((), "list_unsubscribe: false", ("no", "class a")),
        (("List-Unsubscribe: x",), "", ("kept", "List-Unsubscribe")),
    ],
)
def test_list_unsubscribe_decision_names_its_source(
    fields: tuple[str, ...], options: str, expected: tuple[str, str]
) -> None:
    found = decided(*fields, options=options)
    assert reason(found, "list_unsubscribe") == expected


@pytest.mark.parametrize(
    ("recipients", "options", "fields", "expected"),
    [
        ((RECIPIENT, "b@example.org"), "", (), None),
        ((RECIPIENT, "b@example.org"), "", (LINK, POST), Unsubscribe(url=H, post="a=b")),
        ((RECIPIENT,), "privacy: aggregate", (), None),
        ((RECIPIENT,), "privacy: aggregate", (LINK,), Unsubscribe(url=H)),
        ((RECIPIENT,), "", ("X-GreenArrow-Obscured-Email: ü",), None),
        ((RECIPIENT,), "", ("X-GreenArrow-Obscured-Email: u-7",),
         Unsubscribe(own=True, post=ONE_CLICK, mailbox=UNSUB)),
    ],
)  # fmt: skip
def test_own_unsubscribe_link_needs_one_recorded_recipient(
    recipients: tuple[str, ...],
    options: str,
    fields: tuple[str, ...],
    expected: Unsubscribe | None,
) -> None:
    found = plan(mail(CLASSIFIED, *fields), envelope(*recipients), site(options, ALL))
    assert found.unsubscribe == expected
    warning = "no List-Unsubscribe: needs exactly one recorded recipient"
    assert (warning in found.warnings) == (expected is None)


def test_list_unsubscribe_that_cannot_be_made_is_a_warning() -> None:
    warning = "no List-Unsubscribe: requires link_keys and either url_domain or unsubscribe_mailbox"
    assert warning in decided(everywhere=KEYS).warnings
    assert warning in decided(everywhere="").warnings
    assert warning not in decided(everywhere=ALL).warnings


def test_post_header_for_an_http_url_is_a_warning() -> None:
    found = decided(PLAIN_LINK, POST)
    assert "no List-Unsubscribe-Post: the unsubscribe URL is not https" in found.warnings
