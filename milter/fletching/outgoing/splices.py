"""What rewriting the links of one text yields: splices, and what was found on the way.

Here live the values that leave this corner, and the ledger in which the readers of HTML and of
plain text write down what they do. Which links are rewritten is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple


class Kind(StrEnum):
    """What following a tracking link means."""

    CLICK = "click"
    UNSUBSCRIBE = "unsubscribe"


Mint = Callable[[Kind, str], str]
"""Kind and destination in, tracking URL out: only ``[A-Za-z0-9:/?=._~-]``, so that it needs no
escaping in an attribute value, in text or in quoted-printable lines."""


class Splice(NamedTuple):
    """Replace ``text[start:end]`` by ``text``."""

    start: int
    end: int
    text: str


class Finding(NamedTuple):
    """One link: where it leads, whether it was rewritten, and why."""

    url: str
    rewritten: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Splices from left to right, none overlapping another, and findings in document order."""

    splices: tuple[Splice, ...]
    findings: tuple[Finding, ...]

    def __post_init__(self) -> None:
        places = [0, *(place for splice in self.splices for place in splice[:2])]
        if any(left > right for left, right in pairwise(places)):
            raise ValueError("splices overlap, or are out of order")


class Ledger:
    """What one call of `html` or `plain` has done so far.

    Entries may come in any order: whether a link is rewritten can depend on the text that follows
    it, and by then later ranges may be written down.
    """

    def __init__(self, mint: Mint) -> None:
        self._mint = mint
        self._splices: list[Splice] = []
        self._findings: list[tuple[int, Finding]] = []
        self._minted: dict[tuple[Kind, str], str] = {}

    def splice(self, start: int, end: int, text: str) -> None:
        self._splices.append(Splice(start, end, text))

    def leave(self, place: int, url: str, reason: str) -> None:
        """The link at that place stays as it is."""
        self._findings.append((place, Finding(url, False, reason)))

    def track(self, place: int, kind: Kind, url: str) -> str:
        """The tracking URL that the link at that place gets."""
        self._findings.append((place, Finding(url, True, kind)))
        tracking = self._minted.get((kind, url))
        if tracking is None:
            tracking = self._minted[kind, url] = self._mint(kind, url)
        return tracking

    def close(self) -> Rewritten:
        splices = sorted(self._splices, key=itemgetter(0, 1))
        findings = sorted(self._findings, key=itemgetter(0))
        return Rewritten(tuple(splices), tuple(finding for _, finding in findings))
