"""Which name servers a command asks."""

from __future__ import annotations

import dns.exception
from dns.resolver import Resolver

__all__ = ["Resolver", "resolver"]


def resolver(name_server: str | None) -> Resolver:
    """One that asks only this server, `ADDRESS` or `IPv4:PORT`; None: the name servers of this
    host, which are none if it has no /etc/resolv.conf. Raises ValueError.
    """
    if name_server is None:
        try:
            return Resolver()
        except dns.exception.DNSException:
            return Resolver(configure=False)
    address, port = name_server.split(":") if name_server.count(":") == 1 else (name_server, "53")
    found = Resolver(configure=False)
    try:
        found.nameservers = [address]
        found.port = int(port)
    except ValueError:
        raise ValueError(f"{name_server}: must be an IP address, or IPv4:PORT") from None
    return found
