"""The server that a relay's mail goes to, in Postfix's notation. Pure."""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated

from pydantic import AfterValidator

from fletching.config import values
from fletching.config.fields import OptionType

_FORM = re.compile(r"\[(?P<literal>[^\[\]]+)\](:(?P<port>[0-9]{1,5}))?|[^\[\]:]+(:[0-9]{1,5})?")
_RULE = (
    "must be [HOST]:PORT, [HOST], or DOMAIN, whose MX hosts Postfix looks up,"
    " such as [smtp.example.net]:587"
)


def next_hop(value: str) -> str:
    """A destination of smtp(8): `[host]:port`, without brackets for the MX hosts of a domain.

    In lower case. Raises ValueError.
    """
    found = _FORM.fullmatch(value)
    if found is None:
        raise ValueError(_RULE)
    name, _, port = (
        (found["literal"], "", found["port"] or "") if found["literal"] else value.partition(":")
    )
    if port and not 1 <= int(port) <= 65535:
        raise ValueError(_RULE)
    if not (_is_host(name) or (found["literal"] and _is_address(name))):
        raise ValueError(_RULE)
    return value.lower()


def _is_host(name: str) -> bool:
    with suppress(ValueError):
        values.host(name)
        return True
    return False


def _is_address(name: str) -> bool:
    for kind in (IPv4Address, IPv6Address):
        with suppress(ValueError):
            return "%" not in str(kind(name.lower().removeprefix("ipv6:")))
    return False


NextHop = Annotated[
    str, AfterValidator(next_hop), OptionType("`[HOST]:PORT`, `[HOST]`, or a domain with MX")
]
