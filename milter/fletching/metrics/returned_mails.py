"""The counters of the LMTP service, which has one worker: in memory, written to its file."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics
from prometheus_client.exposition import write_to_textfile


class ReturnedMails:
    """The counters of the LMTP service, which has one worker: in memory, written to its file."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._received = Counter(
            "fletching_returned_mails",
            "Returned mails, once for each recipient.",
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
