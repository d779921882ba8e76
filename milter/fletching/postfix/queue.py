"""Reads Postfix's queue with postqueue(1) and postcat(1), and deletes a mail with postsuper(1)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from fletching.postfix.postconf import PostfixError, lines, run

_BATCH = 500
"""Mails for one postcat(1)."""


@dataclass(frozen=True, slots=True)
class QueuedMail:
    """A mail in the queue. ``arrived``: unix time. ``size``: bytes. ``reason``: why its first
    recipient has not got it; empty before the first attempt."""

    queue: str
    queue_id: str
    arrived: int
    size: int
    sender: str
    recipients: tuple[str, ...]
    reason: str = ""


def on_hold(command: Sequence[str] = ("postqueue",)) -> tuple[QueuedMail, ...]:
    """The mails in the hold queue, oldest first. Raises PostfixError."""
    held = (each for each in _mails(command) if each.queue == "hold")
    return tuple(sorted(held, key=lambda each: (each.arrived, each.queue_id)))


def waiting(queue_id: str, postconf: Sequence[str]) -> QueuedMail | None:
    """The mail with a queue id; None if it is not in the queue.

    ``postconf``: postconf(1), perhaps with -c DIRECTORY. Raises PostfixError.
    """
    found = _mails(_beside(postconf, "postqueue"))
    return next((each for each in found if each.queue_id == queue_id), None)


def delete(queue_id: str, postconf: Sequence[str]) -> None:
    """Deletes a mail from the queue, which only root can. Raises PostfixError."""
    run((*_beside(postconf, "postsuper"), "-d", queue_id))


def filtered(directory: str) -> Counter[str]:
    """How many queued mails FILTER sends through each transport. Raises PostfixError.

    ``directory``: of Postfix's configuration.
    """
    found: Counter[str] = Counter()
    # A mail that moves to another queue meanwhile may be listed in both.
    ids = [*{each.queue_id: None for each in _mails(("postqueue", "-c", directory))}]
    for start in range(0, len(ids), _BATCH):
        found += _filters(directory, ids[start : start + _BATCH])
    return found


def _filters(directory: str, ids: Sequence[str]) -> Counter[str]:
    try:
        printed = run(("postcat", "-c", directory, "-e", "-q", *ids))
    except PostfixError:
        # One of them has been delivered meanwhile, and postcat(1) stopped there.
        if len(ids) == 1:
            return Counter()
        middle = len(ids) // 2
        return _filters(directory, ids[:middle]) + _filters(directory, ids[middle:])
    return Counter(re.findall(r"(?m)^content_filter: ([^:\n]+):", printed))


def _beside(postconf: Sequence[str], name: str) -> tuple[str, ...]:
    return (str(PurePath(postconf[0]).with_name(name)), *postconf[1:])


def _mails(command: Sequence[str]) -> list[QueuedMail]:
    try:
        return [_mail(json.loads(line)) for line in lines(run((*command, "-j")))]
    except (ValueError, KeyError, TypeError) as error:
        raise PostfixError(f"{command[0]}: not understood: {error}") from None


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
        reason=next(
            (str(each["delay_reason"]) for each in recipients if "delay_reason" in each), ""
        ),
    )
