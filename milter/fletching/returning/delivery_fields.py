"""What mail servers on the way wrote into the header of a returned mail. Pure.

Here lives to which addresses it came, and whether it came from another host. What the mail itself
says is read in `reading.py`.
"""

from __future__ import annotations

from fletching.mail.message import header_block

MOST_BEFORE = 20
"""How many of the addresses that a mail had before are looked at."""


def values(content: bytes, *names: bytes) -> list[bytes]:
    """The values of all fields with one of these names, from the top down. ``names``: in lower
    case.
    """
    fields, _ = header_block(content, 0)
    return [value for name, value in fields if name.rstrip(b" \t").lower() in names]


def addresses_before(content: bytes) -> tuple[str, ...]:
    """The addresses that the mail had before an alias changed them."""
    found = values(content, b"x-original-to", b"delivered-to")[:MOST_BEFORE]
    return tuple(value.strip().decode("utf-8", "replace") for value in found)


def is_from_here(content: bytes) -> bool:
    """Whether no host has received the mail from another one: then this host's Postfix made it."""
    received = values(content, b"received")
    return not any(value.lstrip().lower().startswith(b"from") for value in received)
