"""What a source of log lines gives: lines, each with its place, and the position after them.

A source is a file (`log_file.py`) or the systemd journal (`systemd_journal.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its line end. ``place``: where it stands; the same if it is read again."""

    place: bytes
    text: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """The next lines of a log, and the position after them, in a form that the source reads again.

    ``behind``: bytes of the log that are not read yet, as far as known. ``gap``: why lines before
    these may be missing; empty if none are.
    """

    lines: list[Line]
    position: str
    behind: int = 0
    gap: str = ""


class Source(Protocol):
    """Where the lines come from. For one thread."""

    def read(self) -> Batch:
        """The next lines, at once; none if there are none yet. Raises OSError."""

    def close(self) -> None:
        """Ends it."""
