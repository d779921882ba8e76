"""One mail while it is decided about: what may be looked at, and what was decided so far.

Here live the values that the deciding rooms (`decide.py`, `ways.py`) work on. The body of the mail
is there, since it is part of the mail, and may not be looked at.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from fletching.config.model import Config
from fletching.outgoing.control import Control, Problem
from fletching.outgoing.envelope import Envelope
from fletching.outgoing.message import Message
from fletching.outgoing.plan import Reason
from fletching.outgoing.sign import SigningKey

T = TypeVar("T")


@dataclass(slots=True)
class Ledger:
    """Decisions, warnings and invalid headers of one mail, in the order they come up."""

    reasons: list[Reason] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def pick(self, setting: str, *offers: tuple[str, T | None]) -> T | None:
        """The first offer that is one. It and its source are written down."""
        for source, value in offers:
            if value is not None:
                self.decided(setting, value, source)
                return value
        return None

    def decided(self, setting: str, value: object, source: str) -> None:
        if isinstance(value, bool):
            value = "yes" if value else "no"
        self.reasons.append(Reason(setting, str(value), source))

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def invalid(self, header: str, rule: str, strict: bool = True) -> None:
        """A control header that does not count."""
        self.problems.append(Problem(header, rule, strict))


@dataclass(frozen=True, slots=True)
class Case:
    """All that a decision may look at, and the ledger that it goes into.

    ``paused``: names of VirtualMTAs in lower case. ``now``: in the configuration's time zone.
    """

    asked: Control
    message: Message
    envelope: Envelope
    config: Config
    keys: tuple[SigningKey, ...]
    paused: Set[str]
    now: datetime
    ledger: Ledger

    @property
    def shared(self) -> bool:
        """Whether several recipients get the one body."""
        return len({to.mailbox for to in self.envelope.recipients}) > 1
