"""The courier: delivers events to their destinations, in a thread for each.

Here live its start, reload and end, and what it does for all its threads: it renews their leases,
counts, trims the stream, and logs when Redis is unavailable. How an event is delivered is in
`delivery.py`, how seed copies are submitted in `seeding.py`, how they are looked for in
`monitoring.py`.

Several couriers share the work by destination: a lease in Redis gives each destination to one
courier at a time, so that its events stay in order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from fletching import log
from fletching.config.faults import UnusableError
from fletching.config.model import Config
from fletching.config.sections import Destination
from fletching.daemons.courier.delivery import Delivery, Order
from fletching.daemons.courier.leased import LeasedThread
from fletching.daemons.courier.monitoring import Monitoring
from fletching.daemons.courier.seeding import LEASE, SeedCopies
from fletching.daemons.process.handover import Handover
from fletching.daemons.process.lifecycle import Service
from fletching.daemons.process.log_limit import LogLimit
from fletching.daemons.process.supervise import Child
from fletching.destinations.answers import Filter
from fletching.destinations.open import DestinationError, open_destination
from fletching.metrics.deliveries import Deliveries
from fletching.startup import host_name, link_keys
from fletching.store.bad_addresses import BadAddresses
from fletching.store.clock import Clock
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.events import EventLog
from fletching.store.lease import SECONDS, Lease
from fletching.store.seeds import Seeds
from fletching.tokens import Keyring

EXTRA_RETENTION = 86400
"""Seconds beyond `events.keep` that events stay in the stream, so that expired ones can be moved to
the dead letters."""

_LOG_EVERY = 600.0
"""Seconds between two lines about counters that cannot be written."""

_STOP_TIMEOUT = 8.0
"""Seconds for current batches at a stop. An interrupted one is delivered later, perhaps twice."""


def _of_store(config: Config) -> tuple[object, ...]:
    """The options that what is opened of Redis depends on."""
    return config.redis, config.trace_memory


def orders_of(config: Config) -> list[Order]:
    """What to deliver where. Raises UnusableError."""
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


@dataclass(frozen=True, slots=True)
class Opened:
    """What the configuration names: what to deliver where, and the keys that open seed copies."""

    orders: Sequence[Order]
    keys: Keyring


class Courier(Service[Opened]):
    """All threads of this process, where other daemons have worker processes."""

    every = SECONDS / 4
    """Several times in the time that a lease lasts."""

    _config: Config
    _store: Store
    _events: EventLog
    _clock: Clock
    _bad_addresses: BadAddresses

    def __init__(self) -> None:
        self._metrics = Deliveries()
        self._threads: list[LeasedThread] = []
        self._redis_is_away = False
        self._unwritten = LogLimit(_LOG_EVERY)

    def open(self, config: Config) -> Opened:
        return Opened(orders_of(config), link_keys(config))

    def begin(self, config: Config, opened: Handover[Opened]) -> list[Child]:
        self._connect(config)
        self._deliver(config, opened.value)
        return []

    def facts(self) -> list[tuple[str, object]]:
        names = ",".join(delivery.name for delivery in self._deliveries)
        return [("destinations", names or "none")]

    def reload(self, config: Config, value: Opened) -> None:
        """All threads end and others begin, which open their files anew.

        The new ones wait for the leases of the old ones, which finish the work in hand.
        """
        if _of_store(config) != _of_store(self._config):
            self._connect(config)
        for each in self._threads:
            each.end()
        self._deliver(config, value)

    def _connect(self, config: Config) -> None:
        self._store = Store(config.redis, config.state_dir)
        self._events = EventLog(self._store)
        self._clock = Clock(self._store)
        self._bad_addresses = BadAddresses(self._store, config.trace_memory)

    def _deliver(self, config: Config, opened: Opened) -> None:
        """Starts a delivery for each order, and the threads for seed copies."""
        self._config = config
        if opened.keys:
            copies = SeedCopies(
                Seeds(self._store),
                self._events,
                Lease(self._store, LEASE),
                opened.keys,
                config.seeds.submit,
                host_name(config),
                config.campaign_window,
                count=self._metrics.seed_copy,
            )
            self._begin(copies)
        monitoring = Monitoring(self._store, opened.keys, config)
        if monitoring.has_mailboxes:
            self._begin(monitoring)
        for order in opened.orders:
            lease = Lease(self._store, f"courier:{order.name}")
            self._begin(Delivery(order, self._events, self._clock, lease, self._metrics))

    def _begin(self, thread: LeasedThread) -> None:
        self._threads.append(thread)
        thread.begin()

    def tick(self) -> None:
        """Renews leases, reports bad addresses, trims the stream, and writes the counters."""
        self._threads = [each for each in self._threads if not each.wait(0)]
        trouble = ""
        # Each by itself: if one lease cannot be renewed, the others must not be lost.
        renew = [each.renew for each in self._threads]
        for act in (*renew, self._report, self._trim):
            try:
                act()
            except StoreUnavailable as error:
                trouble = str(error)
        self._log_redis(trouble)
        self._write_metrics()

    @property
    def _deliveries(self) -> list[Delivery]:
        return [each for each in self._threads if isinstance(each, Delivery)]

    def _report(self) -> None:
        """Makes the events of bad addresses. No lease: each is made once, whoever makes it."""
        self._metrics.bad_addresses(self._bad_addresses.report())

    def _trim(self) -> None:
        """Counts the backlog, and removes old events from the stream.

        An event with a pending delivery stays, however old: after a long stop of all couriers it is
        delivered or becomes a dead letter.
        """
        progress = {each.name: each.progress() for each in self._deliveries}
        self._metrics.waiting({name: found.undone for name, found in progress.items()})
        pending = [found.oldest for found in progress.values() if found.oldest]
        self._events.trim(min([self._clock.read().before(self._retention * 1000), *pending]))

    @property
    def _retention(self) -> int:
        """Seconds that an event stays in the stream."""
        events = self._config.events
        return EXTRA_RETENTION + (events.keep if events else 0)

    def _log_redis(self, trouble: str) -> None:
        if trouble and not self._redis_is_away:
            log.redis_unavailable(trouble)
        if self._redis_is_away and not trouble:
            log.redis_available()
        self._redis_is_away = bool(trouble)

    def _write_metrics(self) -> None:
        try:
            self._metrics.write(self._config.state_dir)
        except OSError as error:
            if self._unwritten.is_due():
                log.state_write_failed("courier.prom", error)

    def end(self) -> None:
        """Ends all threads, but waits only so long for them."""
        deadline = time.monotonic() + _STOP_TIMEOUT
        for each in self._threads:
            each.end()
        for each in self._threads:
            if each.awaited:
                each.wait(max(0.0, deadline - time.monotonic()))
        self._write_metrics()
