"""The courier: carries events to their destinations, a thread for each.

Here live its start, reload and end, and what it does for all deliveries: it renews their leases,
counts, cuts off the stream's old end, and says when Redis is away. The way of an event is in
`delivery.py`.

Several couriers share the work by destination: each destination is one courier's at a time, by a
lease in Redis, since only so its events stay in order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from fletching import log
from fletching.config.faults import UnusableError
from fletching.config.model import Config
from fletching.config.sections import Destination
from fletching.daemons.courier.delivery import Delivery, Order
from fletching.daemons.process.handover import Handover
from fletching.daemons.process.lifecycle import Service
from fletching.daemons.process.log_limit import LogLimit
from fletching.daemons.process.supervise import Child
from fletching.destinations.answers import Filter
from fletching.destinations.open import DestinationError, open_destination
from fletching.metrics import Deliveries
from fletching.store.clock import Clock
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.events import EventLog
from fletching.store.lease import SECONDS, Lease

KEPT_LONGER = 86400
"""Seconds that the stream outlives `events.keep`, so that what is given up can be buried."""

_LOG_EVERY = 600.0
"""Seconds between two lines about counters that cannot be written."""

_PATIENCE = 8.0
"""Seconds at a stop for batches in hand. One that is cut off arrives later, perhaps again."""


def orders_of(config: Config) -> list[Order]:
    """What is to be delivered where. Raises UnusableError."""
    if config.events is None:
        return []
    return [
        _order(number, destination, config.events.keep)
        for number, destination in enumerate(config.events.destinations)
    ]


def _order(number: int, destination: Destination, keep: int) -> Order:
    classes = destination.classes
    wanted = Filter(
        None if destination.types is None else frozenset(destination.types),
        None if classes is None else frozenset(name.lower() for name in classes),
    )
    try:
        return Order(
            destination.name, wanted, open_destination(destination), keep, destination.max_attempts
        )
    except DestinationError as error:
        place = ("events", "destinations", number, error.option)
        raise UnusableError(place, str(error)) from None


class Courier(Service[Sequence[Order]]):
    """All deliveries of this process: threads, where other daemons have worker processes."""

    every = SECONDS / 4
    """Several times in the time that a lease lasts."""

    _config: Config
    _store: Store
    _events: EventLog
    _clock: Clock

    def __init__(self) -> None:
        self._counted = Deliveries()
        self._deliveries: list[Delivery] = []
        self._redis_is_away = False
        self._unwritten = LogLimit(_LOG_EVERY)

    def open(self, config: Config) -> Sequence[Order]:
        return orders_of(config)

    def begin(self, config: Config, opened: Handover[Sequence[Order]]) -> list[Child]:
        self._connect(config)
        self._deliver(config, opened.value)
        return []

    def facts(self) -> list[tuple[str, object]]:
        names = ",".join(delivery.name for delivery in self._deliveries)
        return [("destinations", names or "none")]

    def reload(self, config: Config, value: Sequence[Order]) -> None:
        """All deliveries end and others begin, which open their files anew.

        The new ones wait for the leases of the old ones, which finish the batch in hand.
        """
        if config.redis != self._config.redis:
            self._connect(config)
        for delivery in self._deliveries:
            delivery.end()
        self._deliver(config, value)

    def _connect(self, config: Config) -> None:
        self._store = Store(config.redis, config.state_dir)
        self._events = EventLog(self._store)
        self._clock = Clock(self._store)

    def _deliver(self, config: Config, orders: Sequence[Order]) -> None:
        """Starts a delivery for each order."""
        self._config = config
        for order in orders:
            lease = Lease(self._store, f"courier:{order.name}")
            delivery = Delivery(order, self._events, self._clock, lease, self._counted)
            self._deliveries.append(delivery)
            delivery.begin()

    def tick(self) -> None:
        """What is to be done a few times in the time that a lease lasts."""
        self._deliveries = [each for each in self._deliveries if not each.wait(0)]
        trouble = ""
        # Each by itself: one that could not be renewed is no reason to lose the others.
        for act in (*(each.renew for each in self._deliveries), self._look):
            try:
                act()
            except StoreUnavailable as error:
                trouble = str(error)
        self._noticed(trouble)
        self._write()

    def _look(self) -> None:
        """How far all are. Forgets events that are too old, but none that is still to be seen to:

        After a long stop of all couriers it is delivered, or buried for all to see.
        """
        progress = {each.name: each.progress() for each in self._deliveries}
        self._counted.waiting({name: found.undone for name, found in progress.items()})
        undone = [found.oldest for found in progress.values() if found.oldest]
        self._events.trim(min([self._clock.read().before(self._kept * 1000), *undone]))

    @property
    def _kept(self) -> int:
        """Seconds that an event stays in the stream."""
        events = self._config.events
        return KEPT_LONGER + (events.keep if events else 0)

    def _noticed(self, trouble: str) -> None:
        if trouble and not self._redis_is_away:
            log.redis_unavailable(trouble)
        if self._redis_is_away and not trouble:
            log.redis_available()
        self._redis_is_away = bool(trouble)

    def _write(self) -> None:
        try:
            self._counted.write(self._config.state_dir)
        except OSError as error:
            if self._unwritten.is_due():
                log.state_write_failed("courier.prom", error)

    def end(self) -> None:
        """Ends all deliveries; those that take too long are left behind."""
        deadline = time.monotonic() + _PATIENCE
        for delivery in self._deliveries:
            delivery.end()
        for delivery in self._deliveries:
            delivery.wait(max(0.0, deadline - time.monotonic()))
        self._write()
