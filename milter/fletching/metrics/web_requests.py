"""The counters of one worker of the web service."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import Counter, Histogram

from fletching.metrics import shared_files

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class WebRequests:
    """Counts requests by what they were and how they were answered."""

    def __init__(self, state_dir: Path, worker: int) -> None:
        registry = shared_files.worker_registry(shared_files.of_web(state_dir), worker)
        self._requests = Counter(
            "fletching_web_requests",
            "Requests that the web service answered, by the event that was recorded, or none.",
            ("event", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "fletching_web_request_seconds",
            "Time from a complete request to the response.",
            buckets=_SECONDS,
            registry=registry,
        )

    def answered(self, event: str, status: int, seconds: float) -> None:
        """A request was answered. ``event``: the type of event that it made, or `none`."""
        self._requests.labels(event, str(status)).inc()
        self._seconds.observe(seconds)
