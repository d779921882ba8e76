"""Compares what senders and recipients were promised with what Redis has afterwards.

Pure. A promise is broken if a number or a tag is on two mails of one campaign, if an answered
unsubscribe or click is missing, if statistics differ from the events, or if one request became two
events with different ids. Two stream entries with the same event id break no promise: a destination
recognizes the duplicate by its id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

CLICK, UNSUBSCRIBE = "engine_click", "engine_unsub"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as delivered to the recipient's server."""

    recipient: str
    campaign: str
    number: int
    return_path: str


@dataclass(frozen=True, slots=True)
class Request:
    """A click or an unsubscribe by one recipient. ``tries``: how often it was sent."""

    event_type: str
    recipient: str
    tries: int
    answered: bool


@dataclass(frozen=True, slots=True)
class Sending:
    """What the sending application observed. Times in seconds of one clock."""

    wanted: int
    began: float
    accepted: tuple[float, ...]
    tempfailed: int
    """4xx replies, and sessions that ended without a reply."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What Redis has at the end: the stream in order, and the output of the commands."""

    events: Sequence[Mapping[str, Any]]
    campaigns: Sequence[Mapping[str, Any]]
    suppressed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Findings:
    """Counts of one round, or of several (`total`). Only some of them are broken promises
    (`broken`)."""

    rounds: int = 1
    unfinished: int = 0
    """Rounds that ended with an error, for example because Redis did not recover."""
    accepted: int = 0
    tempfailed: int = 0
    never_accepted: int = 0
    campaigns: int = 0
    numbers_twice: int = 0
    tags_twice: int = 0
    unsubscribes: int = 0
    unsubscribes_missing: int = 0
    clicks: int = 0
    clicks_missing: int = 0
    statistics_off: int = 0
    same_id: int = 0
    other_id: int = 0
    gap: float = field(default=0.0, metadata={"total": max})
    """The longest time without an accepted mail, in seconds."""

    @property
    def broken(self) -> dict[str, int]:
        """The broken promises, and how often each was broken."""
        counts = {name: getattr(self, name) for name in _PROMISES}
        return {name: count for name, count in counts.items() if count}


_PROMISES = (
    *("unfinished", "never_accepted", "numbers_twice", "tags_twice"),
    *("unsubscribes_missing", "clicks_missing", "statistics_off", "other_id"),
)


def judge(
    mails: Sequence[Mail], requests: Sequence[Request], sending: Sending, kept: Kept
) -> Findings:
    """Judge one round."""
    events = {str(event["event_unique_id"]): event for event in kept.events}
    return Findings(
        accepted=len(sending.accepted),
        tempfailed=sending.tempfailed,
        never_accepted=sending.wanted - len(sending.accepted),
        campaigns=len({mail.campaign for mail in mails}),
        numbers_twice=_repeated((mail.campaign, mail.number) for mail in mails),
        tags_twice=_repeated(mail.return_path for mail in mails),
        unsubscribes=len(_answered(requests, UNSUBSCRIBE)),
        unsubscribes_missing=len(missing_unsubscribes(requests, kept)),
        clicks=len(_answered(requests, CLICK)),
        clicks_missing=len(missing_clicks(requests, kept)),
        statistics_off=sum(abs(off) for off in statistics_off(mails, kept).values()),
        same_id=len(kept.events) - len(events),
        other_id=_surplus(requests, events.values()),
        gap=_gap(sending),
    )


def total(rounds: Sequence[Findings]) -> Findings:
    """Add up several rounds."""
    return Findings(
        **{
            each.name: each.metadata.get("total", sum)(getattr(one, each.name) for one in rounds)
            for each in fields(Findings)
        }
    )


def missing_unsubscribes(requests: Sequence[Request], kept: Kept) -> frozenset[str]:
    """Recipients whose answered unsubscribe has no suppression entry or no event."""
    has_event = _recipients(kept.events, UNSUBSCRIBE)
    return _answered(requests, UNSUBSCRIBE) - (kept.suppressed & has_event)


def missing_clicks(requests: Sequence[Request], kept: Kept) -> frozenset[str]:
    """Recipients whose answered click has no event."""
    return _answered(requests, CLICK) - _recipients(kept.events, CLICK)


def statistics_off(mails: Sequence[Mail], kept: Kept) -> dict[str, int]:
    """Where the statistics of a campaign differ from the delivered mails and the events.

    By campaign and count: how many too many, or, if negative, too few.
    """
    shown = {str(row["campaign"]): row for row in kept.campaigns}
    events = {str(event["event_unique_id"]): event for event in kept.events}
    off = {}
    for campaign in sorted({mail.campaign for mail in mails} | set(shown)):
        row = shown.get(campaign, {})
        for kind, count in _counted(campaign, mails, events.values()).items():
            if difference := int(row.get(kind) or 0) - count:
                off[f"{campaign} {kind}"] = difference
    return off


def _counted(
    campaign: str, mails: Iterable[Mail], events: Iterable[Mapping[str, Any]]
) -> dict[str, int]:
    mine = [event for event in events if event["campaign"] == campaign]
    clicks = [event for event in mine if event["event_type"] == CLICK and not event["is_bot"]]
    gone = [event for event in mine if event["event_type"] == UNSUBSCRIBE]
    return {
        "sent": sum(mail.campaign == campaign for mail in mails),
        "clicks": len(clicks),
        "unique_clicks": len({event["message_number"] for event in clicks}),
        "bot_clicks": sum(e["event_type"] == CLICK and bool(e["is_bot"]) for e in mine),
        "unsubscribes": len({event["message_number"] for event in gone}),
    }


def _surplus(requests: Iterable[Request], events: Iterable[Mapping[str, Any]]) -> int:
    """The number of events beyond the requests that can have caused them."""
    tries = Counter[tuple[str, str]]()
    for request in requests:
        tries[request.event_type, request.recipient] += request.tries
    made = Counter((str(event["event_type"]), str(event["email"])) for event in events)
    return sum((made - tries).values())


def _answered(requests: Iterable[Request], event_type: str) -> frozenset[str]:
    return frozenset(r.recipient for r in requests if r.answered and r.event_type == event_type)


def _recipients(events: Iterable[Mapping[str, Any]], event_type: str) -> frozenset[str]:
    return frozenset(str(e["email"]) for e in events if e["event_type"] == event_type)


def _repeated(values: Iterable[object]) -> int:
    return sum(count - 1 for count in Counter(values).values())


def _gap(sending: Sending) -> float:
    times = (sending.began, *sorted(sending.accepted))
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)
