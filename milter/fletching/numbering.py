"""The one question that the way of a mail asks of shared state: which campaign, which number?

Here live the question and its answer, as values, and the form of a campaign's id. Who asks is
`outgoing/flow.py`, who answers is `store/campaigns.py`, a test or `fletching preview`; neither
needs to know the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fletching.tokens import base32, from_base32


@dataclass(frozen=True, slots=True)
class Question:
    """What the store needs to number a message (docs/campaigns.md) and to attribute its bounce.

    ``now``: unix seconds. ``window`` and ``bounce_memory``: seconds. ``candidate``: the id of the
    campaign if this message opens one. ``monitor``: Monitor's grouping. ``remember``: what a bounce
    of this message is attributed to, as names and values. ``suppress``: whether the suppression of
    the list ``listid`` is asked for ``email``, and what follows: `off`, `report`, or `refuse`,
    which takes no number for an address that is there.
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
    email: str = ""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A message's place: the id of its campaign, and its number there: 1, 2, ..., and up to
    2^50 where Redis has lost some.

    ``suppressed``: why its list must not write to its recipient, empty where it may. Where that
    refuses the message, it has no place: no campaign, and the number 0.
    """

    campaign: str
    number: int
    suppressed: str = ""


CampaignOf = Callable[[Question], Numbered | None]
"""Answers the question; None where the store did not."""


def campaign_id(seconds: int, entropy: bytes) -> str:
    """A new campaign's id: 12 of a-z and 2-7, from the second it opened in and 28 random bits.

    The time makes sure that no id returns, even where the store has lost its memory.
    """
    random = int.from_bytes(entropy[:4], "big") >> 4
    return base32((seconds & 0xFFFFFFFF) << 28 | random, 60)


def opened_at(campaign: str) -> int:
    """The unix seconds in a campaign's id."""
    return from_base32(campaign) >> 28


def opened_before(campaign: str, other: str) -> bool:
    """Whether a campaign was opened before another one; of two of one second, one always was."""
    return from_base32(campaign) < from_base32(other)
