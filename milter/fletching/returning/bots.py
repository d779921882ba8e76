"""Who was no person: the rules by which a click or an open is a program's, each with its reason.

Here live the rules and the memory that two of them need. A rule is a guess: what it finds is
flagged and never dropped. Nothing here reads a file or the clock; the lists are in `scanners.txt`
and `networks.txt`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network

from fletching.returning.networks import NO_NETWORKS, Networks
from fletching.tokens import Facts

HEAD_REQUEST = "head_request"
KNOWN_SCANNER = "known_scanner"
TOO_SOON = "too_soon"
MANY_LINKS = "many_links_at_once"
HIDDEN_LINK = "hidden_link"
PREFETCH = "prefetch"

SOONEST = 2000
"""Milliseconds from a mail's sending in which nobody has got, read and clicked it."""

AT_ONCE = 5000
LINKS_AT_ONCE = 4
"""Nobody opens as many different links of one mail within `AT_ONCE` milliseconds."""

REMEMBERED = 120_000
"""Milliseconds for which who touched a trap is known by it: a filter looks at all of a mail."""

_TRAPS = frozenset({HEAD_REQUEST, HIDDEN_LINK})
MESSAGES = 4096
READERS = 4
"""Of so many messages, and of so many who asked for each, something is remembered."""
MOST_REMEMBERED = MESSAGES * READERS * LINKS_AT_ONCE


class ListError(ValueError):
    """A line of the lists is none; says which."""


@dataclass(frozen=True)
class Lists:
    """The programs that are known by name or network."""

    scanners: re.Pattern[str]
    prefetchers: frozenset[str]
    samplers: tuple[str, ...]
    google: Networks
    apple: Networks

    def is_scanner(self, agent: str) -> bool:
        """Whether a User-Agent is a known program's."""
        return _is_found(self.scanners, agent)

    def is_prefetcher(self, agent: str) -> bool:
        """Whether a User-Agent is that of a mail program which fetches images in advance."""
        return agent in self.prefetchers

    def is_privacy_open(self, agent: str, address: str) -> bool:
        """Whether a mail program fetched an image in advance, so that nobody may have read."""
        return self.is_prefetcher(agent) or (
            agent.endswith(self.samplers) and address in self.google
        )


NO_LISTS = Lists(re.compile(r"(?!)"), frozenset(), (), NO_NETWORKS, NO_NETWORKS)

_KINDS = ("scanner", "pattern", "prefetch", "sampling", "google", "apple")


def lists(text: str) -> Lists:
    """The lists from their files' text. Raises `ListError`."""
    found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for number, line in enumerate(text.splitlines(), 1):
        kind, _, value = line.strip().partition(" ")
        if not kind or kind.startswith("#"):
            continue
        if kind not in found or not value:
            raise ListError(f"line {number}: must be one of {', '.join(found)}, and a value")
        found[kind].append(value)
    names = [re.escape(name) for name in found["scanner"]] + found["pattern"]
    try:
        return Lists(
            scanners=re.compile("|".join(names), re.IGNORECASE) if names else NO_LISTS.scanners,
            prefetchers=frozenset(found["prefetch"]),
            samplers=tuple(found["sampling"]),
            google=Networks(map(ip_network, found["google"])),
            apple=Networks(map(ip_network, found["apple"])),
        )
    except (ValueError, re.error) as error:
        raise ListError(str(error)) from None


# The same few names come again and again, and a look through all patterns takes 30 us.
@lru_cache(1024)
def _is_found(patterns: re.Pattern[str], agent: str) -> bool:
    return patterns.search(agent) is not None


def is_prefetch(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that it asks in advance, and nobody has clicked yet.

    Chrome says `Sec-Purpose: prefetch;prerender`; older ones `Purpose` and `X-Purpose`, Firefox
    `X-Moz`. Names of headers are in lower case.
    """
    said = ";".join(headers.get(name, "") for name in _OF_PREFETCH).lower()
    return any(word in said for word in ("prefetch", "prerender", "preview"))


_OF_PREFETCH = ("sec-purpose", "purpose", "x-moz", "x-purpose")


@dataclass(frozen=True, slots=True)
class Touch:
    """Something that one reader did with one message: a link that was followed, or a trap."""

    milliseconds: int
    what: str


class Recent:
    """What was done with the last messages, by whom: the memory of one process, and bounded.

    Each process sees its own share of the requests, so that a program which spreads its requests
    over connections is found by a part of them.
    """

    def __init__(self) -> None:
        self._messages: OrderedDict[Facts, dict[str, list[Touch]]] = OrderedDict()

    def trap(self, message: Facts, address: str, reason: str, milliseconds: int) -> None:
        """Somebody did what no person does."""
        self._of(message, address)[:] = [Touch(milliseconds, reason)]

    def reason(self, message: Facts, address: str, link: str, milliseconds: int) -> str:
        """Why this click is a program's, from what was done before; empty for a person's.

        The first links of a program that takes many at once count as a person's: they were
        answered before.
        """
        touches = self._of(message, address)
        touches[:] = [each for each in touches if milliseconds < each.milliseconds + _kept(each)]
        for each in touches:
            if each.what in _TRAPS:
                return each.what
        links = {each.what for each in touches}
        if link not in links and len(links) < LINKS_AT_ONCE:
            touches.append(Touch(milliseconds, link))
        return MANY_LINKS if len(links | {link}) >= LINKS_AT_ONCE else ""

    @property
    def size(self) -> int:
        """How much is remembered: at most `MOST_REMEMBERED`."""
        messages = self._messages.values()
        return sum(len(touches) for readers in messages for touches in readers.values())

    def _of(self, message: Facts, address: str) -> list[Touch]:
        readers = self._messages.get(message)
        if readers is None:
            readers = self._messages[message] = {}
            if len(self._messages) > MESSAGES:
                self._messages.popitem(last=False)
        touches = readers.get(address)
        if touches is None:
            touches = readers[address] = []
            if len(readers) > READERS:
                del readers[next(iter(readers))]
        return touches


def _kept(touch: Touch) -> int:
    return REMEMBERED if touch.what in _TRAPS else AT_ONCE
