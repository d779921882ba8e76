"""One destination's deliveries: in order, at least once, by one courier at a time.

Here lives the thread that takes events from the destination's group, offers them, waits after a
failure and buries what cannot arrive. What is sent and what an answer means is in `destinations/`.

An event is done only after its destination has it, or after it lies with the dead letters. Whoever
holds the destination's lease begins with what was taken before and is not done, in order, and then
goes on with new events: so after a death nothing is lost, and what was in flight may arrive twice,
with the same event_unique_id.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fletching import log
from fletching.destinations.answers import PAUSES, Answer, Filter, Pauses, QueuedEvent, Verdict
from fletching.metrics import Deliveries
from fletching.store.clock import Clock
from fletching.store.connection import StoreUnavailable
from fletching.store.events import EventLog, Progress
from fletching.store.lease import Lease

CONSUMER = "courier"
"""All couriers are the same consumer of a group: what one has left undone is the next one's."""

_BLOCK = 100
"""Milliseconds that a question for new events waits for one."""

LOOK_EVERY = 1.0
"""Seconds between two looks whether the lease is free, or Redis is back."""

_AT_ONCE = 100


class Destination(Protocol):
    """A way out, as `destinations/` has them."""

    batch_size: int
    """Events that it takes at once."""

    def deliver(self, batch: Sequence[QueuedEvent], attempt: int) -> Answer:
        """Offers events; ``attempt`` counts from 1. Raises nothing that the outside can cause."""

    def close(self) -> None:
        """Lets go of what is open; a delivery after it opens it again."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a delivery is to do.

    ``keep``: seconds for which an event is tried again. ``max_attempts``: how often an event that
    is refused is offered by itself.
    """

    name: str
    filter: Filter
    destination: Destination
    keep: int
    max_attempts: int


class Delivery:
    """The deliveries to one destination, in a thread of its own."""

    def __init__(
        self,
        order: Order,
        events: EventLog,
        clock: Clock,
        lease: Lease,
        counted: Deliveries,
        *,
        pauses: Pauses = PAUSES,
        look_every: float = LOOK_EVERY,
    ) -> None:
        self.name = order.name
        self._order = order
        self._destination = order.destination
        self._events = events
        self._clock = clock
        self._lease = lease
        self._counted = counted
        self._pauses = pauses
        self._look_every = look_every
        self._holding = threading.Lock()
        self._stopped = ""
        self._failures = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=order.name, daemon=True)

    def begin(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def end(self) -> None:
        """Tells it to end after the batch in hand; does not wait for it."""
        self._ended.set()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, within that time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def renew(self) -> None:
        """Keeps the lease, however long the batch in hand takes. Raises StoreUnavailable.

        To be called more often than a lease lasts, from another thread.
        """
        with self._holding:
            if self._lease.held:
                self._lease.acquire()

    def progress(self) -> Progress:
        """How far the destination is. Raises StoreUnavailable."""
        return self._events.progress(self.name)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with self._holding:
                    is_ours = self._lease.acquire()
                if is_ours:
                    self._serve()
            except StoreUnavailable:
                pass  # the courier says so, once for all its deliveries
            except Exception as error:  # noqa: BLE001 this thread's edge: others go on
                self._failures += 1
                log.delivery_failed(self.name, error)
                self._rest(self._pauses.after(self._failures, random.random()))
            self._ended.wait(self._look_every)
        self._destination.close()
        self._leave()

    def _leave(self) -> None:
        with self._holding, contextlib.suppress(StoreUnavailable):
            # Else it ends by itself.
            self._lease.release()

    def _serve(self) -> None:
        """Delivers until the end, or until the lease is another's. Raises StoreUnavailable."""
        self._events.create_group(self.name, "0")
        while self._goes_on() and (left := self._undone()):
            self._carry(left)
        looked = time.monotonic()
        while self._goes_on():
            taken = self._events.take(self.name, CONSUMER, self._at_once, _BLOCK)
            if not taken and time.monotonic() >= looked + self._look_every:
                # Whoever had the lease before may have taken something after we began.
                taken, looked = self._undone(), time.monotonic()
            self._carry(taken)

    def _undone(self) -> list[tuple[str, str]]:
        """The oldest events that were taken before and are not done."""
        return self._events.reclaim(self.name, CONSUMER, 0, self._at_once)

    @property
    def _at_once(self) -> int:
        return max(self._destination.batch_size, _AT_ONCE)

    def _goes_on(self) -> bool:
        return self._lease.held and not self._ended.is_set()

    def _carry(self, taken: Sequence[tuple[str, str]]) -> None:
        """Sees to events that were taken; those that are left over at the end are not done."""
        wanted = self._wanted(taken)
        most = self._destination.batch_size
        for start in range(0, len(wanted), most):
            # Also before the first one: the end may have come while it waited for events.
            if not self._goes_on() or not self._offer(wanted[start : start + most]):
                return

    def _wanted(self, taken: Sequence[tuple[str, str]]) -> list[QueuedEvent]:
        """Those that are for this destination; the others are done."""
        wanted, others = [], []
        for id, json in taken:
            try:
                event = QueuedEvent.parse(id, json)
            except ValueError as error:
                self._bury([(id, json)], str(error))
                continue
            if self._order.filter.wants(event.fields):
                wanted.append(event)
            else:
                others.append(id)
        if others:
            self._events.acknowledge(self.name, others)
        return wanted

    def _offer(self, batch: Sequence[QueuedEvent]) -> bool:
        """Until a batch is done or buried; False where the lease or the courier ends before."""
        attempt = 0
        while True:
            why = self._stopped or self._too_old(batch)
            if why:
                self._bury([(event.id, event.json) for event in batch], why)
                return True
            attempt += 1
            answer = self._destination.deliver(batch, attempt)
            if len(batch) > 1 and answer.verdict in (Verdict.SPLIT, Verdict.REFUSED):
                half = len(batch) // 2
                is_done = self._offer(batch[:half])
                return is_done and self._goes_on() and self._offer(batch[half:])
            if self._judge(batch, answer, attempt):
                return True
            self._rest(max(answer.wait, self._pauses.after(self._failures, random.random())))
            if not self._goes_on():
                return False

    def _judge(self, batch: Sequence[QueuedEvent], answer: Answer, attempt: int) -> bool:
        """Whether a batch that is not to be split needs no other attempt."""
        is_refused = answer.verdict is Verdict.REFUSED
        if answer.verdict is Verdict.RETRY or (is_refused and attempt < self._order.max_attempts):
            self._failures += 1
            self._counted.failed(self.name)
            if self._failures == 1:
                log.destination_failed(self.name, answer.why)
            return False
        # Where every event is refused, nothing is back, and pauses stay long.
        if self._failures and answer.verdict is not Verdict.STOP and not is_refused:
            self._failures = 0
            log.destination_recovered(self.name)
        if answer.verdict is Verdict.DELIVERED:
            self._events.acknowledge(self.name, [event.id for event in batch])
            self._counted.delivered(self.name, len(batch))
            return True
        if answer.verdict is Verdict.STOP:
            self._stopped = answer.why
            log.destination_stopped(self.name, answer.why)
        self._bury([(event.id, event.json) for event in batch], answer.why)
        return True

    def _too_old(self, batch: Sequence[QueuedEvent]) -> str:
        """Why no further attempt is made; empty where one is.

        A batch is given up as a whole, when its youngest event is too old. A destination that
        works gets old events, too.
        """
        if not self._failures:
            return ""
        age = self._clock.read().age(max(event.queued_at for event in batch))
        return "not delivered in time" if age > self._order.keep * 1000 else ""

    def _bury(self, dead: Sequence[tuple[str, str]], why: str) -> None:
        self._events.add_dead_letters(self.name, [(id, json, why) for id, json in dead])
        self._events.acknowledge(self.name, [id for id, _ in dead])
        self._counted.dead(self.name, len(dead))
        log.dead_lettered(self.name, len(dead), why)

    def _rest(self, seconds: float) -> None:
        """Waits; the end, or the loss of the lease, cuts it short."""
        end = time.monotonic() + seconds
        while self._goes_on() and (left := end - time.monotonic()) > 0:
            self._ended.wait(min(left, self._look_every))
