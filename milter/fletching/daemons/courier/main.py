"""The courier: carries events to their destinations, a thread for each.

Here live its start, reload and end, and what it does for all deliveries: it renews their leases,
counts, cuts off the stream's old end, and says when Redis is away. The way of an event is in
`delivery.py`.

Several couriers share the work by destination: each destination is one courier's at a time, by a
lease in Redis, since only so its events stay in order.
"""

from __future__ import annotations

import time
from pathlib import Path

from fletching import log
from fletching.config.faults import UnusableError, named_by, told_of
from fletching.config.load import ConfigError, load
from fletching.config.model import Config
from fletching.config.sections import Destination
from fletching.daemons.courier.delivery import Delivery, Order
from fletching.daemons.process import library_log
from fletching.daemons.process.fork import Signals, even_without_room, notify
from fletching.daemons.process.redis_files import open_redis_files
from fletching.daemons.process.seldom import Seldom
from fletching.daemons.process.supervise import Tender
from fletching.destinations.answers import Filter
from fletching.destinations.open import DestinationError, opened
from fletching.metrics import Deliveries
from fletching.store.clock import Clock
from fletching.store.connection import Store, StoreAway
from fletching.store.events import EventLog
from fletching.store.lease import SECONDS, Lease

DAEMON = "courier"
WRONG_CONFIGURATION = 2

KEPT_LONGER = 86400
"""Seconds that the stream outlives `events.keep`, so that what is given up can be buried."""

_TICK = SECONDS / 4

_TELL_EVERY = 600.0
"""Seconds between two lines about counters that cannot be written."""

_PATIENCE = 8.0
"""Seconds at a stop for batches in hand. One that is cut off arrives later, perhaps again."""


def serve(config_path: Path) -> int:
    """Runs until SIGTERM; the exit status of the process."""
    library_log.take(DAEMON)
    try:
        with told_of(config_path):
            config = load(config_path)
            open_redis_files(config)
            orders = orders_of(config)
            with named_by("state_dir", fault=OSError), even_without_room("state_dir"):
                config.state_dir.mkdir(parents=True, exist_ok=True)
    except ConfigError as error:
        log.cannot_start(str(error))
        return WRONG_CONFIGURATION
    signals = Signals()
    courier = Courier(config_path, config)
    courier.begin(orders)
    log.started(DAEMON, [("destinations", ",".join(order.name for order in orders) or "none")])
    notify("READY=1")
    tender = Tender(signals, [], reload=courier.reload, tick=courier.tick, every=_TICK)
    log.stopping(DAEMON, tender.tend().name)
    notify("STOPPING=1")
    courier.end()
    log.stopped(DAEMON)
    return 0


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
        return Order(destination.name, wanted, opened(destination), keep, destination.max_attempts)
    except DestinationError as error:
        place = ("events", "destinations", number, error.option)
        raise UnusableError(place, str(error)) from None


class Courier:
    """All deliveries of this process."""

    def __init__(self, config_path: Path, config: Config) -> None:
        self._config_path = config_path
        self._config = config
        self._open_store(config)
        self._counted = Deliveries()
        self._deliveries: list[Delivery] = []
        self._store_is_away = False
        self._unkept = Seldom(_TELL_EVERY)

    def _open_store(self, config: Config) -> None:
        self._store = Store(config.redis, config.state_dir)
        self._events = EventLog(self._store)
        self._clock = Clock(self._store)

    def begin(self, orders: list[Order]) -> None:
        """Starts a delivery for each."""
        for order in orders:
            name = f"courier:{order.name}"
            lease = Lease(self._store, name)
            delivery = Delivery(order, self._events, self._clock, lease, self._counted)
            self._deliveries.append(delivery)
            delivery.begin()

    def reload(self) -> bool:
        """On SIGHUP: all deliveries end and begin anew; a file is opened anew by that, too.

        The new ones wait for the leases of the old ones, which finish what they have in hand.
        """
        try:
            with told_of(self._config_path):
                config = load(self._config_path)
                open_redis_files(config)
                orders = orders_of(config)
        except ConfigError as error:
            log.reload_failed(DAEMON, str(error).splitlines())
            return False
        if config.redis != self._config.redis:
            self._open_store(config)
        self._config = config
        for delivery in self._deliveries:
            delivery.end()
        self.begin(orders)
        log.reloaded(DAEMON)
        return True

    def tick(self) -> None:
        """What is to be done a few times in the time that a lease lasts."""
        self._deliveries = [each for each in self._deliveries if not each.wait(0)]
        trouble = ""
        # Each by itself: one that could not be renewed is no reason to lose the others.
        for act in (*(each.renew for each in self._deliveries), self._look):
            try:
                act()
            except StoreAway as error:
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
        self._events.trim(min([self._clock.look().before(self._kept * 1000), *undone]))

    @property
    def _kept(self) -> int:
        """Seconds that an event stays in the stream."""
        events = self._config.events
        return KEPT_LONGER + (events.keep if events else 0)

    def _noticed(self, trouble: str) -> None:
        if trouble and not self._store_is_away:
            log.store_away(trouble)
        if self._store_is_away and not trouble:
            log.store_back()
        self._store_is_away = bool(trouble)

    def _write(self) -> None:
        try:
            self._counted.write(self._config.state_dir)
        except OSError as error:
            if self._unkept.is_due():
                log.not_kept("courier.prom", error)

    def end(self) -> None:
        """Ends all deliveries; those that take too long are left behind."""
        deadline = time.monotonic() + _PATIENCE
        for delivery in self._deliveries:
            delivery.end()
        for delivery in self._deliveries:
            delivery.wait(max(0.0, deadline - time.monotonic()))
        self._write()
