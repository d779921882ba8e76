"""A rule of `fletching lint`, and a finding: what breaks it in one mail. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fletching.lint.sources import Source


class Severity(StrEnum):
    """ERROR: at least one large provider rejects such mail, or puts it into the spam folder.
    WARNING: it is advised against, or looks like spam. INFO: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


@dataclass(frozen=True, slots=True)
class Rule:
    """``demand``: what the sources want. ``cure``: what to do, as an imperative."""

    name: str
    severity: Severity
    demand: str
    cure: str
    sources: tuple[Source, ...]

    @property
    def demanded_by(self) -> str:
        """Whom the sources speak for, each once."""
        return ", ".join(dict.fromkeys(source.by for source in self.sources))


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation. ``text``: what is wrong with this mail."""

    rule: Rule
    text: str

    def __str__(self) -> str:
        rule = self.rule
        line = f"{rule.severity}: {rule.name}: {self.text}. {rule.cure}."
        line += f" [{rule.demanded_by}: {rule.sources[0]}]"
        # The words of a name server may have several lines.
        return " ".join(line.split())
