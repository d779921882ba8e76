"""The files in which the workers of a daemon count, and the sums over the workers.

A file is named by the worker's number and not by its process id, so that the replacement of a dead
worker continues its counters.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_ROOM = 256 * 1024


def of_milter(state_dir: Path) -> Path:
    """The directory of the counters of the milter's workers."""
    return state_dir / "metrics"


def of_web(state_dir: Path) -> Path:
    """The directory of the counters of the web service's workers."""
    return state_dir / "metrics-web"


def begin(folder: Path) -> None:
    """Creates the empty directory; for the first process of a daemon only. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.db"):
        old.unlink()


def worker_registry(folder: Path, worker: int) -> CollectorRegistry:
    """The registry of this process: its metrics count in the files of this worker.

    Raises OSError if there is no room for them.
    """
    _make_room(folder, worker)
    os.environ[_FOLDER] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
    return CollectorRegistry()


def sums(folder: Path) -> bytes:
    """The sums over all workers, as text. Raises OSError, and ValueError if a file is damaged."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    try:
        return generate_latest(registry)
    except struct.error as error:
        raise ValueError(str(error)) from error


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
