"""The operator during a soak: scrapes the metrics, and looks at health and dashboard."""

from __future__ import annotations

import threading
from collections import Counter
from http.client import HTTPException

from sandbox.web import ask

_EVERY = 3.0
"""Seconds between two rounds, at first."""


class Operator:
    """Asks for a page of each server in turn. ``metrics``, ``dashboard``: their loopback ports."""

    def __init__(self, metrics: int, dashboard: int) -> None:
        self._pages = [
            (metrics, "metrics"),
            (metrics, "healthz"),
            (dashboard, ""),
        ]
        self.answers: Counter[tuple[str, int]] = Counter()
        """By page and status; 0 for no answer."""
        self._every = _EVERY
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def set_pace(self, faster: float) -> None:
        """From now on, look so many times more often than at first."""
        self._every = _EVERY / faster

    def stop(self) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    @property
    def wrong(self) -> dict[str, int]:
        """Answers that are an error of the server. The dashboard answers 503 while Redis is away,
        and /healthz while anything is.
        """
        return {
            f"/{page} answered {status}": count
            for (page, status), count in self.answers.items()
            if status >= 400 and (status != 503 or page == "metrics")
        }

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            for port, page in self._pages:
                try:
                    status = ask(port, f"http://127.0.0.1:{port}/{page}").status
                except (OSError, HTTPException):
                    status = 0
                self.answers[page, status] += 1
