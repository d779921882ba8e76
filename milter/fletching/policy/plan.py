"""The Plan: what was decided about one mail, and why.

Here are the values that all decisions end in. The other files of this folder make them; after that
nothing reads the configuration. What depends on the message's number is in
`outgoing/identifiers.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from fletching.config.model import Archive, MailClass
from fletching.mail.dkim import Signature
from fletching.numbering import Period
from fletching.policy.offers import RankedOffers
from fletching.policy.seed_copy import SeedCopy
from fletching.policy.verdict import Refusal


class Decision(NamedTuple):
    """One decision: the setting, its value, and the source of the value."""

    setting: str
    value: object
    source: str

    @property
    def text(self) -> str:
        """The value as it is shown."""
        if isinstance(self.value, bool):
            return "yes" if self.value else "no"
        if isinstance(self.value, tuple):
            return "; ".join(map(str, self.value)) or "none"
        return str(self.value)


class Member(NamedTuple):
    """A single VirtualMTA and its Postfix transport. ``weight``: its share in a pool. ``relay``:
    the next hop of all its mail, empty for the recipient's domain. ``periods``: its limits.
    """

    name: str
    transport: str
    weight: int = 1
    relay: str = ""
    periods: tuple[Period, ...] = ()

    @property
    def route(self) -> str:
        """The transport, and the next hop if there is one, as `VirtualMta.route`."""
        return f"{self.transport}:{self.relay}" if self.relay else self.transport


@dataclass(frozen=True, slots=True)
class Tracking:
    """What happens to the body (docs/tracking.md).

    ``body`` false: it stays as it is. ``text``: links in plain text are click links too. ``domain``
    is the URL domain, None if there is none; ``form`` is a, b or c. ``trap``: HTML gets a link
    that no person sees, so that a client that follows it is known to be a program.
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

    ``url`` is the one that the mail asks for; ``own`` adds our own link instead; ``post`` is the
    value of List-Unsubscribe-Post, None for no such field; ``mailbox`` takes mailto: unsubscribes.
    """

    url: str | None = None
    own: bool = False
    post: str | None = None
    mailbox: str | None = None


class AddedHeader(NamedTuple):
    """A header field to add. ``pieces``: its value, as texts, and as names of placeholders (then
    True) that are filled in once the store has answered."""

    name: str
    pieces: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        """The value as far as it is known."""
        return "".join(text for text, is_name in self.pieces if not is_name)

    @property
    def is_empty(self) -> bool:
        return not any(is_name or text.strip() for text, is_name in self.pieces)


@dataclass(frozen=True, slots=True)
class Seeding:
    """The seed list of a campaign. ``seeds``: addresses in lower case, in the order in which they
    are due. ``start`` and ``end``: the message numbers at which the first and the last one are.
    ``progress``: the percentage of the campaign that is sent, which counts instead of the numbers.
    """

    list: str
    seeds: tuple[str, ...]
    start: int
    end: int
    progress: float | None = None


@dataclass(frozen=True, slots=True)
class CheckMail:
    """What a check mail says of itself. ``sink``: the next hop where it ends, `[ADDRESS]:PORT`."""

    sink: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done with one mail. Without ``mail_class``: remove, and perhaps sign, route, or
    act as a rule says.

    ``remove``: positions of header fields. ``email`` stands for the recipient wherever it is
    recorded, empty if it is recorded nowhere; ``logged`` is the same for the log.
    ``candidates``: the VirtualMTAs that may carry the mail, best first; none for Postfix's own
    routing. With ``by_sender``, the return path tells Postfix the transport, not a header field.
    ``counted``: how many recipients count at each provider, if the candidates have limits.
    ``unrouted_over_limit``: without room, Postfix chooses the transport; else the mail is refused.
    ``suppress``: `report` or `refuse` if the store is to look up ``recipients`` in the suppression
    list of ``listid``, `off` if not. ``recipients``: their addresses, or what stands for a single
    one. ``removed``: addresses of the envelope that do not get the mail; ``added``: further ones
    that do. ``hold``: why the mail is put on hold. ``redirected``, ``rejected``, ``discarded``:
    the rule that does so. ``headers``: fields to add, beside those that identify the message.
    ``archive``: where a copy is kept. ``hides_recipient``: the recipient's address is obscured.
    ``seeding``: whose campaign is copied to seeds. ``seed_copy``: this mail is such a copy.
    ``check_mail``: `fletching check --live` has submitted this mail.
    ``campaign_ids``: positions of X-CampaignID that the campaign's id replaces, None for no id.
    ``subject``: what is stored of the Subject if this mail opens a campaign.
    ``shadow``: the positions of the only header fields that are removed from a mail in shadow, and
    nothing else is done to it; None: the mail is live.
    ``offers``: what the decisions were made from, for `fletching explain`.
    """

    trusted: bool
    remove: frozenset[int]
    mail_class: MailClass | None = None
    instance_id: str = ""
    listid: str = ""
    monitor: str = ""
    subject: str = ""
    click_tracking_id: str = ""
    email: str = ""
    suppress: str = "off"
    recipients: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    hold: str | None = None
    redirected: str | None = None
    rejected: str | None = None
    discarded: str | None = None
    headers: tuple[AddedHeader, ...] = ()
    logged: tuple[str, ...] = ()
    candidates: tuple[Member, ...] = ()
    counted: tuple[tuple[str, int], ...] = ()
    unrouted_over_limit: bool = False
    bounce_mailbox: str | None = None
    verp: bool = False
    tracking: Tracking = Tracking()
    unsubscribe: Unsubscribe | None = None
    signatures: tuple[Signature, ...] = ()
    seeding: Seeding | None = None
    seed_copy: SeedCopy | None = None
    check_mail: CheckMail | None = None
    campaign_ids: frozenset[int] | None = None
    untracked_without_store: bool = False
    window: int = 0
    bounce_memory: int = 0
    archive: Archive | None = None
    hides_recipient: bool = False
    delimiter: str = "+"
    by_sender: bool = False
    shadow: frozenset[int] | None = None
    decisions: tuple[Decision, ...] = ()
    offers: RankedOffers | None = field(default=None, repr=False, compare=False)
    warnings: tuple[str, ...] = ()
    refusal: Refusal | None = None

    @property
    def member(self) -> Member | None:
        """The VirtualMTA that carries the mail."""
        return self.candidates[0] if self.candidates else None

    @property
    def counts_nowhere(self) -> bool:
        """Whether neither the mail nor what comes back of it is counted, or suppresses anybody."""
        return self.seed_copy is not None or self.check_mail is not None

    @property
    def nothing(self) -> bool:
        """The mail leaves as it came."""
        return not (
            self.remove
            or self.mail_class
            or self.signatures
            or self.candidates
            or self.headers
            or self.removed
            or self.added
            or self.hold
            or self.discarded
        )

    @property
    def in_shadow(self) -> Plan:
        """What is done to a mail in shadow. Class and names stay, for the log."""
        return Plan(
            trusted=self.trusted,
            remove=self.shadow or frozenset(),
            mail_class=self.mail_class,
            instance_id=self.instance_id,
            listid=self.listid,
            logged=self.logged,
            shadow=self.shadow,
            decisions=self.decisions,
            offers=self.offers,
        )

    @property
    def sendid(self) -> str:
        """Class name and InstanceID in one (docs/campaigns.md, "SendID")."""
        return (self.mail_class.name if self.mail_class else "") + self.instance_id
