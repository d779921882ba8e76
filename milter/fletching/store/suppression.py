"""Suppression lists: which addresses of a list get no more mail, and why.

Here is not decided what happens to a mail for such an address. The value of an entry is "<unix
milliseconds> <reason> <source>", or "<unix milliseconds> removed" if the operator removed it. An
entry without a source is from before sources were kept.

ListIDs and addresses are compared without regard to case. For a mail with an Obscured-Email, the
entry has that text in place of the address. The first entry of an address stays: a later reason
does not change its time. A removed entry is kept because older events may be written again, which
must not suppress the address once more; it has no other effect.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fletching.events import BAD_ADDRESS, COMPLAINT, UNSUBSCRIBE, Event, text
from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.script import Script
from fletching.store.writing import EventBatch, Write

REASONS = {UNSUBSCRIBE: "unsubscribed", COMPLAINT: "complained", BAD_ADDRESS: "bad_address"}
"""The reason for suppression by event type."""

BY_HAND = "by_hand"
"""The reason of an entry that the operator added."""

WEB, MAIL, LOG = "web", "mail", "log"
COMMAND, IMPORT, DASHBOARD = "command", "import", "dashboard"
COLUMNS = ("listid", "address", "reason", "since", "source")
"""The columns of an entry, for people and in CSV."""

SOURCES = (WEB, MAIL, LOG, COMMAND, IMPORT, DASHBOARD)
"""Where an entry comes from: a request to the web service, a returned or mailed message, Postfix's
log; or the operator, by a command, an imported file or the dashboard."""

_REMOVED = "removed"
_AT_ONCE = 1000
_PAGE = 100


@dataclass(frozen=True, slots=True, order=True)
class SuppressedAddress:
    """An address that gets no mail of a list.

    ``milliseconds``: since that unix time. ``source``: one of `SOURCES`; empty if unknown.
    """

    listid: str
    address: str
    reason: str
    milliseconds: int
    source: str = ""

    @property
    def value(self) -> str:
        """Reason and source as the value of the entry ends."""
        return f"{self.reason} {self.source}".rstrip()

    @property
    def cells(self) -> tuple[str, ...]:
        """Texts for `COLUMNS`. The time is in RFC 3339, UTC, to the second."""
        since = datetime.fromtimestamp(self.milliseconds // 1000, UTC)
        return (
            *(self.listid, self.address, self.reason),
            *(since.strftime("%Y-%m-%dT%H:%M:%SZ"), self.source),
        )


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
            if _suppresses(event):
                value = f"{REASONS[event.type]} {source(event.details)}"
                entry = (_plain(event.facts.email), event.milliseconds, value)
                of_list[_plain(event.facts.listid)] += entry
        if of_list:
            # First the set of lists: an entry of a list that is not in it would not be found.
            yield Write(keys.SUPPRESSION, lambda ask: ask("SADD", keys.SUPPRESSION, *of_list))
        for listid, words in of_list.items():
            key = _key(listid)
            yield Write(key, partial(self._script.run, keys=[key], arguments=["", *words]))

    def add(self, listid: str, address: str, reason: str, ms: int, source: str = COMMAND) -> bool:
        """Adds an address by hand; False if it was there already, and does not change."""
        return bool(self.add_all([SuppressedAddress(listid, address, reason, ms, source)]))

    def add_all(self, entries: Iterable[SuppressedAddress]) -> int:
        """Adds entries by hand, a thousand of a list in each round trip.

        Returns how many were added. The others were there already, and do not change.
        """
        of_list: dict[str, list[SuppressedAddress]] = defaultdict(list)
        for entry in entries:
            of_list[_plain(entry.listid)].append(entry)
        if of_list:
            self._store.ask(lambda client: client.sadd(keys.SUPPRESSION, *of_list))
        return sum(
            self._add(listid, found[start : start + _AT_ONCE])
            for listid, found in of_list.items()
            for start in range(0, len(found), _AT_ONCE)
        )

    def _add(self, listid: str, entries: Sequence[SuppressedAddress]) -> int:
        words: list[str | int] = ["1"]
        for entry in entries:
            words += (_plain(entry.address), entry.milliseconds, entry.value)
        return int(
            self._store.ask(
                lambda client: self._script.run(client.execute_command, [_key(listid)], words)
            )
        )

    def suppress(self, entry: SuppressedAddress) -> None:
        """Adds an entry because of an event. An address that was removed since stays removed."""
        words = (_plain(entry.address), entry.milliseconds, entry.value)
        self._store.ask(lambda client: client.sadd(keys.SUPPRESSION, _plain(entry.listid)))
        self._store.ask(
            lambda client: self._script.run(
                client.execute_command, [_key(entry.listid)], ["", *words]
            )
        )

    def removed(self, listid: str, address: str) -> int:
        """When the operator removed an address, in unix milliseconds; 0 if it was not removed."""
        key, plain = _key(listid), _plain(address)
        when, _, reason = (self._store.ask(lambda client: client.hget(key, plain)) or "").partition(
            " "
        )
        return int(when) if reason == _REMOVED else 0

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

    def sizes(self) -> list[tuple[str, int]]:
        """The ListIDs, sorted, each with its number of entries and of removed entries together."""
        found = self.lists()
        sizes: list[int] = []
        for start in range(0, len(found), _AT_ONCE):
            sizes += self._pipelined(
                "hlen", [(_key(listid),) for listid in found[start:][:_AT_ONCE]]
            )
        return list(zip(found, sizes, strict=True))

    def page(self, listid: str, cursor: int = 0) -> tuple[list[SuppressedAddress], int]:
        """About a hundred entries of a list, and the cursor of the next ones; 0 at the end."""
        plain = _plain(listid)
        after, page = self._store.ask(lambda client: client.hscan(_key(plain), cursor, count=_PAGE))
        entries = [_entry(plain, *each) for each in page.items() if reason_in(each[1])]
        return sorted(entries), int(after)

    def of_address(self, address: str) -> Iterator[SuppressedAddress]:
        """The entries of an address in all lists, many lists in each round trip."""
        plain, lists = _plain(address), self.lists()
        for start in range(0, len(lists), _AT_ONCE):
            page = lists[start : start + _AT_ONCE]
            values = self._pipelined("hget", [(_key(listid), plain) for listid in page])
            for listid, value in zip(page, values, strict=True):
                if value is not None and reason_in(value):
                    yield _entry(listid, plain, value)

    def _pipelined(self, command: str, arguments: Sequence[tuple[str, ...]]) -> list[Any]:
        """The answers to a command for many lists, in one round trip."""

        def ask(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for each in arguments:
                getattr(pipeline, command)(*each)
            return list(pipeline.execute())

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


def _suppresses(event: Event) -> bool:
    """Whether an event suppresses its address: nothing does that our own token did not prove."""
    is_proven = event.details.get("attributed") is not False
    names_recipient = bool(event.facts.email) and not event.facts.seed
    return event.type in REASONS and names_recipient and is_proven


def source(details: Mapping[str, object]) -> str:
    """How an event was learned of: only a request to the web service has a client's address."""
    if "engine_ip" in details:
        return WEB
    return LOG if details.get("synchronous") else MAIL


def _entry(listid: str, address: str, value: str) -> SuppressedAddress:
    milliseconds, _, rest = value.partition(" ")
    reason, _, source = rest.partition(" ")
    return SuppressedAddress(listid, address, reason, int(milliseconds), source)


def entry_key(listid: str, *addresses: str) -> tuple[str, ...]:
    """The key of a list, and the field of each address in it."""
    return _key(listid), *map(_plain, addresses)


def reason_in(value: str | None) -> str:
    """The reason in an entry; empty if there is none, or if the operator removed it."""
    # An address without a reason is suppressed, too.
    reason = "" if value is None else (value.split(" ", 2)[1:] or ["unknown"])[0]
    return "" if reason == _REMOVED else reason


def _key(listid: str) -> str:
    return keys.suppressed(_plain(listid))


def _plain(name: str) -> str:
    """A ListID or an address as it is compared, and as it is in events."""
    return str(text(name)).lower()
