"""What monitoring reads: counters of mails, warnings and time, over all workers.

Here live the names of the metrics and their files. Each worker counts in files of its own in
`state_dir/metrics`, named by the worker's place and not by its process: the worker that takes a
dead one's place goes on counting where that one was. The milter's first process sums them up for
node_exporter's text-file collector.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    values,
)
from prometheus_client.exposition import write_to_textfile
from prometheus_client.multiprocess import MultiProcessCollector

EVERY = 10.0
"""Seconds between two sums."""

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_ROOM = 256 * 1024
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


def folder(state_dir: Path) -> Path:
    """Where the workers count."""
    return state_dir / "metrics"


def begin(state_dir: Path) -> None:
    """Makes an empty folder. For the one process above all workers; raises OSError."""
    where = folder(state_dir)
    where.mkdir(parents=True, exist_ok=True)
    for old in where.glob("*.db"):
        old.unlink()


def sum_up(state_dir: Path) -> None:
    """Writes `state_dir/metrics.prom`, at once or not at all.

    Raises OSError, and ValueError where a worker's file is broken.
    """
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder(state_dir)))  # type: ignore[no-untyped-call]
    try:
        write_to_textfile(str(state_dir / "metrics.prom"), registry)
    except struct.error as error:
        raise ValueError(str(error)) from error


class Metrics:
    """What one worker counts."""

    def __init__(self, state_dir: Path, worker: int) -> None:
        _make_room(folder(state_dir), worker)
        os.environ[_FOLDER] = str(folder(state_dir))
        values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self._mails = Counter(
            "fletching_mails",
            "Mails answered, by Mail Class and answer.",
            ("mail_class", "verdict"),
            registry=registry,
        )
        self._warnings = Counter(
            "fletching_warnings", "Warnings about mails.", ("warning",), registry=registry
        )
        self._untracked = Counter(
            "fletching_untracked",
            "Mails sent without tracking, since the campaign store did not answer.",
            registry=registry,
        )
        self._seconds = Histogram(
            "fletching_end_of_message_seconds",
            "Time from the end of a mail to its answer.",
            buckets=_SECONDS,
            registry=registry,
        )

    def mail(self, mail_class: str, verdict: str, seconds: float) -> None:
        """A mail was answered."""
        self._mails.labels(mail_class, verdict).inc()
        self._seconds.observe(seconds)

    def warnings(self, told: Iterable[str]) -> None:
        """A mail had these warnings."""
        for warning in told:
            self._warnings.labels(_kind(warning)).inc()

    def untracked(self) -> None:
        """A mail went without tracking."""
        self._untracked.inc()


class Deliveries:
    """What the courier counts, which is one process: in memory, and then in a file of its own."""

    def __init__(self) -> None:
        # A counter's birth would be a series more for each.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._delivered = self._counter("delivered", "Events that their destination took.")
        self._failed = self._counter("failed", "Attempts that a destination did not take.")
        self._dead = self._counter("dead", "Events that went to the dead letters.")
        self._waiting = Gauge(
            "fletching_events_waiting",
            "Events that a destination has still to get.",
            ("destination",),
            registry=self._registry,
        )

    def _counter(self, name: str, about: str) -> Counter:
        full = f"fletching_events_{name}"
        return Counter(full, about, ("destination",), registry=self._registry)

    def delivered(self, destination: str, events: int) -> None:
        """A destination took events."""
        self._delivered.labels(destination).inc(events)

    def failed(self, destination: str) -> None:
        """A destination did not take what it was offered."""
        self._failed.labels(destination).inc()

    def dead(self, destination: str, events: int) -> None:
        """Events went to the dead letters."""
        self._dead.labels(destination).inc(events)

    def waiting(self, lags: Mapping[str, int]) -> None:
        """How many events each destination has still to get; others are there no longer."""
        self._waiting.clear()
        for destination, lag in lags.items():
            self._waiting.labels(destination).set(lag)

    def write(self, state_dir: Path) -> None:
        """Writes `state_dir/courier.prom`, at once or not at all. Raises OSError."""
        write_to_textfile(str(state_dir / "courier.prom"), self._registry)


def _kind(warning: str) -> str:
    """A header's name, or a warning without what differs from mail to mail.

    The name of an unknown header is a client's invention, and each would be a new series.
    """
    name, _, rule = warning.partition(": ")
    return rule if rule == "unknown control header" else name


def _make_room(where: Path, worker: int) -> None:
    """Takes the disk's blocks now: to touch a block that a full disk lacks later is a SIGBUS."""
    for kind in ("counter", "histogram"):
        path = where / f"{kind}_{worker}.db"
        with path.open("ab") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, _ROOM)
            except OSError:
                # An empty one could not be summed up.
                if not file.tell():
                    path.unlink()
                raise
