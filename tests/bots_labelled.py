"""Requests about one message, as people and programs send them, each with its label.

Here live the patterns that measure the rules for bots, and nothing of the rules. They come from
what vendors of filters and senders of mail write about clicks by programs, and from what mail
programs do. A label says who sent the request, whether or not that can be seen: some programs send
one, like a browser, and some people open many tabs at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.0.0 Safari/537.36"
)
EDGE = f"{CHROME} Edg/131.0.0.0"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
)
ANDROID = (
    "Mozilla/5.0 (Linux; Android 14; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/130.0.0.0 Mobile Safari/537.36"
)
CUBOT = (
    "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Mobile Safari/537.36"
)
OFFICE = "Microsoft Office Existence Discovery"
OUTLOOK = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Win64; x64; Microsoft Outlook 16.0)"
APPLE = "Mozilla/5.0"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
YAHOO = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"

HOME, PHONE, WORK = "192.0.2.17", "198.51.100.130", "203.0.113.40"
SIX = "2001:db8:5:7::21"
CLOUD, CLOUD_SIX = "100.64.12.9", "2001:db8:aa:1::9"
RELAYS = ("104.28.30.5", "104.28.30.77", "146.75.160.3", "172.225.46.9")
GOOGLE = "66.249.84.11"

OPEN, HIDDEN, UNSUBSCRIBE = -1, -2, -3
"""In place of a link's number: the pixel, the hidden link, the unsubscribe page."""


@dataclass(frozen=True, slots=True)
class Step:
    """A request. ``at``: seconds; ``link``: its number; ``by``: the client's address."""

    at: float
    link: int
    by: str = HOME
    agent: str = CHROME
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    is_bot: bool = False


@dataclass(frozen=True, slots=True)
class Pattern:
    """The requests about one message. ``age``: its seconds since sending, at each request."""

    name: str
    steps: Sequence[Step]
    age: int = 3600


def click(at: float, link: int = 0, by: str = HOME, agent: str = CHROME) -> Step:
    return Step(at, link, by, agent)


def head(at: float, link: int = 0, by: str = HOME, agent: str = CHROME) -> Step:
    return Step(at, link, by, agent, "HEAD")


def pixel(at: float = 0, by: str = HOME, agent: str = CHROME) -> Step:
    return Step(at, OPEN, by, agent)


def row(count: int, gap: float, by: str = CLOUD, agent: str = CHROME, at: float = 0) -> list[Step]:
    """Different links, one after the other."""
    return [click(at + number * gap, number, by, agent) for number in range(count)]


def heads(count: int, gap: float, by: str = CLOUD, at: float = 0) -> list[Step]:
    """HEAD for different links, one after the other."""
    return [head(at + number * gap, number, by) for number in range(count)]


def programs(steps: Sequence[Step]) -> list[Step]:
    """The same steps, labelled as a program's."""
    return [replace(step, is_bot=True) for step in steps]


def prefetch(name: str, value: str, at: float = 0, by: str = HOME) -> Step:
    """A browser fetches a link in advance."""
    return Step(at, 0, by, CHROME, headers={name: value}, is_bot=True)


PEOPLE = [
    *(
        Pattern(f"one click, {name}", [click(0, 1, by, agent)])
        for name, by, agent in [
            ("Chrome", HOME, CHROME),
            ("Edge at work", WORK, EDGE),
            ("Firefox", HOME, FIREFOX),
            ("iPhone", PHONE, IPHONE),
            ("Android", PHONE, ANDROID),
            ("IPv6", SIX, CHROME),
            ("Cubot", PHONE, CUBOT),
            ("no User-Agent", HOME, ""),
            ("by a relay", RELAYS[0], IPHONE),
            ("in Facebook", PHONE, f"{IPHONE} [FBAN/FBIOS;FBAV/463.0.0.36]"),
        ]
    ),
    *(
        Pattern(f"opened, {name}", [pixel(0, by, agent)])
        for name, by, agent in [
            ("Outlook", WORK, OUTLOOK),
            ("Thunderbird", HOME, "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Thunderbird/128.5.0"),
            ("Gmail", GOOGLE, GMAIL),
            ("Yahoo", "98.137.0.9", YAHOO),
            ("Apple in advance", RELAYS[1], APPLE),
            ("Android", PHONE, "Dalvik/2.1.0 (Linux; U; Android 13; SM-G991B)"),
        ]
    ),
    Pattern("opened, then clicked", [pixel(0), click(5)]),
    Pattern("opened, then clicked at once", [pixel(0), click(0.8)]),
    Pattern("opened at Gmail, clicked at home", [pixel(0, GOOGLE, GMAIL), click(4)]),
    Pattern("opened by Apple, clicked at home", [pixel(0, RELAYS[0], APPLE), click(9, 2)]),
    Pattern(
        "opened by Apple, clicked by a relay", [pixel(0, RELAYS[0], APPLE), click(6, 2, RELAYS[2])]
    ),
    Pattern("opened again and again", [pixel(at) for at in (0, 3, 7, 12, 16)]),
    Pattern(
        "opened on two devices", [pixel(0), pixel(6, PHONE, IPHONE), click(9, 1, PHONE, IPHONE)]
    ),
    Pattern("a double click", [click(0), click(0.25)]),
    Pattern(
        "a double click on a phone", [click(0, 3, PHONE, ANDROID), click(0.4, 3, PHONE, ANDROID)]
    ),
    Pattern("impatient", [click(at / 2, 4) for at in range(6)]),
    Pattern("the same link later", [click(0), click(11)]),
    Pattern("two links", [click(0, 0), click(6, 1)]),
    Pattern("two links soon", [click(0, 0), click(1.5, 1)]),
    Pattern("the wrong link, then the right one", [click(0, 5), click(0.9, 6)]),
    Pattern("three links", [click(0, 0), click(5, 1), click(11, 2)]),
    Pattern("four links", row(4, 4.5, HOME)),
    Pattern("five links", row(5, 3, HOME)),
    Pattern("six links", row(6, 2.5, HOME)),
    Pattern("eight links", row(8, 2, HOME)),
    Pattern("four links on a phone", row(4, 4, PHONE, IPHONE)),
    Pattern("there and back", [click(at * 3.0, at % 2) for at in range(6)]),
    Pattern("two tabs", row(2, 0.6, HOME)),
    Pattern("three tabs", row(3, 1.1, HOME)),
    Pattern("three tabs, opened first", [pixel(0), *row(3, 1.2, HOME, at=2)]),
    Pattern("four tabs", row(4, 1.4, HOME)),
    Pattern("five tabs", row(5, 1.5, HOME, FIREFOX)),
    Pattern("five tabs in haste", row(5, 0.7, HOME)),
    Pattern("a list of links, all read", row(12, 1.6, HOME)),
    Pattern("Office asks first", [head(0, 0, WORK, OFFICE), click(0.3, 0, WORK)]),
    Pattern(
        "Office, two links",
        [
            *(head(0, 0, WORK, OFFICE), click(0.2, 0, WORK)),
            *(head(7, 1, WORK, OFFICE), click(7.2, 1, WORK)),
        ],
    ),
    Pattern(
        "Office opens, asks, and another link comes",
        [
            pixel(0, WORK, OUTLOOK),
            head(4, 2, WORK, OFFICE),
            click(4.3, 2, WORK),
            click(12, 3, WORK),
        ],
    ),
    Pattern("fast reader", [pixel(0), click(1)], age=4),
    Pattern("unsubscribes", [click(0, UNSUBSCRIBE)]),
    Pattern("a link, then unsubscribes", [click(0, 1), click(5, UNSUBSCRIBE), click(9, 2)]),
    Pattern("by relays of one network", [click(0, 0, RELAYS[0]), click(5, 1, RELAYS[1])]),
    Pattern("the way changes", [click(0, 0, HOME), click(7, 1, PHONE), click(13, 2, PHONE)]),
    Pattern(
        "three at one address", [click(0, 0, WORK), click(4, 1, WORK), click(8.5, 2, WORK, EDGE)]
    ),
    Pattern("two at once at one address", [click(0, 0, WORK), click(0.7, 1, WORK, FIREFOX)]),
    Pattern(
        "a family by IPv6",
        [click(0, 0, SIX), click(2, 1, "2001:db8:5:7::99"), click(6, 2, "2001:db8:5:7::99")],
    ),
    Pattern(
        "forwarded to a club",
        [click(at * 1.6, at % 5, f"198.51.{at}.30", (CHROME, IPHONE)[at % 2]) for at in range(10)],
    ),
    Pattern(
        "forwarded, behind relays",
        [click(at * 1.5, at % 4, RELAYS[at % 4], IPHONE) for at in range(8)],
    ),
    Pattern(
        "a browser fetches ahead, then a click", [prefetch("Sec-Purpose", "prefetch"), click(4)]
    ),
    Pattern(
        "a filter elsewhere, then a person",
        [*programs(row(8, 0.1)), pixel(9), click(12, 3)],
    ),
    Pattern(
        "a filter elsewhere asks by HEAD, then a person",
        [*programs(heads(8, 0.2)), pixel(6), click(9, 3), click(14, 5)],
    ),
    Pattern(
        "a filter beside, then a person",
        [*programs(row(8, 0.1, "203.0.113.9")), pixel(10, WORK), click(13, 3, WORK)],
    ),
    Pattern(
        "a filter at the same address, then a person",
        [*programs(row(8, 0.1, WORK)), pixel(12, WORK), click(15, 3, WORK)],
    ),
    Pattern(
        "a filter looks as somebody clicks",
        [click(0, 2, WORK), *programs([click(0.4, 2, CLOUD), click(0.9, 2, CLOUD_SIX)])],
    ),
]

PROGRAMS = [
    *(
        Pattern(f"{count} links, one each {gap} s", row(count, gap, by, agent))
        for count, gap, by, agent in [
            (4, 0.1, CLOUD, CHROME),
            (5, 0.2, CLOUD, EDGE),
            (7, 0.15, CLOUD, CHROME),
            (7, 0.02, CLOUD_SIX, FIREFOX),
            (12, 0.3, CLOUD, CHROME),
            (12, 0.05, WORK, CHROME),
            (20, 0.1, CLOUD_SIX, IPHONE),
            (6, 0.5, CLOUD, CHROME),
            (6, 0.8, CLOUD, CHROME),
            (8, 0.9, CLOUD, FIREFOX),
            (3, 0.2, CLOUD, CHROME),
            (3, 0.4, CLOUD_SIX, EDGE),
        ]
    ),
    Pattern("all at the same moment", row(9, 0)),
    Pattern("the pixel, then all links", [pixel(0, CLOUD), *row(8, 0.1, at=0.2)]),
    Pattern("all links, then the pixel", [*row(8, 0.1), pixel(1, CLOUD)]),
    Pattern("all links, the pixel later", [*row(8, 0.1), pixel(9, CLOUD)]),
    Pattern("the pixel, all links later", [pixel(0, CLOUD), *row(7, 0.2, at=2)]),
    Pattern(
        "the pixel again and again, and all links",
        [
            *(pixel(at, CLOUD) for at in (0, 0.5, 1)),
            *row(6, 0.2, at=1),
        ],
    ),
    Pattern("twice", [*row(6, 0.1), *row(6, 0.1, at=10)]),
    Pattern("one link again later", [*row(6, 0.1), click(12, 2, CLOUD)]),
    Pattern("HEAD for all, then GET", [*heads(6, 0.1), *row(6, 0.1, at=1)]),
    Pattern(
        "HEAD and GET in turn",
        sorted([*heads(5, 0.6), *row(5, 0.6, at=0.2)], key=lambda step: step.at),
    ),
    Pattern("HEAD for all, GET for one", [*heads(6, 0.2), click(2, 3, CLOUD)]),
    Pattern("HEAD for all, GET for one later", [*heads(6, 0.2), click(9, 3, CLOUD)]),
    Pattern("HEAD for two, GET for both", [*heads(2, 0.5), *row(2, 0.5, at=1.5)]),
    Pattern("HEAD slowly, GET slowly", [*heads(5, 2.4), *row(5, 2.4, at=1.2)]),
    Pattern("the hidden link first", [click(0, HIDDEN, CLOUD), *row(2, 1.5, at=1)]),
    Pattern("the hidden link last", [*row(2, 1), click(2, HIDDEN, CLOUD)]),
    Pattern("the hidden link and the pixel", [pixel(0, CLOUD), click(1.5, HIDDEN, CLOUD)]),
    Pattern("the hidden link alone", [click(0, HIDDEN, CLOUD_SIX)]),
    Pattern("the hidden link, one link later", [click(0, HIDDEN, CLOUD), click(14, 2, CLOUD)]),
    *(
        Pattern(
            f"side by side, {name}",
            [click(at * gap, at, addresses[at % len(addresses)]) for at in range(count)],
        )
        for name, count, gap, addresses in [
            ("two addresses", 6, 0.15, ("100.64.12.9", "100.64.12.11")),
            ("an address each", 8, 0.1, tuple(f"100.64.12.{at}" for at in range(20, 28))),
            ("slower", 7, 0.6, ("100.64.12.3", "100.64.12.4", "100.64.12.5")),
            ("by IPv6", 7, 0.2, tuple(f"2001:db8:aa:1::{at}" for at in range(1, 8))),
        ]
    ),
    *(
        Pattern(
            f"from {len(clouds)} clouds, {count} links",
            [click(at * 0.15, at, clouds[at % len(clouds)]) for at in range(count)],
        )
        for count, clouds in [
            (9, ("100.64.1.1", "100.65.1.1", "100.66.1.1")),
            (8, tuple(f"100.{64 + at}.7.7" for at in range(8))),
            (4, tuple(f"100.{64 + at}.7.7" for at in range(4))),
        ]
    ),
    Pattern(
        "the hidden link by a neighbour", [click(0, 1, CLOUD), click(0.6, HIDDEN, "100.64.12.8")]
    ),
    Pattern("slowly, 12 links", row(12, 1.4)),
    Pattern("slowly, 15 links", row(15, 1.1, CLOUD_SIX)),
    Pattern("slowly, 6 links", row(6, 3)),
    *(
        Pattern(f"by name, {agent[:30]}", [step])
        for agent, step in [
            (agent, Step(0, link, CLOUD, agent))
            for agent, link in [
                ("Barracuda Sentinel (EE)", 0),
                ("Mimecast URL Protect", 1),
                (f"{CHROME} BingPreview/1.0b", OPEN),
                ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", 0),
                ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", 2),
                ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", 1),
                ("WhatsApp/2.23.20.0", 1),
                ("TelegramBot (like TwitterBot)", 0),
                ("python-requests/2.32.3", 0),
                ("Go-http-client/2.0", 3),
                ("Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/124.0.0.0 Safari/537.36", 1),
                ("Mozilla/5.0", 1),
                ("Mozilla/5.0 (compatible; Linkcheck/3.1; admin@example.net)", 2),
                ("Apache-HttpClient/4.5.13 (Java/11.0.22)", 1),
            ]
        ]
    ),
    *(
        Pattern(f"ahead, {name}: {value}", [prefetch(name, value)])
        for name, value in [
            ("Sec-Purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("Sec-Purpose", "Prefetch;Anonymous-Client-IP"),
            ("Purpose", "prefetch"),
            ("X-Purpose", "preview"),
            ("X-Moz", "prefetch"),
        ]
    ),
    Pattern("too soon, a link", [click(0, 0, CLOUD)], age=0),
    Pattern("too soon, the pixel", [pixel(0, CLOUD_SIX, FIREFOX)], age=0),
    Pattern("too soon, the pixel and a link", [pixel(0, CLOUD), click(0.1, 1, CLOUD)], age=0),
    Pattern("with the unsubscribe link", [*row(3, 0.2), click(0.6, UNSUBSCRIBE, CLOUD)]),
    Pattern("two links and the unsubscribe link", [*row(2, 0.2), click(0.4, UNSUBSCRIBE, CLOUD)]),
    # Nothing of these can be seen.
    Pattern("one link, as a browser would", [click(0, 0, CLOUD, EDGE)]),
    Pattern("one link by IPv6", [click(0, 3, CLOUD_SIX, FIREFOX)]),
    Pattern("the pixel and the only link", [pixel(0, CLOUD), click(0.3, 0, CLOUD)]),
    Pattern("both links of a mail", row(2, 0.2)),
    Pattern("three links, each some time later", row(3, 4)),
    Pattern("the pixel, as a mail program would", [pixel(0, CLOUD, CHROME)]),
]

ALL = [
    *PEOPLE,
    *(replace(pattern, steps=programs(pattern.steps)) for pattern in PROGRAMS),
]
