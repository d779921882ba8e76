"""The counters of one worker of the milter."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prometheus_client import Counter, Histogram

from fletching.metrics import shared_files

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Mails:
    """The counters of one worker."""

    def __init__(self, state_dir: Path, worker: int) -> None:
        registry = shared_files.worker_registry(shared_files.of_milter(state_dir), worker)
        self._mails = Counter(
            "fletching_mails",
            "Messages answered by the milter.",
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
        self._shadow = Counter(
            "fletching_shadow_mails",
            "Messages in shadow, by what would have happened to them in live mode.",
            ("would",),
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

    def shadow(self, would: str) -> None:
        """A message in shadow would have had this verdict, or `error`."""
        self._shadow.labels(would).inc()

    def archive(self, written: int, lost: int) -> None:
        """Messages were written to the archive, or could not be."""
        self._archived.inc(written)
        self._not_archived.inc(lost)


def _kind(warning: str) -> str:
    """A warning's label: the header's name, or the warning without details of the message.

    Names of unknown headers are left out: clients invent them, and each would be a new series.
    """
    name, _, rule = warning.partition(": ")
    return rule if rule in ("unknown control header", "unknown vendor header") else name
