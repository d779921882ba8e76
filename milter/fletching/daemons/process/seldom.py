"""Saying a thing at most so often: what lasts, or comes from outside in any number, fills no log.

Here lives the count of what was left out meanwhile. What is said is the caller's.
"""

from __future__ import annotations

import time


class Seldom:
    """One thing to say, at most once in so many seconds. For one thread at a time."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._next = 0.0
        self.left_out = 0
        """How often it was not said since it was said last."""

    def is_due(self) -> bool:
        """Whether it is to be said now; it counts as said then."""
        now = time.monotonic()
        if now < self._next:
            self.left_out += 1
            return False
        self._next = now + self._every
        return True

    def taken(self) -> int:
        """How often it was left out, from which the count begins anew."""
        left_out, self.left_out = self.left_out, 0
        return left_out
