"""The applications of a soak: they send at a steady rate, and send again what was not accepted.

Here live the replies that they got, by which the judge knows what Postfix has promised.
"""

from __future__ import annotations

import heapq
import smtplib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from bench.soak.orders import SENDER, Order
from sandbox.postfix import Postfix, Reply

_SESSIONS = 4
_PER_SESSION = 200
"""Mails after which a session ends."""
_RETRY = 0.5
"""Seconds until a mail that was not accepted is sent again."""
_LATEST = 30.0
"""Seconds by which an order may be late; a longer outage makes no longer rush."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A mail that Postfix accepted. ``at``: seconds of the monotonic clock."""

    number: int
    at: float


@dataclass(frozen=True, slots=True)
class Sent:
    """What an application knows of its mails."""

    accepted: dict[str, Accepted]
    """By the queue id in the reply."""
    unknown: Counter[int]
    """How often the milter may have accepted a mail that Postfix did not accept, by number: the
    session ended without a reply, or Postfix deferred the mail after its end."""
    deferred: Counter[int]
    """How often Fletching deferred a mail after its end, by number."""
    tempfailed: Counter[str]
    """4xx replies, by their text."""
    rejected: Counter[str]
    """5xx replies, which no mail should get."""
    waiting: int
    """Mails that were not accepted to the end."""
    gap: float
    """The longest time without an accepted mail, in seconds."""


_OURS = ("campaign store is not available", "the service is restarting")
"""Replies of Fletching."""


class _Offer:
    """One attempt to send a mail. ``has_ended``: its content was sent completely, or may have been.
    ``reply``: the last one, None if none came."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self.has_ended = False
        self.reply: Reply | None = None

    @property
    def accepted(self) -> bool:
        """Whether Postfix has the mail now."""
        return self.has_ended and self.reply is not None and self.reply.accepted

    def make(self, smtp: smtplib.SMTP) -> None:
        """Send the mail. Raises OSError and SMTPException if the session ends."""
        for code, text in self._begin(smtp):
            self.reply = Reply(code, text.decode())
            if code != 250:
                return
        self.reply, self.has_ended = None, True
        try:
            code, text = smtp.data(self._order.text())
        except smtplib.SMTPDataError as refused:  # instead of the 354
            self.reply, self.has_ended = Reply(refused.smtp_code, str(refused.smtp_error)), False
        else:
            self.reply = Reply(code, text.decode())

    def _begin(self, smtp: smtplib.SMTP) -> Iterator[tuple[int, bytes]]:
        self.reply = Reply(0, "the session ended")
        yield smtp.mail(SENDER)
        yield smtp.rcpt(self._order.recipient)


class Application:
    """Sends the orders 0, 1, 2, ... until `stop`. ``rate``: mails per second, which may be changed
    by `set_rate`.
    """

    def __init__(self, postfix: Postfix, rate: float) -> None:
        self._postfix, self._rate = postfix, rate
        self._lock = threading.Lock()
        self._again: list[tuple[float, int]] = []
        self._next = self._open = 0
        self._due = 0.0
        """When the next order is due."""
        self._accepted: dict[str, Accepted] = {}
        self._unknown, self._deferred = Counter[int](), Counter[int]()
        self._refused: defaultdict[bool, Counter[str]] = defaultdict(Counter)
        self._last = 0.0
        self._gap = 0.0
        self._ended, self._stopped = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._session) for _ in range(_SESSIONS)]

    def start(self) -> None:
        """Start sending."""
        self._last = self._due = time.monotonic()
        for thread in self._threads:
            thread.start()

    def set_rate(self, rate: float) -> None:
        """Send as fast as this from now on; what is late stays late."""
        with self._lock:
            self._rate = rate

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
                deferred=self._deferred.copy(),
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
        offer = _Offer(Order(number))
        try:
            offer.make(smtp)
        finally:
            with self._lock:
                self._open -= 1
                self._note(number, offer)
        if not offer.accepted:
            # Up to version 3.10, Postfix refuses all mail of a session that lost its milter.
            raise smtplib.SMTPServerDisconnected

    def _note(self, number: int, offer: _Offer) -> None:
        now, reply = time.monotonic(), offer.reply
        if reply is not None and reply.accepted and offer.has_ended:
            self._accepted[reply.queue_id] = Accepted(number, now)
            self._gap, self._last = max(self._gap, now - self._last), now
            return
        heapq.heappush(self._again, (now + _RETRY, number))
        if reply is None:
            self._unknown[number] += 1
            return
        self._refused[reply.code >= 500][reply.text] += 1
        if offer.has_ended:
            is_ours = any(text in reply.text for text in _OURS)
            (self._deferred if is_ours else self._unknown)[number] += 1

    def _take(self) -> int | None:
        """The next mail that is due."""
        now = time.monotonic()
        with self._lock:
            number = None
            if self._again and self._again[0][0] <= now:
                number = heapq.heappop(self._again)[1]
            elif not self._ended.is_set() and self._due <= now:
                number, self._next = self._next, self._next + 1
                self._due = max(self._due + 1 / self._rate, now - _LATEST)
            self._open += number is not None
            return number
