"""Addresses in networks, and where the networks come from."""

from __future__ import annotations

import json
from ipaddress import ip_network

import pytest
from fletching.returning.networks import Networks

import networks

SOME = Networks(map(ip_network, ("192.0.2.0/24", "192.0.2.64/26", "10.0.0.0/8", "2001:db8::/32")))


@pytest.mark.parametrize(
    ("address", "is_in"),
    [
        ("192.0.2.0", True),
        ("192.0.2.200", True),
        ("192.0.3.0", False),
        ("192.0.1.255", False),
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("0.0.0.0", False),
        ("2001:db8:ffff::1", True),
        ("2001:db9::", False),
        ("::", False),
        ("", False),
        ("no address", False),
    ],
)
def test_an_address_is_found_in_its_network(address: str, is_in: bool) -> None:
    assert (address in SOME) is is_in


def listed(*prefixes: str) -> str:
    kinds = [("ipv6Prefix" if ":" in each else "ipv4Prefix", each) for each in prefixes]
    return json.dumps({"prefixes": [{kind: each} for kind, each in kinds]})


def test_networks_of_google_cloud_customers_are_left_out() -> None:
    everything = listed("192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32", "203.0.113.0/28")
    rented = listed("192.0.2.128/25", "198.51.100.0/24", "203.0.113.0/24")
    found = [str(each) for each in networks.google(everything, rented)]
    assert found == ["192.0.2.0/25", "2001:db8::/32"]


def test_networks_of_apple_are_widened() -> None:
    table = "192.0.2.0/31,DE,DE-BE,Berlin,\n192.0.9.7/32,DE,,,\n2001:db8:1::/64,US,,,\n\n"
    assert [str(each) for each in networks.apple(table)] == ["192.0.0.0/16", "2001:db8::/32"]


def test_file_keeps_its_comments() -> None:
    before = "# About it.\n#\n# As of 2020-01-01, by hand\n# from a copy.\ngoogle 10.0.0.0/8\n"
    after = networks.written(before, [ip_network("192.0.2.0/24")], [], "2026-11-30")
    assert after == "# About it.\n#\n# As of 2026-11-30.\ngoogle 192.0.2.0/24\n"
