"""Who was no person by what came with a click or an open: the links that one took in a burst.

Here live the rules for several requests about one message, and the form in which processes tell
each other of requests. A rule is a guess: docs/bots.md has them all, with their windows and how
often they are right. What a single request tells is in `bots.py`; who remembers, in `daemons/`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from fletching.events import Event
from fletching.returning.bots import HEAD_REQUEST, HIDDEN_LINK, MANY_LINKS, Lists
from fletching.tokens import Facts

LINK, HEAD, HIDDEN = "link", "head", "hidden"
"""What a client did: it took a link, asked for one by HEAD, or took the one that nobody sees."""

AT_ONCE = 3000
BURSTS = ((1000, 3), (AT_ONCE, 4))
"""Nobody takes so many (second) different links of a mail within so many milliseconds."""

SLOWLY = 60_000
LINKS_SLOWLY = 10
"""Nor does anybody take so many, one after the other, within `SLOWLY` milliseconds."""

LINKS_OF_ANYBODY = 6
"""Nor do all the clients of one message together, wherever they are, within `AT_ONCE`."""

REMEMBERED = 30_000
"""Milliseconds for which a program is known by what it did with a message."""

_PREFIXES = {4: 24, 6: 64}
"""A network, by IP version: programs that spread their requests have addresses side by side."""


class Touch(NamedTuple):
    """Something that a client did with one message. ``link``: which of its links (`link_name`)."""

    milliseconds: int
    client: str
    what: str
    link: str

    @property
    def line(self) -> str:
        """As it is told to others: one line, with its end."""
        return f"{self.milliseconds} {self.what} {self.link} {self.client}\n"


def touch_of(click: Event) -> Touch:
    """What was touched by a click that is an event by now."""
    url, client = str(click.details["click_url"]), str(click.details["engine_ip"])
    return Touch(click.milliseconds, client, LINK if url else HIDDEN, link_name(url))


def message_name(facts: Facts) -> str:
    """By what touches of one message are kept together."""
    return f"{facts.campaign}:{facts.number}"


def link_name(destination: str) -> str:
    """A link by where it leads, however long that is, in 12 hexadecimal digits."""
    octets = destination.encode("utf-8", "surrogateescape")
    return hashlib.blake2b(octets, digest_size=6).hexdigest()


def touches_in(lines: Iterable[str]) -> list[Touch]:
    """The touches in lines, in the order of time; what is no whole line is left out."""
    found = []
    for line in lines:
        words = line.rstrip("\n").split(" ")
        if len(words) == 4 and words[0].isdecimal():
            found.append(Touch(int(words[0]), words[3], words[1], words[2]))
    return sorted(found)


def judged(event: Event, touches: Sequence[Touch], lists: Lists) -> Event:
    """A click or an open with its final verdict. ``touches``: of its message, by time."""
    if event.details["is_bot"]:
        return event
    reason = verdict(touches, str(event.details["engine_ip"]), event.milliseconds, lists)
    if not reason:
        return event
    return replace(event, details={**event.details, "is_bot": True, "bot_reason": reason})


def verdict(touches: Sequence[Touch], client: str, at: int, lists: Lists) -> str:
    """Why what a client did at that time is a program's; empty for a person's.

    A client is an address; but within a moment, all the addresses of its network are one, unless
    that is a proxy's, behind which are many people.
    """
    own = [each for each in touches if each.client == client]
    if reason := _why(_around(own, at, REMEMBERED)):
        return reason
    if _most_links(_around(own, at, SLOWLY), SLOWLY) >= LINKS_SLOWLY:
        return MANY_LINKS
    near = _around(touches, at, AT_ONCE)
    if reason := _why(_beside(near, client, lists)):
        return reason
    return MANY_LINKS if _most_links(near, AT_ONCE) >= LINKS_OF_ANYBODY else ""


def _why(touches: Sequence[Touch]) -> str:
    if any(each.what == HIDDEN for each in touches):
        return HIDDEN_LINK
    # Office asks for a link by HEAD before it lets a person go there: that is one link.
    if any(links > 1 and heads for links, heads in _windows(touches, AT_ONCE)):
        return HEAD_REQUEST
    is_many = any(_most_links(touches, within) >= count for within, count in BURSTS)
    return MANY_LINKS if is_many else ""


def _around(touches: Iterable[Touch], at: int, within: int) -> list[Touch]:
    return [each for each in touches if abs(each.milliseconds - at) <= within]


def _beside(touches: Iterable[Touch], client: str, lists: Lists) -> list[Touch]:
    """Those of clients in the same network."""
    if not client or client in lists.apple or client in lists.google:
        return []
    return [each for each in touches if _network(each.client) == _network(client)]


def _most_links(touches: Sequence[Touch], within: int) -> int:
    """How many different links were taken within so many milliseconds, at most."""
    return max((links for links, _ in _windows(touches, within)), default=0)


def _windows(touches: Sequence[Touch], within: int) -> Iterator[tuple[int, int]]:
    """Of the time up to each touch: how many different links there were, and how many HEADs."""
    links: Counter[str] = Counter()
    start = heads = 0
    for last in touches:
        links[last.link] += 1
        heads += last.what == HEAD
        while (first := touches[start]).milliseconds < last.milliseconds - within:
            start += 1
            heads -= first.what == HEAD
            links[first.link] -= 1
            if not links[first.link]:
                del links[first.link]
        yield len(links), heads


@lru_cache(4096)
def _network(client: str) -> str:
    """The network of an address; what is no address is its own."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    bits = address.max_prefixlen - _PREFIXES[address.version]
    return f"{int(address) >> bits << bits}/{address.version}"
