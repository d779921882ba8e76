"""The rules by which several requests about one message show that a program sent them.

A program follows many links of a message in a burst. Here live these rules, and the form in which
processes pass requests on to each other. A rule is a guess: docs/bots.md lists all of them, with
their windows and how often they are right. The rules for a single request are in `bots.py`;
`daemons/intake` keeps the touches.
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
"""What a client did: it followed a link, sent HEAD for one, or followed the hidden link."""

AT_ONCE = 3000
BURSTS = ((1000, 3), (AT_ONCE, 4))
"""Milliseconds, and the number of different links that no person follows in that time."""

SLOWLY = 60_000
LINKS_SLOWLY = 10
"""Different links that no person follows within `SLOWLY` milliseconds."""

LINKS_OF_ANYBODY = 6
"""Different links that all clients of a message together do not follow within `AT_ONCE`."""

REMEMBERED = 30_000
"""Milliseconds for which a client that acted like a program counts as one."""

_PREFIXES = {4: 24, 6: 64}
"""Bits of a network by IP version: programs that spread requests use neighboring addresses."""


class Touch(NamedTuple):
    """Something that a client did with one message. ``link``: which of its links (`link_name`)."""

    milliseconds: int
    client: str
    what: str
    link: str

    @property
    def line(self) -> str:
        """The form in which other processes get it: one line, with its end."""
        return f"{self.milliseconds} {self.what} {self.link} {self.client}\n"


def touch_of(click: Event) -> Touch:
    """The touch of a click that has become an event."""
    url, client = str(click.details["click_url"]), str(click.details["engine_ip"])
    return Touch(click.milliseconds, client, LINK if url else HIDDEN, link_name(url))


def message_name(facts: Facts) -> str:
    """The name under which the touches of one message are kept."""
    return f"{facts.campaign}:{facts.number}"


def link_name(destination: str) -> str:
    """A short name for a link, made from its destination: 12 hexadecimal digits."""
    octets = destination.encode("utf-8", "surrogateescape")
    return hashlib.blake2b(octets, digest_size=6).hexdigest()


def touches_in(lines: Iterable[str]) -> list[Touch]:
    """The touches in these lines, by time; incomplete lines are ignored."""
    found = []
    for line in lines:
        words = line.rstrip("\n").split(" ")
        if len(words) == 4 and words[0].isdecimal():
            found.append(Touch(int(words[0]), words[3], words[1], words[2]))
    return sorted(found)


def judged(event: Event, touches: Sequence[Touch], lists: Lists) -> Event:
    """A click or an open with its final verdict. ``touches``: those of its message, by time."""
    if event.details["is_bot"]:
        return event
    reason = verdict(touches, str(event.details["engine_ip"]), event.milliseconds, lists)
    if not reason:
        return event
    return replace(event, details={**event.details, "is_bot": True, "bot_reason": reason})


def verdict(touches: Sequence[Touch], client: str, at: int, lists: Lists) -> str:
    """Why the client was a program at that time; empty if it may have been a person.

    A client is an address. Within `AT_ONCE`, all addresses of its network count as one client,
    unless the network belongs to a proxy, which many people share.
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
    # Office sends HEAD for a link before it opens it for a person: that is one link.
    if any(links > 1 and heads for links, heads in _windows(touches, AT_ONCE)):
        return HEAD_REQUEST
    is_many = any(_most_links(touches, within) >= count for within, count in BURSTS)
    return MANY_LINKS if is_many else ""


def _around(touches: Iterable[Touch], at: int, within: int) -> list[Touch]:
    return [each for each in touches if abs(each.milliseconds - at) <= within]


def _beside(touches: Iterable[Touch], client: str, lists: Lists) -> list[Touch]:
    """The touches of clients in the same network; none if the network is a proxy's."""
    if not client or client in lists.apple or client in lists.google:
        return []
    return [each for each in touches if _network(each.client) == _network(client)]


def _most_links(touches: Sequence[Touch], within: int) -> int:
    """The highest number of different links within so many milliseconds."""
    return max((links for links, _ in _windows(touches, within)), default=0)


def _windows(touches: Sequence[Touch], within: int) -> Iterator[tuple[int, int]]:
    """For the window that ends at each touch: its number of different links and of HEADs."""
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


@lru_cache(4096)  # A pure function of a short text; each request asks several times.
def _network(client: str) -> str:
    """The network of an address; a text that is no address stands for itself."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    bits = address.max_prefixlen - _PREFIXES[address.version]
    return f"{int(address) >> bits << bits}/{address.version}"
