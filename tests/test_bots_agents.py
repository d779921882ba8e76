"""User-Agents of programs and of people's browsers, from public lists that are not ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files

import pytest
from fletching.returning import bots

RECOGNISED = 0.85
"""The share of crawlers' names that must be found; the rest are names that say nothing."""


@pytest.fixture(scope="module")
def lists() -> bots.Lists:
    text = files("fletching.returning").joinpath("scanners.txt").read_text("utf-8")
    return bots.lists(text)


def crawlers() -> list[str]:
    """Some 2,000, as they were seen."""
    file = files("crawleruseragents").joinpath("crawler-user-agents.json")
    entries = json.loads(file.read_text("utf-8"))
    return [agent for entry in entries for agent in entry.get("instances", [])]


def browsers() -> Iterator[str]:
    """Some 800 different ones, as people use them."""
    text = files("fake_useragent").joinpath("data/browsers.jsonl").read_text("utf-8")
    for line in text.splitlines():
        yield json.loads(line)["useragent"]


def test_most_crawlers_are_recognised(lists: bots.Lists) -> None:
    agents = crawlers()
    found = sum(map(lists.is_scanner, agents))
    print(f"recognised: {found} of {len(agents)} crawlers, {found / len(agents):.3f}")
    assert len(agents) > 1000
    assert found >= RECOGNISED * len(agents)


def test_no_browser_is_taken_for_a_program(lists: bots.Lists) -> None:
    agents = set(browsers())
    assert len(agents) > 500
    assert [agent for agent in agents if lists.is_scanner(agent)] == []


# Mail programs and browsers inside of apps, from their makers' documentation and from logs.
OF_APPS = {
    "Thunderbird": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5.0",
    "Outlook": "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Win64; x64; Trident/7.0; "
    ".NET4.0C; .NET4.0E; Microsoft Outlook 16.0.17328; ms-office; MSOffice 16)",
    "Office": "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
    "Office existence": "Microsoft Office Existence Discovery",
    "Konqueror": "Mozilla/5.0 (compatible; Konqueror/4.14; Linux) KHTML/4.14.2 (like Gecko)",
    "Facebook": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/463.0.0.36;FBDV/iPhone14,5;FBSV/17.5]",
    "Gmail's pictures": "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 "
    "(via ggpht.com GoogleImageProxy)",
    "Yahoo's pictures": "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    "Samsung": "Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) "
    "SamsungBrowser/24.0 Chrome/117.0.0.0 Mobile Safari/537.36",
    "Android's pictures": "Dalvik/2.1.0 (Linux; U; Android 13; SM-G991B Build/TP1A.220624.014)",
}


@pytest.mark.parametrize("name", OF_APPS)
def test_no_mail_program_is_taken_for_a_scanner(lists: bots.Lists, name: str) -> None:
    assert not lists.is_scanner(OF_APPS[name])
