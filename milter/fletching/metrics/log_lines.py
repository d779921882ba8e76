"""The counters of the log reader, which is one process: in memory, written to its file."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import write_to_textfile


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
