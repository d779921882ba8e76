"""Whether an address is in one of many networks. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


class Networks:
    """A fixed set of networks; binary search, however many there are."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._ends: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for each in networks:
            self._ends[each.version].append((int(each[0]), int(each[-1])))
        self._ends = {version: _joined(ends) for version, ends in self._ends.items()}

    def __contains__(self, address: str) -> bool:
        """Whether a text is an address in one of them."""
        version, number = _number(address)
        ends = self._ends.get(version, [])
        at = bisect_right(ends, (number, 2**128)) - 1
        return at >= 0 and number <= ends[at][1]


def _joined(ends: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """First and last addresses in order, without networks inside others."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ends):
        if not found or last > found[-1][1]:
            found.append((first, last))
    return found


@lru_cache(4096)  # A pure function of a short text; each request asks several times.
def _number(address: str) -> tuple[int, int]:
    """IP version and number of an address; version 0 for a text that is no address."""
    try:
        found = ip_address(address)
    except ValueError:
        return 0, 0
    return found.version, int(found)


NO_NETWORKS = Networks(())
