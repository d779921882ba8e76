"""What would happen to a message: processed as in the milter, without Redis and Postfix.

Builds the envelope for `fletching preview`, and the object that it prints. Nothing is decided here:
it reports what `outgoing/flow.py` decided.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from fletching.mail.envelope import Envelope, Recipient
from fletching.mail.message import Message, addresses
from fletching.numbering import Numbered, Question
from fletching.outgoing import edits
from fletching.outgoing.flow import Outcome, carry
from fletching.outgoing.text_parts import TextPartCache
from fletching.policy.setup import Setup, Stamp

CAMPAIGN = "preview"


def preview(
    message: Message,
    envelope: Envelope,
    setup: Setup,
    stamp: Stamp,
    suppressed: Mapping[str, str] = MappingProxyType({}),
) -> Outcome:
    """Processes a message as the first one of a campaign named `preview`.

    ``suppressed``: why a recipient is suppressed, by address in lower case; `""` is the reason of
    all others.
    """

    def first_of_preview(question: Question) -> Numbered:
        # As the store answers it.
        every = suppressed.get("", "")
        reasons = tuple(suppressed.get(each.lower(), every) for each in question.recipients)
        if question.suppress == "off" or not any(reasons):
            reasons = ()
        if question.refuses(reasons):
            return Numbered("", 0, reasons)
        return Numbered(CAMPAIGN, 1, reasons)

    envelope = through_trusted_service(envelope, setup)
    return carry(message, envelope, setup, first_of_preview, stamp, TextPartCache())


def through_trusted_service(envelope: Envelope, setup: Setup) -> Envelope:
    """The envelope of a mail that comes through a service where networks are trusted."""
    return replace(envelope, service=next(iter(setup.config.trusted.services), None))


def envelope_of(
    message: Message,
    sender: str | None,
    recipients: Iterable[str],
    client: str,
    login: str | None,
) -> Envelope:
    """The envelope given by the operator, completed from the header.

    All recipients count as outbound, since Postfix is not asked.
    """
    wanted = list(recipients) or _addresses(message, b"to") or ["recipient@example.com"]
    if sender is None:
        sender = next(iter(_addresses(message, b"from")), "")
    return Envelope(
        sender=sender,
        recipients=tuple(Recipient(address, "smtp") for address in wanted),
        client=client,
        login=login,
    )


def as_json(outcome: Outcome, envelope: Envelope) -> dict[str, Any]:
    """The object of `fletching preview --json` (docs/commands.md).

    ``outcome``: of a mail in shadow, what happens to it, or what would happen if it were live.
    """
    refusal, facts, mail_class = outcome.refusal, outcome.facts, outcome.plan.mail_class
    unsent = refusal is not None or outcome.plan.discarded is not None
    of_mode = {"mode": "shadow"} if outcome.is_in_shadow else {}
    return of_mode | {
        "verdict": outcome.verdict,
        "reply": str(refusal) if refusal else None,
        "mail_from": envelope.sender if outcome.sender is None else outcome.sender,
        "transport": outcome.member.transport if outcome.member else None,
        "virtual_mta": outcome.member.name if outcome.member else None,
        "mail_class": mail_class.name if mail_class else None,
        "instance_id": outcome.plan.instance_id if mail_class else None,
        "sendid": outcome.plan.sendid if mail_class else None,
        "listid": outcome.plan.listid or None,
        "campaign": facts.campaign if facts else None,
        "message_number": facts.number if facts else None,
        "warnings": list((outcome.would or outcome).warnings),
        "edits": [_edit(edit) for edit in outcome.edits],
        "message": base64.b64encode(b"" if unsent else bytes(outcome.final)).decode("ascii"),
    }


def readable(data: bytes) -> str:
    """Bytes of a message as text."""
    return data.decode("utf-8", "replace")


def _addresses(message: Message, name: bytes) -> list[str]:
    return [address for header in message.all(name) for address in addresses(header.text)]


def _edit(edit: edits.Edit) -> dict[str, Any]:
    match edit:
        case edits.AddHeader():
            return _field("add_header", edit.name) | {"value": _value(edit.value)}
        case edits.InsertHeader():
            return _field("insert_header", edit.name) | {"value": _value(edit.value)}
        case edits.ChangeHeader():
            field = _field("change_header", edit.name)
            return field | {"index": edit.index, "value": _value(edit.value)}
        case edits.DeleteHeader():
            return _field("delete_header", edit.name) | {"index": edit.index}
        case edits.ChangeSender():
            return {"edit": "change_sender", "address": edit.address}
        case edits.RemoveRecipient():
            return {"edit": "remove_recipient", "address": edit.address}
        case edits.AddRecipient():
            return {"edit": "add_recipient", "address": edit.address}
        case edits.Hold():
            return {"edit": "hold", "reason": edit.reason}
        case edits.Discard():
            return {"edit": "discard"}
        case edits.ReplaceBody():
            return {"edit": "replace_body", "octets": len(edit.body)}


def _field(edit: str, name: bytes) -> dict[str, Any]:
    return {"edit": edit, "name": readable(name)}


def _value(value: bytes) -> str:
    """A field's value without the space after the colon, which Postfix adds."""
    return readable(value).removeprefix(" ")
