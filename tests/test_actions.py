"""actions.py: what rules do to a mail: reject, discard, hold, redirect, bcc, header fields."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from fletching.mail.envelope import Envelope, Recipient
from fletching.numbering import Numbered
from fletching.outgoing.edits import (
    AddHeader,
    AddRecipient,
    ChangeSender,
    DeleteHeader,
    Discard,
    Edit,
    Hold,
    InsertHeader,
    RemoveRecipient,
    ReplaceBody,
    replay,
)
from fletching.outgoing.flow import Outcome
from fletching.policy.seed_copy import SeedCopy
from fletching.policy.store_question import SUPPRESSED
from fletching.policy.verdict import Refusal
from fletching.tokens import Facts
from hypothesis import given
from hypothesis import strategies as st

from tests.setting import (
    CAMPAIGN,
    KEYRING,
    NOW,
    RECIPIENT,
    SITE,
    Store,
    carried,
    envelope,
    kinds,
    mail,
    newsletter,
    reason,
    setup,
    tokens,
)

AGENT, SECOND = "anna@agents.example", "ben@agents.example"


def site(*rules: str, base: str = SITE) -> str:
    """The configuration with these rules, named r1, r2, ..."""
    named = (rule.replace("{", f"{{name: r{n}, ", 1) for n, rule in enumerate(rules, 1))
    return base + "rules:\n" + "".join(f"  - {rule}\n" for rule in named)


def acted(
    *rules: str,
    message: object = None,
    around: Envelope | None = None,
    base: str = SITE,
    store: Store | None = None,
) -> Outcome:
    """The Outcome of a mail without a class, or of another one."""
    chosen = mail() if message is None else message
    return carried(chosen, around, setup(site(*rules, base=base)), store)  # type: ignore[arg-type]


def rule(do: str, more: str = "") -> str:
    return f"{{do: {{{do}}}{more}}}"


def edits_of(outcome: Outcome, kind: type[Edit]) -> list[Edit]:
    return [edit for edit in outcome.edits if isinstance(edit, kind)]


def recipients_after(outcome: Outcome, before: Sequence[str]) -> list[str]:
    """Who gets the mail."""
    left = [one for one in before if RemoveRecipient(one) not in outcome.edits]
    return [*left, *(one.address for one in outcome.edits if isinstance(one, AddRecipient))]


# Reject and discard.


def test_reject_refuses_with_the_text_of_the_rule() -> None:
    store = Store()
    outcome = acted(rule("reject: no invoices here"), message=newsletter(), store=store)
    assert outcome.refusal == Refusal(550, "5.7.1", "no invoices here")
    assert outcome.edits == ()
    assert outcome.plan.rejected == "r1"
    assert reason(outcome.plan, "do reject") == ("no invoices here", "r1")
    assert store.questions == [], "a rejected mail takes no message number"


def test_discard_is_the_only_edit() -> None:
    store = Store()
    rules = (rule("bcc: anna@agents.example"), rule("discard: true"))
    outcome = acted(*rules, message=newsletter(), store=store)
    assert (outcome.refusal, outcome.edits) == (None, (Discard(),))
    assert outcome.plan.discarded == "r2"
    assert outcome.facts is None
    assert store.questions == [], "a discarded mail takes no message number"


@pytest.mark.parametrize(
    ("rules", "rejected"),
    [
        ((rule("reject: never"), rule("discard: true")), True),
        ((rule("discard: true"), rule("reject: never")), False),
        ((rule("hold: wait"), rule("discard: true"), rule("reject: never")), False),
    ],
    ids=["reject first", "discard first", "after hold"],
)
def test_the_first_rule_that_ends_the_mail_counts(rules: tuple[str, ...], rejected: bool) -> None:
    outcome = acted(*rules)
    assert (outcome.refusal is not None) == rejected
    assert (Discard() in outcome.edits) != rejected


def test_rules_below_last_do_nothing() -> None:
    outcome = acted(rule("hold: wait", more=", last: true"), rule("reject: never"))
    assert outcome.edits == (Hold("wait"),)


# Trust.


def test_mail_of_strangers_is_left_alone() -> None:
    stranger = envelope(client="192.0.2.9")
    for do in (
        "reject: never",
        "discard: true",
        "hold: wait",
        f"redirect: {AGENT}",
        f"bcc: {AGENT}",
    ):
        assert acted(rule(do), around=stranger).edits == ()
        assert acted(rule(do), around=stranger).refusal is None


def test_mail_without_a_matching_rule_leaves_with_no_edits() -> None:
    assert acted("{when: {sender: '*@other.example'}, do: {hold: wait}}").edits == ()


# Hold.


def test_hold_has_its_reason() -> None:
    outcome = acted(rule("hold: ask Anna"))
    assert outcome.edits == (Hold("ask Anna"),)
    assert outcome.warnings == ("held: ask Anna",)
    assert outcome.plan.hold == "ask Anna"


def test_several_holds_have_all_reasons() -> None:
    outcome = acted(rule("hold: ask Anna"), rule("hold: too big"))
    assert outcome.edits == (Hold("ask Anna; too big"),)


def test_held_mail_of_a_class_is_prepared_as_other_mail() -> None:
    outcome = acted(rule("hold: wait"), message=newsletter())
    assert outcome.facts is not None
    assert outcome.facts.number == 1
    assert isinstance(outcome.edits[-1], ReplaceBody), "the body comes last, in one run"
    assert isinstance(outcome.edits[-2], Hold)


# Redirect.


def test_redirect_replaces_the_recipients() -> None:
    outcome = acted(rule(f"redirect: [{AGENT}, {SECOND}]"))
    removed, added = RemoveRecipient(RECIPIENT), (AddRecipient(AGENT), AddRecipient(SECOND))
    assert outcome.edits == (removed, *added)
    assert outcome.plan.redirected == "r1"


def test_redirect_keeps_a_recipient_who_is_already_one() -> None:
    before = (RECIPIENT, AGENT)
    outcome = acted(rule(f"redirect: [{AGENT}, {SECOND}]"), around=envelope(*before))
    assert outcome.edits == (RemoveRecipient(RECIPIENT), AddRecipient(SECOND))
    assert acted(rule(f"redirect: {RECIPIENT}")).edits == ()


def test_the_last_of_several_redirects_counts_with_a_warning() -> None:
    outcome = acted(rule(f"redirect: {AGENT}"), rule(f"redirect: {SECOND}"))
    assert recipients_after(outcome, [RECIPIENT]) == [SECOND]
    warning = "redirected by several rules: only the last one counts, r2"
    assert warning in outcome.warnings


def test_tokens_and_records_are_of_the_new_recipient() -> None:
    store = Store()
    outcome = acted(rule(f"redirect: {AGENT}"), message=newsletter(), store=store)
    assert {token.facts.email for token in tokens(outcome)} == {AGENT}
    assert "LIST_UNSUBSCRIBE" in kinds(outcome)
    assert outcome.plan.logged == (AGENT,)
    (question,) = store.questions
    assert dict(question.remember)["email"] == AGENT


def test_redirect_to_several_makes_one_body_for_several() -> None:
    outcome = acted(rule(f"redirect: [{AGENT}, {SECOND}]"), message=newsletter())
    assert {token.facts.email for token in tokens(outcome)} == {""}
    assert "LIST_UNSUBSCRIBE" not in kinds(outcome)


def test_redirect_to_one_is_one_recipient_for_a_class_that_wants_one() -> None:
    base = SITE.replace("{list_id: t100", "{list_id: t100, multiple_recipients: reject")
    around = envelope(RECIPIENT, "b@example.org")
    assert acted(message=newsletter(), around=around, base=base).refusal is not None
    outcome = acted(rule(f"redirect: {AGENT}"), message=newsletter(), around=around, base=base)
    assert outcome.refusal is None


REFUSE = SITE + "suppress: refuse\n"


def test_suppression_is_that_of_the_new_recipients() -> None:
    store = Store(Numbered(CAMPAIGN, 1, ("", "complained")))
    rules = (rule(f"redirect: [{AGENT}, {SECOND}]"),)
    outcome = acted(*rules, message=newsletter(), base=REFUSE, store=store)
    assert store.questions[0].recipients == (AGENT, SECOND)
    assert recipients_after(outcome, [RECIPIENT]) == [AGENT]
    assert RemoveRecipient(SECOND) not in outcome.edits


def test_redirect_to_a_suppressed_recipient_is_refused() -> None:
    store = Store(Numbered("", 0, ("unsubscribed",)))
    rules = (rule(f"redirect: {AGENT}"),)
    assert acted(*rules, message=newsletter(), base=REFUSE, store=store).refusal == SUPPRESSED


def test_rules_match_the_mail_as_it_was_submitted() -> None:
    """Not as an earlier rule has changed it."""
    on_first = f"{{when: {{recipient: {RECIPIENT}}}, do: {{bcc: {SECOND}}}}}"
    outcome = acted(rule(f"redirect: {AGENT}"), on_first)
    assert recipients_after(outcome, [RECIPIENT]) == [AGENT, SECOND]


@pytest.mark.parametrize(("count", "refused"), [(1414, False), (1415, True)])
def test_too_many_recipients_to_redirect_are_refused(count: int, refused: bool) -> None:
    many = envelope(*(f"r{number}@example.org" for number in range(count)))
    outcome = acted(rule(f"redirect: {AGENT}"), around=many)
    assert (outcome.refusal is not None) == refused
    assert not refused or str(outcome.refusal).startswith("550 5.5.3")


def test_recipient_that_cannot_be_removed_is_refused() -> None:
    outcome = acted(rule(f"redirect: {AGENT}"), around=envelope("r\udcff@example.org"))
    assert str(outcome.refusal).startswith("550 5.6.7")


# Bcc.


def test_bcc_adds_a_recipient() -> None:
    outcome = acted(rule(f"bcc: [{AGENT}, {RECIPIENT}]"))
    assert outcome.edits == (AddRecipient(AGENT),)


def test_bcc_of_several_rules_add_up() -> None:
    outcome = acted(rule(f"bcc: {AGENT}"), rule(f"bcc: {SECOND}"))
    assert outcome.edits == (AddRecipient(AGENT), AddRecipient(SECOND))


def test_a_bcc_copy_carries_no_personal_links() -> None:
    outcome = acted(rule(f"bcc: {AGENT}"), message=newsletter())
    assert {token.facts.email for token in tokens(outcome)} == {""}
    assert "LIST_UNSUBSCRIBE" not in kinds(outcome)
    assert "bcc: recipients share one body, so links identify none of them" in outcome.warnings
    assert outcome.plan.logged == (RECIPIENT, AGENT)


def test_a_custom_unsubscribe_url_stays_beside_a_bcc() -> None:
    url = "X-GreenArrow-List-Unsubscribe-HTTP-URL: https://shop.example/u"
    outcome = acted(rule(f"bcc: {AGENT}"), message=newsletter(url))
    (field,) = outcome.final.all(b"list-unsubscribe")
    assert field.text == b"<https://shop.example/u>"


def test_a_bcc_is_not_several_recipients_for_a_class_that_wants_one() -> None:
    base = SITE.replace("{list_id: t100", "{list_id: t100, multiple_recipients: reject")
    assert acted(rule(f"bcc: {AGENT}"), message=newsletter(), base=base).refusal is None


def test_a_bcc_does_not_keep_a_suppressed_recipient() -> None:
    hidden = "X-GreenArrow-Obscured-Email: userid-1"
    for fields, address in (((), RECIPIENT), ((hidden,), "userid-1")):
        store = Store(Numbered("", 0, ("unsubscribed",)))
        outcome = acted(
            rule(f"bcc: {AGENT}"), message=newsletter(*fields), base=REFUSE, store=store
        )
        assert store.questions[0].recipients == (address,)
        assert outcome.refusal == SUPPRESSED


# Routes.


@pytest.mark.parametrize(
    ("do", "mailers", "routed"),
    [
        ("hold: wait", ("smtp",), True),
        (f"bcc: {AGENT}", ("smtp",), False),
        ("bcc: b@example.org", ("smtp",), True),
        ("bcc: b@EXAMPLE.org", ("smtp",), True),
        ("bcc: b@example.org", ("local",), False),
        (f"redirect: {AGENT}", ("smtp",), False),
        ("redirect: b@example.org", ("smtp",), True),
    ],
)
def test_route_needs_a_known_transport_of_new_recipients(
    do: str, mailers: tuple[str, ...], routed: bool
) -> None:
    recipients = tuple(Recipient(RECIPIENT, mailer) for mailer in mailers)
    around = Envelope("app@example.com", recipients, "127.0.0.1")
    outcome = acted(rule(do), message=newsletter(), around=around)
    assert (outcome.member is not None) == routed
    assert any(each.startswith("not routed") for each in outcome.warnings) != routed


def test_unknown_may_be_a_routed_mailer() -> None:
    base = SITE + "routed_mailers: [smtp, unknown]\n"
    assert acted(rule(f"bcc: {AGENT}"), message=newsletter(), base=base).member is not None


# Header fields.


def test_headers_are_added_to_mail_without_a_class() -> None:
    outcome = acted(rule("add_headers: {X-Job: '{header.Subject} of {sender_domain}', X-B: b}"))
    assert outcome.edits == (
        AddHeader(b"X-Job", b" Offers of example.com"),
        AddHeader(b"X-B", b" b"),
    )


def test_headers_are_removed() -> None:
    message = mail("X-Secret: 1", "x-secret: 2", "X-Other: 3")
    outcome = acted(rule("remove_headers: [X-SECRET, X-None]"), message=message)
    assert outcome.edits == (DeleteHeader(b"x-secret", 2), DeleteHeader(b"X-Secret", 1))


def test_a_header_is_replaced_by_removing_and_adding_it() -> None:
    do = "remove_headers: [X-Job], add_headers: {X-Job: 'was {header.X-Job}'}"
    outcome = acted(rule(do), message=mail("X-Job: 1"))
    assert [each.text for each in outcome.final.all(b"x-job")] == [b"was 1"]


def test_a_header_that_is_present_stays() -> None:
    outcome = acted(rule("add_headers: {X-Job: ours}"), message=mail("X-Job: 1"))
    assert outcome.edits == ()


def test_the_rule_wins_over_the_class() -> None:
    base = SITE.replace("{list_id: t100", "{list_id: t100, add_headers: {X-Job: c, X-B: c}")
    outcome = acted(rule("add_headers: {x-job: r}"), message=newsletter(), base=base)
    assert [each.text for each in outcome.final.all(b"x-job")] == [b"r"]
    assert [each.text for each in outcome.final.all(b"x-b")] == [b"c"]


def test_a_removed_field_counts_as_missing() -> None:
    message = newsletter("List-Unsubscribe: <https://old.example>", "Date: Sat, 28 Feb 2026 1:00")
    outcome = acted(rule("remove_headers: [List-Unsubscribe, Date]"), message=message)
    assert [each.text for each in outcome.final.all(b"date")] == [
        b"Sun, 01 Mar 2026 09:00:00 +0000"
    ]
    assert "LIST_UNSUBSCRIBE" in kinds(outcome)


def test_mail_without_a_class_may_be_signed_with_its_new_headers() -> None:
    base = SITE.replace("dkim: {", "dkim: {sign_unclassified: true, ")
    outcome = acted(rule("add_headers: {Feedback-ID: 'a:b:c:shop'}"), base=base)
    (signature,) = outcome.final.all(b"dkim-signature")
    assert b"feedback-id" in signature.text


# Seed copies.


def test_a_seed_copy_keeps_its_recipient_and_gets_the_header_fields() -> None:
    seed = "seed1@gmail.example"
    copied = Facts(
        campaign=CAMPAIGN,
        number=1,
        mail_class="newsletter",
        instance_id="100525",
        listid="t100",
        click_tracking_id="",
        email=seed,
        mtaid="",
        sent=int(NOW.timestamp()),
    )
    token = SeedCopy(copied, 1, "127.0.0.1").token(KEYRING)
    message = newsletter(f"X-Fletching-Seed: {token}")
    dos = (*DOS[:3], "add_headers: {X-A: a}", "discard: true", "reject: never")
    outcome = acted(*map(rule, dos), message=message, around=envelope(seed, client="192.0.2.9"))
    assert outcome.refusal is None
    assert outcome.plan.seed_copy is not None
    assert not any(
        isinstance(each, AddRecipient | RemoveRecipient | Hold | Discard) for each in outcome.edits
    )
    copy = acted(rule("add_headers: {X-A: a}"), message=message, around=envelope(seed))
    assert [each.text for each in copy.final.all(b"x-a")] == [b"a"]


# Laws.

DOS = (
    "hold: wait",
    f"redirect: [{AGENT}, {SECOND}]",
    f"bcc: {AGENT}",
    "add_headers: {X-A: '{header.X-B}', X-B: b}",
    "remove_headers: [X-B, Subject]",
    "discard: true",
    "reject: never",
)
ORDER: list[type[Edit]] = [
    DeleteHeader, AddHeader, InsertHeader, ChangeSender, RemoveRecipient, AddRecipient, Hold,
    ReplaceBody,
]  # fmt: skip


@given(
    st.lists(st.sampled_from(DOS), min_size=1, max_size=4),
    st.lists(st.sampled_from(["X-A: 1", "X-B: 2", "x-b: \u00fc"]), max_size=4),
    st.booleans(),
)
def test_edits_replay_and_come_in_a_safe_order(
    dos: list[str], fields: list[str], classified: bool
) -> None:
    message = newsletter(*fields) if classified else mail(*fields)
    outcome = acted(*(rule(do) for do in dos), message=message)
    assert replay(message, outcome.edits) == outcome.final
    if Discard() in outcome.edits:
        assert outcome.edits == (Discard(),)
        return
    kinds_in_order = [ORDER.index(type(edit)) for edit in outcome.edits]
    route = 2 if outcome.member else 0
    assert kinds_in_order[route:] == sorted(kinds_in_order[route:])
