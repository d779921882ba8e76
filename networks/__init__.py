"""Updates `returning/networks.txt` with the networks of Google and Apple: `make networks`.

The comments at the top of the file are kept.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent.parent / "milter" / "fletching" / "returning" / "networks.txt"
GOOGLE = "https://www.gstatic.com/ipranges/goog.json"
CUSTOMERS = "https://www.gstatic.com/ipranges/cloud.json"
APPLE = "https://mask-api.icloud.com/egress-ip-ranges.csv"

WIDENED = {4: 16, 6: 32}
"""Prefix lengths of Apple's networks by IP version, since its list has 280,000 lines."""

Network = IPv4Network | IPv6Network


def google(everything: str, customers: str) -> list[Network]:
    """Google's own networks: all of its networks, without those of its customers."""
    found = set(_published(everything))
    for rented in _published(customers):
        for whole in [each for each in found if _holds(each, rented)]:
            found.remove(whole)
            if whole != rented:
                found.update(whole.address_exclude(rented))  # type: ignore[arg-type]
        found = {each for each in found if not _holds(rented, each)}
    return _collapsed(found)


def apple(table: str) -> list[Network]:
    """Apple's networks, from the first column of its CSV, widened to `WIDENED`."""
    found = {ip_network(line.partition(",")[0]) for line in table.splitlines() if line}
    return _collapsed(
        {net.supernet(new_prefix=min(net.prefixlen, WIDENED[net.version])) for net in found}
    )


def written(before: str, google: Iterable[Network], apple: Iterable[Network], day: str) -> str:
    """The new text of the file: its comments, the date, and the networks."""
    comments = [line for line in before.splitlines() if line.startswith("#")]
    dated = next((at for at, line in enumerate(comments) if "As of " in line), len(comments))
    lines = [*comments[:dated], f"# As of {day}."]
    lines += [f"google {network}" for network in google]
    lines += [f"apple {network}" for network in apple]
    return "\n".join(lines) + "\n"


def _published(text: str) -> Iterator[Network]:
    prefixes: list[dict[str, Any]] = json.loads(text)["prefixes"]
    for each in prefixes:
        yield ip_network(each.get("ipv4Prefix") or each["ipv6Prefix"])


def _holds(one: Network, other: Network) -> bool:
    return one.version == other.version and other.subnet_of(one)  # type: ignore[arg-type]


def _collapsed(networks: Iterable[Network]) -> list[Network]:
    found = list(networks)
    fours = [each for each in found if isinstance(each, IPv4Network)]
    sixes = [each for each in found if isinstance(each, IPv6Network)]
    return [*collapse_addresses(fours), *collapse_addresses(sixes)]


def _fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def renew() -> None:
    """Download the three lists and write the file."""
    found = google(_fetched(GOOGLE), _fetched(CUSTOMERS)), apple(_fetched(APPLE))
    today = datetime.now(UTC).date().isoformat()
    FILE.write_text(written(FILE.read_text("utf-8"), *found, today), "utf-8")
