"""Who was no person: each rule with those whom it finds and those whom it must leave alone."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files

import pytest
from fletching.returning import bots
from fletching.returning.bots import AT_ONCE, LINKS_AT_ONCE, REMEMBERED, Recent
from fletching.tokens import Facts
from hypothesis import given
from hypothesis import strategies as st

MAIL = Facts("abcdefghijkl", 7, "news", "1", "t100", "", "reader@example.org", "", 1_700_000_000)
OTHER = replace(MAIL, number=8)
HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(scope="module")
def lists() -> bots.Lists:
    folder = files("fletching.returning")
    names = ("scanners.txt", "networks.txt")
    return bots.lists("\n".join(folder.joinpath(name).read_text("utf-8") for name in names))


@pytest.mark.parametrize(
    ("agent", "is_scanner"),
    [
        ("Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ BingPreview/1.0b", True),
        ("Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1) barracuda", True),
        ("Mimecast-Url-Scanner", True),
        ("facebookexternalhit/1.1", True),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", True),
        ("Mozilla/5.0 Edge/12.246 Gmail-content-sampling", True),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", False),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15", False),
        ("Mozilla/5.0 (X11; CUBOT) AppleWebKit/537.36 Chrome/120 Mobile", False),
        ("Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 Chrome/120 Mobile", False),
        ("Mozilla/5.0 (X11; Linux) Safari/537.36 link bot", True),
        ("Checker/1.0 (+https://example.com/about)", True),
        ("Checker/1.0 (admin@example.com)", True),
        ("Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)", False),
        ("curl/8.5.0", False),
        ("", False),
    ],
)
def test_scanners_by_name(lists: bots.Lists, agent: str, is_scanner: bool) -> None:
    assert lists.is_scanner(agent) is is_scanner


GMAIL = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
)
PROXY = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


@pytest.mark.parametrize(
    ("name", "agent", "address", "is_privacy"),
    [
        ("Apple", "Mozilla/5.0", "17.58.1.1", True),
        ("Apple's proxies are others'", "Mozilla/5.0", "104.28.1.1", True),
        ("Gmail in advance", GMAIL, "66.249.84.1", True),
        ("its name from elsewhere", GMAIL, HERE, False),
        ("its name from nowhere", GMAIL, "", False),
        ("Gmail, when somebody reads", PROXY, "66.249.84.1", False),
        ("a browser", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)", "66.249.84.1", False),
        ("nothing", "", HERE, False),
    ],
)
def test_privacy_opens(
    lists: bots.Lists, name: str, agent: str, address: str, is_privacy: bool
) -> None:
    assert lists.is_privacy_open(agent, address) is is_privacy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("robot x", "line 1"),
        ("# well\n\nscanner", "line 3"),
        ("google 192.0.2.0/99", "192.0.2.0/99"),
        ("pattern (", "subpattern"),
    ],
)
def test_lists_that_are_none(text: str, said: str) -> None:
    with pytest.raises(bots.ListError, match=said):
        bots.lists(text)


def test_no_lists_find_nobody() -> None:
    for found in (bots.NO_LISTS, bots.lists("")):
        assert not found.is_scanner("anything")
        assert not found.is_privacy_open("Mozilla/5.0", HERE)


def clicks(recent: Recent, *links: tuple[int, str], mail: Facts = MAIL) -> list[str]:
    return [recent.reason(mail, HERE, link, at) for at, link in links]


STEP = AT_ONCE // (LINKS_AT_ONCE + 1)


def test_many_links_at_once() -> None:
    links = [(number * STEP, f"https://example.com/{number}") for number in range(LINKS_AT_ONCE)]
    assert clicks(Recent(), *links) == [""] * (LINKS_AT_ONCE - 1) + [bots.MANY_LINKS]


@pytest.mark.parametrize(
    ("name", "links"),
    [
        ("the same link again and again", [(number, "a") for number in range(20)]),
        ("one after the other", [(number * AT_ONCE, str(number)) for number in range(20)]),
        ("two in turn", [(number, "ab"[number % 2]) for number in range(20)]),
    ],
)
def test_a_person_clicks_as_well(name: str, links: list[tuple[int, str]]) -> None:
    assert set(clicks(Recent(), *links)) == {""}


def test_readers_and_mails_are_told_apart() -> None:
    recent = Recent()
    for number in range(20):
        assert recent.reason(replace(MAIL, number=number), HERE, str(number), number) == ""
    recent.trap(MAIL, HERE, bots.HIDDEN_LINK, 100)
    assert recent.reason(MAIL, THERE, "a", 101) == ""
    assert recent.reason(OTHER, HERE, "a", 101) == ""


@pytest.mark.parametrize("trap", [bots.HIDDEN_LINK, bots.HEAD_REQUEST])
def test_who_touched_a_trap_is_known_for_a_while(trap: str) -> None:
    recent = Recent()
    recent.trap(MAIL, HERE, trap, 0)
    assert recent.reason(MAIL, HERE, "a", 1) == trap
    assert recent.reason(MAIL, HERE, "a", REMEMBERED - 1) == trap
    assert recent.reason(MAIL, HERE, "a", REMEMBERED) == ""


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**6), st.integers(0, 50), st.booleans(), st.sampled_from("abcdefgh")
        )
    )
)
def test_memory_is_bounded(touches: list[tuple[int, int, bool, str]]) -> None:
    """Whoever asks, and for whatever: a few values for each of the last messages."""
    recent = Recent()
    for at, (number, reader, is_trap, link) in enumerate(touches):
        mail = replace(MAIL, number=number)
        if is_trap:
            recent.trap(mail, f"192.0.2.{reader}", bots.HEAD_REQUEST, at)
        else:
            recent.reason(mail, f"192.0.2.{reader}", link, at)
        assert recent.size <= bots.MOST_REMEMBERED


def test_memory_forgets_the_oldest_mails() -> None:
    recent = Recent()
    recent.trap(MAIL, HERE, bots.HIDDEN_LINK, 0)
    for number in range(10, 10 + bots.MESSAGES):
        recent.reason(replace(MAIL, number=number), HERE, "a", 1)
    assert recent.size <= bots.MOST_REMEMBERED
    assert recent.reason(MAIL, HERE, "a", 2) == ""
