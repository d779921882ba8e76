"""One result of `fletching check`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The severity. ERROR: mail is lost, leaves with errors, or does not leave."""

    ERROR = "error"
    WARNING = "warning"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. ``place``: where to look, such as a file, an option or a DNS name.

    ``cure``: what to do about it; empty if the text says so.
    """

    level: Level
    place: str
    text: str
    cure: str = ""

    def __str__(self) -> str:
        # The output of another program may have several lines.
        cure = f"; {self.cure}" if self.cure else ""
        return " ".join(f"{self.level}: {self.place}: {self.text}{cure}".split())


def error(place: str, text: str, cure: str = "") -> Finding:
    return Finding(Level.ERROR, place, text, cure)


def warning(place: str, text: str, cure: str = "") -> Finding:
    return Finding(Level.WARNING, place, text, cure)


def ok(place: str, text: str) -> Finding:
    return Finding(Level.OK, place, text)
