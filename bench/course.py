"""How much is measured, and how a room says where it is. Nothing here measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


def silent(_what: str, _share: float) -> None:
    """For callers that show no progress."""
