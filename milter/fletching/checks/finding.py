"""One thing that `fletching check` has to say. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is. An error: mail is lost, leaves wrong, or does not leave."""

    ERROR = "error"
    WARNING = "warning"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. ``place``: where to look, such as a file, an option or a name in the DNS."""

    level: Level
    place: str
    text: str

    def __str__(self) -> str:
        # What another program said may have several lines.
        return " ".join(f"{self.level}: {self.place}: {self.text}".split())


def error(place: str, text: str) -> Finding:
    return Finding(Level.ERROR, place, text)


def warning(place: str, text: str) -> Finding:
    return Finding(Level.WARNING, place, text)


def ok(place: str, text: str) -> Finding:
    return Finding(Level.OK, place, text)
