"""The form of a placement: where the copy for a seed arrived in its mailbox, and when.

Here are the value, its JSON, and what it is called. Who looks into mailboxes is in `monitor/`,
where placements are kept in `store/placements.py`. Pure.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final, Literal

INBOX: Final = "inbox"
SPAM: Final = "spam"
FOLDER: Final = "folder"

Where = Literal["inbox", "spam", "folder", ""]
"""The inbox, the spam folder, another folder; empty if the copy was not found."""

LATE = 600
"""Seconds after which a copy that arrives is late, and one that has not arrived is missing."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What the last look into a seed's mailbox found of one campaign.

    ``where``: empty if the copy is not there, or the mailbox could not be read: ``error`` says why.
    ``folder``: its name on the server. ``arrived`` and ``looked``: unix seconds. ``seconds``: from
    the copy's sending to its arrival.
    """

    address: str
    where: Where = ""
    folder: str = ""
    arrived: int = 0
    seconds: int = 0
    looked: int = 0
    error: str = ""

    @property
    def is_found(self) -> bool:
        """Whether the copy is in the mailbox."""
        return bool(self.where)

    @property
    def is_late(self) -> bool:
        """Whether it arrived late."""
        return self.is_found and self.seconds > LATE

    @property
    def packed(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))


def unpacked(text: str) -> Placement:
    """The reverse of `packed`."""
    return Placement(**json.loads(text))


def better(old: Placement | None, new: Placement) -> Placement:
    """What is known after another look: where a copy arrived once stays known, even if it is moved
    or deleted, or the mailbox cannot be read any more."""
    return old if old is not None and old.is_found else new
