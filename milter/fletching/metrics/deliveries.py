"""The counters of the courier, which is one process: kept in memory, written to its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import write_to_textfile


class Deliveries:
    """The counters of the courier, which is one process: kept in memory, written to its file."""

    def __init__(self) -> None:
        # Otherwise each counter has a second series with its creation time.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._delivered = self._counter("delivered", "Events that the destination accepted.")
        self._failed = self._counter("failed", "Failed delivery attempts.")
        self._dead = self._counter("dead", "Events that became dead letters.")
        self._bad_addresses = Counter(
            "fletching_bad_addresses",
            "Addresses that bounced too often and are suppressed.",
            registry=self._registry,
        )
        self._seeds = Counter(
            "fletching_seed_copies",
            "Attempts to submit a seed copy.",
            ("outcome",),
            registry=self._registry,
        )
        for outcome in ("sent", "deferred", "failed"):
            self._seeds.labels(outcome)
        self._waiting = Gauge(
            "fletching_events_waiting",
            "Events that are waiting for a destination.",
            ("destination",),
            registry=self._registry,
        )

    def _counter(self, name: str, about: str) -> Counter:
        full = f"fletching_events_{name}"
        return Counter(full, about, ("destination",), registry=self._registry)

    def delivered(self, destination: str, events: int) -> None:
        """A destination accepted events."""
        self._delivered.labels(destination).inc(events)

    def failed(self, destination: str) -> None:
        """A delivery attempt failed."""
        self._failed.labels(destination).inc()

    def dead(self, destination: str, events: int) -> None:
        """Events were dead-lettered."""
        self._dead.labels(destination).inc(events)

    def bad_addresses(self, addresses: int) -> None:
        """Addresses were found to be bad."""
        self._bad_addresses.inc(addresses)

    def seed_copy(self, outcome: str) -> None:
        """A seed copy was `sent` or `deferred`, or has `failed` for good."""
        self._seeds.labels(outcome).inc()

    def waiting(self, lags: Mapping[str, int]) -> None:
        """Sets each destination's backlog; destinations that are not named are removed."""
        self._waiting.clear()
        for destination, lag in lags.items():
            self._waiting.labels(destination).set(lag)
            # Counters that exist from the start: a rate needs a 0 before the first 1.
            for counter in (self._delivered, self._failed, self._dead):
                counter.labels(destination)

    def write(self, state_dir: Path) -> None:
        """Writes `state_dir/courier.prom` atomically. Raises OSError."""
        write_to_textfile(str(state_dir / "courier.prom"), self._registry)
