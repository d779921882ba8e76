"""route.py: which VirtualMTA a mail gets, and which mail gets none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fletching.mail.envelope import Recipient
from fletching.policy.plan import Plan, Tracking
from fletching.policy.route import ALL_PAUSED

from tests.setting import envelope, mail, plan, reason

KEYS = "link_keys: link-keys\n"
ROUTES = """\
mail_classes:
  bulk: {virtual_mta: pool}
  single: {virtual_mta: b}
  free: {}
virtual_mtas:
  a: {transport: vmta-a}
  B: {transport: vmta-b, fallback: a}
  c: {transport: vmta-c}
  pool: {pool: {a: 3, b: 1}, sticky: campaign}
"""


def routed(
    mail_class: str, *fields: str, paused: tuple[str, ...] = (), text: str = ROUTES, **around: Any
) -> Plan:
    message = mail(f"X-GreenArrow-MailClass: {mail_class}", *fields)
    return plan(message, envelope(**around), text, paused=paused)


def members(found: Plan) -> list[tuple[str, str, int]] | None:
    """The candidates by name; None for Postfix's own routing."""
    if found.refusal == ALL_PAUSED:
        return []
    return sorted((each.name, each.transport, each.weight) for each in found.candidates) or None


A, B, C = ("a", "vmta-a", 1), ("B", "vmta-b", 1), ("c", "vmta-c", 1)
MTA = "X-GreenArrow-MtaID"


@pytest.mark.parametrize(
    ("mail_class", "field", "paused", "expected", "source"),
    [
        ("single", None, (), [B], "class single"),
        ("single", f"{MTA}: c", (), [C], MTA),
        ("single", f"{MTA}: C", (), [C], MTA),
        ("single", f"{MTA}: nosuch", (), [B], "class single"),
        ("single", f"{MTA}: a,b", (), [B], "class single"),
        ("free", f"{MTA}: c", (), [C], MTA),
        ("free", f"{MTA}: pool", (), [("B", "vmta-b", 1), ("a", "vmta-a", 3)], MTA),
        ("bulk", None, (), [("B", "vmta-b", 1), ("a", "vmta-a", 3)], "class bulk"),
        # A pool skips a paused member; a paused single VirtualMTA has a fallback or none.
        ("bulk", None, ("a",), [("B", "vmta-b", 1)], "class bulk"),
        ("bulk", None, ("a", "b"), [], "class bulk"),
        ("single", None, ("b",), [A], "class single"),
        ("single", None, ("b", "a"), [], "class single"),
        ("single", f"{MTA}: c", ("c",), [], MTA),
        ("single", f"{MTA}: c", ("a", "b"), [C], MTA),
    ],
)
def test_virtual_mta_comes_from_header_or_class_and_skips_paused_ones(
    mail_class: str,
    field: str | None,
    paused: tuple[str, ...],
    expected: list[tuple[str, str, int]],
    source: str,
) -> None:
    found = routed(mail_class, *([field] if field else []), paused=paused)
    assert members(found) == expected
    assert reason(found, "virtual_mta")[1] == source


def test_mail_may_have_no_virtual_mta() -> None:
    assert routed("free").member is None
    assert routed("free", f"{MTA}: nosuch").member is None


def test_unknown_virtual_mta_is_a_warning() -> None:
    warning = f"{MTA}: must name a configured VirtualMTA"
    assert warning in routed("single", f"{MTA}: nosuch").warnings


@pytest.mark.parametrize(
    ("mailers", "allowed", "expected"),
    [
        (("smtp",), "", True),
        (("relay",), "", True),
        (("smtp", "relay"), "", True),
        (("local",), "", False),
        (("virtual",), "", False),
        (("lmtp",), "", False),
        (("error",), "", False),
        (("smtp", "local"), "", False),
        (("smtp", None), "", False),
        ((None,), "", False),
        ((None,), "routed_mailers: [smtp, unknown]\n", True),
        (("relay",), "routed_mailers: [smtp, unknown]\n", False),
        (("vmta-a",), "routed_mailers: [vmta-a]\n", True),
    ],
)
def test_mail_with_local_recipients_is_not_routed(
    mailers: tuple[str | None, ...], allowed: str, expected: bool
) -> None:
    recipients = tuple(Recipient(f"r{n}@example.org", mailer) for n, mailer in enumerate(mailers))
    found = plan(
        mail("X-GreenArrow-MailClass: single"),
        replace(envelope(), recipients=recipients),
        allowed + ROUTES,
    )
    assert (found.member is not None) == expected
    warnings = [
        text
        for text in found.warnings
        if text.startswith("not routed: a recipient's Postfix transport")
    ]
    assert bool(warnings) != expected


BY_SENDER = f"route_by: sender\n{KEYS}bounce_mailbox: b@example.com\n{ROUTES}"


@pytest.mark.parametrize(
    ("text", "sender", "expected"),
    [
        (BY_SENDER, "app@example.com", [B]),
        (BY_SENDER, "", None),
        (BY_SENDER + "verp: false\n", "app@example.com", None),
        (BY_SENDER.replace("bounce_mailbox: b@example.com\n", ""), "app@example.com", None),
    ],
)
def test_route_by_sender_requires_a_verp_tag(
    text: str, sender: str, expected: list[tuple[str, str, int]] | None
) -> None:
    text = text.replace("single: {", "single: {list_unsubscribe: false, ")
    found = routed("single", text=text, sender=sender)
    assert found.by_sender
    assert members(found) == expected
    warning = "not routed: route_by: sender requires a VERP tag"
    assert (warning in found.warnings) == (expected is None)


def test_mail_without_class_gets_no_route_tracking_or_unsubscribe() -> None:
    found = plan(
        mail(
            f"{MTA}: a",
            "X-GreenArrow-Click-Tracking-Do: yes",
            "X-GreenArrow-BounceMailboxOverride: b@example.com",
            "X-GreenArrow-List-Unsubscribe-HTTP-URL: https://example.com/u",
        ),
        site=ROUTES,
    )
    assert found.candidates == ()
    assert found.bounce_mailbox is None
    assert found.unsubscribe is None
    assert found.tracking == Tracking()
