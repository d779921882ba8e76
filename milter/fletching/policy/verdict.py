"""Verdicts: the answer to a mail, and the only place that says which of the three it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What happens to a mail: it is accepted, refused for good, or refused for now."""

    ACCEPT = "accept"
    REJECT = "reject"
    TEMPFAIL = "tempfail"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The SMTP reply to a mail that is refused: reply code, enhanced code (RFC 3463), text."""

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}"


def verdict_of(refusal: Refusal | None) -> Verdict:
    """The verdict on a mail that gets this reply; None: it is accepted."""
    if refusal is None:
        return Verdict.ACCEPT
    return Verdict.TEMPFAIL if refusal.code < 500 else Verdict.REJECT
