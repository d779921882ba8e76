"""bursts.py: what each rule for several requests finds, and what it must not find."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from fletching.events import CLICK, Event
from fletching.returning import bots, bursts
from fletching.returning.bursts import AT_ONCE, HEAD, HIDDEN, LINK, REMEMBERED, SLOWLY, Touch
from fletching.returning.networks import Networks
from fletching.tokens import Facts
from hypothesis import given
from hypothesis import strategies as st

HERE, BESIDE, ELSEWHERE = "192.0.2.1", "192.0.2.77", "198.51.100.1"
RELAY, OTHER_RELAY = "203.0.113.1", "203.0.113.2"
SIX, BESIDE_SIX, OTHER_SIX = "2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1"
GOOGLE, OTHER_GOOGLE = "100.64.0.1", "100.64.0.2"
LISTS = replace(
    bots.NO_LISTS,
    apple=Networks([ip_network("203.0.113.0/24")]),
    google=Networks([ip_network("100.64.0.0/16")]),
)

Did = tuple[float, str, str, str]
"""Seconds, client, what it did, link."""


def links(*when: float, by: str = HERE) -> list[Did]:
    """A different link at each of these times."""
    return [(at, by, LINK, str(number)) for number, at in enumerate(when)]


def verdict(did: list[Did], at: float = 0, by: str = HERE) -> str:
    """The verdict on a request at that time; a request for a link is itself in the list."""
    touches = sorted(Touch(int(when * 1000) + 10**6, *rest) for when, *rest in did)
    return bursts.verdict(touches, by, int(at * 1000) + 10**6, LISTS)


A_PERSON: dict[str, list[Did]] = {
    "one link": links(0),
    "the same link again and again": [(at / 100, HERE, LINK, "a") for at in range(300)],
    "two in turn": [(at / 100, HERE, LINK, "ab"[at % 2]) for at in range(300)],
    "three in three seconds": links(0, 1.2, 2.9),
    "one each two seconds": links(0, 2, 4, 6, 8, 10),
    "Office, which asks first": [(0, HERE, HEAD, "a"), (0.1, HERE, LINK, "a")],
    "Office, for two links": [
        *((0, HERE, HEAD, "a"), (0.1, HERE, LINK, "a")),
        *((8, HERE, HEAD, "b"), (8.1, HERE, LINK, "b")),
    ],
    "somebody elsewhere is a program": [
        *links(0),
        *links(0, 0.1, 0.2, 0.3, by=ELSEWHERE),
        (1, ELSEWHERE, HIDDEN, "x"),
    ],
    "a program beside, some time ago": [*links(20), (0, BESIDE, HIDDEN, "x")],
    "several behind a relay": [*links(0, by=RELAY), *links(0.1, 0.2, 0.3, 0.4, by=OTHER_RELAY)],
    "neighbours by IPv6": [*links(0, by=SIX), *links(0.1, 0.2, 0.3, by=OTHER_SIX)],
    "several behind Google": [
        *links(0, by=GOOGLE),
        *links(0.1, 0.2, 0.3, 0.4, by=OTHER_GOOGLE),
    ],
    "three in a little over a second": links(0, 0.5, 1.0011),
    "four in a little over three seconds": links(0, 1, 2, 3.001),
    "ten in a little over a minute": links(*range(0, 54, 6), 60.001),
    "a trap more than half a minute ago": [*links(30.001), (0, HERE, HIDDEN, "x")],
    "HEAD, and two links later": [
        (9, HERE, LINK, "b"),
        (0, HERE, HEAD, "a"),
        (8, HERE, LINK, "c"),
    ],
    "a program in the next network": [*links(0), *links(0, 0.1, 0.2, by="192.0.3.1")],
    "clients without addresses": [*links(0, by="one"), *links(0.1, 0.2, 0.3, by="another")],
    "a trap that is long ago": [*links(31), (0, HERE, HIDDEN, "x")],
}
A_PROGRAM: dict[str, tuple[list[Did], str]] = {
    "three in a second": (links(0, 0.4, 0.9), bots.MANY_LINKS),
    "four in three seconds": (links(0, 1, 2, 3), bots.MANY_LINKS),
    "ten in a minute": (links(*range(0, 60, 6)), bots.MANY_LINKS),
    "three in exactly a second": (links(0, 0.5, 1), bots.MANY_LINKS),
    "ten in exactly a minute": (links(*range(0, 54, 6), 60), bots.MANY_LINKS),
    "HEAD for two": ([(0, HERE, HEAD, "a"), (1, HERE, HEAD, "b")], bots.HEAD_REQUEST),
    "HEAD and another": ([(0, HERE, HEAD, "a"), (2, HERE, LINK, "b")], bots.HEAD_REQUEST),
    "another and HEAD": ([(0, HERE, LINK, "a"), (2, HERE, HEAD, "b")], bots.HEAD_REQUEST),
    "the hidden link": ([(2, HERE, HIDDEN, "x")], bots.HIDDEN_LINK),
    "from addresses side by side": (
        [(0, HERE, LINK, "a"), (0.2, BESIDE, LINK, "b"), (0.4, BESIDE, LINK, "c")],
        bots.MANY_LINKS,
    ),
    "from both ends of a network": (
        [(0, HERE, LINK, "a"), (0.2, "192.0.2.254", LINK, "b"), (0.4, "192.0.2.254", LINK, "c")],
        bots.MANY_LINKS,
    ),
    "from everywhere": (
        [(at / 10, f"198.51.{at}.1", LINK, str(at)) for at in range(5)] + [(1, HERE, LINK, "x")],
        bots.MANY_LINKS,
    ),
}


@pytest.mark.parametrize("name", A_PERSON)
def test_touches_of_a_person_have_no_bot_reason(name: str) -> None:
    did = A_PERSON[name]
    when, who, *_ = did[0]
    assert verdict(did, when, who) == ""


@pytest.mark.parametrize("name", A_PROGRAM)
def test_touches_of_a_program_have_a_bot_reason(name: str) -> None:
    """All requests of the burst, from the first, and those that the client sent shortly before."""
    did, reason = A_PROGRAM[name]
    for when, who, what, _ in did:
        if what == LINK:
            assert verdict(did, when, who) == reason
    assert verdict(did) == reason


def test_a_program_is_found_by_its_ipv6_network() -> None:
    did = [*links(0, by=SIX), *links(0.2, 0.4, 0.6, by=BESIDE_SIX)]
    assert verdict(did, by=SIX) == bots.MANY_LINKS
    far = [*links(0, by=SIX), *links(0.2, 0.4, 0.6, by="2001:db8:0:1:ffff::1")]
    assert verdict(far, by=SIX) == bots.MANY_LINKS


def test_a_client_that_followed_the_hidden_link_is_a_program_for_half_a_minute() -> None:
    did = [(0.0, HERE, HIDDEN, "x")]
    assert verdict(did, 30) == bots.HIDDEN_LINK
    assert verdict(did, 30.001) == ""


def test_forms_that_processes_of_several_versions_share() -> None:
    """Pinned: during an update, processes of two versions read each other's touches."""
    touches = [Touch(5, HERE, what, "ab") for what in (LINK, HEAD, HIDDEN)]
    assert [touch.line for touch in touches] == [
        "5 link ab 192.0.2.1\n",
        "5 head ab 192.0.2.1\n",
        "5 hidden ab 192.0.2.1\n",
    ]
    assert bursts.message_name(click().facts) == "abcdefghijkl:7"
    assert bursts.link_name("https://example.com/") == "d78553567883"
    assert bursts.link_name("\udcff") != bursts.link_name("")


@pytest.mark.parametrize("name", ["three in a second", "HEAD for two", "the hidden link"])
def test_a_program_stays_one_for_the_remembered_time(name: str) -> None:
    did, reason = A_PROGRAM[name]
    assert verdict(did, 20) == reason
    assert verdict(did, 40) == ""


def test_all_windows_are_shorter_than_touches_are_kept() -> None:
    assert AT_ONCE < REMEMBERED < SLOWLY


def test_a_touch_survives_its_line() -> None:
    touches = [Touch(5, SIX, LINK, "ab"), Touch(7, "", HEAD, "cd"), Touch(9, HERE, HIDDEN, "ef")]
    lines = [each.line for each in reversed(touches)]
    assert bursts.touches_in(lines) == touches


@pytest.mark.parametrize("line", ["", "\n", "5 link", "x link a b", "5 link a b c", "link a b\n"])
def test_an_incomplete_line_is_ignored(line: str) -> None:
    assert bursts.touches_in([line]) == []


def click(**fields: Any) -> Event:
    facts = Facts("abcdefghijkl", 7, "news", "1", "t100", "", "r@example.org", "", 1)
    details = {"engine_ip": HERE, "is_bot": False, "bot_reason": "", **fields}
    return Event(CLICK, 10**6, "id", "mx1", facts, details)


@pytest.mark.parametrize(("url", "what"), [("https://example.com/", LINK), ("", HIDDEN)])
def test_a_click_event_becomes_a_touch(url: str, what: str) -> None:
    assert bursts.touch_of(click(click_url=url)) == (10**6, HERE, what, bursts.link_name(url))


def test_a_verdict_is_written_into_the_event() -> None:
    touches = [Touch(10**6 + 10, HERE, HIDDEN, "x")]
    found = bursts.judged(click(), touches, LISTS)
    assert found == click(is_bot=True, bot_reason=bots.HIDDEN_LINK)
    assert bursts.judged(click(), [], LISTS) == click()


def test_a_verdict_on_a_single_request_is_kept() -> None:
    event = click(is_bot=True, bot_reason=bots.TOO_SOON)
    assert bursts.judged(event, [Touch(10**6, HERE, HIDDEN, "x")], LISTS) == event


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**5),
            st.sampled_from([HERE, BESIDE, ELSEWHERE]),
            st.sampled_from([LINK, HEAD]),
            st.sampled_from("abcdef"),
        ),
        max_size=60,
    )
)
def test_two_links_never_make_a_client_a_program(did: list[tuple[int, str, str, str]]) -> None:
    touches = sorted(Touch(at, who, LINK, link) for at, who, _, link in did if link in "ab")
    for at, who, _, _ in did:
        assert bursts.verdict(touches, who, at, LISTS) == ""
