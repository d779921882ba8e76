"""Suppression: which addresses of a list get no more mail, and why.

Here live the keys of suppression. Who heeds it is decided elsewhere. Keys:

    fletching:suppression            set of the ListIDs that have entries, in lower case
    fletching:suppressed:<ListID>    hash: address -> "<unix milliseconds> <reason>"

ListIDs are compared without regard to case (they are in lower case in events), and so are
addresses, which are as they were recorded: where a mail has an Obscured-Email, that stands here.
The first entry of an address stays: what comes later cannot make it later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fletching.events import BAD_ADDRESS, COMPLAINT, UNSUBSCRIBE, Event, text
from fletching.store.connection import Connection

LISTS = "fletching:suppression"
REASONS = {UNSUBSCRIBE: "unsubscribed", COMPLAINT: "complained", BAD_ADDRESS: "bad_address"}
"""The reason that an event is for suppression, by its type."""

_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """An address that a list must not write to. ``milliseconds``: unix time, since when."""

    listid: str
    address: str
    reason: str
    milliseconds: int


class Suppression:
    """The suppression lists of a fleet. Any number of threads may use them.

    Every method raises StoreAway where Redis does not answer.
    """

    def __init__(self, url: str, state_dir: Path) -> None:
        self._connection = Connection(url, state_dir)

    def record(self, events: Sequence[Event]) -> None:
        """Enters the addresses of those events that are reasons."""
        for event in events:
            if event.type in REASONS and event.facts.email:
                fields = event.fields()
                listid, address = str(fields["listid"]), str(fields["email"])
                self.add(listid, address, REASONS[event.type], event.milliseconds)

    def add(self, listid: str, address: str, reason: str, ms: int) -> bool:
        """Enters an address; False where it was there already, and stays as it is."""
        key, value = _key(listid), f"{ms} {reason}"
        # The list first: an entry that no list leads to would not be found.
        self._connection.ask(lambda client: client.sadd(LISTS, _plain(listid)))
        return bool(self._connection.ask(lambda client: client.hsetnx(key, _plain(address), value)))

    def remove(self, listid: str, address: str) -> bool:
        """Strikes an address out; False where it was not there."""
        key = _key(listid)
        return bool(self._connection.ask(lambda client: client.hdel(key, _plain(address))))

    def holds(self, listid: str, address: str) -> bool:
        """Whether the list must not write to the address."""
        key = _key(listid)
        return bool(self._connection.ask(lambda client: client.hexists(key, _plain(address))))

    def entries(self, listid: str | None = None) -> Iterator[Entry]:
        """The entries of a list, or of all lists, in no order; a list may be long."""
        lists = self.lists() if listid is None else [_plain(listid)]
        for each in lists:
            yield from self._of_list(each)

    def lists(self) -> list[str]:
        """The ListIDs that have entries, or had some, sorted."""
        return sorted(self._connection.ask(lambda client: client.smembers(LISTS)))

    def found(self, address: str) -> Iterator[Entry]:
        """The entries of an address in all lists: one look a list, many in a round trip."""
        plain, lists = _plain(address), self.lists()
        for start in range(0, len(lists), _AT_ONCE):
            page = lists[start : start + _AT_ONCE]
            for listid, value in zip(page, self._values(page, plain), strict=True):
                if value is not None:
                    yield _entry(listid, plain, value)

    def _values(self, lists: Sequence[str], address: str) -> list[str | None]:
        def asked(client: Any) -> list[str | None]:
            pipeline = client.pipeline(transaction=False)
            for listid in lists:
                pipeline.hget(_key(listid), address)
            values: list[str | None] = pipeline.execute()
            return values

        return self._connection.ask(asked)

    def _of_list(self, listid: str) -> Iterator[Entry]:
        cursor = None
        while cursor != 0:
            at = cursor or 0
            cursor, page = self._connection.ask(
                lambda client, at=at: client.hscan(_key(listid), at, count=_AT_ONCE)  # type: ignore[misc]
            )
            for address, value in page.items():
                yield _entry(listid, address, value)


def _entry(listid: str, address: str, value: str) -> Entry:
    milliseconds, _, reason = value.partition(" ")
    return Entry(listid, address, reason, int(milliseconds))


def where(listid: str, address: str) -> tuple[str, str]:
    """The key and the field where an address of a list stands, if it does."""
    return _key(listid), _plain(address)


def reason_in(value: str | None) -> str:
    """The reason in what stands there; empty where nothing does."""
    # Who is entered without a reason is suppressed all the same.
    return "" if value is None else value.partition(" ")[2] or "unknown"


def _key(listid: str) -> str:
    return f"fletching:suppressed:{quote(_plain(listid), safe='')}"


def _plain(name: str) -> str:
    """A ListID or an address as it is compared, and as events tell it."""
    return str(text(name)).lower()
