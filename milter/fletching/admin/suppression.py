"""`fletching suppression`: entries of suppression lists, and changes by hand.

All functions raise NoAnswer if Redis does not answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fletching.admin.asking import asking, store
from fletching.admin.figures import moment
from fletching.config import values
from fletching.config.model import Config
from fletching.mail.dkim import ascii_domain
from fletching.mail.message import addresses
from fletching.store.suppression import SuppressedAddress, Suppression

BY_HAND = "by_hand"
"""The reason of entries added by hand; other reasons come from events."""

COLUMNS = ("listid", "address", "reason", "since")

_LONGEST = 320
_OBSCURED = re.compile(r"[ -~]{1,255}")


class SuppressionError(Exception):
    """The value cannot be added. Says what is allowed."""


def rows(config: Config, listid: str | None) -> Iterator[dict[str, Any]]:
    """The entries of a list, or of all lists, in no particular order. ``since`` is RFC 3339."""
    with asking():
        for entry in Suppression(store(config)).entries(listid):
            yield _row(entry)


@asking()
def found(config: Config, address: str) -> list[dict[str, Any]]:
    """The entries of an address on all lists, by ListID."""
    return [_row(entry) for entry in Suppression(store(config)).of_address(address)]


@asking()
def is_known(config: Config, listid: str) -> bool:
    """Whether a Mail Class uses that list, or its suppression list has entries."""
    named = {each.list_id.lower() for each in config.mail_classes.values() if each.list_id}
    lists = Suppression(store(config)).lists()
    return listid.lower() in named or listid.lower() in lists


def _row(entry: SuppressedAddress) -> dict[str, Any]:
    since = moment(entry.milliseconds / 1000)
    cells = (entry.listid, entry.address, entry.reason, since)
    return dict(zip(COLUMNS, cells, strict=True))


def check_list(listid: str) -> None:
    """Raises SuppressionError if it is not a valid ListID."""
    try:
        values.list_id(listid)
    except ValueError as error:
        raise SuppressionError(str(error)) from None


class ByHand:
    """Changes one list."""

    def __init__(self, config: Config, listid: str, obscured: bool = False) -> None:
        """``obscured``: values to add are those of X-GreenArrow-Obscured-Email, not addresses."""
        self._obscured = obscured
        self._listid = listid
        self._suppression = Suppression(store(config))

    @asking()
    def add(self, address: str, milliseconds: int) -> bool:
        """Adds an address with that unix time; False if it was already on the list.

        Raises SuppressionError for a value that cannot be a recipient.
        """
        if self._obscured:
            if not _OBSCURED.fullmatch(address):
                raise SuppressionError("must be 1 to 255 printable ASCII characters")
        elif not _is_address(address):
            raise SuppressionError("must be a bare mail address such as name@example.com")
        return self._suppression.add(self._listid, address, BY_HAND, milliseconds)

    @asking()
    def remove(self, address: str) -> bool:
        """Removes an address; False if it was not on the list."""
        return self._suppression.remove(self._listid, address)


def _is_address(text: str) -> bool:
    """Whether a text is exactly one bare address, with a domain or an address literal."""
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
