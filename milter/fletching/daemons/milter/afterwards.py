"""What is told of a mail once Postfix has its answer: its log line, its counts, its warnings.

Here lives the gathering: one thread of a worker writes what the mails of a moment have left, so
that no answer waits for it, and a campaign's warnings cost one question to Redis and not one for
each mail. How a thing is written is known to `log.py`, `metrics.py` and the store.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fletching import log
from fletching.policy.verdict import Verdict
from fletching.tokens import Facts

GATHER = 0.2
"""Seconds that are gathered. A crash loses no more than what they left."""

AGAIN = 1.0
"""Seconds after which what could not be written is written again."""

MOST = 1000
"""Mails that are gathered; the answer of one more waits until they are written."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What is told of one mail. ``facts``: for its log line; none where that was written already.

    ``message`` is None for a mail without a Mail Class. ``seconds``: from its end to its answer.
    """

    queue_id: str
    verdict: Verdict
    seconds: float
    facts: tuple[tuple[str, object], ...] = ()
    mail_class: str = ""
    message: Facts | None = None
    warnings: tuple[str, ...] = ()
    untracked: bool = False


class Afterwards:
    """Hands mails that were answered to ``write``, those of a moment at once.

    ``write`` is called by one thread at a time. Where it says that something is left, it is called
    again, also without mails.
    """

    def __init__(self, write: Callable[[Sequence[Answered]], bool]) -> None:
        self._write = write
        self._answered: deque[Answered] = deque()
        self._left = False
        self._wake = threading.Event()
        self._writing = threading.Lock()
        threading.Thread(target=self._run, name="afterwards", daemon=True).start()

    def add(self, answered: Answered) -> None:
        """One more mail."""
        self._answered.append(answered)
        if not self._wake.is_set():
            self._wake.set()
        if len(self._answered) > MOST:
            self.finish()

    def finish(self) -> None:
        """Writes all that is there now."""
        with self._writing:
            batch = [self._answered.popleft() for _ in range(len(self._answered))]
            try:
                if batch or self._left:
                    self._left = self._write(batch)
            except Exception as error:  # noqa: BLE001 an edge: these mails have their answers
                log.logging_failed(len(batch), error)

    def _run(self) -> None:
        while True:
            self._wake.wait(AGAIN if self._left else None)
            self._wake.clear()
            time.sleep(GATHER)
            self.finish()


def warnings_of(batch: Sequence[Answered]) -> dict[str, Counter[str]]:
    """How many mails of each campaign had which warning."""
    told: dict[str, Counter[str]] = {}
    for answered in batch:
        message = answered.message
        if message is not None and message.campaign and answered.warnings:
            told.setdefault(message.campaign, Counter()).update(answered.warnings)
    return told
