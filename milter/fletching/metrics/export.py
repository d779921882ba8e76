"""The text for Prometheus: the metrics of all daemons of this host.

The milter and the web service count in files that their workers share; each of the other daemons
writes a file of its own, in the same text format.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest

from fletching.metrics import shared_files

EVERY = 10.0
"""Seconds between two updates of a daemon's file."""

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
"""Of `export`: the text format that every version of Prometheus reads."""

OTHER_DAEMONS = ("courier", "lmtp", "logtail")
"""The daemons that write `state_dir/DAEMON.prom`."""


def sum_up(state_dir: Path) -> None:
    """Writes `state_dir/metrics.prom` atomically, for node_exporter's textfile collector.

    Raises OSError, and ValueError if a worker's file is damaged.
    """
    path = state_dir / "metrics.prom"
    unfinished = path.with_suffix(f".{os.getpid()}")
    try:
        unfinished.write_bytes(shared_files.sums(shared_files.of_milter(state_dir)))
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def export(state_dir: Path) -> bytes:
    """The metrics of all daemons of this host: of the milter and the web service as they are now,
    of the others as of their last update.

    Raises OSError, and ValueError if a worker's file is damaged.
    """
    texts = [shared_files.sums(shared_files.of_milter(state_dir))]
    # Without a web service on this host.
    if (web := shared_files.of_web(state_dir)).is_dir():
        texts.append(shared_files.sums(web))
    registry = CollectorRegistry()
    updated = Gauge(
        "fletching_metrics_updated_seconds",
        "When courier, lmtp or logtail last updated its metrics, in unix time.",
        ("daemon",),
        registry=registry,
    )
    journals = Gauge(
        "fletching_journal_bytes",
        "Bytes of the largest journal of a process; events that Redis lacks wait there.",
        registry=registry,
    )
    journals.set(max((size for _, size in journal_sizes(state_dir)), default=0))
    build = Gauge(
        "fletching_build_info", "Always 1; the installed version.", ("version",), registry=registry
    )
    build.labels(version("fletching")).set(1)
    for daemon in OTHER_DAEMONS:
        path = state_dir / f"{daemon}.prom"
        # A daemon that has never run.
        with suppress(FileNotFoundError):
            texts.append(path.read_bytes())
            updated.labels(daemon).set(path.stat().st_mtime)
    return b"".join([*texts, generate_latest(registry)])


def journal_sizes(state_dir: Path) -> Iterator[tuple[str, int]]:
    """The journals of all processes of this host: the path of each, and its bytes."""
    folder = state_dir / "journal"
    for path, _, names in os.walk(folder):
        size = 0
        for name in names:
            # Deleted meanwhile.
            with suppress(FileNotFoundError):
                size += os.stat(os.path.join(path, name)).st_size
        yield os.path.relpath(path, folder), size
