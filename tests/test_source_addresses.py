"""Which source addresses of VirtualMTAs this host has."""

from __future__ import annotations

import pytest
from fletching.source_addresses import Watch, is_here, vanished

from tests.cases import for_every
from tests.setting import config

SITE = """\
virtual_mtas:
  A: {transport: vmta-a, address: 127.0.0.10}
  b: {transport: vmta-b, address: 192.0.2.11}
  c: {transport: vmta-c, address: 192.0.2.11}
  d: {transport: vmta-d}
  pool: {pool: {a: 1, b: 1}}
"""
ELSEWHERE = SITE.replace("127.0.0.10", "192.0.2.10")


@for_every(
    {
        "loopback": ("127.0.0.10", True),
        "another host's": ("192.0.2.1", False),
        "another host's, IPv6": ("2001:db8::1", False),
    }
)
def test_address_of_this_host(address: str, expected: bool) -> None:
    assert is_here(address) is expected


def test_virtual_mtas_whose_address_has_vanished() -> None:
    assert vanished(config(SITE)) == {"b", "c"}


@pytest.mark.parametrize("site", [ELSEWHERE, "virtual_mtas: {a: {transport: t}}"])
def test_nothing_has_vanished_where_postfix_is_on_another_host(site: str) -> None:
    assert vanished(config(site)) == frozenset()


def test_watch_looks_again_after_a_while_or_with_another_configuration() -> None:
    addresses: list[str] = []

    def here(address: str) -> bool:
        addresses.append(address)
        return address.startswith("127.")

    site = config(SITE)
    seldom, often = Watch(here), Watch(here, every=0)
    assert seldom.vanished(site) == seldom.vanished(site) == {"b", "c"}
    assert len(addresses) == 2
    assert seldom.vanished(config(ELSEWHERE)) == frozenset()
    assert len(addresses) == 4
    assert often.vanished(site) == often.vanished(site)
    assert len(addresses) == 8
