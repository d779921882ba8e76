"""Shadow mode: everything is computed, and only control headers are removed, or nothing at all."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from fletching.admin.explain import explained, show
from fletching.admin.preview import as_json, preview
from fletching.config.consistency import doubts
from fletching.mail.message import Message, parse
from fletching.numbering import Numbered
from fletching.outgoing.edits import DeleteHeader, replay
from fletching.outgoing.flow import TOO_MANY_EDITS, Outcome
from fletching.policy import check_mail, mode, seed_copy
from fletching.policy.control import positions
from fletching.policy.decide import TOO_MANY_FIELDS
from fletching.policy.setup import Stamp
from fletching.policy.store_question import OVER_LIMIT, STORE_UNAVAILABLE, SUPPRESSED
from fletching.policy.verdict import Refusal
from fletching.tokens import Facts, Kind
from rich.console import Console

from tests.cases import for_every
from tests.setting import (
    CAMPAIGN,
    CLASSIFIED,
    ENTROPY,
    KEYRING,
    NOW,
    RECIPIENT,
    SITE,
    Store,
    carried,
    config,
    envelope,
    mail,
    newsletter,
    plan,
    reason,
    setup,
)

ALL = "mode: shadow\n" + SITE
KEEPS = "shadow_keeps_headers: true\n" + ALL
LIMITED = ALL.replace(
    "a: {transport: vmta-a}", "a: {transport: vmta-a, limits: {hour: 1}}"
).replace("virtual_mta: bulk", "virtual_mta: a")
NOT_CONTROLS = [b"From", b"To", b"Subject", b"Message-ID", b"MIME-Version", b"Content-Type"]


def of_class(option: str) -> str:
    """SITE with an option of the newsletter's class."""
    return SITE.replace("newsletter: {", "newsletter: {" + option + ", ", 1)


def check_law(message: Message, outcome: Outcome, *, keeps: bool = False) -> None:
    """Nothing happens to the mail but that its control headers are removed, if at all."""
    assert outcome.is_in_shadow
    assert outcome.refusal is None
    controls = frozenset() if keeps else positions(message.headers)
    assert len(outcome.edits) == len(controls)
    assert all(isinstance(edit, DeleteHeader) for edit in outcome.edits)
    left = tuple(each for each in message.headers if each.position not in controls)
    assert replay(message, outcome.edits) == outcome.final == Message(left, message.body)
    assert (outcome.facts, outcome.member, outcome.sender) == (None, None, None)
    plan = outcome.plan
    acting = (plan.archive, plan.seeding, plan.hold, plan.discarded, plan.removed, plan.added)
    assert not any(acting)


# What happens, and what would.


def test_newsletter_loses_its_control_headers_and_nothing_else() -> None:
    outcome = carried(newsletter(), opened=setup(ALL))
    check_law(newsletter(), outcome)
    assert [header.name for header in outcome.final.headers] == NOT_CONTROLS


def test_newsletter_keeps_control_headers_with_shadow_keeps_headers() -> None:
    outcome = carried(newsletter(), opened=setup(KEEPS))
    check_law(newsletter(), outcome, keeps=True)
    assert outcome.edits == ()


def test_what_would_happen_is_what_happens_in_live_mode() -> None:
    live = carried(newsletter())
    would = carried(newsletter(), opened=setup(ALL)).would
    assert would is not None
    assert (would.final, would.edits, would.sender) == (live.final, live.edits, live.sender)
    assert (would.notes, would.warnings, would.member) == (live.notes, live.warnings, live.member)


RULE = ALL + "rules: [{when: {header: {Subject: Offers}}, do: {%s}}]\n"
REFUSED: dict[str, tuple[str, Message, Numbered | None, Refusal | str]] = {
    "invalid header": (
        "on_invalid_header: reject\n" + ALL,
        newsletter("X-GreenArrow-DKIM: {"),
        Numbered(CAMPAIGN, 1),
        "550 5.6.0 X-GreenArrow-DKIM: must be valid JSON",
    ),
    "suppressed": (
        "suppress: refuse\n" + ALL,
        newsletter(),
        Numbered("", 0, ("unsubscribed",)),
        SUPPRESSED,
    ),
    "over its limit": (LIMITED, newsletter(), Numbered("", 0, (), ""), OVER_LIMIT),
    "Redis is unavailable": (ALL, newsletter(), None, STORE_UNAVAILABLE),
    "too many control headers": (
        ALL,
        newsletter(*(f"X-GreenArrow-{n}: x" for n in range(200))),
        Numbered(CAMPAIGN, 1),
        TOO_MANY_FIELDS,
    ),
    "a rule that rejects": (
        RULE % "reject: no offers",
        newsletter(),
        Numbered(CAMPAIGN, 1),
        "550 5.7.1 no offers",
    ),
}


@for_every(REFUSED)
def test_refused_mail_is_accepted(
    site: str, message: Message, answer: Numbered | None, refusal: Refusal | str
) -> None:
    outcome = carried(message, opened=setup(site), store=Store(answer))
    check_law(message, outcome)
    assert outcome.would is not None
    assert str(outcome.would.refusal) == str(refusal)


@for_every(["discard: true", "hold: look", "redirect: [x@example.com]", "bcc: [x@example.com]"])
def test_actions_of_rules_are_only_computed(action: str) -> None:
    outcome = carried(newsletter(), opened=setup(RULE % action))
    check_law(newsletter(), outcome)
    assert outcome.would is not None
    assert outcome.would.edits
    assert outcome.would.refusal is None


def test_mail_without_a_class_is_not_signed_in_shadow() -> None:
    site = ALL.replace("dkim: {", "dkim: {sign_unclassified: true, ")
    outcome = carried(mail(), opened=setup(site))
    check_law(mail(), outcome)
    assert outcome.would is not None
    assert outcome.would.final.first(b"dkim-signature") is not None


def test_headers_of_dialects_stay() -> None:
    message = newsletter("X-MC-Track: opens", "X-MC-Tags: a")
    outcome = carried(message, opened=setup("dialects: [mandrill]\n" + ALL))
    check_law(message, outcome)
    assert outcome.final.first(b"x-mc-track") is not None


def test_untrusted_mail_loses_control_headers_even_if_mail_in_shadow_keeps_them() -> None:
    outcome = carried(newsletter(), envelope(client="192.0.2.99"), setup(KEEPS))
    assert not outcome.is_in_shadow
    assert not positions(outcome.final.headers)


def test_mail_with_more_control_headers_than_postfix_can_remove_is_refused() -> None:
    many = newsletter(*(f"X-GreenArrow-{n}: x" for n in range(2300)))
    assert carried(many, opened=setup(ALL)).refusal == TOO_MANY_EDITS
    check_law(many, carried(many, opened=setup(KEEPS)), keeps=True)


def test_question_of_mail_in_shadow_only_looks() -> None:
    store = Store()
    carried(newsletter(), opened=setup(ALL), store=store)
    carried(newsletter(), store=store)
    assert [question.only_looks for question in store.questions] == [True, False]


def test_second_pass_of_live_mail_is_live() -> None:
    first = carried(newsletter())
    again = parse(bytes(first.final))
    outcome = carried(again, opened=setup(ALL))
    assert not outcome.is_in_shadow
    assert outcome.member is not None
    assert first.member is not None
    assert outcome.member.name == first.member.name


def test_seed_copy_is_live() -> None:
    facts = Facts(CAMPAIGN, 1, "newsletter", "100525", email=RECIPIENT)
    copy = seed_copy.SeedCopy(facts, 1, "127.0.0.1")
    message = newsletter(f"X-Fletching-Seed: {copy.token(KEYRING)}")
    assert KEYRING.open(copy.token(KEYRING)).kind is Kind.SEED
    outcome = carried(message, opened=setup(ALL))
    assert outcome.plan.seed_copy is not None
    assert not outcome.is_in_shadow


def test_check_mail_is_live_and_ends_at_its_sink() -> None:
    marked = check_mail.mark(KEYRING, RECIPIENT, "[127.0.0.1]:2525", int(NOW.timestamp()))
    outcome = carried(newsletter(f"X-Fletching-Check: {marked}"), opened=setup(ALL))
    assert not outcome.is_in_shadow
    assert outcome.edits[0].value.endswith(b":[127.0.0.1]:2525")  # type: ignore[union-attr]


# Which mail is in shadow.

MODES: dict[str, tuple[str, Message, tuple[str, str] | None]] = {
    "nothing set": (SITE, newsletter(), None),
    "mode: live set": ("mode: live\n" + SITE, newsletter(), None),
    "all": (ALL, newsletter(), ("shadow", "global")),
    "all, no class": (ALL, mail(), ("shadow", "global")),
    "class": (of_class("mode: shadow"), newsletter(), ("shadow", "class newsletter")),
    "another class": (of_class("mode: shadow"), mail(), ("live", "global")),
    "class wins": (
        "mode: shadow\n" + of_class("mode: live"),
        newsletter(),
        ("live", "class newsletter"),
    ),
    "share of 1": (
        of_class("shadow: 1"),
        newsletter(),
        ("shadow", "shadow: 1 of class newsletter"),
    ),
    "share of 0 wins": (
        "mode: shadow\n" + of_class("shadow: 0"),
        newsletter(),
        ("live", "shadow: 0 of class newsletter"),
    ),
}


@for_every(MODES)
def test_mode_and_its_source(site: str, message: Message, expected: tuple[str, str] | None) -> None:
    decided = plan(message, site=site)
    if expected is None:
        assert "mode" not in [each.setting for each in decided.decisions]
        assert decided.shadow is None
    else:
        assert reason(decided, "mode") == expected
        assert (decided.shadow is not None) == (expected[0] == "shadow")


def test_rule_that_rejects_is_only_computed_in_a_class_in_shadow() -> None:
    site = (
        of_class("mode: shadow")
        + "rules: [{when: {header: {Subject: Offers}}, do: {reject: stop}}]\n"
    )
    assert carried(newsletter(), opened=setup(site)).refusal is None
    assert carried(mail(), opened=setup(site)).refusal is not None


def test_class_overrides_shadow_keeps_headers() -> None:
    site = of_class("mode: shadow, shadow_keeps_headers: true")
    check_law(newsletter(), carried(newsletter(), opened=setup(site)), keeps=True)
    site = "shadow_keeps_headers: true\n" + of_class("mode: shadow, shadow_keeps_headers: false")
    check_law(newsletter(), carried(newsletter(), opened=setup(site)))


# A share of a class.


def is_shadow(site: str, number: int, recipient: str = RECIPIENT, queue_id: str = "") -> bool:
    message = mail(CLASSIFIED)
    changed = [
        replace(each, value=b" <%d@example.com>" % number) if each.key == b"message-id" else each
        for each in message.headers
        if not queue_id or each.key != b"message-id"
    ]
    around = replace(envelope(recipient), queue_id=queue_id)
    return plan(replace(message, headers=tuple(changed)), around, site).shadow is not None


def test_message_that_is_live_stays_live_as_the_share_shrinks() -> None:
    shares = [config(of_class(f"shadow: {share}")) for share in (1, 0.9, 0.5, 0.1, 0)]
    for number in range(50):
        chosen = [is_shadow(site, number) for site in shares]  # type: ignore[arg-type]
        assert chosen == sorted(chosen, reverse=True)


def test_same_message_gets_the_same_choice_whatever_the_host_and_the_time() -> None:
    site = of_class("shadow: 0.5")
    one = [is_shadow(site, n) for n in range(20)]
    assert one == [is_shadow(site, n) for n in range(20)]
    assert len(set(one)) == 2
    message, other = newsletter(), replace(setup(site), dkim_keys=())
    stamp = Stamp(NOW.replace(year=2027), bytes(8))
    first = carried(message, replace(envelope(), queue_id="4A"), setup(site)).is_in_shadow
    second = preview(message, replace(envelope(), queue_id="4B"), other, stamp).is_in_shadow
    assert first == second


# An error in what is computed.


def test_undecided_mail_is_in_shadow_only_if_all_mail_is() -> None:
    sites = {
        ALL: True,
        KEEPS: True,
        SITE: False,
        of_class("mode: shadow"): False,
        "mode: shadow\n" + of_class("mode: live"): False,
        "mode: shadow\n" + of_class("shadow: 0.95"): False,
        "mode: shadow\n" + of_class("shadow: 1"): True,
        "mode: shadow\n" + of_class("shadow_keeps_headers: true"): False,
    }
    for site, expected in sites.items():
        found = mode.of_undecided(newsletter(), config(site))
        assert (found is not None) == expected, site
    assert mode.of_undecided(newsletter(), config(ALL)) is not None


# The commands, and what `fletching check` doubts.


def test_preview_shows_the_mail_as_it_leaves() -> None:
    outcome = preview(newsletter(), envelope(), setup(ALL), Stamp(NOW, ENTROPY))
    shown = as_json(outcome, envelope())
    assert shown["mode"] == "shadow"
    assert (shown["verdict"], shown["transport"], shown["virtual_mta"]) == ("accept", None, None)
    assert {edit["edit"] for edit in shown["edits"]} == {"delete_header"}
    assert shown["mail_from"] == envelope().sender
    assert "mode" not in as_json(carried(newsletter()), envelope())


def test_explain_shows_what_would_happen() -> None:
    outcome = preview(newsletter(), envelope(), setup(ALL), Stamp(NOW, ENTROPY))
    shown = explained(outcome, newsletter(), envelope(), setup(ALL))
    assert shown["mode"] == "shadow"
    assert shown["transport"] in ("vmta-a", "vmta-b")
    assert "replace_body" in [edit["edit"] for edit in shown["edits"]]
    assert {"setting": "mode", "value": "shadow", "source": "global"} in shown["decisions"]
    console = Console(width=120, record=True, file=StringIO())
    show(shown, console)
    assert "shadow: nothing of this is applied" in console.export_text()


def test_check_warns_of_control_headers_that_leave() -> None:
    found = {".".join(map(str, each.path)): each.rule for each in doubts(config(KEEPS))}
    assert "the next one must remove them" in found["shadow_keeps_headers"]
    live = doubts(config("shadow_keeps_headers: true\n" + SITE))
    assert "no mail is in shadow" in "".join(each.rule for each in live)
    assert not [each for each in doubts(config(ALL)) if "shadow" in each.rule]
