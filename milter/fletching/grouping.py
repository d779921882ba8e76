"""The one question that the way of a mail asks of shared state: which campaign, which number?

Here live the question and its answer, as values. Who asks is `outgoing/flow.py`, who answers is
`store/campaigns.py`, a test or `fletching preview`; neither needs to know the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """What the store needs to number a message (SPEC section 4) and to attribute its bounce (6).

    ``now``: unix seconds. ``window`` and ``bounce_memory``: seconds. ``candidate``: the id of the
    campaign if this message opens one. ``monitor``: Monitor's grouping. ``remember``: what a bounce
    of this message is attributed to, as names and values. ``listid`` and ``mtaid``: under which it
    is counted as sent. ``suppress``: whether the list's suppression is asked for ``email``, and
    what follows: `off`, `report`, or `refuse`, which takes no number for an address that is there.
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
    mtaid: str = ""
    suppress: str = "off"
    email: str = ""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A message's place: the id of its campaign, and its number there (1, 2, ...).

    ``suppressed``: why its list must not write to its recipient, empty where it may. Where that
    refuses the message, it has no place: no campaign, and the number 0.
    """

    campaign: str
    number: int
    suppressed: str = ""


CampaignOf = Callable[[Question], Numbered | None]
"""Answers the question; None where the store did not."""
