"""Who sent a web request: the address, behind proxies, and the language. Pure.

A client can claim any address and any language. X-Forwarded-For is believed only as far as the
proxies are ours; the language is one that the pages exist in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_LONGEST = 1000
"""Characters of a header that are read."""

Network = IPv4Network | IPv6Network


def address(peer: str, forwarded: str, proxies: Sequence[Network]) -> str:
    """The client's address in its usual spelling; empty if it is unknown.

    ``peer``: the address that connected; empty for a Unix socket, whose client is always a proxy.
    ``forwarded``: X-Forwarded-For, to which each proxy appends the address of its own client. It is
    read from the right, as long as a proxy of ours wrote the entry. The first address that is not a
    proxy of ours is the client's.
    """
    client = _normalized(peer) or peer
    for entry in reversed(forwarded[-_LONGEST:].split(",") if forwarded else []):
        if client and not is_among(client, proxies):
            break
        previous = _normalized(entry)
        if not previous:
            break
        client = previous
    return client


def language(accepted: str, known: Sequence[str]) -> str:
    """The preferred of the known languages (RFC 9110, section 12.5.4); the first if none fits."""
    best, best_weight = known[0], 0.0
    for entry in accepted[:_LONGEST].lower().split(","):
        tag, _, parameter = entry.partition(";")
        name = tag.strip().partition("-")[0]
        if name in known and (weight := _weight(parameter)) > best_weight:
            best, best_weight = name, weight
    return best


def _weight(text: str) -> float:
    name, _, value = text.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return min(float(value), 1.0)
    except ValueError:
        return 0.0


@lru_cache(4096)  # This and the next are pure functions of short texts.
def is_among(text: str, networks: tuple[Network, ...]) -> bool:
    """Whether a text is an address in one of the networks."""
    try:
        found = ip_address(text)
    except ValueError:
        return False
    return any(found in network for network in networks)


@lru_cache(4096)
def _normalized(text: str) -> str:
    """An address without port, brackets and zone, IPv4-mapped IPv6 as IPv4; empty if it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found)
