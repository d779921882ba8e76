"""Rate limit for wrong passwords of the dashboard, by client address. Pure.

An address may send a few at once, and then one in ten seconds. Only wrong passwords count, so no
client is locked out by requests from other addresses.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

AT_ONCE = 10
"""Wrong passwords of one address that are answered without a pause."""

SECONDS_EACH = 10.0
"""Seconds that each further wrong password costs."""

MOST = 10_000
"""Addresses that are remembered: the ones with the latest wrong passwords."""


class Guesses:
    """Wrong passwords by IPv4 address, or by IPv6 /64, which belongs to one customer.

    Times are seconds of a monotonic clock. ``seconds_each``: see `SECONDS_EACH`.
    """

    def __init__(self, seconds_each: float = SECONDS_EACH) -> None:
        self._seconds_each = seconds_each
        self._blocked_until: OrderedDict[str, float] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """Seconds until a password from that address is checked; 0 if it is checked now."""
        return max(
            0.0,
            self._blocked_until.get(_network(address), now)
            - now
            - (AT_ONCE - 1) * self._seconds_each,
        )

    def count_wrong(self, address: str, now: float) -> None:
        """Counts a wrong password from that address."""
        network = _network(address)
        self._blocked_until[network] = (
            max(self._blocked_until.get(network, now), now) + self._seconds_each
        )
        self._blocked_until.move_to_end(network)
        if len(self._blocked_until) > MOST:
            self._blocked_until.popitem(last=False)


def _network(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, IPv6Address):
        return found.exploded[:19]
    return address
