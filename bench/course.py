"""How much is measured, in which order, and how progress is reported. Nothing here measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

Tell = Callable[[str, float], None]
"""Reports progress: what is being done, and the share of the benchmark that is done (0 to 1)."""


@dataclass(frozen=True, slots=True)
class Effort:
    """``quick``: just enough to see that everything works. ``full``: the whole grid, an hour."""

    quick: bool = False
    full: bool = False

    @property
    def rounds(self) -> int:
        """Six, so that two, three and six setups all take equal turns (`in_turn`)."""
        return 1 if self.quick else 6


def in_turn(setups: Sequence[T], number: int) -> Sequence[T]:
    """The setups in the order of this round: a row of a Williams square.

    In as many rounds as there are setups (twice as many if that number is odd), each setup is at
    each position equally often, and directly after each other setup equally often. A setup that
    always ran after the same one would always get the disk and CPU state which that one leaves.
    """
    count = len(setups)
    # 0 -1 1 -2 2 ...: no two neighbors are the same distance apart.
    places = [((place + 1) // 2 * (-1) ** place + number) % count for place in range(count)]
    if number // count % 2:
        places.reverse()
    return [setups[place] for place in places]


def silent(_what: str, _share: float) -> None:
    """Report nothing."""
