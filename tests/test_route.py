"""route.py: pools, weights, pauses and fallbacks."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from functools import cache
from types import SimpleNamespace

import pytest
from fletching.config.model import Config
from fletching.policy.plan import Member
from fletching.policy.route import by_rank, in_turn, members
from fletching.policy.setup import Setup
from fletching.startup import turns
from fletching.tokens import Keyring
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every
from tests.setting import NOW, config

SITE = """\
virtual_mtas:
  a: {transport: vmta-a}
  B: {transport: vmta-b, fallback: a}
  c: {transport: vmta-c, fallback: B}
  d: {transport: vmta-d}
  pool: {pool: {A: 3, b: 1, d: 1}, sticky: recipient_domain}
"""


@pytest.fixture(scope="module")
def site() -> Config:
    return config(SITE)


def setup(site: Config, paused: Iterable[str] = (), vanished: Iterable[str] = ()) -> Setup:
    return Setup(site, Keyring(()), (), frozenset(paused), vanished=frozenset(vanished))


def names(site: Config, name: str, *paused: str) -> list[str]:
    chosen = site.virtual_mta(name)
    assert chosen is not None
    return [member.name for member in members(chosen, setup(site, paused), NOW)]


@pytest.mark.parametrize(
    ("name", "paused", "expected"),
    [
        ("a", (), ["a"]),
        ("b", (), ["B"]),
        ("b", ("b",), ["a"]),
        ("c", ("c",), ["B"]),
        ("c", ("c", "b"), ["a"]),
        ("c", ("c", "b", "a"), []),
        ("c", ("b", "a"), ["c"]),
        ("a", ("a",), []),
        ("a", ("nosuch",), ["a"]),
        ("pool", (), ["a", "B", "d"]),
        ("pool", ("b",), ["a", "d"]),
        # A pool skips a paused member and does not use its fallback.
        ("pool", ("b", "d"), ["a"]),
        ("pool", ("a", "b", "d"), []),
    ],
)
def test_members_of_a_virtual_mta_that_are_not_paused(
    site: Config, name: str, paused: tuple[str, ...], expected: list[str]
) -> None:
    assert names(site, name, *paused) == expected


@for_every(
    {
        "a pool skips it": ("pool", ("a",), (), ["B", "d"]),
        "a pool skips it and those that are paused": ("pool", ("a",), ("d",), ["B"]),
        "a pool has no other": ("pool", ("a", "b"), ("d",), ["a", "B"]),
        "a single one has a fallback": ("b", ("b",), (), ["a"]),
        "a single one has none": ("d", ("d",), (), ["d"]),
        "the fallback is paused": ("b", ("b",), ("a",), ["B"]),
        "its fallback has vanished, too": ("b", ("a", "b"), (), ["B"]),
    }
)
def test_virtual_mta_whose_address_has_vanished(
    name: str, vanished: tuple[str, ...], paused: tuple[str, ...], expected: list[str]
) -> None:
    site = config(SITE)
    chosen = site.virtual_mta(name)
    assert chosen is not None
    found = members(chosen, setup(site, paused, vanished), NOW)
    assert [member.name for member in found] == expected


def test_member_has_name_transport_and_weight(site: Config) -> None:
    pool = site.virtual_mta("pool")
    assert pool is not None
    assert members(pool, setup(site), NOW) == (
        Member("a", "vmta-a", 3),
        Member("B", "vmta-b", 1),
        Member("d", "vmta-d", 1),
    )


POOL = Member("a", "vmta-a", 6), Member("b", "vmta-b", 3), Member("c", "vmta-c", 1)


def best(pool: tuple[Member, ...], sticks_to: str) -> str:
    return by_rank(pool, sticks_to)[0].name


@cache
def bests() -> list[str]:
    return [best(POOL, f"mbyyqiavuxqo:{number}") for number in range(10_000)]


def test_pool_shares_mail_by_weight() -> None:
    counted = Counter(bests())
    # Four standard deviations of 10,000 draws.
    assert abs(counted["a"] - 6000) < 200
    assert abs(counted["b"] - 3000) < 190
    assert abs(counted["c"] - 1000) < 120


@pytest.mark.parametrize("hosts", [1, 10])
def test_weights_of_messages_hold_within_a_tenth_of_a_per_cent(hosts: int) -> None:
    """Over 10,000 mails, whichever worker has which."""
    workers = [turns() for _ in range(hosts)]
    firsts = [in_turn(POOL, next(workers[n % hosts]))[0].name for n in range(10_000)]
    counted = Counter(firsts)
    for member in POOL:
        assert abs(counted[member.name] - 1000 * member.weight) <= 10 * hosts


def test_mail_without_room_goes_to_the_others_by_weight() -> None:
    worker = turns()
    orders = [in_turn(POOL, next(worker)) for _ in range(20_000)]
    seconds = Counter(order[1].name for order in orders if order[0].name == "c")
    assert seconds["a"] / seconds["b"] == pytest.approx(2, rel=0.05)


@given(st.floats(0, 1, exclude_max=True), st.lists(st.integers(1, 1000), min_size=1, max_size=9))
def test_turn_orders_all_members(share: float, weights: list[int]) -> None:
    pool = [Member(str(number), "x", weight) for number, weight in enumerate(weights)]
    assert sorted(each.name for each in in_turn(pool, share)) == sorted(m.name for m in pool)


def test_choice_is_the_same_on_every_host() -> None:
    """Pinned: a fleet whose hosts run different versions must agree."""
    assert "".join(bests()[:40]) == "abcacaabaaaabbaaaaaaababbcaaaacaaaaaaaba"


def test_order_in_the_file_does_not_matter() -> None:
    turned = tuple(reversed(POOL))
    assert [best(turned, f"mbyyqiavuxqo:{n}") for n in range(500)] == bests()[:500]


def test_pause_moves_only_the_mail_of_the_paused_member() -> None:
    moved = [best(POOL[1:], f"mbyyqiavuxqo:{number}") for number in range(10_000)]
    assert all(now == before for now, before in zip(moved, bests(), strict=True) if before != "a")
    # Its mail is shared by the weights of the others.
    taken = Counter(now for now, before in zip(moved, bests(), strict=True) if before == "a")
    assert 2.4 < taken["b"] / taken["c"] < 3.7


def test_sticky_members_hold_their_weights() -> None:
    carried = Counter(best(POOL, f"{number}.example") for number in range(100_000))
    for member in POOL:
        assert abs(carried[member.name] / 100_000 - member.weight / 10) < 0.01, carried


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9), min_size=1),
    st.integers(1, 9),
    st.lists(st.text("xyz0123456789", min_size=1), min_size=1, max_size=50),
)
def test_new_member_of_a_sticky_pool_moves_only_its_own_share(
    weights: dict[str, int], weight: int, sticky: list[str]
) -> None:
    pool = tuple(Member(name, f"vmta-{name}", each) for name, each in weights.items())
    larger = (*pool, Member("new", "vmta-new", weight))
    for each in sticky:
        assert best(larger, each) in (best(pool, each), "new")


def test_single_member_carries_everything() -> None:
    assert best((Member("a", "vmta-a", 7),), "anything") == "a"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_ranking_is_deterministic(sticks_to: str) -> None:
    ranked = by_rank(POOL, sticks_to)
    assert ranked == by_rank(POOL, sticks_to)
    assert set(ranked) == set(POOL)


@pytest.mark.parametrize("octet", [b"\x00", b"\xff"])
def test_a_digest_of_all_zeros_or_all_ones_has_a_score(
    monkeypatch: pytest.MonkeyPatch, octet: bytes
) -> None:
    """No text with such a digest is known, so the hash is replaced."""

    def constant(text: bytes, digest_size: int) -> SimpleNamespace:
        return SimpleNamespace(digest=lambda: octet * digest_size)

    monkeypatch.setattr(hashlib, "blake2b", constant)
    assert best(POOL, "anything") == "a"


def test_bytes_that_are_not_text_can_be_sticky() -> None:
    assert best(POOL, "\udcff") in "abc"


def test_pause_keeps_the_order_of_the_other_members() -> None:
    for number in range(500):
        ranked = by_rank(POOL, f"mbyyqiavuxqo:{number}")
        assert by_rank(POOL[1:], f"mbyyqiavuxqo:{number}") == tuple(
            member for member in ranked if member.name != "a"
        )
