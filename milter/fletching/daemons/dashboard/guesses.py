"""How often an address may try a password of the dashboard. Pure.

Here lives the count of wrong ones, by address: a few at once, then one in ten seconds. Who does not
guess is never counted, so nobody is kept out by what comes from other addresses.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

AT_ONCE = 10
"""Wrong passwords of one address that are answered without a pause between them."""

EACH = 10.0
"""Seconds that each further one costs."""

MOST = 10_000
"""Addresses that are remembered: those whose last wrong password was the latest."""


class Guesses:
    """Wrong passwords by address; of IPv6, by network of 64 bits, which is one customer's.

    Times are seconds of any clock that does not jump.
    """

    def __init__(self) -> None:
        self._paid: OrderedDict[str, float] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """Seconds until a password from there is looked at; 0 where it is at once."""
        return max(0.0, self._paid.get(_network(address), now) - now - (AT_ONCE - 1) * EACH)

    def wrong(self, address: str, now: float) -> None:
        """A wrong one came from there."""
        network = _network(address)
        self._paid[network] = max(self._paid.get(network, now), now) + EACH
        self._paid.move_to_end(network)
        if len(self._paid) > MOST:
            self._paid.popitem(last=False)


def _network(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, IPv6Address):
        return found.exploded[:19]
    return address
