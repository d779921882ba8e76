"""`fletching suppression`: entries of suppression lists, and changes by hand.

All functions raise NoAnswer if Redis does not answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fletching.admin.asking import asking, store
from fletching.config import values
from fletching.config.model import Config
from fletching.policy import lists
from fletching.store.suppression import BY_HAND, COLUMNS, SuppressedAddress, Suppression


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
    known = Suppression(store(config)).lists()
    return listid.lower() in named or listid.lower() in known


def _row(entry: SuppressedAddress) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(COLUMNS, entry.cells, strict=True))
    return row | {"source": entry.source or None}


def check_list(listid: str) -> None:
    """Raises SuppressionError if it is not a valid ListID."""
    try:
        values.list_id(listid)
    except ValueError as error:
        raise SuppressionError(str(error)) from None


def check_address(address: str, obscured: bool) -> None:
    """Raises SuppressionError if it cannot be a recipient.

    ``obscured``: a value of X-GreenArrow-Obscured-Email is allowed, too.
    """
    try:
        lists.check_suppressible(address, obscured=obscured)
    except ValueError as error:
        raise SuppressionError(str(error)) from None


@asking()
def add(config: Config, listid: str, address: str, milliseconds: int) -> bool:
    """Adds a checked address with that unix time; False if it was already on the list."""
    return Suppression(store(config)).add(listid, address, BY_HAND, milliseconds)


@asking()
def remove(config: Config, listid: str, address: str) -> bool:
    """Removes an address; False if it was not on the list."""
    return Suppression(store(config)).remove(listid, address)
