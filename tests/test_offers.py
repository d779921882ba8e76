"""offers.py: which of several offers wins, whoever makes them."""

from __future__ import annotations

from itertools import pairwise, permutations

import pytest
from fletching.policy import configured, offers
from fletching.policy.control import read
from fletching.policy.decide import decide
from fletching.policy.decisions import Decisions
from fletching.policy.offers import InvalidValue, Offer, Offers, RankedOffers, Setting, SourceKind
from fletching.policy.setup import Stamp
from hypothesis import given
from hypothesis import strategies as st

from tests.setting import ENTROPY, NOW, config, envelope, mail, setup

COLOR = Setting[str]("color")
SIZE = Setting[int]("size")

# The order of docs/mail.md.
ORDER = [
    SourceKind.FORCED,
    SourceKind.HEADER,
    SourceKind.ALIAS,
    SourceKind.DIALECT,
    SourceKind.RULE,
    SourceKind.LOGIN,
    SourceKind.CLASS,
    SourceKind.GLOBAL,
]


def colors(*kinds: SourceKind) -> list[Offers]:
    """An offer of a color by each kind of source, which is named after the kind."""
    return [Offers(kind, {COLOR: Offer(kind.name, kind.name)}) for kind in kinds]


def test_every_kind_of_source_has_a_rank() -> None:
    assert sorted(SourceKind) == ORDER


@pytest.mark.parametrize(("stronger", "weaker"), list(pairwise(ORDER)))
def test_stronger_source_wins_in_either_order(stronger: SourceKind, weaker: SourceKind) -> None:
    for kinds in permutations((stronger, weaker)):
        ranked = RankedOffers(colors(*kinds))
        assert ranked.best(COLOR) == Offer(stronger.name, stronger.name)
        assert [kind for kind, _ in ranked.ranked(COLOR)] == [stronger, weaker]


@given(st.lists(st.sampled_from(SourceKind), unique=True))
def test_all_offers_are_ranked(kinds: list[SourceKind]) -> None:
    ranked = RankedOffers(colors(*kinds))
    assert ranked.ranked(COLOR) == [(k, Offer(k.name, k.name)) for k in ORDER if k in kinds]
    best = ranked.best(COLOR)
    assert (best and best.value) == next((k.name for k in ORDER if k in kinds), None)
    assert ranked.value(COLOR) == (best and best.value)


def test_first_of_two_aliases_wins() -> None:
    first, second = (
        Offers(SourceKind.ALIAS, {COLOR: Offer(name, name)}) for name in ("X-Job", "X-Task")
    )
    assert RankedOffers((first, second)).value(COLOR) == "X-Job"


def test_alias_loses_to_control_header() -> None:
    control = read(mail("X-GreenArrow-InstanceID: 100525").headers)
    alias = Offers(SourceKind.ALIAS, {offers.INSTANCE_ID: Offer("7", "X-Job")})
    best = RankedOffers((alias, control.offers)).best(offers.INSTANCE_ID)
    assert best == Offer("100525", "X-GreenArrow-InstanceID")


def test_rule_wins_over_the_default_of_the_login() -> None:
    site = config("link_keys: keys\nusers: {shop: {mail_class: a}}\nmail_classes: {a: {}, b: {}}")
    rule = Offers(SourceKind.RULE, {offers.MAIL_CLASS: Offer("b", "fletching.yaml:7")})
    sources = [*configured.of_login(site, "shop@example.com"), rule]
    assert [each.source for _, each in RankedOffers(sources).ranked(offers.MAIL_CLASS)] == [
        "fletching.yaml:7",
        "users.shop.mail_class",
    ]


def test_settings_are_independent() -> None:
    rule = Offers(SourceKind.RULE, {SIZE: Offer(3, "big")})
    ranked = RankedOffers([*colors(SourceKind.HEADER), rule])
    assert ranked.value(COLOR) == "HEADER"
    assert ranked.best(SIZE) == Offer(3, "big")


def test_without_an_offer_there_is_no_value() -> None:
    ranked = RankedOffers(colors(SourceKind.CLASS))
    assert ranked.best(SIZE) is None
    assert ranked.value(SIZE) is None
    assert ranked.ranked(SIZE) == []


@pytest.mark.parametrize("value", [False, 0, "", ()])
def test_empty_value_is_a_value(value: object) -> None:
    setting = Setting[object]("anything")
    strong = Offers(SourceKind.HEADER, {setting: Offer(value, "header")})
    weak = Offers(SourceKind.GLOBAL, {setting: Offer("other", "global")})
    assert RankedOffers((strong, weak)).value(setting) == value


@pytest.mark.parametrize("invalid", SourceKind)
@pytest.mark.parametrize("valid", SourceKind)
def test_invalid_value_counts_only_without_a_value_of_a_stronger_source(
    valid: SourceKind, invalid: SourceKind
) -> None:
    ranked = RankedOffers(colors(valid))
    assert ranked.outrank(InvalidValue(invalid, "X", COLOR, "must be red")) == (valid < invalid)
    assert not ranked.outrank(InvalidValue(invalid, "X", SIZE, "must be small"))
    assert not ranked.outrank(InvalidValue(invalid, "X", None, "unknown control header"))


# What the configuration offers.

SITE = config("""\
link_keys: link-keys
url_domain: https://g.example.com
verp: false
users:
  both: {force_mail_class: a, mail_class: b}
mail_classes:
  a: {list_id: t1, tracker_format: c}
  b: {}
""")


def test_option_that_is_not_set_offers_nothing() -> None:
    mail_class = SITE.mail_class("b")
    assert mail_class is not None
    by_class = configured.of_class(mail_class)
    assert by_class.kind is SourceKind.CLASS
    assert offers.LIST_ID not in by_class.by_setting
    assert offers.VERP not in by_class.by_setting


def test_options_of_a_class_and_global_options_have_their_source() -> None:
    mail_class = SITE.mail_class("a")
    assert mail_class is not None
    ranked = RankedOffers((configured.of_config(SITE), configured.of_class(mail_class)))
    assert ranked.best(offers.LIST_ID) == Offer("t1", "class a")
    assert ranked.best(offers.TRACKER_FORMAT) == Offer("c", "class a")
    assert ranked.best(offers.URL_DOMAIN) == Offer("https://g.example.com", "global")
    assert ranked.best(offers.VERP) == Offer(False, "global")


def test_login_forces_one_class_and_has_another_as_default() -> None:
    ranked = RankedOffers(configured.of_login(SITE, "both"))
    assert ranked.ranked(offers.MAIL_CLASS) == [
        (SourceKind.FORCED, Offer("a", "users.both.force_mail_class")),
        (SourceKind.LOGIN, Offer("b", "users.both.mail_class")),
    ]
    assert configured.of_login(SITE, "nobody") == ()
    assert configured.of_login(SITE, None) == ()


# What another process gets.


def test_setup_of_another_process_makes_the_same_decisions() -> None:
    """Settings are compared by identity, so a Setup must not take offers along."""
    opened = setup()
    kind, values = opened.__reduce__()
    assert values == (
        opened.config,
        opened.link_keys,
        opened.dkim_keys,
        opened.paused,
        opened.providers,
        opened.recipient_tables,
        opened.vanished,
    )
    message, stamp = mail("X-GreenArrow-MailClass: newsletter"), Stamp(NOW, ENTROPY)
    plans = [decide(message, envelope(), each, stamp) for each in (opened, kind(*values))]
    assert plans[0] == plans[1]
    assert plans[0].listid == "t100"


# A value that names something configured.

SITES = config("mail_classes: {a: {list_unsubscribe: false}}")


@pytest.mark.parametrize(
    ("names", "chosen", "ignored"),
    [
        (("a", "b"), "a", []),
        (("A", None), "a", []),
        (("x", "a"), "a", ["X-Job: must exist"]),
        (("x", "y"), None, ["X-Job: must exist", "fletching.yaml:7: must exist"]),
        ((None, "a"), "a", []),
        ((None, None), None, []),
    ],
)
def test_unknown_name_is_ignored_and_the_next_offer_counts(
    names: tuple[str | None, str | None], chosen: str | None, ignored: list[str]
) -> None:
    alias, rule = names
    given = [
        Offers(kind, {offers.MAIL_CLASS: Offer(name, source)})
        for kind, name, source in (
            (SourceKind.RULE, rule, "fletching.yaml:7"),
            (SourceKind.ALIAS, alias, "X-Job"),
        )
        if name is not None
    ]
    decisions = Decisions()
    found = decisions.choose_named(
        RankedOffers(given), offers.MAIL_CLASS, SITES.mail_class, "must exist"
    )
    assert (found and found.name) == chosen
    assert [str(each) for each in decisions.invalid] == ignored
    assert [each.value for each in decisions.made] == ([chosen] if chosen else [])
