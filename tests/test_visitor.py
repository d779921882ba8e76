"""visitor.py: the client's address behind proxies, and its language."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from fletching.returning import visitor
from hypothesis import given
from hypothesis import strategies as st

HERE = "192.0.2.1"
FILLING = ",10.0.0.2" * 120
PROXIES = tuple(map(ip_network, ("10.0.0.0/8", "2001:db8::/64")))


@pytest.mark.parametrize(
    ("name", "peer", "forwarded", "found"),
    [
        ("directly", HERE, "", HERE),
        ("a lie", HERE, "198.51.100.1", HERE),
        ("by a proxy", "10.0.0.1", HERE, HERE),
        ("a lie by a proxy", "10.0.0.1", f"198.51.100.1, {HERE}", HERE),
        ("by two", "10.0.0.1", f"198.51.100.1, {HERE} ,10.9.9.9", HERE),
        ("all are proxies", "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("a proxy that says nothing", "10.0.0.1", "", "10.0.0.1"),
        ("a proxy that says nonsense", "10.0.0.1", "unknown", "10.0.0.1"),
        ("nonsense before it", "10.0.0.1", f"<script>, {HERE}", HERE),
        ("with a port", "10.0.0.1", f"{HERE}:4711", HERE),
        ("IPv6", "2001:db8::1", "2001:db8:1::9", "2001:db8:1::9"),
        ("IPv6 with brackets and port", "10.0.0.1", "[2001:DB8:1::9]:4711", "2001:db8:1::9"),
        ("IPv6 with a zone", "10.0.0.1", "fe80::1%eth0", "fe80::1"),
        ("IPv4 in IPv6", "::ffff:10.0.0.1", HERE, HERE),
        ("a Unix socket", "", HERE, HERE),
        ("a Unix socket, and a lie", "", f"198.51.100.1, {HERE}", HERE),
        ("a Unix socket and nothing", "", "", ""),
        ("a peer that is no address", "somebody", HERE, "somebody"),
        ("a lie before nonsense", "10.0.0.1", "198.51.100.1, junk, 10.0.0.2", "10.0.0.2"),
        ("the end of a long field", "10.0.0.1", "x," * 600 + HERE, HERE),
        ("the beginning of a long field", "10.0.0.1", f"{HERE}{FILLING}", "10.0.0.2"),
    ],
)
def test_client_address_behind_proxies(name: str, peer: str, forwarded: str, found: str) -> None:
    assert visitor.address(peer, forwarded, PROXIES) == found


@given(st.text())
def test_client_address_is_valid_or_empty(forwarded: str) -> None:
    found = visitor.address("10.0.0.1", forwarded, PROXIES)
    assert ip_network(found)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.5", "de"),
        ("pt-BR,es;q=0.8,en;q=0.5", "es"),
        ("en;q=0.1,fr;q=0.2", "fr"),
        ("fr;q=0, en;q=0.5", "en"),
        ("FR", "fr"),
        ("xx", "en"),
        ("*", "en"),
        ("de;q=x,fr;q=0.1", "fr"),
        ("de;q=nan,fr;q=0.1", "fr"),
        (";;;,,,=", "en"),
        ("fr;x=1,de;q=0.9", "fr"),
        ("fr; q=0.1, de;q=0.5", "de"),
        ("de;q=1,fr", "de"),
        ("de;q=1,fr;q=7", "de"),
        ("de;q=7,fr;q=1", "de"),
        ("fr;q=0.5,de;q=0.5", "fr"),
        ("x," * 600 + "de", "en"),
        (" fr-CA ; q = 0.8", "fr"),
    ],
)
def test_language_of_a_request(accepted: str, language: str) -> None:
    assert visitor.language(accepted, ("en", "de", "fr", "es")) == language
