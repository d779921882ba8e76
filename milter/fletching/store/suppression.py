"""Suppression: which addresses of a list get no more mail, and why.

Who heeds it is decided elsewhere. An entry is "<unix milliseconds> <reason>", or "<unix
milliseconds> removed" where the operator removed it.

ListIDs are compared without regard to case (they are in lower case in events), and so are
addresses, which are as they were recorded: where a mail has an Obscured-Email, that stands here.
The first entry of an address stays: what comes later cannot make it later. What was removed stays
removed for the events before that, which may be written once more; it stands for nothing else.
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
from fletching.store.writing import Batch, Write

REASONS = {UNSUBSCRIBE: "unsubscribed", COMPLAINT: "complained", BAD_ADDRESS: "bad_address"}
"""The reason that an event is for suppression, by its type."""

_REMOVED = "removed"
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

    def __init__(self, store: Store) -> None:
        self._store = store
        self._script = Script("suppress.lua")

    def writes(self, batch: Batch) -> Iterator[Write]:
        """What enters the addresses of those events that are reasons, list by list."""
        of_list: dict[str, list[str | int]] = defaultdict(list)
        for event in (line.event for line in batch.lines):
            if event.type in REASONS and event.facts.email:
                entry = (_plain(event.facts.email), event.milliseconds, REASONS[event.type])
                of_list[_plain(event.facts.listid)] += entry
        if of_list:
            # The lists first: an entry that no list leads to would not be found.
            yield Write(keys.SUPPRESSION, lambda ask: ask("SADD", keys.SUPPRESSION, *of_list))
        for listid, words in of_list.items():
            key = _key(listid)
            yield Write(key, partial(self._script.run, keys=[key], arguments=["", *words]))

    def add(self, listid: str, address: str, reason: str, ms: int) -> bool:
        """Enters an address by hand; False where it was there already, and stays as it is."""
        words: list[str | int] = ["1", _plain(address), ms, reason]
        self._store.ask(lambda client: client.sadd(keys.SUPPRESSION, _plain(listid)))
        return bool(
            self._store.ask(
                lambda client: self._script.run(client.execute_command, [_key(listid)], words)
            )
        )

    def remove(self, listid: str, address: str) -> bool:
        """Strikes an address out; False where it was not there."""
        key, plain = _key(listid), _plain(address)
        if not self.holds(listid, address):
            return False
        removed = f"{time.time_ns() // 1_000_000} {_REMOVED}"
        self._store.ask(lambda client: client.hset(key, plain, removed))
        return True

    def holds(self, listid: str, address: str) -> bool:
        """Whether the list must not write to the address."""
        key, plain = _key(listid), _plain(address)
        return bool(reason_in(self._store.ask(lambda client: client.hget(key, plain))))

    def entries(self, listid: str | None = None) -> Iterator[Entry]:
        """The entries of a list, or of all lists, in no order; a list may be long."""
        lists = self.lists() if listid is None else [_plain(listid)]
        for each in lists:
            yield from self._of_list(each)

    def lists(self) -> list[str]:
        """The ListIDs that have entries, or had some, sorted."""
        return sorted(self._store.ask(lambda client: client.smembers(keys.SUPPRESSION)))

    def found(self, address: str) -> Iterator[Entry]:
        """The entries of an address in all lists: one look a list, many in a round trip."""
        plain, lists = _plain(address), self.lists()
        for start in range(0, len(lists), _AT_ONCE):
            page = lists[start : start + _AT_ONCE]
            for listid, value in zip(page, self._values(page, plain), strict=True):
                if value is not None and reason_in(value):
                    yield _entry(listid, plain, value)

    def _values(self, lists: Sequence[str], address: str) -> list[str | None]:
        def asked(client: Any) -> list[str | None]:
            pipeline = client.pipeline(transaction=False)
            for listid in lists:
                pipeline.hget(_key(listid), address)
            values: list[str | None] = pipeline.execute()
            return values

        return self._store.ask(asked)

    def _of_list(self, listid: str) -> Iterator[Entry]:
        cursor = None
        while cursor != 0:
            at = cursor or 0
            cursor, page = self._store.ask(
                lambda client, at=at: client.hscan(_key(listid), at, count=_AT_ONCE)  # type: ignore[misc]
            )
            for address, value in page.items():
                if reason_in(value):
                    yield _entry(listid, address, value)


def _entry(listid: str, address: str, value: str) -> Entry:
    milliseconds, _, reason = value.partition(" ")
    return Entry(listid, address, reason, int(milliseconds))


def entry_key(listid: str, address: str) -> tuple[str, str]:
    """The key and the field of an address in a list."""
    return _key(listid), _plain(address)


def reason_in(value: str | None) -> str:
    """The reason in an entry; empty if there is none, or if the operator removed it."""
    # Who is entered without a reason is suppressed all the same.
    reason = "" if value is None else value.partition(" ")[2] or "unknown"
    return "" if reason == _REMOVED else reason


def _key(listid: str) -> str:
    return keys.suppressed(_plain(listid))


def _plain(name: str) -> str:
    """A ListID or an address as it is compared, and as events tell it."""
    return str(text(name)).lower()
