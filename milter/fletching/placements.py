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


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy for a seed that Postfix has. ``sent``: unix seconds."""

    campaign: str
    address: str
    sent: int


def unpacked(text: str) -> Placement:
    """The reverse of `packed`."""
    return Placement(**json.loads(text))


def better(old: Placement | None, new: Placement) -> Placement:
    """What is known after another look: where a copy arrived once stays known, even if it is moved
    or deleted, or the mailbox cannot be read any more."""
    return old if old is not None and old.is_found else new


@dataclass(frozen=True, slots=True)
class PlacementRow:
    """What is shown of one seed of a campaign.

    ``placement``: one of `PLACEMENTS`. ``folder``: its name, unless the copy is in the inbox.
    ``seconds``: from the copy's sending to its arrival; None before it arrives. ``reason``: why the
    copy was not sent, or the mailbox not read.
    """

    address: str
    placement: str
    sent: int | None = None
    folder: str = ""
    seconds: int | None = None
    reason: str = ""

    @property
    def is_late(self) -> bool:
        """Whether the copy arrived late."""
        return self.seconds is not None and self.seconds > LATE

    @property
    def is_open(self) -> bool:
        """Whether it may still change soon."""
        return self.placement == WAITING or (self.placement == NOT_SENT and not self.reason)


WAITING, MISSING, NOT_SENT, FAILED = "waiting", "missing", "not_sent", "failed"
NO_ACCESS, UNREADABLE = "no_access", "unreadable"

PLACEMENTS = {
    INBOX: "inbox",
    SPAM: "spam folder",
    FOLDER: "another folder",
    WAITING: "not yet arrived",
    MISSING: "missing",
    NOT_SENT: "copy not sent yet",
    FAILED: "copy refused",
    NO_ACCESS: "mailbox without IMAP access",
    UNREADABLE: "mailbox not readable",
}
"""What can be said of a seed, and the words for it."""


def row_of(
    address: str,
    *,
    sent: int | None,
    known: Placement | None,
    now: int,
    is_readable: bool,
    refused: str | None = None,
    never: str = "",
) -> PlacementRow:
    """What is shown of a seed. ``sent``: unix seconds; None before its copy is sent.

    ``is_readable``: its mailbox is in the configuration. ``refused``: why Postfix refused the copy.
    ``never``: why there will be none; empty if it may still be sent.
    """
    if refused is not None:
        return PlacementRow(address, FAILED, reason=refused)
    if known is not None and known.is_found:
        folder = "" if known.where == INBOX else known.folder
        return PlacementRow(address, known.where, sent, folder, known.seconds)
    if sent is None:
        return PlacementRow(address, NOT_SENT, reason=never)
    if not is_readable:
        return PlacementRow(address, NO_ACCESS, sent)
    if known is not None and known.error:
        return PlacementRow(address, UNREADABLE, sent, reason=known.error)
    return PlacementRow(address, MISSING if now - sent > LATE else WAITING, sent)
