"""Reads Postfix's queue with postqueue(1). Nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fletching.postfix.postconf import PostfixError, lines, run


@dataclass(frozen=True, slots=True)
class QueuedMail:
    """A mail in the queue. ``arrived``: unix time. ``size``: bytes."""

    queue: str
    queue_id: str
    arrived: int
    size: int
    sender: str
    recipients: tuple[str, ...]


def on_hold(command: Sequence[str] = ("postqueue",)) -> tuple[QueuedMail, ...]:
    """The mails in the hold queue, oldest first. Raises PostfixError."""
    try:
        found = [_mail(json.loads(line)) for line in lines(run((*command, "-j")))]
    except (ValueError, KeyError, TypeError) as error:
        raise PostfixError(f"{command[0]}: not understood: {error}") from None
    held = (each for each in found if each.queue == "hold")
    return tuple(sorted(held, key=lambda each: (each.arrived, each.queue_id)))


def _mail(entry: dict[str, object]) -> QueuedMail:
    recipients = entry["recipients"]
    if not isinstance(recipients, list):
        raise TypeError("recipients is not a list")
    return QueuedMail(
        queue=str(entry["queue_name"]),
        queue_id=str(entry["queue_id"]),
        arrived=int(str(entry["arrival_time"])),
        size=int(str(entry["message_size"])),
        sender=str(entry["sender"]),
        recipients=tuple(str(each["address"]) for each in recipients),
    )
