"""The options that limit how much mail a VirtualMTA sends: fixed caps, and a warm-up.

Declared as in `model.py`. What a cap means for a mail is decided in `policy/limits.py`. Pure.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, Strict, model_validator

from fletching.config.fields import Count, OptionType
from fletching.config.sections import Options, lack

Per = Literal["provider", "all"]
OverLimit = Literal["tempfail", "default_transport"]


def _day(value: object) -> date:
    """A date as text, as YAML has it."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError("must be a date, such as 2026-12-01")


def _growth(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 < value <= 100:
        return float(value)
    raise ValueError("must be a number greater than 1, and at most 100")


Day = Annotated[date, PlainValidator(_day), OptionType("date, `YYYY-MM-DD`")]
Growth = Annotated[float, PlainValidator(_growth), OptionType("number above 1, up to 100")]
Most = Annotated[int, Strict(), Field(ge=1, le=1_000_000_000), OptionType("whole number from 1")]


class Limits(Options):
    """How many recipients a VirtualMTA may have in an hour and in a day, over all hosts.

    At least one of `hour` and `day` must be set.
    """

    hour: Most | None = None
    """The most recipients in an hour, from minute 0 to minute 59 of UTC."""
    day: Most | None = None
    """The most recipients in a day of `timezone`."""
    per: Per = "provider"
    """Whether each mailbox provider (`providers`) has this limit, or all recipients together."""

    @model_validator(mode="after")
    def _any(self) -> Limits:
        if self.hour is None and self.day is None:
            raise lack("has neither hour nor day: must have at least one of them")
        return self


class Warmup(Options):
    """A limit for each day that grows from day to day, for a new address.

    The limit of a day is `start` * `growth` ^ (days since `since`), at most `until`. From the day
    after `until` is reached, there is none. Before `since`, the VirtualMTA gets no mail.
    """

    since: Day
    """The first day, in `timezone`."""
    start: Count
    """The most recipients on the first day."""
    growth: Growth
    """The factor from each day to the next."""
    until: Count
    """The limit at which the warm-up ends."""
    per: Per = "provider"
    """Whether each mailbox provider (`providers`) has this limit, or all recipients together."""

    @model_validator(mode="after")
    def _rises(self) -> Warmup:
        if self.until <= self.start:
            raise ValueError(f"until must be greater than start ({self.start})")
        return self

    def cap(self, day: date) -> int | None:
        """The most recipients on a day; None: the warm-up is over."""
        days = (day - self.since).days
        if days < 0:
            return 0
        if self._rise(days - 1) >= self.until:
            return None
        return int(min(self._rise(days), self.until))

    def _rise(self, days: int) -> float:
        """The limit of a day without `until`; infinite where it is too large for a number."""
        try:
            # The small addend: 100 * 1.1 ^ 2 is 121, not 120.99999999999999.
            return self.start * self.growth**days + 1e-6 if days >= 0 else 0.0
        except OverflowError:
            return float("inf")
