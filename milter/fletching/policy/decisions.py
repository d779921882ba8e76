"""The decisions about one mail while they are made, and what they are made from.

Here are the two values that the deciding files of this folder work on: the mail as it was
submitted, and the record of what was decided, with sources, warnings and ignored values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from fletching.config.model import Config
from fletching.mail.envelope import Envelope, Recipient
from fletching.mail.message import Message
from fletching.policy.control import Control
from fletching.policy.offers import InvalidValue, RankedOffers, Setting
from fletching.policy.plan import Decision
from fletching.policy.setup import Setup, Stamp


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T")
N = TypeVar("N", bound=_Named)


class Decisions:
    """Collects decisions, warnings and invalid values, in the order in which they come up."""

    __slots__ = ("invalid", "made", "warnings")

    def __init__(self) -> None:
        self.made: list[Decision] = []
        self.warnings: list[str] = []
        self.invalid: list[InvalidValue] = []

    def choose(self, offers: RankedOffers, setting: Setting[T]) -> T | None:
        """The value of the strongest offer, which is recorded with its source; None without one."""
        best = offers.best(setting)
        if best is None:
            return None
        self.made.append(Decision(setting.name, best.value, best.source))
        return best.value

    def choose_named(
        self,
        offers: RankedOffers,
        setting: Setting[str],
        find: Callable[[str], N | None],
        rule: str,
    ) -> N | None:
        """What the strongest offer names. An offer whose name is unknown breaks the rule, and the
        next one counts.
        """
        for kind, (name, source) in offers.ranked(setting):
            found = find(name)
            if found is not None:
                self.record(setting.name, found.name, source)
                return found
            self.ignore(InvalidValue(kind, source, setting, rule))
        return None

    def record(self, setting: str, value: object, source: str) -> None:
        self.made.append(Decision(setting, value, source))

    def warn(self, *texts: str) -> None:
        self.warnings += texts

    def ignore(self, *invalid: InvalidValue) -> None:
        """Values that break a rule."""
        self.invalid += invalid

    def never_refuse_for(self, setting: Setting[Any]) -> None:
        """An invalid value of a setting that is ignored anyway is no reason to refuse the mail."""
        self.invalid = [
            replace(each, strict=False) if each.setting is setting else each
            for each in self.invalid
        ]

    def all_warnings(self) -> tuple[str, ...]:
        """Each warning once: first the invalid values."""
        return tuple(dict.fromkeys([*map(str, self.invalid), *self.warnings]))


@dataclass(frozen=True, slots=True)
class Submission:
    """One mail as it was submitted, with all that a decision about it may depend on.

    The message has a body, since it is the mail as it came; no decision looks at it. ``bcc``: the
    recipients that rules add to those of the envelope. ``original``: the message with the fields
    that rules remove, if they do.
    """

    message: Message
    envelope: Envelope
    control: Control
    setup: Setup
    stamp: Stamp
    bcc: tuple[Recipient, ...] = ()
    original: Message | None = None

    @property
    def config(self) -> Config:
        return self.setup.config

    def positions(self, name: bytes) -> frozenset[int]:
        """Where the fields of that name are. ``name`` in lower case."""
        found = self.message.all(name)
        return frozenset(each.position for each in found if each.position is not None)

    @property
    def has_several_recipients(self) -> bool:
        """Whether it was sent to more than one mailbox."""
        return len({each.mailbox for each in self.envelope.recipients}) > 1

    @property
    def shares_body(self) -> bool:
        """Whether one body goes to more than one mailbox."""
        return bool(self.bcc) or self.has_several_recipients

    @property
    def everyone(self) -> tuple[Recipient, ...]:
        """All recipients."""
        return self.envelope.recipients + self.bcc
