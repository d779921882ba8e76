"""Metrics for Prometheus: counters of messages, warnings and processing time over all workers.

Each worker counts in its own files in `state_dir/metrics`, which are named by the worker's number
and not by its process id, so that the replacement of a dead worker continues its counters. The
milter's parent process sums them for node_exporter's textfile collector; each of the other daemons
writes a file of its own. `metrics.listen` exports all of them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    values,
)
from prometheus_client.exposition import generate_latest, write_to_textfile
from prometheus_client.multiprocess import MultiProcessCollector

EVERY = 10.0
"""Seconds between two updates of the sums."""

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
"""Of `export`: the text format that every version of Prometheus reads."""

OTHER_DAEMONS = ("courier", "lmtp", "logtail")
"""The daemons other than the milter that write `state_dir/DAEMON.prom`."""

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_ROOM = 256 * 1024
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


def folder(state_dir: Path) -> Path:
    """The directory of the workers' counters."""
    return state_dir / "metrics"


def begin(state_dir: Path) -> None:
    """Creates the empty directory; for the parent process only. Raises OSError."""
    where = folder(state_dir)
    where.mkdir(parents=True, exist_ok=True)
    for old in where.glob("*.db"):
        old.unlink()


def sum_up(state_dir: Path) -> None:
    """Writes `state_dir/metrics.prom` atomically.

    Raises OSError, and ValueError if a worker's file is damaged.
    """
    try:
        write_to_textfile(str(state_dir / "metrics.prom"), _workers(state_dir))
    except struct.error as error:
        raise ValueError(str(error)) from error


def export(state_dir: Path) -> bytes:
    """The metrics of all daemons of this host: of the milter as they are now, of the others as of
    their last update.

    Raises OSError, and ValueError if a worker's file is damaged.
    """
    try:
        texts = [generate_latest(_workers(state_dir))]
    except struct.error as error:
        raise ValueError(str(error)) from error
    registry = CollectorRegistry()
    updated = Gauge(
        "fletching_metrics_updated_seconds",
        "When a daemon last updated its metrics, in unix time.",
        ("daemon",),
        registry=registry,
    )
    for daemon in OTHER_DAEMONS:
        path = state_dir / f"{daemon}.prom"
        # A daemon that has never run.
        with suppress(FileNotFoundError):
            texts.append(path.read_bytes())
            updated.labels(daemon).set(path.stat().st_mtime)
    return b"".join([*texts, generate_latest(registry)])


def _workers(state_dir: Path) -> CollectorRegistry:
    """The sums over the milter's workers."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder(state_dir)))  # type: ignore[no-untyped-call]
    return registry


class Metrics:
    """The counters of one worker."""

    def __init__(self, state_dir: Path, worker: int) -> None:
        _make_room(folder(state_dir), worker)
        os.environ[_FOLDER] = str(folder(state_dir))
        values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self._mails = Counter(
            "fletching_mails",
            "Messages answered, by Mail Class and verdict.",
            ("mail_class", "verdict"),
            registry=registry,
        )
        self._warnings = Counter(
            "fletching_warnings", "Warnings about messages.", ("warning",), registry=registry
        )
        self._untracked = Counter(
            "fletching_untracked",
            "Messages sent without tracking, because Redis did not answer.",
            registry=registry,
        )
        self._over_limit = Counter(
            "fletching_over_limit",
            "Messages deferred (451), because every VirtualMTA was over its limit.",
            registry=registry,
        )
        self._seconds = Histogram(
            "fletching_end_of_message_seconds",
            "Time from the end of a message to the reply.",
            buckets=_SECONDS,
            registry=registry,
        )

        self._archived = Counter(
            "fletching_archived", "Messages written to the archive.", registry=registry
        )
        self._not_archived = Counter(
            "fletching_not_archived",
            "Messages that could not be written to the archive.",
            registry=registry,
        )

    def mail(self, mail_class: str, verdict: str, seconds: float) -> None:
        """A message was answered, after this time at its end."""
        self._mails.labels(mail_class, verdict).inc()
        self._seconds.observe(seconds)

    def warnings(self, warnings: Iterable[str]) -> None:
        """A message had these warnings."""
        for warning in warnings:
            self._warnings.labels(_kind(warning)).inc()

    def untracked(self) -> None:
        """A message was sent without tracking."""
        self._untracked.inc()

    def over_limit(self) -> None:
        """A message was deferred, because no VirtualMTA had room."""
        self._over_limit.inc()

    def archive(self, written: int, lost: int) -> None:
        """Messages were written to the archive, or could not be."""
        self._archived.inc(written)
        self._not_archived.inc(lost)


class Deliveries:
    """The counters of the courier, which is one process: kept in memory, written to its file."""

    def __init__(self) -> None:
        # Otherwise each counter has a second series with its creation time.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._delivered = self._counter("delivered", "Events that the destination accepted.")
        self._failed = self._counter("failed", "Failed delivery attempts.")
        self._dead = self._counter("dead", "Events that were dead-lettered.")
        self._bad_addresses = Counter(
            "fletching_bad_addresses",
            "Addresses that bounced too often and are suppressed.",
            registry=self._registry,
        )
        self._seeds = Counter(
            "fletching_seed_copies",
            "Attempts to submit a seed copy, by outcome.",
            ("outcome",),
            registry=self._registry,
        )
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

    def write(self, state_dir: Path) -> None:
        """Writes `state_dir/courier.prom` atomically. Raises OSError."""
        write_to_textfile(str(state_dir / "courier.prom"), self._registry)


class LogLines:
    """The counters of the log reader, which is one process: in memory, written to its file."""

    def __init__(self, state_dir: Path) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._file = state_dir / "logtail.prom"
        self._registry = CollectorRegistry()
        self._lines = Counter(
            "fletching_log_lines", "Lines of Postfix's log that were read.", registry=self._registry
        )
        self._ours = Counter(
            "fletching_log_lines_ours",
            "Lines about messages with a VERP tag.",
            registry=self._registry,
        )
        self._behind = Gauge(
            "fletching_log_behind_bytes",
            "Bytes of Postfix's log that are not read yet.",
            registry=self._registry,
        )

    def read(self, lines: int, ours: int, behind: int) -> None:
        """Lines were read, and so many bytes are left."""
        self._lines.inc(lines)
        self._ours.inc(ours)
        self._behind.set(behind)

    def write(self) -> None:
        """Writes `state_dir/logtail.prom` atomically. Raises OSError."""
        write_to_textfile(str(self._file), self._registry)


class ReturnedMails:
    """The counters of the LMTP service, which has one worker: in memory, written to its file."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._received = Counter(
            "fletching_returned_mails",
            "Returned mails by kind, counted once for each recipient.",
            ("kind",),
            registry=self._registry,
        )
        self._deferred = self._counter(
            "fletching_returned_mails_deferred", "Returned mails that Postfix has to send again."
        )
        self._kept = self._counter(
            "fletching_unreadable_mails", "Returned mails that were kept in state_dir/unreadable."
        )
        self._deleted = self._counter(
            "fletching_unreadable_mails_deleted",
            "Kept mails that were deleted because there were too many.",
        )

    def _counter(self, name: str, about: str) -> Counter:
        return Counter(name, about, registry=self._registry)

    def received(self, kind: str) -> None:
        """A returned mail of a kind was read."""
        self._received.labels(kind).inc()

    def deferred(self) -> None:
        """A returned mail was answered with 451."""
        self._deferred.inc()

    def kept(self, deleted: int) -> None:
        """A returned mail was kept, and others were deleted for it."""
        self._kept.inc()
        self._deleted.inc(deleted)

    def write(self, state_dir: Path) -> None:
        """Writes `state_dir/lmtp.prom` atomically. Raises OSError."""
        write_to_textfile(str(state_dir / "lmtp.prom"), self._registry)


def _kind(warning: str) -> str:
    """A warning's label: the header's name, or the warning without details of the message.

    Names of unknown headers are left out: clients invent them, and each would be a new series.
    """
    name, _, rule = warning.partition(": ")
    return rule if rule in ("unknown control header", "unknown vendor header") else name


def _make_room(where: Path, worker: int) -> None:
    """Allocates disk blocks now: on a full disk, touching a missing block later is a SIGBUS."""
    for kind in ("counter", "histogram"):
        path = where / f"{kind}_{worker}.db"
        with path.open("ab") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, _ROOM)
            except OSError:
                # An empty file could not be summed.
                if not file.tell():
                    path.unlink()
                raise
