"""flow.py: mail from end to end, with a constant in place of the store."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fletching.mail.message import Header, Message, parse
from fletching.numbering import Numbered
from fletching.outgoing.edits import (
    AddHeader,
    ChangeSender,
    DeleteHeader,
    InsertHeader,
    ReplaceBody,
    replay,
)
from fletching.outgoing.flow import carry
from fletching.outgoing.text_parts import TextPartCache
from fletching.policy.route import ALL_PAUSED
from fletching.policy.setup import Stamp
from fletching.policy.store_question import STORE_UNAVAILABLE
from fletching.tokens import Kind, found_in
from hypothesis import given
from hypothesis import strategies as st

from tests.setting import (
    CAMPAIGN,
    CLASSIFIED,
    KEYRING,
    NEWSLETTER,
    NOW,
    RECIPIENT,
    SITE,
    UNTRACKED,
    Store,
    carried,
    envelope,
    kinds,
    mail,
    names,
    newsletter,
    setup,
    tokens,
)

# One mail from end to end.


def test_edits_come_in_the_documented_order() -> None:
    outcome = carried(newsletter())
    requested = [
        (type(edit), getattr(edit, "name", None), getattr(edit, "index", None))
        for edit in outcome.edits
    ]
    assert requested == [
        (AddHeader, b"X-Fletching-Route", None),
        (DeleteHeader, b"X-Fletching-Route", 1),
        (DeleteHeader, b"X-GreenArrow-Click-Tracking-ID", 1),
        (DeleteHeader, b"X-GreenArrow-InstanceID", 1),
        (DeleteHeader, b"X-GreenArrow-MailClass", 1),
        (AddHeader, b"List-Unsubscribe", None),
        (AddHeader, b"List-Unsubscribe-Post", None),
        (AddHeader, b"X-Mailer-Info", None),
        (AddHeader, b"Date", None),
        (InsertHeader, b"DKIM-Signature", None),
        (ChangeSender, None, None),
        (ReplaceBody, None, None),
    ]
    assert replay(newsletter(), outcome.edits) == outcome.final


def test_newsletter_leaves_with_our_fields_and_tokens() -> None:
    outcome = carried(newsletter())
    assert outcome.refusal is None
    assert outcome.warnings == ()
    assert not outcome.untracked
    assert names(outcome.final) == [
        b"DKIM-Signature",
        b"From",
        b"To",
        b"Subject",
        b"Message-ID",
        b"MIME-Version",
        b"Content-Type",
        b"List-Unsubscribe",
        b"List-Unsubscribe-Post",
        b"X-Mailer-Info",
        b"Date",
    ]
    assert outcome.sender == f"bounces+{KEYRING.tag(CAMPAIGN, 1)}@example.com"
    assert kinds(outcome) == [
        "CLICK_HTML",
        "CLICK_TEXT",
        "LIST_UNSUBSCRIBE",
        "LIST_UNSUBSCRIBE",
        "MAILER_INFO",
        "OPEN",
        "UNSUBSCRIBE_TEXT",
    ]


def test_all_tokens_have_the_same_facts() -> None:
    outcome = carried(newsletter())
    assert outcome.member is not None
    (facts,) = {token.facts for token in tokens(outcome)}
    assert facts == outcome.facts
    assert facts.campaign == CAMPAIGN
    assert facts.number == 1
    assert facts.sendid == "newsletter100525"
    assert facts.listid == "t100"
    assert facts.click_tracking_id == "order-4711"
    assert facts.email == RECIPIENT
    assert facts.mtaid == outcome.member.name
    assert facts.sent == int(NOW.timestamp())
    destinations = {token.destination for token in tokens(outcome)}
    assert destinations == {
        "",
        "http://www.example.org/a",
        "http://www.example.org/a?x=1&y=2",
        "https://example.org/bye",
    }


def test_question_to_the_store() -> None:
    store = Store()
    carried(newsletter(), store=store)
    (question,) = store.questions
    assert question.sendid == "newsletter100525"
    assert question.mail_class == "newsletter"
    assert question.instance_id == "100525"
    assert question.now == int(NOW.timestamp())
    assert question.window == 21 * 86400
    assert question.bounce_memory == 10 * 86400
    assert re.fullmatch(r"[a-z2-7]{12}", question.candidate)
    assert dict(question.remember) == {
        "listid": "t100",
        "click_tracking_id": "order-4711",
        "email": RECIPIENT,
        "mtaid": "a",
    }


def test_nothing_is_stored_for_bounces_without_a_verp_tag() -> None:
    store = Store()
    carried(newsletter(), opened=setup(SITE + "verp: false\n"), store=store)
    assert store.questions[0].remember == ()


def test_store_is_asked_once_and_only_for_mail_that_is_sent() -> None:
    for message, site, asks in (
        (newsletter(), SITE, 1),
        (mail(), SITE, 0),
        (mail("X-GreenArrow-InstanceID: 1"), SITE, 0),
        (newsletter("X-GreenArrow-ListID: -"), SITE + "on_invalid_header: reject\n", 0),
    ):
        store = Store()
        carried(message, opened=setup(site), store=store)
        assert len(store.questions) == asks
    store = Store()
    carried(newsletter(), envelope(client="198.51.100.7"), store=store)
    assert store.questions == []
    paused = setup(paused={"a", "b"})
    carried(newsletter(), opened=paused, store=store)
    assert store.questions == []


def members(sticky: str, *instances: str) -> list[str]:
    """Which members carry 40 mails of those InstanceIDs."""
    site = setup(SITE.replace("{a: 3, b: 1}", f"{{a: 3, b: 1}}, sticky: {sticky}"))
    taken = []
    for chance in range(40):
        store, stamp = Store(Numbered(CAMPAIGN, chance + 1)), Stamp(NOW, bytes([chance] * 8))
        asks = f"X-GreenArrow-InstanceID: {instances[chance % len(instances)]}"
        member = carry(
            mail(CLASSIFIED, asks), envelope(), site, store, stamp, TextPartCache()
        ).member
        assert member is not None
        taken.append(member.name)
    return taken


def test_pool_member_is_random_for_each_message() -> None:
    assert set(members("message", "1")) == {"a", "b"}


@pytest.mark.parametrize("sticky", ["campaign", "recipient_domain"])
def test_sticky_pool_keeps_one_member(sticky: str) -> None:
    assert len(set(members(sticky, "1"))) == 1


def test_sticky_campaign_ignores_the_case_of_the_instance_id() -> None:
    assert all(len(set(members("campaign", f"{n}x", f"{n}X"))) == 1 for n in range(20))


def test_different_campaigns_use_different_members() -> None:
    assert len(set(members("campaign", *map(str, range(40))))) == 2


# Mail without a Mail Class or from untrusted clients.

STRANGE = [
    b"",
    b"\r\n",
    b"Subject: x\r\n\r\n",
    b"no header at all\r\n",
    b"Subject: \xff\xfe\r\nX: \0\r\n\r\n\xff\0\r\rbare\n\n",
    NEWSLETTER.replace("X-GreenArrow", "X-Other").encode(),
    b"List-Unsubscribe-Post: x\r\nX-Mailer-Info: y\r\nDKIM-Signature: v=1\r\n\r\n",
    b"Subject: x\r\n\r\n" + b"y" * 5000 + b"\r\n",
]


@pytest.mark.parametrize("raw", STRANGE)
@pytest.mark.parametrize("client", ["127.0.0.1", "198.51.100.7"])
def test_mail_without_class_and_control_headers_is_not_edited(raw: bytes, client: str) -> None:
    message = parse(raw)
    outcome = carried(message, envelope(client=client))
    assert outcome.edits == ()
    assert outcome.final == message
    assert outcome.refusal is None
    assert outcome.sender is None
    assert outcome.member is None
    assert outcome.warnings == ()
    assert not outcome.untracked


def test_untrusted_mail_loses_only_control_headers() -> None:
    message = newsletter("X-GreenArrow-MailClass: other", "X-Fletching-Route: vmta-a")
    outcome = carried(message, envelope(client="198.51.100.7"))
    assert all(isinstance(edit, DeleteHeader) for edit in outcome.edits)
    kept = [h for h in message.headers if not h.key.startswith((b"x-green", b"x-fletching"))]
    assert outcome.final == Message(tuple(kept), message.body)


def test_mail_without_class_loses_only_control_headers() -> None:
    message = mail("X-GreenArrow-InstanceID: 1", "X-GreenArrow-BounceMailboxOverride: b@e.com",
                   body="http://example.org/ ##unsubscribetag##http://e.com\n")  # fmt: skip
    outcome = carried(message)
    assert [type(edit) for edit in outcome.edits] == [DeleteHeader, DeleteHeader]
    assert outcome.final.body == message.body
    assert outcome.sender is None


def test_mail_without_class_may_be_signed() -> None:
    site = SITE.replace("dkim: {", "dkim: {sign_unclassified: true, ")
    outcome = carried(mail(), opened=setup(site))
    assert [type(edit) for edit in outcome.edits] == [InsertHeader]
    assert outcome.final.headers[1:] == mail().headers
    assert outcome.final.body == mail().body


# Rejected and deferred mail.


@pytest.mark.parametrize(
    ("field", "site", "reply"),
    [
        (
            "X-GreenArrow-InstanceID: x",
            "on_invalid_header: reject\n" + SITE,
            "550 5.6.0 X-GreenArrow-InstanceID: must",
        ),
        (
            "X-GreenArrow-MtaID: nosuch",
            "on_invalid_header: reject\n" + SITE,
            "550 5.6.0 X-GreenArrow-MtaID: must",
        ),
    ],
)
def test_rejected_mail_is_not_edited(field: str, site: str, reply: str) -> None:
    message = mail(CLASSIFIED, field)
    outcome = carried(message, opened=setup(site))
    assert str(outcome.refusal).startswith(reply)
    assert outcome.edits == ()
    assert outcome.final == message
    assert outcome.warnings


def test_paused_virtual_mta_without_fallback_defers_the_mail() -> None:
    everything = setup(paused={"a", "b"})
    outcome = carried(newsletter(), opened=everything)
    assert outcome.refusal == ALL_PAUSED
    assert str(outcome.refusal) == "451 4.3.0 the VirtualMTA is paused, try again"
    assert outcome.edits == ()


def test_paused_member_gives_its_mail_to_the_other() -> None:
    for paused, expected in (("a", "b"), ("b", "a")):
        outcome = carried(newsletter(), opened=setup(paused={paused}))
        assert outcome.member is not None
        assert outcome.member.name == expected


# The store is unavailable.


def test_mail_is_deferred_without_the_store() -> None:
    outcome = carried(newsletter(), store=Store(None))
    assert outcome.refusal == STORE_UNAVAILABLE
    assert str(outcome.refusal) == "451 4.3.0 campaign store is not available, try again"
    assert outcome.edits == ()
    assert outcome.final == newsletter()


def test_mail_is_sent_untracked_without_the_store() -> None:
    store = Store(None)
    outcome = carried(newsletter(), opened=setup(UNTRACKED), store=store)
    assert outcome.refusal is None
    assert outcome.untracked
    assert outcome.sender == "bounces@example.com"
    assert outcome.facts is not None
    assert (outcome.facts.campaign, outcome.facts.number) == ("", 0)
    assert outcome.member is not None
    assert outcome.warnings == ()
    # Nothing is counted, and the recipient can still unsubscribe.
    assert kinds(outcome) == ["LIST_UNSUBSCRIBE"] * 2 + ["MAILER_INFO", "UNSUBSCRIBE_TEXT"]
    assert {token.facts.email for token in tokens(outcome)} == {RECIPIENT}
    assert names(outcome.final)[0] == b"DKIM-Signature"
    assert b"http://www.example.org/a?x=1&amp;y=2" in outcome.final.body


def test_pool_members_share_mail_without_the_store() -> None:
    taken = set()
    for chance in range(40):
        stamp = Stamp(NOW, bytes([chance] * 8))
        member = carry(
            newsletter(), envelope(), setup(UNTRACKED), Store(None), stamp, TextPartCache()
        ).member
        assert member is not None
        taken.add(member.name)
    assert taken == {"a", "b"}


def test_campaign_sticks_to_its_member_without_the_store() -> None:
    site = setup(UNTRACKED.replace("{a: 3, b: 1}", "{a: 3, b: 1}, sticky: campaign"))
    taken = {}
    for instance in range(40):
        message = mail(CLASSIFIED, f"X-GreenArrow-InstanceID: {instance}")
        members = {
            carry(
                message,
                envelope(),
                site,
                Store(None),
                Stamp(NOW, bytes([chance] * 8)),
                TextPartCache(),
            ).member
            for chance in range(5)
        }
        assert len(members) == 1
        taken[instance] = members.pop()
    assert {member.name for member in taken.values() if member} == {"a", "b"}


def test_route_by_sender_does_not_route_without_the_store() -> None:
    site = f"route_by: sender\n{UNTRACKED}"
    with_store = carried(newsletter(), opened=setup(site))
    assert with_store.member is not None
    assert not any(isinstance(edit, AddHeader) and b"Route" in edit.name
                   for edit in with_store.edits)  # fmt: skip
    outcome = carried(newsletter(), opened=setup(site), store=Store(None))
    assert outcome.sender == "bounces@example.com"
    assert outcome.member is None
    assert outcome.facts is not None
    assert outcome.facts.mtaid == ""
    assert [text for text in outcome.warnings if text.startswith("not routed")]
    unrouted = mail("X-GreenArrow-MailClass: crm")
    assert carried(unrouted, opened=setup(site), store=Store(None)).warnings == ()


# Any headers and any bytes.

LINK = "X-GreenArrow-List-Unsubscribe-HTTP-URL"
VALUES = st.one_of(
    st.sampled_from(["yes", "no", "1", "newsletter", "a", "b", "bulk", "https://e.com/", "{}",
                     "100525", "user-7", "x" * 300, "b@example.com", "List-Unsubscribe=One-Click",
                     "https://e.com/" + "y" * 990, "https://e.com",
                     '{"selector": "s", "use_key_from": "example.com"}']),
    st.text(max_size=40),
)  # fmt: skip
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([
            "X-GreenArrow-MailClass", "X-GreenArrow-InstanceID", "x-greenarrow-listid",
            "X-GreenArrow-MtaID", "X-GreenArrow-BounceMailboxOverride",
            "X-GreenArrow-Obscured-Email", "X-GreenArrow-URL-Domain",
            "X-GreenArrow-Click-Tracking-Do", "X-GreenArrow-Click-Tracking-ID", LINK,
            f"{LINK}-Post", "X-GreenArrow-Tracker-Format", "X-GREENARROW-DKIM",
            "X-GreenArrow-SeedDo", "X-GreenArrow-SeedProgress", "X-GreenArrow-Whatever",
            "X-Fletching-Route", "X-Mailer-Info", "List-Unsubscribe", "X-CampaignID", "From",
            "Sender", "Subject",
        ]),
        VALUES,
    ),
    max_size=12,
)  # fmt: skip


@given(HEADERS, st.sampled_from(["127.0.0.1", "198.51.100.7"]), st.booleans(), st.booleans())
def test_any_control_headers_are_handled(
    fields: list[tuple[str, str]], client: str, classified: bool, shared: bool
) -> None:
    headers = [Header(b"X-GreenArrow-MailClass", b" newsletter", 0)] if classified else []
    for name, value in fields:
        written = b" " + value.encode().replace(b"\r", b"").replace(b"\n", b"\r\n ")
        headers.append(Header(name.encode(), written, len(headers)))
    message = Message(tuple(headers), newsletter().body)
    around = envelope(*([RECIPIENT, "b@example.org"] if shared else [RECIPIENT]), client=client)
    outcome = carried(message, around)
    assert outcome.refusal is None
    assert replay(message, outcome.edits) == outcome.final
    left = {header.key for header in outcome.final.headers}
    assert not [key for key in left if key.startswith((b"x-greenarrow", b"x-fletching"))]
    for edit in outcome.edits:
        if isinstance(edit, (AddHeader, InsertHeader)):
            lines = (edit.name + b":" + edit.value).split(b"\r\n")
            assert max(map(len, lines)) <= 998
            assert all(line.startswith((b" ", b"\t")) and line.strip() for line in lines[1:])
            assert edit.value.isascii()
            assert b"\0" not in edit.value
    if client != "127.0.0.1":
        assert all(isinstance(edit, DeleteHeader) for edit in outcome.edits)
    for warning in outcome.warnings:
        assert warning.isprintable()


@given(st.binary(max_size=400))
def test_any_bytes_are_handled(raw: bytes) -> None:
    message = parse(b"X-GreenArrow-MailClass: newsletter\r\n" + raw)
    outcome = carried(message)
    assert replay(message, outcome.edits) == outcome.final
    assert not outcome.final.has(b"x-greenarrow-mailclass")


def test_mail_without_recipients_is_accepted() -> None:
    """Postfix never sends one, but nothing breaks if it does."""
    outcome = carried(newsletter(), replace(envelope(), recipients=()))
    assert outcome.refusal is None


def test_tokens_are_found_in_the_header() -> None:
    """The tokens are where mail programs will look for them."""
    outcome = carried(newsletter())
    (header,) = outcome.final.all(b"list-unsubscribe")
    assert KEYRING.open(found_in(header.text.decode())).kind is Kind.LIST_UNSUBSCRIBE
    (header,) = outcome.final.all(b"x-mailer-info")
    assert KEYRING.open(found_in(header.value.decode())).kind is Kind.MAILER_INFO
