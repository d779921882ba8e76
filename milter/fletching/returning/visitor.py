"""What a request tells of the one who reads: the address, behind proxies, and the language. Pure.

Both are hints from outside. An address is believed only as far as the proxies are ours; a language
is one of those that there are words for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_LONGEST = 1000
"""Characters of a header that are read."""

Network = IPv4Network | IPv6Network


def address(peer: str, forwarded: str, proxies: Sequence[Network]) -> str:
    """The address of the one who asked, in its usual spelling; empty where there is none to tell.

    ``peer``: who connected, empty for a Unix socket, behind which there is always a proxy.
    ``forwarded``: X-Forwarded-For, to which each proxy adds whom it had; it is read from the right
    for as long as the one who wrote it is a proxy of ours. The first who is none is the reader.
    """
    believed = _spelled(peer) or peer
    for said in reversed(forwarded[-_LONGEST:].split(",") if forwarded else []):
        if believed and not is_among(believed, proxies):
            break
        found = _spelled(said)
        if not found:
            break
        believed = found
    return believed


def language(accepted: str, known: Sequence[str]) -> str:
    """The reader's language (RFC 9110, section 12.5.4), else the first one that is known."""
    best, most = known[0], 0.0
    for entry in accepted[:_LONGEST].lower().split(","):
        tag, _, weight = entry.partition(";")
        name = tag.strip().partition("-")[0]
        if name in known and (worth := _weight(weight)) > most:
            best, most = name, worth
    return best


def _weight(text: str) -> float:
    name, _, value = text.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return min(float(value), 1.0)
    except ValueError:
        return 0.0


@lru_cache(4096)
def is_among(text: str, networks: tuple[Network, ...]) -> bool:
    """Whether a text is an address in one of the networks."""
    try:
        found = ip_address(text)
    except ValueError:
        return False
    return any(found in network for network in networks)


@lru_cache(4096)
def _spelled(text: str) -> str:
    """An address without port, brackets and zone; one of IPv4 in IPv6 as itself; else empty."""
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
