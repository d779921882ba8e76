"""The applications of a soak: they send at a steady rate, and send again what was not accepted.

Here live the replies that they got, by which the judge knows what Postfix has promised.
"""

from __future__ import annotations

import heapq
import smtplib
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass

from bench.soak.orders import SENDER, Order
from sandbox.postfix import Postfix, send

_SESSIONS = 4
_PER_SESSION = 200
"""Mails after which a session ends."""
_RETRY = 0.5
"""Seconds until a mail that was not accepted is sent again."""
_WAIT = 60.0
"""Seconds that a session waits for a reply."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What an application knows of its mails."""

    accepted: dict[str, int]
    """The number of the mail by the queue id in the reply."""
    unknown: Counter[int]
    """How often the session ended without a reply, by number: it may have been accepted."""
    tempfailed: Counter[str]
    """4xx replies, by their text."""
    rejected: Counter[str]
    """5xx replies, which no mail should get."""
    waiting: int
    """Mails that were not accepted to the end."""
    gap: float
    """The longest time without an accepted mail, in seconds."""


class Application:
    """Sends the orders 0, 1, 2, ... until `stop`. ``rate``: mails per second."""

    def __init__(self, postfix: Postfix, rate: float) -> None:
        self._postfix, self._rate = postfix, rate
        self._lock = threading.Lock()
        self._again: list[tuple[float, int]] = []
        self._next = self._open = 0
        self._accepted: dict[str, int] = {}
        self._unknown = Counter[int]()
        self._refused: defaultdict[bool, Counter[str]] = defaultdict(Counter)
        self._last = self._began = time.monotonic()
        self._gap = 0.0
        self._ended, self._stopped = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._session) for _ in range(_SESSIONS)]

    def start(self) -> None:
        """Start sending."""
        self._last = self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    @property
    def accepted(self) -> int:
        """How many mails Postfix has accepted."""
        return len(self._accepted)

    def stop(self, patience: float) -> None:
        """Send nothing new, and wait up to ``patience`` seconds until all mails are accepted."""
        self._ended.set()
        end = time.monotonic() + patience
        while (self._again or self._open) and time.monotonic() < end:
            time.sleep(0.05)
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def sent(self) -> Sent:
        """What became of the mails."""
        with self._lock:
            return Sent(
                accepted=dict(self._accepted),
                unknown=self._unknown.copy(),
                tempfailed=self._refused[False].copy(),
                rejected=self._refused[True].copy(),
                waiting=len(self._again) + self._open,
                gap=self._gap,
            )

    def _session(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._postfix.client() as smtp:
                    for _ in range(_PER_SESSION):
                        self._send_next(smtp)
                        if self._stopped.is_set():
                            break
            except (OSError, smtplib.SMTPException):
                self._stopped.wait(_RETRY)

    def _send_next(self, smtp: smtplib.SMTP) -> None:
        number = self._take()
        if number is None:
            time.sleep(0.01)
            return
        order, outcome = Order(number), None
        try:
            outcome = send(smtp, order.text(), SENDER, [order.recipient])
        finally:
            with self._lock:
                self._open -= 1
                if outcome is None:
                    self._unknown[number] += 1
                elif outcome.accepted:
                    self._accepted[outcome.queue_id] = number
                    now = time.monotonic()
                    self._gap, self._last = max(self._gap, now - self._last), now
                else:
                    self._refused[outcome.code >= 500][outcome.text] += 1
                if outcome is None or not outcome.accepted:
                    heapq.heappush(self._again, (time.monotonic() + _RETRY, number))
        if not outcome.accepted:
            # Up to version 3.10, Postfix refuses all mail of a session that lost its milter.
            raise smtplib.SMTPServerDisconnected

    def _take(self) -> int | None:
        """The next mail that is due."""
        now = time.monotonic()
        with self._lock:
            number = None
            if self._again and self._again[0][0] <= now:
                number = heapq.heappop(self._again)[1]
            elif not self._ended.is_set() and self._began + self._next / self._rate <= now:
                number, self._next = self._next, self._next + 1
            self._open += number is not None
            return number
