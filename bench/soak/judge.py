"""Compares what was promised during a soak with what arrived and was counted. Pure.

A thing is lost if it was answered and has no trace, and doubled if it has more traces than it can
have caused. A request or a mail whose answer got lost may have one trace or none. All counts are by
the number of the mail (`orders.py`), which is in every event as its Click-Tracking-ID.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bench.soak import audience
from bench.soak.audience import Arrival, Reaction
from bench.soak.orders import Order, number_of
from bench.soak.sender import Sent

_LINE = re.compile(
    r"postfix[\w/-]*/\w+\[\d+\]: (?P<id>\w+): to=<(?P<to>[^>]+)>,.* status=(?P<status>\w+) "
)
_STATUS = {
    "sent": "success",
    "deferred": "deferral",
    "bounced": "failure",
    "expired": "failure_toolong",
}
"""`status` of a delivery_attempt by Postfix's word."""

_FAILED = {"failure", "failure_toolong"}

_REDIS_LOSES = 3.0
"""Seconds before a kill of Redis of which it may lose everything, with `appendfsync everysec`: it
postpones its writes by up to two while the disk is busy (docs/redis.md)."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What there is at the end. ``events``: the stream in order; ``hook``, ``file``: how often each
    event reached a destination, in order; ``suppressed``: pairs of ListID and address.
    """

    events: Sequence[Mapping[str, Any]]
    campaigns: Sequence[Mapping[str, Any]]
    suppressed: frozenset[tuple[str, str]]
    hook: Mapping[str, int]
    file: Mapping[str, int]
    log: Sequence[str]


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of thing. ``promised``: how many there must be; ``again``: traces that a known
    crash of another program allows, such as a delivery that Postfix repeated."""

    what: str
    promised: int
    lost: int = 0
    doubled: int = 0
    examples: tuple[str, ...] = ()

    @property
    def is_broken(self) -> bool:
        """Whether something was lost or doubled."""
        return bool(self.lost or self.doubled)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A line of Postfix's log about a delivery."""

    queue_id: str
    number: int
    status: str


def attempts(log: Iterable[str]) -> list[Attempt]:
    """The delivery attempts for mails of the soak, in Postfix's log."""
    found = []
    for line in log:
        match = _LINE.search(line)
        number = number_of(match["to"]) if match else None
        if match and number is not None:
            found.append(Attempt(match["id"], number, _STATUS.get(match["status"], "")))
    return found


def judge(
    sent: Sent,
    arrivals: Sequence[Arrival],
    reactions: Sequence[Reaction],
    kept: Kept,
    killed_deliveries: int = 0,
    redis_kills: Sequence[float] = (),
) -> list[Row]:
    """All rows. ``killed_deliveries``: how often a process was killed while it may have been
    delivering a mail, which Postfix then delivers once more. ``redis_kills``: when Redis was
    killed, by the clock of ``sent``."""
    return [*_Judge(sent, arrivals, reactions, kept, killed_deliveries, redis_kills).rows()]


class _Judge:
    def __init__(
        self,
        sent: Sent,
        arrivals: Sequence[Arrival],
        reactions: Sequence[Reaction],
        kept: Kept,
        killed_deliveries: int,
        redis_kills: Sequence[float],
    ) -> None:
        self._sent, self._arrivals, self._reactions = sent, arrivals, reactions
        self._kept, self._killed = kept, killed_deliveries
        self._redis_kills = redis_kills
        self._attempts = attempts(kept.log)
        self._events = [*{str(e["event_unique_id"]): e for e in kept.events}.values()]
        self._queued = {a.queue_id: a.number for a in arrivals}
        self._queued |= {id: mail.number for id, mail in sent.accepted.items()}
        self._queued |= {a.queue_id: a.number for a in self._attempts}

    def rows(self) -> Iterable[Row]:
        yield self._mails()
        yield self._identifiers()
        yield self._prepared()
        yield self._deliveries()
        yield from self._happenings()
        yield self._bad_addresses()
        yield self._suppressed()
        yield from self._statistics()
        yield from self._destinations()

    # Mail

    def _mails(self) -> Row:
        """Every mail that Postfix accepted arrived once, or was refused by its server."""
        arrived = Counter(arrival.queue_id for arrival in self._arrivals)
        failed = {each.queue_id for each in self._attempts if each.status in _FAILED}
        lost = [id for id in self._sent.accepted if id not in arrived and id not in failed]
        again = [id for id, count in arrived.items() for _ in range(count - 1)]
        return Row(
            "mails accepted",
            len(self._sent.accepted),
            len(lost) + self._sent.waiting,
            max(0, len(again) - self._killed),
            tuple(lost[:3] + again[:3]),
        )

    def _identifiers(self) -> Row:
        """No number of a campaign and no return path is on two mails."""
        mails = {arrival.queue_id: arrival for arrival in self._arrivals}.values()
        numbers = Counter((mail.campaign, mail.message_number) for mail in mails)
        paths = Counter(mail.return_path for mail in mails)
        opened = {(mail.campaign, Order(mail.number).sendid) for mail in mails}
        sendids = Counter(sendid for _, sendid in opened)
        again = [str(each) for each in (*_more(numbers), *_more(paths), *_more(sendids))]
        return Row("numbers, return paths", len(mails), 0, len(again), tuple(again[:3]))

    def _prepared(self) -> Row:
        """A mail that was deferred after its event was written, has an event for each attempt.

        These events are in Redis only, which may lose the last moment when it is killed.
        """
        all_mails = Counter(self._queued.values())
        most = all_mails + self._sent.unknown + self._sent.deferred
        excused = Counter(
            mail.number
            for mail in self._sent.accepted.values()
            if any(kill - _REDIS_LOSES < mail.at < kill for kill in self._redis_kills)
        )
        made = self._by_number("message_prepared")
        return _row("message_prepared", all_mails - excused, most, made)

    def _deliveries(self) -> Row:
        """Each line about a delivery is one event."""
        lines = Counter((each.queue_id, each.status) for each in self._attempts)
        made = Counter(
            (str(event["queue_id"]), str(event["status"]))
            for event in self._events
            if event["event_type"] == "delivery_attempt"
        )
        return _row("deliveries in Postfix's log", lines, lines, made)

    # What comes back

    def _happenings(self) -> Iterable[Row]:
        yield self._bounces()
        made = self._by_number("scomp", attributed=True)
        yield self._reacted("complaints", {audience.COMPLAINT}, made)
        made = self._by_number("engine_unsub")
        kinds = {audience.UNSUBSCRIBE, audience.MAILED_UNSUBSCRIBE}
        yield self._reacted("unsubscribes", kinds, made)
        yield self._reacted("clicks", {audience.CLICK}, self._by_number("engine_click"))
        yield self._reacted("opens", {audience.OPEN}, self._by_number("engine_open"))

    def _bounces(self) -> Row:
        """A refusal is reported by Postfix's log or, if that is read too late, by its bounce."""
        refused = Counter(each.number for each in self._attempts if each.status in _FAILED)
        least, most = self._promised({audience.BOUNCE, audience.SOFT_BOUNCE})
        made = self._by_number("bounce_all", attributed=True)
        return _row("bounces", least + refused, most + refused, made)

    def _reacted(self, what: str, kinds: set[str], made: Counter[int]) -> Row:
        return _row(what, *self._promised(kinds), made)

    def _promised(self, kinds: set[str]) -> tuple[Counter[int], Counter[int]]:
        """How many events there must be, and may be, by the number of the mail."""
        least, most = Counter[int](), Counter[int]()
        for each in self._reactions:
            if each.kind in kinds:
                least[each.number] += each.answered
                most[each.number] += each.answered + each.unknown
        return least, most

    def _answered(self, kinds: set[str]) -> set[int]:
        return {each.number for each in self._reactions if each.kind in kinds and each.answered}

    def _bad_addresses(self) -> Row:
        refused = {each.number for each in self._attempts if each.status in _FAILED}
        bad = Counter(refused | self._answered({audience.BOUNCE}))
        return _row("bad addresses", bad, bad, self._by_number("bounce_bad_address"))

    def _suppressed(self) -> Row:
        gone = {audience.UNSUBSCRIBE, audience.MAILED_UNSUBSCRIBE, audience.COMPLAINT}
        numbers = self._answered(gone | {audience.BOUNCE})
        numbers |= {each.number for each in self._attempts if each.status in _FAILED}
        wanted = {(Order(number).listid, Order(number).recipient) for number in numbers}
        possible = wanted | {
            (Order(each.number).listid, Order(each.number).recipient)
            for each in self._reactions
            if each.unknown
        }
        lost, more = wanted - self._kept.suppressed, self._kept.suppressed - possible
        examples = tuple(map(str, [*sorted(lost)[:3], *sorted(more)[:3]]))
        return Row("suppression list", len(wanted), len(lost), len(more), examples)

    # Statistics and destinations

    def _statistics(self) -> Iterable[Row]:
        """Each count of each SendID, against the events; and `sent` against the mails."""
        shown: dict[str, Counter[str]] = {}
        for row in self._kept.campaigns:
            counts = shown.setdefault(str(row["sendid"]).lower(), Counter())
            counts.update({name: value for name, value in row.items() if isinstance(value, int)})
        mails = Counter(Order(number).sendid for number in self._queued.values())
        least = Counter({("sent", sendid): count for sendid, count in mails.items()})
        unknown = Counter(Order(number).sendid for number in self._sent.unknown.elements())
        most = least + Counter({("sent", sendid): count for sendid, count in unknown.items()})
        found = Counter({("sent", sendid): row["sent"] for sendid, row in shown.items()})
        yield _row("statistics: sent", least, most, found)
        wanted = _counted(self._events)
        names = {name for name, _ in wanted}
        found = Counter(
            {(name, sendid): row[name] for sendid, row in shown.items() for name in names}
        )
        yield _row("statistics: the rest", wanted, wanted, found)

    def _destinations(self) -> Iterable[Row]:
        order = {str(event["event_unique_id"]): n for n, event in enumerate(self._kept.events)}
        for name, delivered in (("webhook", self._kept.hook), ("file", self._kept.file)):
            lost = [id for id in order if id not in delivered]
            unknown = [id for id in delivered if id not in order]
            places = [order[id] for id in delivered if id in order]
            late = sum(later < earlier for earlier, later in pairwise(places))
            yield Row(f"events at the {name}", len(order), len(lost), len(unknown), (*lost[:3],))
            yield Row(f"order at the {name}", len(order), 0, late)

    def _by_number(self, event_type: str, **fields: object) -> Counter[int]:
        """How many events of a type there are, by the number of the mail."""
        return Counter(
            int(event["click_tracking_id"] or -1)
            for event in self._events
            if event["event_type"] == event_type
            and all(event.get(name) == value for name, value in fields.items())
        )


def _counted(events: Iterable[Mapping[str, Any]]) -> Counter[tuple[str, str]]:
    """What the statistics must show for these events, by count and SendID."""
    total, once = Counter[tuple[str, str]](), set[tuple[str, str, str, int]]()
    for event in events:
        sendid = str(event["sendid"]).lower()
        for name in _kinds(event):
            if name in ("clicks", "opens", "bot_clicks", "bot_opens"):
                total[name, sendid] += 1
            else:
                once.add((name, sendid, str(event["campaign"]), int(event["message_number"])))
    total.update(Counter((name, sendid) for name, sendid, _, _ in once))
    return total


def _kinds(event: Mapping[str, Any]) -> tuple[str, ...]:
    kind = event["event_type"]
    if kind in ("engine_click", "engine_open") and event["is_bot"]:
        return ("bot_clicks",) if kind == "engine_click" else ("bot_opens",)
    if kind == "engine_click":
        return "clicks", "unique_clicks", "unique_opens"
    if kind == "engine_open":
        return "opens", "unique_opens"
    if kind == "delivery_attempt":
        name = {"success": "delivered", "deferral": "deferred"}.get(str(event["status"]))
        return (name,) if name else ()
    if kind == "bounce_all":
        return (
            {"h": "bounces_hard", "s": "bounces_soft"}.get(event["bounce_type"], "bounces_other"),
        )
    return {"engine_unsub": ("unsubscribes",), "scomp": ("complaints",)}.get(str(kind), ())


def _row(what: str, least: Counter[Any], most: Counter[Any], found: Counter[Any]) -> Row:
    lost, more = least - found, found - most
    examples = [*(f"-{each}" for each in lost), *(f"+{each}" for each in more)]
    return Row(what, least.total(), lost.total(), more.total(), tuple(examples[:6]))


def _more(counts: Counter[Any]) -> list[object]:
    return [each for each, count in counts.items() if count > 1]
