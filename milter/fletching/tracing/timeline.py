"""The life of a message in words that an operator can read out: one entry for each moment.

Here live the sentences, the times beside them, and the JSON. Pure. Texts from outside are passed on
as they are: whoever shows them escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from fletching import events
from fletching.events import rfc3339
from fletching.store.find_traces import Trace
from fletching.traces import ACCEPTED, Moment

_REASONS: Mapping[str, str] = {
    "user_unknown": "the mailbox does not exist",
    "mailbox_full": "the mailbox is full",
    "mailbox_disabled": "the mailbox is disabled",
    "domain_unknown": "the domain does not exist",
    "no_mail_service": "the domain accepts no mail",
    "expired": "the time for delivery is over",
    "network": "the server could not be reached",
    "too_big": "the message is too big",
    "content": "the content was rejected",
    "spam": "rejected as spam",
    "virus": "rejected as malware",
    "policy": "a rule of the server forbids it",
    "auth_failure": "SPF, DKIM or DMARC failed",
    "blocked": "the sending server is blocked",
    "rate_limited": "too much mail at once",
    "sender_rejected": "the sender was rejected",
    "recipient_filtered": "the recipient's filter rejected it",
    "relay_denied": "the server does not accept mail for this domain",
    "protocol": "a protocol error",
    "system": "a problem of the server",
    "moved": "the recipient has moved",
}
_BOUNCES = {"h": "hard bounce", "s": "soft bounce"}
_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One moment. ``when``: local time; ``after``: since the moment before, or until now for the
    first one; ``quote``: the server's own words.
    """

    kind: str
    when: str
    after: str
    text: str
    quote: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeline:
    """A message. ``facts``: names and values; ``state``: where it stands, in one sentence."""

    title: str
    campaign: str
    number: int
    facts: tuple[tuple[str, str], ...]
    state: str
    entries: tuple[TimelineEntry, ...]


def timeline(trace: Trace, now: float, zone: tzinfo | None) -> Timeline:
    """The life of a message. ``zone`` None: the system's."""
    facts = trace.facts
    names = (
        ("Recipient", facts.email or ", ".join(_recipients(trace)) or "not recorded"),
        ("Mail Class", facts.mail_class),
        ("Campaign", facts.sendid),
        ("List", facts.listid),
        ("Queue id", _detail(trace.accepted, "queue_id")),
        ("Click-Tracking-ID", facts.click_tracking_id),
    )
    return Timeline(
        f"Message {facts.number} of campaign {facts.sendid or facts.campaign}",
        facts.campaign,
        facts.number,
        tuple((name, value) for name, value in names if value),
        state(trace),
        tuple(_entries(trace, now, zone)),
    )


def state(trace: Trace) -> str:
    """Where a message stands, in one sentence."""
    attempts = [each for each in trace.moments if each.type == events.DELIVERY]
    bounces = [each for each in trace.moments if each.type == events.BOUNCE]
    if any(each.type == events.COMPLAINT for each in trace.moments):
        return "The recipient complained about it."
    if any(not each.details.get("synchronous") for each in bounces):
        return "It was accepted by a server, and bounced later."
    outcomes = {str(each.details.get("status", "")) for each in attempts}
    if len(_recipients(trace)) > 1 and len(outcomes) > 1:
        return "It went to several recipients, with different results: see below."
    if "success" in outcomes:
        return "It was delivered to the recipient's mail server."
    if "failure" in outcomes:
        return "It was not delivered: the recipient's mail server refused it."
    if "failure_toolong" in outcomes:
        return "It was not delivered: Postfix gave up after several attempts."
    if "deferral" in outcomes:
        times = _count(len(attempts), "attempt")
        return f"It is not delivered yet: after {times}, Postfix will try again."
    if any(each.type in (events.OPEN, events.CLICK) for each in trace.moments):
        return "It was delivered: it was opened or clicked."
    return "No delivery attempt is known: it is in Postfix's queue, or Postfix's log is not read."


def as_json(trace: Trace) -> dict[str, Any]:
    """The trace as docs/trace.md describes it; the order of names is fixed."""
    facts, accepted = trace.facts, trace.accepted
    return {
        "campaign": facts.campaign,
        "message_number": facts.number,
        "sendid": facts.sendid.lower(),
        "mail_class": facts.mail_class,
        "instance_id": facts.instance_id,
        "listid": facts.listid.lower(),
        "click_tracking_id": facts.click_tracking_id,
        "email": facts.email,
        "recipients": list(_recipients(trace)),
        "queue_id": _detail(accepted, "queue_id"),
        "mtaid": _detail(accepted, "mtaid"),
        "state": state(trace),
        "events": [_event(trace, moment) for moment in trace.moments],
    }


def _event(trace: Trace, moment: Moment) -> dict[str, Any]:
    details: dict[str, Any] = dict(moment.details)
    if moment.type == events.CLICK:
        details = {"click_url": trace.links.get(details.pop("link", ""), "")} | details
    if moment.type == ACCEPTED:
        details = {"warnings": list(details.get("warnings", ()))}
    return {
        "event_type": moment.type,
        "event_time": moment.seconds,
        "timestamp": rfc3339(moment.seconds * 1000),
        **details,
    }


def _entries(trace: Trace, now: float, zone: tzinfo | None) -> list[TimelineEntry]:
    entries: list[TimelineEntry] = []
    before = None
    for moment in trace.moments:
        if before is None:
            after = f"{_span(now - moment.seconds)} ago"
        else:
            after = f"{_span(moment.seconds - before)} later"
        when = _when(moment.seconds, zone)
        entries.append(TimelineEntry(moment.type, when, after, *_told(trace, moment)))
        before = moment.seconds
    return entries


def _told(trace: Trace, moment: Moment) -> tuple[str, str, tuple[str, ...]]:
    """A moment as a sentence, a quotation, and notes."""
    details = {name: str(value) for name, value in moment.details.items()}
    match moment.type:
        case _ if moment.type == ACCEPTED:
            return _accepted(moment)
        case events.DELIVERY:
            return _attempt(details), details.get("message", ""), ()
        case events.BOUNCE:
            return _bounce(details), details.get("bounce_text", ""), ()
        case events.COMPLAINT:
            kind = details.get("feedback_type", "")
            return f"The recipient complained{f' ({kind})' if kind else ''}.", "", ()
        case events.UNSUBSCRIBE:
            way = (
                "by mail"
                if details.get("by") == "mail"
                else "on the web, by a link or with one click"
            )
            return f"The recipient unsubscribed {way}.", "", ()
        case events.BAD_ADDRESS:
            return "The address is suppressed from now on: it is a bad address.", "", ()
        case _:
            return _visit(trace, moment.type, details), "", ()


def _accepted(moment: Moment) -> tuple[str, str, tuple[str, ...]]:
    mta = _detail(moment, "mtaid")
    by = f"VirtualMTA {mta}" if mta else "Postfix's own routing"
    warnings = moment.details.get("warnings", ())
    notes = tuple(f"Warning: {each}" for each in warnings) if isinstance(warnings, tuple) else ()
    return f"Accepted from the application, to be sent by {by}.", "", notes


def _attempt(details: Mapping[str, str]) -> str:
    recipient = details.get("recipient", "")
    to = f" for {recipient}" if recipient else ""
    relay = details.get("relay", "")
    by = f" by {relay}" if relay else ""
    reason = _REASONS.get(details.get("bounce_reason", ""), "")
    why = f": {reason}" if reason else ""
    match details.get("status"):
        case "success":
            return f"Delivered{to}: accepted{by}."
        case "deferral":
            return f"Deferred{to}{by}{why}."
        case "failure":
            return f"Refused{to}{by}{why}."
        case "failure_toolong":
            return f"Given up{to}{why or ': the time for delivery is over'}."
        case _:
            return "A delivery attempt; its details are lost."


def _bounce(details: Mapping[str, str]) -> str:
    kind = _BOUNCES.get(details.get("bounce_type", ""), "bounce of an unknown kind")
    reason = _REASONS.get(details.get("bounce_reason", ""), "")
    whose = f" of {details['recipient']}" if details.get("recipient") else ""
    which = f"{kind}{whose}: {reason}" if reason else f"{kind}{whose}"
    return (
        f"Counted as a {which}." if details.get("synchronous") else f"Returned by mail, a {which}."
    )


def _visit(trace: Trace, type: str, details: Mapping[str, str]) -> str:
    what, link = "Opened", "."
    if type == events.CLICK:
        url = trace.links.get(details.get("link", ""), "a link that is no longer known")
        # Without a full stop, which would be copied along.
        what, link = "Clicked", f": {url}"
    if details.get("is_bot"):
        reason = details.get("bot_reason", "")
        return f"{what} by a program, not by a person{f' ({reason})' if reason else ''}{link}"
    if details.get("is_privacy_open"):
        return "Opened by the mailbox provider's proxy: it is unknown whether a person read it."
    return f"{what}{link}"


def _recipients(trace: Trace) -> tuple[str, ...]:
    found = trace.accepted.details.get("recipients", ()) if trace.accepted else ()
    return found if isinstance(found, tuple) else ()


def _detail(moment: Moment | None, name: str) -> str:
    return str(moment.details.get(name, "")) if moment else ""


def _when(seconds: int, zone: tzinfo | None) -> str:
    when = datetime.fromtimestamp(seconds, zone)
    return (when if zone else when.astimezone()).strftime("%Y-%m-%d %H:%M:%S %Z")


def _span(seconds: float) -> str:
    """A span of time in its largest unit, or in two if the first one is small."""
    left = max(0, round(seconds))
    for at, (unit, name) in enumerate(_UNITS):
        count, rest = divmod(left, unit)
        if count or unit == 1:
            more = ""
            if count < 3 and at + 1 < len(_UNITS):
                smaller, word = _UNITS[at + 1]
                more = f" {_count(rest // smaller, word)}" if rest // smaller else ""
            return f"{_count(count, name)}{more}"
    return ""


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
