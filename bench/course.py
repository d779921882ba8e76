"""How much is measured, in which order, and how a room says where it is. Nothing here measures."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
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
        return 1 if self.quick else 5


def in_turn(setups: Sequence[T], number: int) -> Sequence[T]:
    """The set-ups in the order of this round, the same in every run of the bench.

    No order comes again before all were there: what always ran behind the same neighbour would
    always have what that one leaves to the disk and to the processor.
    """
    orders = [*permutations(setups)]
    random.Random(0).shuffle(orders)
    return orders[number % len(orders)]


def silent(_what: str, _share: float) -> None:
    """For callers that show no progress."""
