"""The data of `fletching held`: the mails on hold, and why."""

from __future__ import annotations

from typing import Any

from fletching import held
from fletching.config.model import Config
from fletching.figures import moment
from fletching.postfix import queue

_LONGEST = 3600
"""Seconds from the arrival of a mail to its end, at most: a queue id may be used again later."""


class HeldError(Exception):
    """The reasons cannot be read. Says why."""


def rows(config: Config) -> list[dict[str, Any]]:
    """One row per mail on hold, oldest first. ``reason`` is None if no rule of ours holds it.

    Raises HeldError, and PostfixError.
    """
    mails = queue.on_hold()
    try:
        reasons = held.read(config.state_dir)
    except OSError as error:
        raise HeldError(f"{config.state_dir / held.FILE}: {error.strerror}") from None
    found = []
    for mail in mails:
        hold = reasons.get(mail.queue_id)
        is_of_it = hold is not None and -60 <= hold.seconds - mail.arrived <= _LONGEST
        found.append(
            {
                "queue_id": mail.queue_id,
                "arrived": moment(mail.arrived),
                "size": mail.size,
                "sender": mail.sender,
                "recipients": list(mail.recipients),
                "reason": hold.reason if hold is not None and is_of_it else None,
            }
        )
    return found
