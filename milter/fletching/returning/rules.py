"""The admin's own rules about bounces: option `bounces.rules`.

A rule has a pattern; the first one that matches the server's words decides, before our tables. The
patterns are RE2's, which take linear time for any text, and ignore case.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import re2

from fletching.returning.returned import BounceType, Reason

_TYPES = {"hard": BounceType.HARD, "soft": BounceType.SOFT, "other": BounceType.OTHER}


class Configured(Protocol):
    """A rule as the configuration has it, valid."""

    @property
    def pattern(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def type(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """``pattern``: a compiled RE2. ``type``: None if it follows from the reason."""

    name: str
    pattern: Any
    reason: Reason
    type: BounceType | None

    def decide(self, text: str) -> tuple[Reason, BounceType | None] | None:
        """The reason, and the type if the rule sets it; None if the rule does not match."""
        return (self.reason, self.type) if self.pattern.search(text) else None


def compiled(configured: Iterable[Configured]) -> tuple[Rule, ...]:
    """The rules of the configuration, in its order."""
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    return tuple(
        Rule(
            f"/{each.pattern}/",
            re2.compile(each.pattern, options),
            Reason(each.reason),
            _TYPES[each.type] if each.type else None,
        )
        for each in configured
    )
