"""The rules by which a click or an open comes from a program and not from a person, with reasons.

Here live the rules for a single request. A rule is a guess: the event is flagged, never dropped.
The rules for several requests together are in `bursts.py`. Nothing here reads a file or the clock;
the lists are in `scanners.txt` and `networks.txt`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network

from fletching.returning.networks import NO_NETWORKS, Networks

HEAD_REQUEST = "head_request"
KNOWN_SCANNER = "known_scanner"
TOO_SOON = "too_soon"
MANY_LINKS = "many_links_at_once"
HIDDEN_LINK = "hidden_link"
PREFETCH = "prefetch"

SOONEST = 2000
"""Milliseconds after sending in which no person can have received, read and clicked a message."""


class ListError(ValueError):
    """A line of the lists is invalid; the message says which."""


@dataclass(frozen=True)
class Lists:
    """Programs that are known by their User-Agent or their network."""

    scanners: re.Pattern[str]
    prefetchers: frozenset[str]
    samplers: tuple[str, ...]
    google: Networks
    apple: Networks

    def is_scanner(self, agent: str) -> bool:
        """Whether a User-Agent is that of a known scanner."""
        return _is_found(self.scanners, agent)

    def is_prefetcher(self, agent: str) -> bool:
        """Whether a User-Agent is that of a mail program that fetches images in advance."""
        return agent in self.prefetchers

    def is_privacy_open(self, agent: str, address: str) -> bool:
        """Whether a mail program fetched an image in advance: the message may be unread."""
        return self.is_prefetcher(agent) or (
            agent.endswith(self.samplers) and address in self.google
        )


NO_LISTS = Lists(re.compile(r"(?!)"), frozenset(), (), NO_NETWORKS, NO_NETWORKS)

_KINDS = ("scanner", "pattern", "prefetch", "sampling", "google", "apple")


def lists(text: str) -> Lists:
    """The lists from the text of their files. Raises `ListError`."""
    found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for number, line in enumerate(text.splitlines(), 1):
        kind, _, value = line.strip().partition(" ")
        if not kind or kind.startswith("#"):
            continue
        if kind not in found or not value:
            raise ListError(f"line {number}: must be a value behind one of {', '.join(found)}")
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


# The same few User-Agents occur again and again, and to search all patterns takes 30 us. This is
# a pure function, so nothing but time follows from what is cached.
@lru_cache(1024)
def _is_found(patterns: re.Pattern[str], agent: str) -> bool:
    return patterns.search(agent) is not None


def reason(
    lists: Lists, headers: Mapping[str, str], agent: str, *, after_sending: int, is_open: bool
) -> str:
    """Why a click or an open, by itself, comes from a program; empty if it may be a person's.

    ``after_sending``: milliseconds between the message and the request.
    """
    if is_prefetch(headers):
        return PREFETCH
    if lists.is_scanner(agent) or (lists.is_prefetcher(agent) and not is_open):
        return KNOWN_SCANNER
    return TOO_SOON if after_sending < SOONEST else ""


def is_prefetch(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that it fetches a page in advance, before a person has clicked.

    Chrome sends `Sec-Purpose: prefetch;prerender`, older versions `Purpose` and `X-Purpose`,
    Firefox `X-Moz`. Names of headers are in lower case.
    """
    purpose = ";".join(headers.get(name, "") for name in _PURPOSE_HEADERS).lower()
    return any(word in purpose for word in ("prefetch", "prerender", "preview"))


_PURPOSE_HEADERS = ("sec-purpose", "purpose", "x-moz", "x-purpose")
