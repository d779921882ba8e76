"""bots.py: what each rule for a single request finds, and what it must not find."""

from __future__ import annotations

from importlib.resources import files

import pytest
from fletching.returning import bots

HERE = "192.0.2.1"


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
def test_scanners_are_known_by_user_agent(lists: bots.Lists, agent: str, is_scanner: bool) -> None:
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
        ("Gmail, when a person reads", PROXY, "66.249.84.1", False),
        ("a browser", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)", "66.249.84.1", False),
        ("nothing", "", HERE, False),
    ],
)
def test_opens_by_privacy_proxies_are_recognized(
    lists: bots.Lists, name: str, agent: str, address: str, is_privacy: bool
) -> None:
    assert lists.is_privacy_open(agent, address) is is_privacy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("robot x", "line 1"),
        ("# well\n\nscanner", "line 3"),
        ("google 192.0.2.0/99", "192.0.2.0/99"),
        ("pattern (", "subpattern"),
    ],
)
def test_an_invalid_list_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(bots.ListError, match=message):
        bots.lists(text)


def test_empty_lists_match_nothing() -> None:
    for found in (bots.NO_LISTS, bots.lists("")):
        assert not found.is_scanner("anything")
        assert not found.is_privacy_open("Mozilla/5.0", HERE)
