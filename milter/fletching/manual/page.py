"""A page, and the line that each page begins with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from fletching.manual import roff


@dataclass(frozen=True, slots=True)
class Page:
    """A manual page. ``text``: its sections in roff, without the title."""

    name: str
    section: int
    text: str

    @property
    def file(self) -> str:
        return f"{self.name}.{self.section}"

    def source(self, day: date, version: str) -> str:
        """The file's content."""
        return roff.title(self.name, self.section, day.isoformat(), version) + self.text
