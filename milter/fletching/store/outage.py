"""Logs once that Redis stopped answering, and once that it answers again."""

from __future__ import annotations

import threading
import time

from fletching import log


class Outage:
    """Whether Redis is away, as far as one process knows. Any number of threads may use it."""

    def __init__(self) -> None:
        self._is_on = False
        self._last_answer = 0.0
        self._lock = threading.Lock()

    def no_answer(self, started: float, reason: str) -> None:
        """A question that began at ``started`` (monotonic seconds) got no answer."""
        with self._lock:
            # If an answer came after that question began, its outage is over already.
            is_new = not self._is_on and started > self._last_answer
            self._is_on = self._is_on or is_new
        if is_new:
            log.redis_unavailable(reason)

    def answered(self) -> None:
        """A question got its answer."""
        with self._lock:
            self._last_answer = time.monotonic()
            is_over, self._is_on = self._is_on, False
        if is_over:
            log.redis_available()
