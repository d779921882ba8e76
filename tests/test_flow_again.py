"""flow.py: the second pass, and forged route headers."""

from __future__ import annotations

import pytest
from fletching.mail.message import Message, parse
from fletching.outgoing.edits import (
    AddHeader,
    DeleteHeader,
    InsertHeader,
    replay,
)
from fletching.outgoing.flow import Outcome
from fletching.policy.route import ALL_PAUSED
from fletching.tokens import Keyring, Kind, LinkKey

from tests.setting import (
    CLASSIFIED,
    KEYRING,
    LINK_KEY,
    SITE,
    Store,
    carried,
    envelope,
    mail,
    names,
    newsletter,
    setup,
    tokens,
)

# The second pass.


def requeued(outcome: Outcome, *fields: bytes) -> Message:
    """The mail as Postfix has it after the first pass."""
    return parse(b"".join(fields) + bytes(outcome.final))


def test_second_pass_only_sets_the_route_again() -> None:
    first = carried(newsletter())
    again = requeued(first)
    for around in (envelope(mailer=None, local=True), envelope()):
        second = carried(again, around)
        assert first.member is not None
        assert second.edits == (
            AddHeader(b"X-Fletching-Route", b" " + first.member.transport.encode()),
            DeleteHeader(b"X-Fletching-Route", 1),
        )
        assert second.final == again == replay(again, second.edits)
        assert second.sender is None
        assert second.refusal is None


def test_second_pass_of_mail_without_a_route_has_no_edits() -> None:
    first = carried(mail("X-GreenArrow-MailClass: crm"))
    again = requeued(first)
    second = carried(again)
    assert second.edits == ()
    assert second.final == again


def test_second_pass_does_not_ask_the_store_and_has_no_class() -> None:
    store = Store()
    site = setup("default_mail_class: newsletter\n" + SITE)
    first = carried(newsletter(), opened=site, store=store)
    second = carried(requeued(first), opened=site, store=store)
    assert len(store.questions) == 1
    assert second.plan.mail_class is None
    assert second.facts is None


def test_second_pass_is_recognized_beside_foreign_mailer_info() -> None:
    first = carried(newsletter())
    again = requeued(first, b"X-Mailer-Info: 10.of.another\r\nX-Mailer-Info:\r\n")
    assert carried(again).plan.mail_class is None
    assert carried(again, opened=setup("default_mail_class: newsletter\n" + SITE)).facts is None


def test_second_pass_is_recognized_while_its_key_is_kept() -> None:
    again = requeued(carried(newsletter()))
    rotated = Keyring((LINK_KEY, LinkKey(2, 1, b"n" * 32)))
    assert (
        carried(again, opened=setup(link_keys=rotated)).plan.decisions[-2].setting == "second pass"
    )
    retired = Keyring((LinkKey(2, 1, b"n" * 32),))
    assert carried(again, opened=setup(link_keys=retired)).edits == ()


def test_mail_with_control_headers_is_no_second_pass() -> None:
    again = requeued(carried(newsletter()), b"X-GreenArrow-MailClass: newsletter\r\n")
    outcome = carried(again)
    assert outcome.facts is not None
    assert names(outcome.final).count(b"X-Mailer-Info") == 1
    assert [token.facts.number for token in tokens(outcome)
            if token.kind is Kind.MAILER_INFO] == [1]  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.MAILER_INFO])
def test_token_of_another_kind_makes_no_second_pass(kind: Kind) -> None:
    facts = carried(newsletter()).facts
    assert facts is not None
    message = mail(f"X-Mailer-Info: {KEYRING.seal(kind, facts)}")
    site = setup("default_mail_class: newsletter\n" + SITE)
    assert carried(message, opened=site).facts is not None


@pytest.mark.parametrize("value", ["", "x", "A" * 100, "BAH\udcff"])
def test_invalid_token_makes_no_second_pass(value: str) -> None:
    site = setup("default_mail_class: newsletter\n" + SITE)
    outcome = carried(mail(f"X-Mailer-Info: {value}"), opened=site)
    assert outcome.facts is not None
    assert names(outcome.final).count(b"X-Mailer-Info") == 1


def test_second_pass_is_deferred_if_all_virtual_mtas_are_paused() -> None:
    again = requeued(carried(newsletter()))
    everything = setup(paused={"a", "b"})
    assert carried(again, opened=everything).refusal == ALL_PAUSED


# The route header.

FORGED = ("X-Fletching-Route: vmta-secret", "x-fletching-route: vmta-b", "X-FLETCHING-ROUTE : c")


def watched(message: Message, outcome: Outcome) -> list[bytes]:
    """What milter_header_checks sees: the fields that a milter adds, as it adds them."""
    routes = [
        edit.value.strip()
        for edit in outcome.edits
        if isinstance(edit, (AddHeader, InsertHeader)) and edit.name.lower() == b"x-fletching-route"
    ]
    # No route header leaves.
    final = replay(message, outcome.edits)
    assert not [h for h in final.headers if h.key == b"x-fletching-route"]
    assert final == outcome.final
    return routes


def test_forged_route_of_an_untrusted_client_is_removed() -> None:
    message = mail(*FORGED)
    assert watched(message, carried(message, envelope(client="198.51.100.7"))) == []


def test_forged_route_without_class_is_removed() -> None:
    message = mail(*FORGED)
    assert watched(message, carried(message)) == []


@pytest.mark.parametrize("mail_class", ["newsletter", "crm"])
def test_forged_route_with_class_is_replaced(mail_class: str) -> None:
    message = mail(f"X-GreenArrow-MailClass: {mail_class}", *FORGED)
    outcome = carried(message)
    expected = [outcome.member.transport.encode()] if outcome.member else []
    assert watched(message, outcome) == expected
    assert bool(expected) == (mail_class == "newsletter")


@pytest.mark.parametrize("client", ["127.0.0.1", "198.51.100.7"])
def test_forged_route_in_a_second_pass_is_replaced(client: str) -> None:
    """Our own field is added below the forged ones and must be deleted all the same."""
    first = carried(newsletter())
    forged = "".join(f"{field}\r\n" for field in FORGED).encode()
    again = requeued(first, forged)
    routes = watched(again, carried(again, envelope(client=client)))
    assert first.member is not None
    assert routes == ([first.member.transport.encode()] if client == "127.0.0.1" else [])


def test_only_configured_transports_can_be_chosen() -> None:
    message = mail(CLASSIFIED, "X-GreenArrow-MtaID: vmta-a")
    outcome = carried(message)
    assert outcome.member is not None
    assert outcome.member.transport in ("vmta-a", "vmta-b")
