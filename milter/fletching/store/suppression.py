"""Suppression lists: which addresses of a list get no more mail, and why.

Here is not decided what happens to a mail for such an address. The value of an entry is "<unix
milliseconds> <reason>", or "<unix milliseconds> removed" if the operator removed it.

ListIDs and addresses are compared without regard to case. For a mail with an Obscured-Email, the
entry has that text in place of the address. The first entry of an address stays: a later reason
does not change its time. A removed entry is kept because older events may be written again, which
must not suppress the address once more; it has no other effect.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fletching.events import BAD_ADDRESS, COMPLAINT, UNSUBSCRIBE, text
from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.script import Script
from fletching.store.writing import EventBatch, Write

REASONS = {UNSUBSCRIBE: "unsubscribed", COMPLAINT: "complained", BAD_ADDRESS: "bad_address"}
"""The reason for suppression by event type."""

_REMOVED = "removed"
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, order=True)
class SuppressedAddress:
    """An address that gets no mail of a list. ``milliseconds``: since that unix time."""

    listid: str
    address: str
    reason: str
    milliseconds: int


class Suppression:
    """The suppression lists of a fleet. Any number of threads may use them.

    Every method raises StoreUnavailable if Redis does not answer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._script = Script("suppress.lua")

    def writes(self, batch: EventBatch) -> Iterator[Write]:
        """The writes that suppress the addresses of a batch of events, one for each list."""
        of_list: dict[str, list[str | int]] = defaultdict(list)
        for event in (line.event for line in batch.lines):
            if event.type in REASONS and event.facts.email:
                entry = (_plain(event.facts.email), event.milliseconds, REASONS[event.type])
                of_list[_plain(event.facts.listid)] += entry
        if of_list:
            # First the set of lists: an entry of a list that is not in it would not be found.
            yield Write(keys.SUPPRESSION, lambda ask: ask("SADD", keys.SUPPRESSION, *of_list))
        for listid, words in of_list.items():
            key = _key(listid)
            yield Write(key, partial(self._script.run, keys=[key], arguments=["", *words]))

    def add(self, listid: str, address: str, reason: str, ms: int) -> bool:
        """Adds an address by hand; False if it was there already, and does not change."""
        words: list[str | int] = ["1", _plain(address), ms, reason]
        self._store.ask(lambda client: client.sadd(keys.SUPPRESSION, _plain(listid)))
        return bool(
            self._store.ask(
                lambda client: self._script.run(client.execute_command, [_key(listid)], words)
            )
        )

    def remove(self, listid: str, address: str) -> bool:
        """Removes an address; False if it was not there."""
        key, plain = _key(listid), _plain(address)
        if not self.contains(listid, address):
            return False
        removed = f"{time.time_ns() // 1_000_000} {_REMOVED}"
        self._store.ask(lambda client: client.hset(key, plain, removed))
        return True

    def contains(self, listid: str, address: str) -> bool:
        """Whether an address is suppressed for a list."""
        key, plain = _key(listid), _plain(address)
        return bool(reason_in(self._store.ask(lambda client: client.hget(key, plain))))

    def entries(self, listid: str | None = None) -> Iterator[SuppressedAddress]:
        """The suppressed addresses of a list, or of all lists, in no order. There may be many."""
        lists = self.lists() if listid is None else [_plain(listid)]
        for each in lists:
            yield from self._of_list(each)

    def lists(self) -> list[str]:
        """The ListIDs that have entries, or had some, sorted."""
        return sorted(self._store.ask(lambda client: client.smembers(keys.SUPPRESSION)))

    def of_address(self, address: str) -> Iterator[SuppressedAddress]:
        """The entries of an address in all lists, many lists in each round trip."""
        plain, lists = _plain(address), self.lists()
        for start in range(0, len(lists), _AT_ONCE):
            page = lists[start : start + _AT_ONCE]
            for listid, value in zip(page, self._values(page, plain), strict=True):
                if value is not None and reason_in(value):
                    yield _entry(listid, plain, value)

    def _values(self, lists: Sequence[str], address: str) -> list[str | None]:
        def ask(client: Any) -> list[str | None]:
            pipeline = client.pipeline(transaction=False)
            for listid in lists:
                pipeline.hget(_key(listid), address)
            values: list[str | None] = pipeline.execute()
            return values

        return self._store.ask(ask)

    def _of_list(self, listid: str) -> Iterator[SuppressedAddress]:
        cursor = None
        while cursor != 0:
            at = cursor or 0
            cursor, page = self._store.ask(
                lambda client, at=at: client.hscan(_key(listid), at, count=_AT_ONCE)  # type: ignore[misc]
            )
            for address, value in page.items():
                if reason_in(value):
                    yield _entry(listid, address, value)


def _entry(listid: str, address: str, value: str) -> SuppressedAddress:
    milliseconds, _, reason = value.partition(" ")
    return SuppressedAddress(listid, address, reason, int(milliseconds))


def entry_key(listid: str, address: str) -> tuple[str, str]:
    """The key and the field of an address in a list."""
    return _key(listid), _plain(address)


def reason_in(value: str | None) -> str:
    """The reason in an entry; empty if there is none, or if the operator removed it."""
    # An address without a reason is suppressed, too.
    reason = "" if value is None else value.partition(" ")[2] or "unknown"
    return "" if reason == _REMOVED else reason


def _key(listid: str) -> str:
    return keys.suppressed(_plain(listid))


def _plain(name: str) -> str:
    """A ListID or an address as it is compared, and as it is in events."""
    return str(text(name)).lower()
