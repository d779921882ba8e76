"""The one question to the store about a message: which campaign, which number, which VirtualMTA?

Here live the question and its answer, as values, and the form of a campaign's id.
`outgoing/flow.py` asks; `store/campaigns.py`, a test or `fletching preview` answers. Neither needs
to know the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fletching.encoding import base32, from_base32

MTA = "mtaid"
"""The name of what is kept of the VirtualMTA."""

RECIPIENTS = "recipients"
"""The name of what is kept of a mail to several recipients if they may be named: their addresses,
one a line."""


SHADOW = "shadowshadow"
"""The campaign of all messages in shadow, which nothing knows. It is always the same one, because
what is remembered of a campaign saves time for its next message, as in live mode."""

SEED = "seed"
"""The name of what is kept of a seed copy."""


def place(number: int) -> int:
    """Which message of its campaign a number stands for: 1, 2, ...

    After Redis has lost numbers, they go on in a new range (`store/number.lua`), whose lower bits
    go on counting.
    """
    return number % 2**28


class Window(NamedTuple):
    """An hour or a day, and how many recipients a VirtualMTA may have in it.

    ``label`` names it; ``starts``: unix seconds. Caps, None for none: ``per_provider``, of each
    provider, and ``in_all``, of all together.
    """

    label: str
    starts: int
    per_provider: int | None = None
    in_all: int | None = None

    @property
    def capped(self) -> bool:
        return self.per_provider is not None or self.in_all is not None


class Period(NamedTuple):
    """A kind of windows, and those around now: the one before, this one, the next, and one more,
    which only says where the next one ends."""

    kind: Literal["hour", "day"]
    windows: tuple[Window, ...]


class Candidate(NamedTuple):
    """A VirtualMTA that may carry a message. Without periods, it has room for any message."""

    name: str
    periods: tuple[Period, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What the store needs to number a message (docs/campaigns.md) and to attribute its bounce.

    ``now``: unix seconds. ``window`` and ``bounce_memory``: seconds. ``candidate``: the id of the
    campaign if this message opens one. ``monitor``: Monitor's grouping; the
    candidate stands for the campaign that the message gets. ``remember``: names and
    values that are kept for the attribution of a bounce. ``suppress``: what to do if a recipient
    is on the suppression list of ``listid``: `off` does not look, `report` says so in the answer,
    and `refuse` also gives the message no number if all ``recipients`` are.

    ``candidates``: the VirtualMTAs that may carry the message, best first, if the first one has
    limits; none if there is nothing to choose. ``counted``: how many recipients the message has at
    each provider. ``needs_room``: no number if none of them has room.
    ``is_listed`` false: the campaign is in no list, and forgotten once no bounce needs it.

    ``subject``: what is stored of the subject, and ``listid``, if this message opens a campaign.
    ``only_looks``: the message is in shadow. It changes nothing in the store: it gets the campaign
    `SHADOW`, the number 1, and the first of ``candidates``.
    """

    sendid: str
    mail_class: str
    instance_id: str
    monitor: str
    now: int
    window: int
    candidate: str
    remember: tuple[tuple[str, str], ...]
    bounce_memory: int
    listid: str = ""
    suppress: str = "off"
    recipients: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    counted: tuple[tuple[str, int], ...] = ()
    needs_room: bool = True
    is_listed: bool = True
    subject: str = ""
    only_looks: bool = False

    def refuses(self, suppressed: tuple[str, ...]) -> bool:
        """Whether a message gets no number if its recipients are suppressed for these reasons."""
        return self.suppress == "refuse" and bool(suppressed) and all(suppressed)

    def remembered(self, route: str | None) -> dict[str, str]:
        """What is kept for the attribution of a bounce. ``route``: the VirtualMTA that had room,
        empty for none, None if there was nothing to choose."""
        kept = dict(self.remember)
        if route is not None and kept:
            kept.pop(MTA, None)
            if route:
                kept[MTA] = route
        return kept


@dataclass(frozen=True, slots=True)
class Numbered:
    """The id of a message's campaign, and the message's number in it: 1, 2, ..., and up to 2^50
    after Redis has lost some.

    ``suppressed``: why each recipient of the question is suppressed for the list, empty for one
    that is not; empty if none is. If the message is refused for that, it has no campaign and the
    number 0.

    ``route``: the candidate that had room, and now counts the message; empty if none had. If the
    message needs room and got none, it has no campaign and the number 0. None: the limits were not
    looked at.
    """

    campaign: str
    number: int
    suppressed: tuple[str, ...] = ()
    route: str | None = None


CampaignOf = Callable[[Question], Numbered | None]
"""Answers the question; None if the store did not answer."""


def campaign_id(seconds: int, entropy: bytes) -> str:
    """A new campaign's id: 12 of a-z and 2-7, from the second when it opened and 28 random bits.

    Because of the time, no id is used twice, even after the store has lost its data.
    """
    random = int.from_bytes(entropy[:4], "big") >> 4
    return base32((seconds & 0xFFFFFFFF) << 28 | random, 60)


def opened_at(campaign: str) -> int:
    """The unix seconds in a campaign's id."""
    return from_base32(campaign) >> 28


def opened_before(campaign: str, other: str) -> bool:
    """Whether a campaign was opened before another; within one second, their random bits decide."""
    return from_base32(campaign) < from_base32(other)
