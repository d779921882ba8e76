"""decide.py: InstanceID and ListID, what is recorded of the recipient, signatures."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message, parse
from fletching.policy.plan import Plan
from fletching.policy.privacy import ONE_RECIPIENT
from fletching.tokens import Facts, Kind

from tests.setting import (
    CAMPAIGN,
    DKIM_KEY,
    KEYRING,
    RECIPIENT,
    SITE,
    dkim_key,
    envelope,
    mail,
    plan,
    reason,
)

CLASSIFIED = "X-GreenArrow-MailClass: newsletter"

# InstanceID and ListID.


def test_instance_id_comes_from_the_header() -> None:
    found = plan(mail(CLASSIFIED, "X-GreenArrow-InstanceID: 100525"))
    assert found.sendid == "newsletter100525"
    assert reason(found, "instance_id") == ("100525", "X-GreenArrow-InstanceID")


@pytest.mark.parametrize(
    ("zone", "date"),
    [("UTC", "260301"), ("Pacific/Kiritimati", "260302"), ("America/New_York", "260301")],
)
def test_instance_id_defaults_to_the_date_in_the_time_zone(zone: str, date: str) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC).astimezone(ZoneInfo(zone))
    found = plan(mail(CLASSIFIED), now=now)
    assert found.instance_id == date
    assert reason(found, "instance_id") == (date, "today's date")


def test_invalid_instance_id_falls_back_to_the_date() -> None:
    field = "X-GreenArrow-InstanceID: abc"
    assert plan(mail(CLASSIFIED, field)).instance_id == "260301"


@pytest.mark.parametrize(
    ("field", "site", "expected"),
    [
        ("X-GreenArrow-ListID: h1", SITE, ("h1", "X-GreenArrow-ListID")),
        ("X-GreenArrow-ListID: not valid", SITE, ("t100", "class newsletter")),
        ("Subject: x", SITE, ("t100", "class newsletter")),
    ],
)
def test_list_id_comes_from_header_or_class(
    field: str, site: str, expected: tuple[str, str]
) -> None:
    found = plan(mail(CLASSIFIED, field), site=site)
    assert reason(found, "list_id") == expected
    assert found.listid == expected[0]


def test_mail_may_have_no_list_id() -> None:
    assert plan(mail("X-GreenArrow-MailClass: a"), site="mail_classes: {a: {}}").listid == ""


# Monitor.


def test_monitor_groups_by_x_campaignid() -> None:
    assert plan(mail(CLASSIFIED, "X-CampaignID: user:17")).monitor == "user:17"
    assert len(plan(mail(CLASSIFIED, f"X-CampaignID: {'x' * 60000}")).monitor) == 128


def test_monitor_groups_by_from_address() -> None:
    one = plan(mail(CLASSIFIED, sender="Anna <news@example.com>")).monitor
    assert one == plan(mail(CLASSIFIED, sender='"Bob, of <us>" <news@example.com>')).monitor
    assert one == plan(mail(CLASSIFIED, sender="Bob <NEWS@example.com>")).monitor
    assert one == plan(mail(CLASSIFIED, sender="news@example.com")).monitor
    assert one != plan(mail(CLASSIFIED, sender="other@example.com")).monitor
    assert len(one) == 32


def test_monitor_groups_by_subject() -> None:
    one, other = (
        parse(f"{CLASSIFIED}\nFrom: a@example.com\nSubject: {subject}\n\n".encode())
        for subject in ("Offers", "Other offers")
    )
    assert plan(one).monitor != plan(other).monitor


def test_monitor_group_without_from_and_subject() -> None:
    assert len(plan(parse(f"{CLASSIFIED}\n\n".encode())).monitor) == 32


# What is recorded of the recipient.

OBSCURED = "X-GreenArrow-Obscured-Email: user-7"
BAD_OBSCURED = "X-GreenArrow-Obscured-Email: ü"
TRACKING_ID = "X-GreenArrow-Click-Tracking-ID: 4711"
AGGREGATE = SITE.replace("list_id: t100,", "list_id: t100, privacy: aggregate,")
TWO = (RECIPIENT, "second@example.org")


@pytest.mark.parametrize(
    ("fields", "recipients", "site", "email", "logged", "source"),
    [
        ((), (RECIPIENT,), SITE, RECIPIENT, (RECIPIENT,), "envelope"),
        ((OBSCURED,), (RECIPIENT,), SITE, "user-7", ("user-7",), "X-GreenArrow-Obscured-Email"),
        ((OBSCURED,), TWO, SITE, "", ("user-7",), "several recipients"),
        ((BAD_OBSCURED,), (RECIPIENT,), SITE, "", (), "X-GreenArrow-Obscured-Email"),
        ((BAD_OBSCURED,), TWO, SITE, "", (), "several recipients"),
        ((OBSCURED, "X-GreenArrow-Obscured-Email: 8"), (RECIPIENT,), SITE, "", (),
         "X-GreenArrow-Obscured-Email"),
        ((), TWO, SITE, "", TWO, "several recipients"),
        ((), (RECIPIENT, RECIPIENT), SITE, RECIPIENT, (RECIPIENT, RECIPIENT), "envelope"),
        ((), (RECIPIENT, "reader@EXAMPLE.org"), SITE, RECIPIENT, (RECIPIENT, "reader@EXAMPLE.org"),
         "envelope"),
        ((), (RECIPIENT, "Reader@example.org"), SITE, "", (RECIPIENT, "Reader@example.org"),
         "several recipients"),
        ((), (RECIPIENT,), AGGREGATE, "", (), "class newsletter"),
        ((OBSCURED,), (RECIPIENT,), AGGREGATE, "", ("user-7",), "class newsletter"),
        ((), ("l\udce4user@example.org",), SITE, "l\udce4user@example.org",
         ("l\udce4user@example.org",), "envelope"),
    ],
)  # fmt: skip
def test_recipient_is_recorded_obscured_or_not_at_all(
    fields: tuple[str, ...],
    recipients: tuple[str, ...],
    site: str,
    email: str,
    logged: tuple[str, ...],
    source: str,
) -> None:
    found = plan(mail(CLASSIFIED, *fields), envelope(*recipients), site)
    assert found.email == email
    assert found.logged == logged
    assert reason(found, "recorded recipient") == (email or "none", source)


def test_invalid_obscured_address_is_a_warning() -> None:
    warnings = plan(mail(CLASSIFIED, BAD_OBSCURED)).warnings
    assert "X-GreenArrow-Obscured-Email: must be ASCII" in warnings
    assert "recipient not recorded: the obscured address is invalid" in warnings


def test_click_tracking_id_is_not_recorded_with_aggregate_privacy() -> None:
    assert plan(mail(CLASSIFIED, TRACKING_ID)).click_tracking_id == "4711"
    assert plan(mail(CLASSIFIED, TRACKING_ID), site=AGGREGATE).click_tracking_id == ""
    assert plan(mail(CLASSIFIED)).click_tracking_id == ""


def test_mail_without_recipients_records_none() -> None:
    found = plan(mail(CLASSIFIED), replace(envelope(), recipients=()))
    assert found.email == ""
    assert found.logged == ()


# Several recipients.


def test_several_recipients_share_a_body_with_a_warning() -> None:
    found = plan(mail(CLASSIFIED), envelope(*TWO))
    assert found.refusal is None
    assert "several recipients share one body: links identify none of them" in found.warnings


@pytest.mark.parametrize(("recipients", "refused"), [(TWO, True), ((RECIPIENT, RECIPIENT), False)])
def test_several_recipients_are_rejected_if_the_class_says_so(
    recipients: tuple[str, ...], refused: bool
) -> None:
    site = SITE.replace("list_id: t100,", "list_id: t100, multiple_recipients: reject,")
    found = plan(mail(CLASSIFIED), envelope(*recipients), site)
    assert found.refusal == (ONE_RECIPIENT if refused else None)
    assert str(ONE_RECIPIENT) == "550 5.5.3 this Mail Class allows one recipient per message"


# Removed header fields.


def test_control_headers_and_fields_that_we_replace_are_removed() -> None:
    message = mail(
        "X-GreenArrow-MailClass: newsletter",
        "X-GreenArrow-Unknown: 1",
        "X-Fletching-Route: b",
        "X-Mailer-Info: of another sender",
        "List-Unsubscribe-Post: of nothing",
        "X-CampaignID: stays",
    )
    assert plan(message).remove == {4, 5, 6, 7, 8}


def test_mailer_info_stays_without_link_keys() -> None:
    found = plan(
        mail("X-GreenArrow-MailClass: a", "X-Mailer-Info: x"), site="mail_classes: {a: {}}"
    )
    assert found.remove == {4}
    assert "no X-Mailer-Info: link_keys is not set" in found.warnings


def test_list_unsubscribe_post_stays_with_its_list_unsubscribe() -> None:
    message = mail(CLASSIFIED, "List-Unsubscribe: <https://e.com>", "List-Unsubscribe-Post: x")
    assert plan(message).remove == {4}


# Signatures.

SIGNED = [("example.com", "s1")]


def signed(found: Plan) -> list[tuple[str, str]]:
    return [(each.domain, each.selector) for each in found.signatures]


def test_classified_mail_is_signed_with_the_default_key() -> None:
    found = plan(mail(CLASSIFIED))
    assert signed(found) == SIGNED
    assert reason(found, "dkim") == ("s1._domainkey.example.com", "default key")


@pytest.mark.parametrize(
    ("dkim", "fields", "expected"),
    [
        ("{}", (), []),
        ("{sign_unclassified: true}", (), SIGNED),
        ("{sign_unclassified: true, enabled: false}", (), []),
        ("{sign_unclassified: true}", ('X-GreenArrow-DKIM: {"selector": "s2"}',),
         [("example.com", "s2")]),
        ("{}", ("X-GreenArrow-DKIM: {}",), []),
    ],
)  # fmt: skip
def test_mail_without_class_is_signed_with_sign_unclassified(
    dkim: str, fields: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    keys = (DKIM_KEY, dkim_key("example.com", "s2"))
    found = plan(mail(*fields), site=f"dkim: {dkim}", keys=keys)
    assert signed(found) == expected


def test_dkim_enabled_false_makes_no_signature() -> None:
    site = "on_invalid_header: reject\n" + SITE.replace("dkim: {", "dkim: {enabled: false, ")
    found = plan(mail(CLASSIFIED, "X-GreenArrow-DKIM: {}"), site=site)
    assert found.refusal is None
    assert found.signatures == ()
    assert reason(found, "dkim") == ("no", "dkim.enabled")
    assert found.warnings == ("X-GreenArrow-DKIM: ignored: dkim.enabled is false",)


def test_dkim_header_is_ignored_in_mail_from_sendmail() -> None:
    keys = (DKIM_KEY, dkim_key("example.com", "s2"))
    message = mail(CLASSIFIED, 'X-GreenArrow-DKIM: {"selector": "s2"}')
    assert signed(plan(message, keys=keys)) == [("example.com", "s2")]
    local = plan(message, envelope(local=True), "on_invalid_header: reject\n" + SITE, keys=keys)
    assert local.refusal is None
    assert signed(local) == SIGNED
    assert "X-GreenArrow-DKIM: ignored in mail from sendmail" in local.warnings


@pytest.mark.parametrize(("local", "dkim"), [(True, "dkim: {"), (False, "dkim: {enabled: false, ")])
def test_ignored_dkim_header_never_rejects_the_mail(local: bool, dkim: str) -> None:
    site = "on_invalid_header: reject\n" + SITE.replace("dkim: {", dkim)
    found = plan(mail(CLASSIFIED, "X-GreenArrow-DKIM: {"), envelope(local=local), site)
    assert found.refusal is None
    assert found.warnings == ("X-GreenArrow-DKIM: must be valid JSON",)


def test_missing_key_is_a_warning() -> None:
    found = plan(mail(CLASSIFIED, sender="a@other.example"))
    assert found.signatures == ()
    assert found.warnings == ("no DKIM signature: no default key for other.example",)


# Options that the Plan passes on.


def test_plan_has_the_options_that_later_steps_need() -> None:
    site = SITE + "on_store_failure: untracked\ncampaign_window: 3d\nbounce_memory: 2d\n"
    found = plan(mail(CLASSIFIED), site=site)
    assert found.untracked_without_store
    assert found.window == 3 * 86400
    assert found.bounce_memory == 2 * 86400
    assert not plan(mail(CLASSIFIED)).untracked_without_store


def test_ordinary_mail_has_no_warnings() -> None:
    assert plan(mail(CLASSIFIED)).warnings == ()


# The second pass.


def processed(mtaid: str) -> Message:
    """A mail that went out by that VirtualMTA before."""
    facts = Facts(CAMPAIGN, 1, "newsletter", "1", "t100", "", RECIPIENT, mtaid, 1772355600)
    return mail(f"X-Mailer-Info: {KEYRING.seal(Kind.MAILER_INFO, facts)}")


@pytest.mark.parametrize(
    ("mtaid", "around", "members", "warning"),
    [
        ("a", envelope(), ["a"], None),
        ("A", envelope(), ["a"], None),
        ("a", envelope(mailer=None, local=True), ["a"], None),
        ("", envelope(), None, None),
        ("gone", envelope(), None, "no longer configured"),
        ("a", envelope(mailer="local"), None, "transport is local"),
        ("a", envelope(client="198.51.100.7"), None, None),
        ("a", envelope(client="198.51.100.7", login="x"), ["a"], None),
        ("a", envelope(client="198.51.100.7", mailer=None), None, "untrusted client"),
    ],
)
def test_second_pass_is_routed_as_the_first_was(
    mtaid: str, around: Envelope, members: list[str] | None, warning: str | None
) -> None:
    found = plan(processed(mtaid), around)
    assert [member.name for member in found.candidates] == (members or [])
    assert len(found.warnings) == (warning is not None)
    assert (warning or "") in "".join(found.warnings)
    assert found.mail_class is None
    assert found.remove == frozenset()
    assert found.signatures == ()
    assert found.nothing == (members is None)


def test_second_pass_needs_no_route_with_route_by_sender() -> None:
    assert plan(processed("a"), site="route_by: sender\n" + SITE).candidates == ()
