"""`fletching bounce read`: what a returned mail says, and which entry of the tables decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fletching.mail.message import addresses, parse
from fletching.returning.attribution import Arrival, attribution
from fletching.returning.reading import read
from fletching.returning.returned import BounceType, ReturnedMail, ReturnedRecipient
from fletching.returning.rules import Rule
from fletching.tokens import Keyring

_TYPES = {BounceType.HARD: "hard", BounceType.SOFT: "soft", BounceType.OTHER: "other"}
_ARRIVED_AT = (b"x-original-to", b"delivered-to", b"to")


@dataclass(frozen=True, slots=True)
class MailRead:
    """What one mail says. ``is_attributed``: whether our keys open its tag or its token."""

    file: str
    mail: ReturnedMail
    is_attributed: bool


def read_mail(file: str, raw: bytes, keys: Keyring, rules: Sequence[Rule]) -> MailRead:
    """Reads one mail. ``keys``: none attribute nothing."""
    mail = read(raw, rules)
    message = parse(raw)
    fields = (field for name in _ARRIVED_AT for field in message.all(name))
    arrived_at = tuple(address for field in fields for address in addresses(field.value))
    found = attribution(Arrival(mail, arrived_at), keys)
    return MailRead(file, mail, found.message is not None)


def as_json(found: MailRead) -> dict[str, Any]:
    """One object, whose names are those of docs/bounce-reasons.md.

    Each address that the mail names has an entry.
    """
    return {
        "file": found.file,
        "kind": found.mail.kind.value,
        "feedback_type": found.mail.feedback_type,
        "recipients": [
            _entry(email, each, found.is_attributed)
            for each in found.mail.recipients
            for email in _named(each)
        ],
    }


def as_lines(found: MailRead) -> Iterator[str]:
    """A block of lines for people."""
    kind = found.mail.kind.value.replace("_", " ")
    feedback = f" ({found.mail.feedback_type})" if found.mail.feedback_type else ""
    attributed = "attributed" if found.is_attributed else "not attributed"
    yield f"{found.file}: {kind}{feedback}, {attributed}"
    for each in found.mail.recipients:
        yield from _lines(each)
    for address in found.mail.return_paths:
        yield f"  return path  {address}"


def _lines(recipient: ReturnedRecipient) -> Iterator[str]:
    failure = recipient.failure
    sent_to = f" (sent to {recipient.original})" if recipient.original else ""
    yield f"  recipient    {recipient.email or 'not named'}{sent_to}"
    if failure is None:
        return
    codes = " ".join(str(each) for each in (failure.code, failure.status) if each)
    delayed = ", delayed" if recipient.is_delayed else ""
    yield f"    {_TYPES[failure.type]}: {failure.reason.value}{delayed}"
    yield f"    decided by {failure.entry}"
    if codes:
        yield f"    codes {codes}"
    if failure.text:
        yield f"    {failure.text}"


def _named(recipient: ReturnedRecipient) -> Iterable[str]:
    return (recipient.email, recipient.original) if recipient.original else (recipient.email,)


def _entry(email: str, recipient: ReturnedRecipient, is_attributed: bool) -> dict[str, Any]:
    failure = recipient.failure
    return {
        "email": email,
        "bounce_type": failure.type.value if failure else None,
        "bounce_reason": failure.reason.value if failure else None,
        "bounce_status": failure.status if failure else "",
        "bounce_code": failure.code if failure else 0,
        "bounce_text": failure.text if failure else "",
        "attributed": is_attributed,
    }
