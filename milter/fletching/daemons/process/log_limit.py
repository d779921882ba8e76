"""How often a recurring log line is written.

Here lives the limit for one line; a daemon has one of them for each recurring condition.
"""

from __future__ import annotations

import time


class LogLimit:
    """Allows one line per interval. For one thread at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0
        self.skipped = 0
        """How many lines were not written since the last one that was."""

    def is_due(self) -> bool:
        """Whether the line may be written now. If so, the next interval begins."""
        now = time.monotonic()
        if now < self._next:
            self.skipped += 1
            return False
        self._next = now + self._seconds
        return True

    def take_skipped(self) -> int:
        """How many lines were skipped; resets the count."""
        skipped, self.skipped = self.skipped, 0
        return skipped
