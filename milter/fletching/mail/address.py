"""A single mail address: is a text one?

Here lives the check of addresses that an operator enters or imports. Addresses within header fields
are found in `message.py`.
"""

from __future__ import annotations

import re

from fletching.mail.dkim import ascii_domain
from fletching.mail.message import addresses

_LONGEST = 320

# Nearly every address; a list of a million of them is checked when it is imported.
_USUAL = re.compile(
    r"[a-z0-9_-]+(?:[.+][a-z0-9_-]+)*@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}",
    re.ASCII | re.IGNORECASE,
)


def is_address(text: str) -> bool:
    """Whether a text is exactly one bare address, with a domain or an address literal."""
    if len(text) < 255 and _USUAL.fullmatch(text):
        return True
    if len(text) > _LONGEST or not text.isprintable():
        return False
    if addresses(text.encode()) != [text]:
        return False
    domain = text.rpartition("@")[2]
    if domain.startswith("["):
        return domain.endswith("]")
    try:
        ascii_domain(domain)
    except ValueError:
        return False
    return True
