"""A mail, or a kind of mail, while it is decided about: what may be seen, and what was decided.

Here live the values that the deciding rooms (`decide.py`, `terms.py`, `ways.py`) work on. The body
of the mail is there, since it is part of the mail, and may not be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from fletching.config.model import Config
from fletching.mail.dkim import SigningKey
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message
from fletching.policy.control import Control, Problem
from fletching.policy.plan import Reason

T = TypeVar("T")


class Ledger:
    """Decisions, warnings and invalid headers, in the order they come up."""

    def __init__(self) -> None:
        self.reasons: list[Reason] = []
        self.warnings: list[str] = []
        self.problems: list[Problem] = []

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


class MailKind(NamedTuple):
    """What mails to different readers have in common, as far as anything is decided by it.

    ``day`` stands in for an InstanceID, and is empty where there is one. ``null_sender``: it is a
    bounce or the like. ``notification``: Postfix itself has made it. ``mailers`` as in `Envelope`;
    all the others as in `Control`.
    """

    login: str | None
    notification: bool
    null_sender: bool
    mailers: tuple[str | None, ...]
    day: str
    mail_class: str | None
    instance_id: str | None
    list_id: str | None
    mta_id: str | None
    bounce_mailbox: str | None
    url_domain: str | None
    click_tracking: bool | None
    tracker_format: str | None


@dataclass(frozen=True, slots=True)
class KindCase:
    """All that a decision about a kind of mail may look at, and the ledger that it goes into.

    ``paused``: names of VirtualMTAs in lower case.
    """

    kind: MailKind
    config: Config
    paused: frozenset[str]
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class Case:
    """All that a decision about one mail may look at, and the ledger that it goes into."""

    asked: Control
    message: Message
    envelope: Envelope
    config: Config
    keys: tuple[SigningKey, ...]
    ledger: Ledger

    @property
    def shared(self) -> bool:
        """Whether several recipients get the one body."""
        return len({to.mailbox for to in self.envelope.recipients}) > 1
