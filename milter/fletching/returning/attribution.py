"""Which message a returned mail is about, and the events that follow from it. Pure.

Only what our own keys have authenticated attributes a mail: the VERP tag of the return path, then
X-Mailer-Info. An address that a returned mail merely names gets events with `attributed` false,
which suppress nobody. How a mail is read is in the files beside this one; who looks up a tag and
who keeps an event is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fletching import events
from fletching.events import Event, Value
from fletching.returning.returned import (
    BounceType,
    Failure,
    MailKind,
    Reason,
    ReturnedMail,
    ReturnedRecipient,
)
from fletching.tokens import (
    SHORTEST_TAG,
    TAG_LENGTH,
    Facts,
    Keyring,
    Kind,
    MessageKey,
    Token,
    TokenError,
)

LONGEST_TEXT = 1000
"""Characters of `bounce_text`."""

MOST_UNATTRIBUTED = 20
"""Events of a mail that is not attributed: anybody can send one that names thousands of
addresses."""

UNSUBSCRIBES = frozenset({Kind.LIST_UNSUBSCRIBE, Kind.UNSUBSCRIBE_HTML, Kind.UNSUBSCRIBE_TEXT})
_ANSWERS = frozenset({MailKind.UNSUBSCRIBE, MailKind.AUTO_REPLY, MailKind.NONE})

# A tag ends the local part; `route_by: sender` adds a suffix. Whatever character was configured as
# the delimiter when the mail was sent, it is none of base32. A forwarder may have put the whole
# address into a longer one (SRS: `SRS0=hash=tt=domain=local@forwarder`).
TAG = re.compile(
    rf"(?:^|[^a-z0-9])([a-z2-7]{{{SHORTEST_TAG},{TAG_LENGTH}}})(?:-[a-z2-7]{{4}})?$",
    re.ASCII | re.IGNORECASE,
)
"""At the end of a local part: what may be a VERP tag."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{40,}")
# Begins where no other address could begin earlier, so that no character is read twice.
_NOT_IN = r"\s<>()\[\],;:\"'@"
_ADDRESS = re.compile(rf"(?<![^{_NOT_IN}])[^{_NOT_IN}]+@[^{_NOT_IN}]+")
_QUOTED_PAIR = re.compile(r"\\(.)")
_IN_WORDS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_NO_FAILURE = Failure(BounceType.OTHER, Reason.OTHER)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A returned mail that was delivered to one of our mailboxes.

    ``recipients``: the address to which Postfix delivers it, then the addresses that it had before
    (X-Original-To, Delivered-To).
    """

    mail: ReturnedMail
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventOrigin:
    """When and where a mail came.

    ``milliseconds``: unix time. ``entropy``: gives 10 bytes for the event id of the recipient with
    an index.
    """

    milliseconds: int
    server_id: str
    entropy: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Attribution:
    """The message that a returned mail is about; neither ``message`` nor ``facts`` if unknown.

    ``facts`` are None if they have to be looked up.
    """

    message: MessageKey | None = None
    facts: Facts | None = None


def attribution(arrival: Arrival, keys: Keyring) -> Attribution:
    """The message by the VERP tag, else by X-Mailer-Info.

    If both name the same message, X-Mailer-Info has all facts, and nothing is to be looked up.
    """
    message, facts = tagged(arrival, keys), mailer_info(arrival, keys)
    if facts is None:
        return Attribution(message)
    named = facts.campaign, facts.number
    if message is not None and message != named:
        return Attribution(message)
    return Attribution(named, facts)


def tagged(arrival: Arrival, keys: Keyring) -> MessageKey | None:
    """The message that a VERP tag names; None without a valid tag."""
    for address in (*arrival.recipients, *arrival.mail.return_paths):
        if (message := message_of(address, keys)) is not None:
            return message
    return None


def message_of(address: str, keys: Keyring) -> MessageKey | None:
    """The message whose return path an address is; None if it has no valid tag."""
    found = TAG.search(address.rpartition("@")[0].strip('"'))
    if found is None:
        return None
    try:
        return keys.open_tag(found[1])
    except TokenError:
        return None


def mailer_info(arrival: Arrival, keys: Keyring) -> Facts | None:
    """The facts in the X-Mailer-Info of the returned message; None without a valid one."""
    try:
        token = keys.open("".join(arrival.mail.mailer_info.split()))
    except TokenError:
        return None
    # Copies for the operator have a token without facts.
    is_of_message = token.kind is Kind.MAILER_INFO and token.facts != Facts()
    return token.facts if is_of_message else None


def unsubscribe(arrival: Arrival, keys: Keyring) -> Facts | None:
    """The facts of a mailed unsubscribe, whose token is in its subject or in its address.

    None without a valid token of an unsubscribe link that names a recipient.
    """
    if arrival.mail.kind not in _ANSWERS:
        return None
    subject = "".join(arrival.mail.unsubscribe.split())
    local_parts = (address.rpartition("@")[0] for address in arrival.recipients)
    return next(
        filter(None, (_unsubscribing(text, keys) for text in (subject, *local_parts))), None
    )


def _unsubscribing(text: str, keys: Keyring) -> Facts | None:
    for candidate in _TOKEN.findall(text):
        token = _opened(candidate, keys)
        if token and token.kind in UNSUBSCRIBES and token.facts.email:
            return token.facts
    return None


def named_by(address: str, keys: Keyring) -> MessageKey | Facts | None:
    """What an address of ours itself proves: by its VERP tag a message, by its unsubscribe token
    the facts; None without either.
    """
    return message_of(address, keys) or _unsubscribing(address.rpartition("@")[0], keys)


def unsubscribed(facts: Facts, origin: EventOrigin) -> Event:
    """The event of a mailed unsubscribe."""
    return _event(events.UNSUBSCRIBE, facts, origin, 0, {"click_url": ""})


def has_events(mail: ReturnedMail) -> bool:
    """Whether a mail, by its kind, is about a message that came back or was complained about."""
    return mail.kind in (MailKind.BOUNCE, MailKind.COMPLAINT)


def is_unexplained(mail: ReturnedMail) -> bool:
    """Whether a mail that has no events was not understood, so that the operator should see it.

    Automatic replies, notices of delay and of delivery, and feedback that is no complaint are
    understood.
    """
    is_other_feedback = bool(mail.feedback_type) and mail.kind is MailKind.NONE
    is_answer = mail.kind in (MailKind.UNSUBSCRIBE, MailKind.NONE)
    return has_events(mail) or (is_answer and not is_other_feedback)


def events_of(mail: ReturnedMail, facts: Facts | None, origin: EventOrigin) -> list[Event]:
    """The events of a bounce or a complaint; none for other mail.

    ``facts``: those of our message; None if the mail is not attributed. A message of ours to one
    recipient has one event, with that recipient, whatever the mail says: it may have been
    forwarded, and then another address failed.
    """
    if not has_events(mail):
        return []
    found = enumerate(of_message(mail, facts))
    if mail.kind is MailKind.BOUNCE:
        return [_bounce(recipient, facts, origin, number) for number, recipient in found]
    return [_complaint(mail, recipient, facts, origin, number) for number, recipient in found]


def of_message(mail: ReturnedMail, facts: Facts | None) -> Sequence[ReturnedRecipient]:
    """The recipients of a mail that have an event each. ``facts``: as for `events_of`."""
    recipients = tuple(each for each in mail.recipients if not each.is_delayed)
    if facts is None:
        # No mail is sent to an address with control characters, and not every database stores one.
        named = [each for each in recipients if each.email and each.email.isprintable()]
        return named[:MOST_UNATTRIBUTED]
    if not facts.email:
        return recipients or (ReturnedRecipient(""),)
    ours = [each for each in recipients if each.email.lower() == facts.email.lower()]
    return (*ours, *recipients, ReturnedRecipient(""))[:1]


def _bounce(
    recipient: ReturnedRecipient, facts: Facts | None, origin: EventOrigin, number: int
) -> Event:
    failure = recipient.failure or _NO_FAILURE
    text = failure.text
    if facts is not None and recipient.email.lower() != facts.email.lower():
        for address in dict.fromkeys((recipient.email, recipient.original)):
            text = without_addresses(text, address, facts.email)
    details: dict[str, Value] = {
        "bounce_type": failure.type.value,
        "bounce_code": failure.code,
        "bounce_text": text[:LONGEST_TEXT],
        "bounce_status": failure.status,
        "bounce_reason": failure.reason.value,
        "synchronous": False,
        "attributed": facts is not None,
    }
    return _event(events.BOUNCE, facts or _named(recipient), origin, number, details)


def _complaint(
    mail: ReturnedMail,
    recipient: ReturnedRecipient,
    facts: Facts | None,
    origin: EventOrigin,
    number: int,
) -> Event:
    details: dict[str, Value] = {
        "feedback_type": mail.feedback_type,
        "attributed": facts is not None,
    }
    return _event(events.COMPLAINT, facts or _named(recipient), origin, number, details)


def without_addresses(text: str, email: str, instead: str) -> str:
    """A text of a server in which ``instead`` replaces every address, and the local part of
    ``email``, with or without quotes and the detail of a subaddress.

    The recipient may be obscured: then no event may contain the real address, in whatever case.
    """
    local, at, domain = email.rpartition("@")
    bare = _QUOTED_PAIR.sub(r"\1", local[1:-1]) if local.startswith('"') else local
    # A server may leave out the quotes, or the detail of a subaddress (RFC 5233).
    for word in dict.fromkeys((email, f"{bare}{at}{domain}")):
        text = _without(text, word, instead)
    text = _ADDRESS.sub(lambda found: instead, text)
    for word in dict.fromkeys((local, bare, bare.partition("+")[0])):
        text = _without(text, word, instead)
    return text


def _without(text: str, word: str, instead: str) -> str:
    """A text in which ``instead`` replaces a word. (To compile a pattern for each mail takes as
    long as to read the mail.)
    """
    lower, word = _lower(text), _lower(word)
    pieces, start = [], 0
    at = lower.find(word) if word else -1
    while at >= 0:
        end = at + len(word)
        if _is_between(lower, at, end):
            pieces += [text[start:at], instead]
            start = end
        at = lower.find(word, end)
    return "".join([*pieces, text[start:]])


def _is_between(lower: str, start: int, end: int) -> bool:
    """Whether no letter or digit of ASCII is beside a part of a text."""
    beside = lower[max(0, start - 1) : start] + lower[end : end + 1]
    return not any(character in _IN_WORDS for character in beside)


def _lower(text: str) -> str:
    """In lower case, with as many characters as before."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(small if len(small := each.lower()) == 1 else each for each in text)


def _named(recipient: ReturnedRecipient) -> Facts:
    """The facts of a mail that is not attributed: an address that it names."""
    return Facts(email=recipient.email)


def _event(
    type: str, facts: Facts, origin: EventOrigin, number: int, details: Mapping[str, Value]
) -> Event:
    id = events.unique_id(origin.milliseconds, origin.entropy(number))
    return Event(type, origin.milliseconds, id, origin.server_id, facts, details)


def _opened(token: str, keys: Keyring) -> Token | None:
    try:
        return keys.open(token)
    except TokenError:
        return None
