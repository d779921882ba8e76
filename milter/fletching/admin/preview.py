"""What would happen to a mail: the same way as in the milter, without Redis and Postfix.

Here live the mail, the envelope and the answer of `fletching preview`. Nothing is decided: what
`outgoing/flow.py` decided is told.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fletching.mail.envelope import Envelope, Recipient
from fletching.mail.message import Message, addresses
from fletching.numbering import Numbered, Question
from fletching.outgoing import edits
from fletching.outgoing.flow import Outcome, carry
from fletching.policy.setup import Setup, Stamp

CAMPAIGN = "preview"


def preview(
    message: Message, envelope: Envelope, setup: Setup, stamp: Stamp, suppressed: str = ""
) -> Outcome:
    """Carries a mail as the first of a campaign named `preview`.

    ``suppressed``: why its list must not write to its recipient; empty where it may.
    """

    def first_of_preview(question: Question) -> Numbered:
        # As the store answers.
        reason = "" if question.suppress == "off" else suppressed
        if reason and question.suppress == "refuse":
            return Numbered("", 0, reason)
        return Numbered(CAMPAIGN, 1, reason)

    # It comes by a service where networks count.
    service = next(iter(setup.config.trusted.services), None)
    envelope = replace(envelope, service=service)
    return carry(message, envelope, setup, first_of_preview, stamp)


def envelope_of(
    message: Message,
    sender: str | None,
    recipients: Iterable[str],
    client: str,
    login: str | None,
) -> Envelope:
    """The envelope that the operator gave; what is missing, the header tells.

    Recipients are taken to be outbound: no Postfix is asked.
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
    """The object of `fletching preview --json` (docs/commands.md)."""
    refusal, facts, mail_class = outcome.refusal, outcome.facts, outcome.plan.mail_class
    return {
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
        "warnings": list(outcome.warnings),
        "edits": [_edit(edit) for edit in outcome.edits],
        # What is refused does not leave.
        "message": base64.b64encode(b"" if refusal else bytes(outcome.final)).decode("ascii"),
    }


def readable(octets: bytes) -> str:
    """Octets of a mail as text, whatever they are."""
    return octets.decode("utf-8", "replace")


def _addresses(message: Message, name: bytes) -> list[str]:
    return [address for header in message.all(name) for address in addresses(header.text)]


def _edit(edit: edits.Edit) -> dict[str, Any]:
    match edit:
        case edits.AddHeader():
            return _field("add_header", edit.name) | {"value": _value(edit.value)}
        case edits.InsertHeader():
            return _field("insert_header", edit.name) | {"value": _value(edit.value)}
        case edits.ChangeHeader():
            told = _field("change_header", edit.name)
            return told | {"index": edit.index, "value": _value(edit.value)}
        case edits.DeleteHeader():
            return _field("delete_header", edit.name) | {"index": edit.index}
        case edits.ChangeSender():
            return {"edit": "change_sender", "address": edit.address}
        case edits.ReplaceBody():
            return {"edit": "replace_body", "octets": len(edit.body)}


def _field(edit: str, name: bytes) -> dict[str, Any]:
    return {"edit": edit, "name": readable(name)}


def _value(value: bytes) -> str:
    """A field's value without the space behind the colon, which Postfix writes by itself."""
    return readable(value).removeprefix(" ")
