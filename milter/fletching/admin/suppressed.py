"""Suppression lists as the operator sees them: what stands there, and changes by hand.

Here live the answers of `fletching suppression`, and what may be entered by hand. All raise
NoAnswer where Redis does not answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fletching.admin.asking import asking
from fletching.admin.figures import moment
from fletching.config import values
from fletching.config.model import Config
from fletching.store.suppression import Suppression

BY_HAND = "by_hand"
"""The reason of what was entered by hand, beside those that events have."""

COLUMNS = ("listid", "address", "reason", "since")

_LONGEST = 320


class SuppressionError(Exception):
    """It cannot be entered. Says what is allowed."""


def rows(config: Config, listid: str | None) -> Iterator[dict[str, Any]]:
    """The entries of a list, or of all lists, in no order. ``since`` is RFC 3339."""
    with asking():
        for entry in Suppression(config.redis, config.state_dir).entries(listid):
            since = moment(entry.milliseconds / 1000)
            cells = (entry.listid, entry.address, entry.reason, since)
            yield dict(zip(COLUMNS, cells, strict=True))


def check_list(listid: str) -> None:
    """Raises SuppressionError where it can be no ListID."""
    try:
        values.list_id(listid)
    except ValueError as error:
        raise SuppressionError(str(error)) from None


class ByHand:
    """Changes of one list."""

    def __init__(self, config: Config, listid: str) -> None:
        self._listid = listid
        self._suppression = Suppression(config.redis, config.state_dir)

    @asking()
    def add(self, address: str, milliseconds: int) -> bool:
        """Enters an address, since that unix time; False where it was there already.

        Raises SuppressionError for what can stand for no reader: an X-GreenArrow-Obscured-Email,
        which may be in the address's place, is printable too.
        """
        if not 1 <= len(address) <= _LONGEST or not address.isprintable():
            raise SuppressionError(f"must be 1 to {_LONGEST} printable characters")
        return self._suppression.add(self._listid, address, BY_HAND, milliseconds)

    @asking()
    def remove(self, address: str) -> bool:
        """Strikes an address out; False where it was not there."""
        return self._suppression.remove(self._listid, address)
