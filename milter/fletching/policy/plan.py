"""The Plan: what was decided about one mail, and why (docs/mail.md).

Here live the values that all decisions end in. They are made in `terms.py` and `decide.py`, and
after that nobody reads configuration. What depends on the message's number is in `marks.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fletching.config.model import MailClass
from fletching.mail.dkim import Signature
from fletching.policy.route import Route


class Reason(NamedTuple):
    """One decision: what was decided, and by what."""

    setting: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The answer to the client: reply code, enhanced code (RFC 3463) and one sentence."""

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}"


@dataclass(frozen=True, slots=True)
class Tracking:
    """What happens to the body (docs/tracking.md).

    ``body`` false: it stays as it is. ``text``: links in plain text are click links too. ``domain``
    is the URL domain, None where there is none; ``form`` is a, b or c. ``trap``: HTML gets a link
    that no person sees, so that who follows it is known to be a program.
    """

    body: bool = False
    clicks: bool = False
    opens: bool = False
    text: bool = False
    trap: bool = False
    domain: str | None = None
    form: str = "b"
    own_hosts: frozenset[str] = frozenset()
    untracked_hosts: tuple[str, ...] = ()
    preserve_visible_urls: bool = True
    largest: int = 0


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """The List-Unsubscribe field to add (docs/unsubscribe.md).

    ``url`` is the one from the header, ``own`` asks for a link of ours instead; ``post`` is the
    value of List-Unsubscribe-Post, None for no such field; ``mailbox`` takes mailto: unsubscribes.
    """

    url: str | None = None
    own: bool = False
    post: str | None = None
    mailbox: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done with one mail. Without ``mail_class``: remove, and perhaps sign.

    ``remove``: places of header fields. ``email`` is what stands for the recipient wherever it is
    written down, empty for nothing; ``logged`` the same for the log. ``route``: None for Postfix's
    own routing; with ``by_sender``, the return path tells Postfix the transport instead of a header
    field. ``suppress``: `report` or `refuse` where the suppression of the list is asked for
    ``email``, `off` where it is not.
    """

    trusted: bool
    remove: frozenset[int]
    mail_class: MailClass | None = None
    instance_id: str = ""
    listid: str = ""
    monitor: str = ""
    click_tracking_id: str = ""
    email: str = ""
    suppress: str = "off"
    logged: tuple[str, ...] = ()
    route: Route | None = None
    bounce_mailbox: str | None = None
    verp: bool = False
    tracking: Tracking = Tracking()
    unsubscribe: Unsubscribe | None = None
    signatures: tuple[Signature, ...] = ()
    seed: bool | None = None
    seed_progress: float | None = None
    untracked_without_store: bool = False
    window: int = 0
    bounce_memory: int = 0
    delimiter: str = "+"
    by_sender: bool = False
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()
    refusal: Refuse | None = None

    @property
    def nothing(self) -> bool:
        """The mail leaves as it came."""
        return not (self.remove or self.mail_class or self.signatures)

    @property
    def sendid(self) -> str:
        """Class name and InstanceID in one (docs/campaigns.md, "SendID")."""
        return (self.mail_class.name if self.mail_class else "") + self.instance_id
