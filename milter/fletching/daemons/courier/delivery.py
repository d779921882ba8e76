"""Deliveries to one destination: in order, at least once, by one courier at a time.

Here lives the thread that takes events from the destination's consumer group, delivers them,
retries after pauses, and moves undeliverable ones to the dead letters. What is sent, and what a
response means, is in `destinations/`.

An event is acknowledged only after its destination has it or it is a dead letter. The holder of the
lease first delivers the events that were taken before but not acknowledged, in order, and then new
ones. So a crash loses nothing, and events in flight may arrive twice, with the same
event_unique_id.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fletching import log
from fletching.daemons.courier.leased import LeasedThread
from fletching.destinations.answers import PAUSES, Answer, Filter, Pauses, QueuedEvent, Verdict
from fletching.metrics.deliveries import Deliveries
from fletching.store.clock import Clock
from fletching.store.events import EventLog, Progress
from fletching.store.lease import Lease

CONSUMER = "courier"
"""All couriers are the same consumer of a group: the next one takes over what one left."""

_BLOCK = 100
"""Milliseconds that a read waits for new events."""

CHECK_EVERY = 1.0
"""Seconds between two checks whether the lease is free, or Redis is back."""

_AT_ONCE = 100


class Destination(Protocol):
    """A destination, as `destinations/` implements them."""

    batch_size: int
    """Events per request."""

    def deliver(self, batch: Sequence[QueuedEvent], attempt: int) -> Answer:
        """Delivers events; ``attempt`` counts from 1. Failures outside are verdicts, not
        exceptions.
        """

    def close(self) -> None:
        """Closes connections and files; a later delivery opens them again."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to deliver where.

    ``keep``: seconds for which an event is retried. ``max_attempts``: how often a refused event is
    tried by itself.
    """

    name: str
    filter: Filter
    destination: Destination
    keep: int
    max_attempts: int


class Delivery(LeasedThread):
    """Delivers to one destination, in a thread of its own."""

    def __init__(
        self,
        order: Order,
        events: EventLog,
        clock: Clock,
        lease: Lease,
        metrics: Deliveries,
        *,
        pauses: Pauses = PAUSES,
        check_every: float = CHECK_EVERY,
    ) -> None:
        super().__init__(order.name, lease, check_every)
        self._order = order
        self._destination = order.destination
        self._events = events
        self._clock = clock
        self._metrics = metrics
        self._pauses = pauses
        self._stopped = ""
        self._failures = 0

    def progress(self) -> Progress:
        """How far the destination is. Raises StoreUnavailable."""
        return self._events.progress(self.name)

    def _after_error(self, error: Exception) -> None:
        self._failures += 1
        log.delivery_failed(self.name, error)
        self._pause(self._pauses.after(self._failures, random.random()))

    def _close(self) -> None:
        self._destination.close()

    def process(self) -> None:
        """Delivers until `end`, or until the lease is lost. Raises StoreUnavailable."""
        self._events.create_group(self.name, "0")
        while self._may_continue() and (left := self._unacknowledged()):
            self._deliver_all(left)
        checked = time.monotonic()
        while self._may_continue():
            taken = self._events.take(self.name, CONSUMER, self._at_once, _BLOCK)
            if not taken and time.monotonic() >= checked + self._check_every:
                # The last holder of the lease may have taken events after this one began.
                taken, checked = self._unacknowledged(), time.monotonic()
            self._deliver_all(taken)

    def _unacknowledged(self) -> list[tuple[str, str]]:
        """The oldest events that were taken before and not acknowledged."""
        return self._events.reclaim(self.name, CONSUMER, 0, self._at_once)

    @property
    def _at_once(self) -> int:
        return max(self._destination.batch_size, _AT_ONCE)

    def _deliver_all(self, taken: Sequence[tuple[str, str]]) -> None:
        """Processes events that were taken; at the end, the rest stays unacknowledged."""
        wanted = self._wanted(taken)
        most = self._destination.batch_size
        for start in range(0, len(wanted), most):
            # Also before the first batch: the end may have come while it waited for events.
            if not self._may_continue() or not self._deliver(wanted[start : start + most]):
                return

    def _wanted(self, taken: Sequence[tuple[str, str]]) -> list[QueuedEvent]:
        """The events that this destination gets; the others are acknowledged."""
        wanted, others = [], []
        for id, json in taken:
            try:
                event = QueuedEvent.parse(id, json)
            except ValueError as error:
                self._dead_letter([(id, json)], str(error))
                continue
            if self._order.filter.wants(event.fields):
                wanted.append(event)
            else:
                others.append(id)
        if others:
            self._events.acknowledge(self.name, others)
        return wanted

    def _deliver(self, batch: Sequence[QueuedEvent]) -> bool:
        """Delivers a batch, or moves it to the dead letters; False if the lease or the courier
        ends.
        """
        attempt = 0
        while True:
            why = self._stopped or self._too_old(batch)
            if why:
                self._dead_letter([(event.id, event.json) for event in batch], why)
                return True
            attempt += 1
            answer = self._destination.deliver(batch, attempt)
            if len(batch) > 1 and answer.verdict in (Verdict.SPLIT, Verdict.REFUSED):
                half = len(batch) // 2
                is_done = self._deliver(batch[:half])
                return is_done and self._may_continue() and self._deliver(batch[half:])
            if self._judge(batch, answer, attempt):
                return True
            self._pause(max(answer.wait, self._pauses.after(self._failures, random.random())))
            if not self._may_continue():
                return False

    def _judge(self, batch: Sequence[QueuedEvent], answer: Answer, attempt: int) -> bool:
        """Whether a batch that is not to be split is settled and needs no further attempt."""
        is_refused = answer.verdict is Verdict.REFUSED
        if answer.verdict is Verdict.RETRY or (is_refused and attempt < self._order.max_attempts):
            self._failures += 1
            self._metrics.failed(self.name)
            if self._failures == 1:
                log.destination_failed(self.name, answer.why)
            return False
        # As long as every event is refused, the destination has not recovered.
        if self._failures and answer.verdict is not Verdict.STOP and not is_refused:
            self._failures = 0
            log.destination_recovered(self.name)
        if answer.verdict is Verdict.DELIVERED:
            self._events.acknowledge(self.name, [event.id for event in batch])
            self._metrics.delivered(self.name, len(batch))
            return True
        if answer.verdict is Verdict.STOP:
            self._stopped = answer.why
            log.destination_stopped(self.name, answer.why)
        self._dead_letter([(event.id, event.json) for event in batch], answer.why)
        return True

    def _too_old(self, batch: Sequence[QueuedEvent]) -> str:
        """Why there is no further attempt; empty if there is one.

        A batch expires as a whole, when its newest event is too old. A destination that works gets
        old events, too.
        """
        if not self._failures:
            return ""
        age = self._clock.read().age(max(event.queued_at for event in batch))
        return "not delivered in time" if age > self._order.keep * 1000 else ""

    def _dead_letter(self, dead: Sequence[tuple[str, str]], why: str) -> None:
        self._events.add_dead_letters(self.name, [(id, json, why) for id, json in dead])
        self._events.acknowledge(self.name, [id for id, _ in dead])
        self._metrics.dead(self.name, len(dead))
        log.dead_lettered(self.name, len(dead), why)

    def _pause(self, seconds: float) -> None:
        """Waits, but not beyond the end or the loss of the lease."""
        end = time.monotonic() + seconds
        while self._may_continue() and (left := end - time.monotonic()) > 0:
            self._ended.wait(min(left, self._check_every))
