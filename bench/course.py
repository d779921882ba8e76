"""How much is measured, in which order, and how a room says where it is. Nothing here measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

Tell = Callable[[str, float], None]
"""What is being done, and the share of the room's work that is behind it, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Effort:
    """``quick``: just enough to see that all works. ``full``: the whole grid, for an hour."""

    quick: bool = False
    full: bool = False

    @property
    def rounds(self) -> int:
        """By six, two, three and six set-ups all come in turns (`in_turn`)."""
        return 1 if self.quick else 6


def in_turn(setups: Sequence[T], number: int) -> Sequence[T]:
    """The set-ups in the order of this round: a row of Williams's square.

    In as many rounds as there are set-ups (in twice as many if that is odd) each is at each place
    equally often, and right behind each other one equally often: what always ran behind the same
    neighbour would always have what that one leaves to the disk and to the processor.
    """
    count = len(setups)
    # 0 -1 1 -2 2 ...: no two neighbours are the same distance apart.
    places = [((place + 1) // 2 * (-1) ** place + number) % count for place in range(count)]
    if number // count % 2:
        places.reverse()
    return [setups[place] for place in places]


def silent(_what: str, _share: float) -> None:
    """For callers that show no progress."""
