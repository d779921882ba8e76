"""Who was no person: the rules by which a click or an open is a program's, each with its reason.

Here live the rules for a single request. A rule is a guess: what it finds is flagged and never
dropped. What several requests tell together is in `bursts.py`. Nothing here reads a file or the
clock; the lists are in `scanners.txt` and `networks.txt`.
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
"""Milliseconds from a mail's sending in which nobody has got, read and clicked it."""


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
