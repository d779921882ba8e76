"""How much is measured, in which order, and how a room says where it is. Nothing here measures."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
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
        return 1 if self.quick else 5


def in_turn(setups: Collection[T], number: int) -> list[T]:
    """The set-ups in the order of this round, the same in every run of the bench.

    Each round has another one: what always came behind the same neighbour would always have what
    that one leaves to the disk and to the processor.
    """
    return random.Random(number).sample([*setups], len(setups))


def silent(_what: str, _share: float) -> None:
    """For callers that show no progress."""
