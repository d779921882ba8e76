"""Bad addresses: which address of a list fails too often, and the one event that says so.

Here lives the way from bounces to `bounce_bad_address`, in two steps (docs/decisions/0030). The
failures of each address are counted in the same write as the events; an address that reaches a
threshold becomes due. The courier then makes the events of due addresses, and suppresses them.
Thresholds are passed in; what a bounce is, is decided elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from fletching.config.sections import Bounces
from fletching.events import BAD_ADDRESS, BOUNCE, DELIVERY, Event, parse, text, unique_id
from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.script import Script
from fletching.store.sending import answers
from fletching.store.suppression import REASONS, SuppressedAddress, Suppression, source
from fletching.store.write_traces import EventTraces
from fletching.store.writing import EventBatch, JournalLine, Write
from fletching.tokens import Facts

_PAGE = 200
_OF_BOUNCE = (
    *("bounce_type", "bounce_code", "bounce_text", "bounce_status", "bounce_reason"),
    "synchronous",
)
# Deletes what was read, and nothing that was written since.
_DELETE = (
    "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1])"
    " end return 0"
)


ThresholdsOf = Callable[[str], Bounces]
"""By Mail Class: how many bounces make an address bad, such as `Config.bounces_of`."""


class FailureCounts:
    """Makes the writes that count the failures of addresses."""

    def __init__(self, thresholds: ThresholdsOf) -> None:
        self._thresholds = thresholds
        self._script = Script("failures.lua")

    def writes(self, batch: EventBatch) -> Iterator[Write]:
        """The write for the bounces and deliveries of a batch, if there are any."""
        words = [word for line in batch.lines for word in self._words(line.event)]
        if words:
            used = [keys.DUE, keys.FAILURES]
            yield Write(keys.DUE, partial(self._script.run, keys=used, arguments=words))

    def _words(self, event: Event) -> tuple[str | int, ...]:
        """The event as arguments of failures.lua; nothing if it does not count."""
        facts, details = event.facts, event.details
        # Only what our own token proves counts, and only against a recipient that it names.
        if not (facts.campaign and facts.email) or facts.seed:
            return ()
        if details.get("attributed") is False:
            return ()
        name = keys.of_address(str(text(facts.listid)), str(text(facts.email)))
        about = event.milliseconds, f"{facts.campaign}:{facts.number}"
        type = details.get("bounce_type")
        if event.type == DELIVERY and details.get("status") == "success":
            return (name, "d", *about, 0, 0, "")
        if event.type == BOUNCE and type in ("h", "s"):
            limits = self._thresholds(facts.mail_class)
            most = limits.hard if type == "h" else limits.soft
            return (name, str(type), *about, most, limits.within * 1000, _bad(event).json())
        return ()


class BadAddresses:
    """The addresses that are due. Any number of processes may make their events."""

    def __init__(self, store: Store, trace_memory: int = 0) -> None:
        """``trace_memory``: seconds for which the events are kept in traces; 0 for no traces."""
        self._store = store
        self._traces = EventTraces(trace_memory)
        self._suppression = Suppression(store)
        self._report = Script("report.lua")

    def report(self) -> int:
        """Makes the events of all due addresses, and suppresses them; how many events.

        After an interruption at any point, the next call goes on. Raises StoreUnavailable.
        """
        count, cursor = 0, None
        while cursor != 0:
            at = cursor or 0
            cursor, page = self._store.ask(
                lambda client, at=at: client.hscan(keys.DUE, at, count=_PAGE)  # type: ignore[misc]
            )
            count += sum(self._report_one(name, due) for name, due in page.items())
        return count

    def _report_one(self, name: str, due: str) -> int:
        ms, _, json = due.partition(" ")
        event = parse(json)
        entry = SuppressedAddress(
            listid=str(event["listid"]),
            address=str(event["email"]),
            reason=REASONS[BAD_ADDRESS],
            milliseconds=int(ms),
            source=source(event),
        )
        removed = self._suppression.removed(entry.listid, entry.address)
        # The event comes first: what is suppressed has its event, whatever is interrupted.
        stream = [keys.EVENTS, keys.REPORTED]
        arguments: list[str | int] = [name, ms, removed, json]
        added = int(
            self._store.ask(
                lambda client: self._report.run(client.execute_command, stream, arguments)
            )
        )
        traced = EventBatch([JournalLine(0, _read(event, int(ms)), json)])
        self._store.ask(partial(answers, writes=list(self._traces.writes(traced))))
        self._suppression.suppress(entry)
        self._run("EVAL", _DELETE, 1, keys.DUE, name, due)
        return added

    def _run(self, *command: Any) -> Any:
        return self._store.ask(lambda client: client.execute_command(*command))


def _read(fields: Mapping[str, Any], milliseconds: int) -> Event:
    """An event from its fields, as far as a trace needs it."""
    names = ("mail_class", "instance_id", "listid", "click_tracking_id", "email", "mtaid")
    texts: dict[str, Any] = {name: str(fields[name]) for name in names}
    number = int(fields["message_number"])
    facts = Facts(campaign=str(fields["campaign"]), number=number, sent=0, **texts)
    details = {name: fields[name] for name in _OF_BOUNCE if name in fields}
    id, host = str(fields["event_unique_id"]), str(fields["server_id"])
    return Event(BAD_ADDRESS, milliseconds, id, host, facts, details)


def _bad(bounce: Event) -> Event:
    """The event of the address that this bounce makes bad, the same each time."""
    entropy = hashlib.blake2b(f"{BAD_ADDRESS} {bounce.id}".encode(), digest_size=10).digest()
    return Event(
        BAD_ADDRESS,
        bounce.milliseconds,
        unique_id(bounce.milliseconds, entropy),
        bounce.server_id,
        bounce.facts,
        {name: bounce.details[name] for name in _OF_BOUNCE if name in bounce.details},
    )
