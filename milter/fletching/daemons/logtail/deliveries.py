"""What the lines of a log mean for messages of ours: the events of their deliveries.

Here lives the walk through a batch of lines, in order: which queue id is which message, what each
attempt is an event of, and what has to be remembered for the next lines. Nothing here does I/O:
lines, memory and the facts of messages come in; events and changes go out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from fletching import events
from fletching.daemons.intake.once import entropy
from fletching.daemons.logtail.lines import Line
from fletching.daemons.logtail.memory import InQueue
from fletching.events import Event, Value
from fletching.postfix.logline import (
    Active,
    Attempt,
    Expired,
    LogLine,
    Queued,
    Removed,
    parse,
    seconds_of,
)
from fletching.returning.attribution import message_of, without_addresses
from fletching.returning.classify import classify
from fletching.returning.returned import BounceType, Failure, Reason
from fletching.returning.rules import Rule
from fletching.store.bounce_claims import Claim, failure_of
from fletching.tokens import Facts, Keyring, MessageKey

LONGEST_WORDS = 1000
"""Characters of a server's words in an event, and in the memory."""

_UNKNOWN = Attempt("", "failure_toolong", "", "", "", "remote", "", "", 0.0, "", "", 0, "")
_NONE_NAMED: Mapping[MessageKey, frozenset[str]] = MappingProxyType({})
_EXPIRED = Failure(BounceType.SOFT, Reason.EXPIRED, "4.4.7", 447)
"""Of a message whose earlier lines were not read. 4.4.7: RFC 3463, delivery time expired."""


@dataclass(frozen=True, slots=True)
class ParsedLine:
    """A line, and what it says."""

    line: Line
    says: LogLine


@dataclass(frozen=True, slots=True)
class WalkSettings:
    """What lines are read with. ``server_id``: the name of this host in events. ``rules``: those of
    the admin about bounces.
    """

    keys: Keyring
    server_id: str
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class _Happened:
    """An attempt at a message: in which line, at which index of those in the line."""

    read: ParsedLine
    index: int
    attempt: Attempt
    current: InQueue
    facts: Facts
    recipient: str
    is_retry: bool


class Walk:
    """A walk through a batch of lines. First `needs` tells what to look up, then `go` walks."""

    def __init__(self, lines: Sequence[Line], settings: WalkSettings) -> None:
        parsed = ((line, parse(line.text)) for line in lines)
        self._reads = [ParsedLine(line, says) for line, says in parsed if says is not None]
        self._settings = settings
        self._messages: dict[str, MessageKey | None] = {}
        self._named: Mapping[MessageKey, frozenset[str]] = _NONE_NAMED
        self.queue: dict[str, InQueue | None] = {}
        """What changes in the memory; None: the queue id is forgotten."""
        self.arrivals: list[str] = []
        """Queue ids of mail that came in."""
        self.ours = 0
        """Lines about messages of ours."""

    def ids(self) -> set[str]:
        """The queue ids of which the memory may know something."""
        return {each.says.said.queue_id for each in self._reads}

    def next_ids(self) -> set[str]:
        """The queue ids that servers gave to what was delivered to them."""
        said = (each.says.said for each in self._reads)
        return {each.next_queue_id for each in said if isinstance(each, Attempt)} - {""}

    def messages(self, known: Mapping[str, InQueue]) -> set[MessageKey]:
        """The messages whose facts are needed. ``known``: the memory of `ids`."""
        current: dict[str, MessageKey | None] = {
            id: (found.campaign, found.number) for id, found in known.items()
        }
        wanted: set[MessageKey | None] = set()
        for each in self._reads:
            said = each.says.said
            if isinstance(said, Active):
                current[said.queue_id] = self._message_of(said.sender)
            elif isinstance(said, Attempt):
                wanted.add(current.get(said.queue_id))
            elif isinstance(said, Expired):
                wanted.add(self._message_of(said.sender))
        return {message for message in wanted if message is not None}

    def go(
        self,
        known: Mapping[str, InQueue],
        arrived: set[str],
        facts: Mapping[MessageKey, Facts],
        now: datetime,
        named: Mapping[MessageKey, frozenset[str]] = _NONE_NAMED,
    ) -> list[tuple[Event, Claim | None]]:
        """The events, in order; with a claim for those that must be the first about a failure.

        ``arrived``: which of `next_ids` this host gave itself. ``facts``: of `messages`; one that
        is missing has only its campaign and number. ``now``: with the zone of the log; naive
        if that is the system's. ``named``: the recipients of mails to several that may be named.
        """
        self._named = named
        happened = list(self._happened(known, set(arrived), facts))
        return [found for each in happened for found in _events(each, self._settings, now)]

    def _happened(
        self, known: Mapping[str, InQueue], arrived: set[str], facts: Mapping[MessageKey, Facts]
    ) -> Iterator[_Happened]:
        for read in self._reads:
            said = read.says.said
            if isinstance(said, Queued):
                self.arrivals.append(said.queue_id)
                arrived.add(said.queue_id)
                continue
            current = self._current(said.queue_id, known)
            if isinstance(said, Active):
                current = self._begun(said, current)
            elif isinstance(said, Removed):
                self._forget(said.queue_id, current)
            elif isinstance(said, Expired):
                message = self._message_of(said.sender)
                if message is not None:
                    current = current or InQueue(*message, said.sender, 1)
                    yield from self._expired(read, said, current, _facts(current, facts))
            elif current is not None and said.next_queue_id not in arrived:
                yield from self._attempted(read, said, current, _facts(current, facts))
            self.ours += current is not None

    def _current(self, id: str, known: Mapping[str, InQueue]) -> InQueue | None:
        return self.queue[id] if id in self.queue else known.get(id)

    def _message_of(self, sender: str) -> MessageKey | None:
        if sender not in self._messages:
            self._messages[sender] = message_of(sender, self._settings.keys)
        return self._messages[sender]

    def _begun(self, said: Active, current: InQueue | None) -> InQueue | None:
        message = self._message_of(said.sender)
        if message is None:
            # Postfix gives short queue ids again.
            self._forget(said.queue_id, current)
            return None
        if current is None or (current.campaign, current.number) != message:
            current = InQueue(*message, said.sender, said.recipients)
            self.queue[said.queue_id] = current
        elif said.recipients > current.recipients:
            current = replace(current, recipients=said.recipients)
            self.queue[said.queue_id] = current
        return current

    def _forget(self, id: str, current: InQueue | None) -> None:
        if current is not None:
            self.queue[id] = None

    def _attempted(
        self, read: ParsedLine, said: Attempt, current: InQueue, facts: Facts
    ) -> Iterator[_Happened]:
        if current.recipients > 1 and facts.email and not _is_to(said, facts.email):
            # A copy that Postfix sends to another recipient (always_bcc and the like).
            return
        facts = self._with_recipient(said, facts)
        shown = _without_real_address(said, facts)
        recipient = failure_of(said.queue_id, said.recipient)
        is_retry = recipient in current.deferrals
        yield _Happened(read, 0, shown, current, facts, recipient, is_retry)
        deferrals = {name: at for name, at in current.deferrals.items() if name != recipient}
        if said.outcome == "deferral":
            deferrals[recipient] = shown
        if deferrals != current.deferrals:
            self.queue[said.queue_id] = replace(current, deferrals=deferrals)

    def _with_recipient(self, attempt: Attempt, facts: Facts) -> Facts:
        """The facts, with the attempt's recipient if the mail has several that may be named."""
        names = self._named.get((facts.campaign, facts.number), frozenset())
        for address in () if facts.email else (attempt.original, attempt.recipient):
            if address.lower() in names:
                return replace(facts, email=address)
        return facts

    def _expired(
        self, read: ParsedLine, said: Expired, current: InQueue, facts: Facts
    ) -> Iterator[_Happened]:
        """The end of all recipients that were still deferred."""
        last = current.deferrals or {"": replace(_UNKNOWN, queue_id=said.queue_id)}
        for index, (recipient, attempt) in enumerate(last.items()):
            ended = replace(attempt, outcome="failure_toolong")
            whose = self._with_recipient(attempt, facts)
            yield _Happened(read, index, ended, current, whose, recipient, is_retry=True)
        self.queue[said.queue_id] = replace(current, deferrals={})


def _events(
    happened: _Happened, settings: WalkSettings, now: datetime
) -> Iterator[tuple[Event, Claim | None]]:
    line, attempt, current = happened.read.line, happened.attempt, happened.current
    milliseconds = round(seconds_of(happened.read.says.time, now) * 1000)
    failure = None if attempt.outcome == "success" else _failure(attempt, settings.rules)

    def event(type: str, details: Mapping[str, Value]) -> Event:
        part = entropy(line.place, line.text, type.encode(), b"%d" % happened.index)
        id = events.unique_id(milliseconds, part)
        return Event(type, milliseconds, id, settings.server_id, happened.facts, details)

    yield event(events.DELIVERY, _of_attempt(happened, failure)), None
    if failure is not None and attempt.outcome != "deferral":
        claim = Claim(current.campaign, current.number, happened.recipient)
        details = {**_of_failure(failure, attempt), **_several(happened)}
        yield event(events.BOUNCE, details), claim


def _of_attempt(happened: _Happened, failure: Failure | None) -> dict[str, Value]:
    attempt = happened.attempt
    return {
        "status": attempt.outcome,
        "is_retry": int(happened.is_retry),
        "message": attempt.words,
        "bounce_status": attempt.status,
        "bounce_code": failure.code if failure else attempt.code,
        **({"bounce_reason": failure.reason.value} if failure else {}),
        "recipient_domain": attempt.recipient.rpartition("@")[2].lower(),
        "mx_hostname": attempt.host,
        "mx_ip": attempt.ip,
        "outmtaid": attempt.service,
        "sender": happened.current.sender,
        "channel": attempt.channel,
        "queue_id": attempt.queue_id,
        "delay": attempt.delay,
        **({"tls": attempt.tls} if attempt.tls else {}),
        **_several(happened),
    }


def _several(happened: _Happened) -> dict[str, Value]:
    """How many recipients the mail has, if it has several."""
    count = happened.current.recipients
    return {"recipients": count} if count > 1 else {}


def _of_failure(failure: Failure, attempt: Attempt) -> dict[str, Value]:
    return {
        "bounce_type": failure.type.value,
        "bounce_code": failure.code,
        "bounce_text": failure.text,
        "bounce_status": failure.status,
        "bounce_reason": failure.reason.value,
        "synchronous": True,
        "attributed": True,
        "mx_hostname": attempt.host,
    }


def _failure(attempt: Attempt, rules: Sequence[Rule]) -> Failure:
    if not attempt.words and attempt.outcome == "failure_toolong":
        return _EXPIRED
    found = classify(
        attempt.status, attempt.code, attempt.words, rules=rules, command=attempt.command
    )
    if attempt.outcome == "failure_toolong" and found.reason is Reason.OTHER:
        return replace(found, type=BounceType.SOFT, reason=Reason.EXPIRED)
    return found


def _facts(current: InQueue, found: Mapping[MessageKey, Facts]) -> Facts:
    """The facts of a message; if Redis no longer has its campaign, only what the tag says."""
    message = current.campaign, current.number
    return found.get(message) or Facts(*message)


def _is_to(attempt: Attempt, email: str) -> bool:
    """Whether an attempt is for this address: then the address is not an obscured one."""
    addresses = (attempt.recipient.lower(), attempt.original.lower())
    return bool(email) and email.lower() in addresses


def _without_real_address(attempt: Attempt, facts: Facts) -> Attempt:
    """The attempt as it may be kept and shown: the address may be secret if it is not the recorded
    one.
    """
    words = attempt.words
    if not _is_to(attempt, facts.email):
        for address in (attempt.recipient, attempt.original):
            words = without_addresses(words, address, facts.email)
        attempt = replace(attempt, recipient="", original="")
    return replace(attempt, words=words[:LONGEST_WORDS])
