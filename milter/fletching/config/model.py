"""Every option, declared once: name, type, default, bounds, and a description.

`sections.py` has the smaller sections. A configuration is an immutable value: it reads no file and
no clock. `load.py` makes one from a file.

Names that options define (VirtualMTAs, Mail Classes) are compared without case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from fletching.config.added_headers import AddedHeaders, Repair, no_headers
from fletching.config.classes import (
    MailClass,
    Mode,
    Reaction,
    Suppress,
    TrackerFormat,
    UnsubscribeTag,
)
from fletching.config.fields import (
    Address,
    ClassName,
    Delimiter,
    Different,
    Duration,
    DurationOrZero,
    Empty,
    File,
    Frozen,
    Host,
    HostPattern,
    Label,
    Login,
    Messages,
    MilterSocket,
    MtaName,
    RedisUrl,
    Retention,
    ServerId,
    Service,
    Several,
    Size,
    Switch,
    TimeZone,
    UrlDomain,
    Workers,
)
from fletching.config.rules import Place, Rule
from fletching.config.sections import (
    Archive,
    Bounces,
    BounceThresholds,
    Dkim,
    DkimKey,
    Events,
    Lmtp,
    Metrics,
    Options,
    Postfix,
    Track,
    Trusted,
    User,
    Web,
)
from fletching.config.seeding import Seed, SeedEntry, Seeds
from fletching.config.steering import DialectName, HeaderAliases
from fletching.config.virtual_mtas import VirtualMta

__all__ = [
    "Archive",
    "BounceThresholds",
    "Bounces",
    "Config",
    "Dkim",
    "DkimKey",
    "Events",
    "Lmtp",
    "MailClass",
    "Seed",
    "Track",
    "Trusted",
    "User",
    "VirtualMta",
    "Web",
]


def _none() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that a configuration comes from, and the lines of its options.

    It makes no difference to what the configuration means, so all are equal.
    """

    file: str = field(default="", compare=False)
    lines: Mapping[Place, int] = field(default_factory=dict, compare=False)

    def at(self, *place: str | int) -> str:
        """`FILE:LINE` of an option; empty if it is not in the file."""
        return f"{self.file}:{self.lines[place]}" if place in self.lines else ""


class Config(Options):
    """The whole configuration file."""

    listen: MilterSocket = "unix:/run/fletching/milter.sock"
    """Milter listen socket."""
    mode: Mode = "live"
    """Whether mail is changed (`live`), or all changes are only computed and logged, and nothing
    but control headers is removed (`shadow`, docs/shadow.md)."""
    shadow_keeps_headers: Switch = False
    """Keep the control headers of mail in shadow; only for a server behind Postfix that reads and
    removes them, such as GreenArrow."""
    workers: Workers = "auto"
    """The number of worker processes of the milter, and of the web server; `auto`: one for each
    processor, and each milter worker is then pinned to a processor."""
    worker_max_messages: Messages = 100_000
    """Recycle a milter worker after this many messages, staggered; 0 = never; its open sessions
    are finished first."""
    redis: RedisUrl = Field(default="redis://127.0.0.1:6379/0", repr=False)
    """The Redis that all hosts share; `embedded` starts a private redis-server in `state_dir`."""
    state_dir: File = Path("/var/lib/fletching")
    """The directory for the daemons' state files."""
    timezone: TimeZone | None = None
    """The time zone of the date that replaces a missing InstanceID; default: the system's."""
    campaign_window: Duration = 21 * 86400
    """How long a campaign accepts messages with its SendID, counted from its first message."""
    stats_retention: Retention = 400 * 86400
    """How long statistics are kept after `campaign_window` and `bounce_memory` have ended; a change
    applies to new campaigns."""
    server_id: ServerId | None = None
    """The name of this host in events; default: the host name."""
    on_invalid_header: Reaction = "ignore"
    """What to do with an invalid control header: ignore it with a warning, or refuse the mail."""
    on_store_failure: Literal["tempfail", "untracked"] = "tempfail"
    """What to do with mail while Redis does not answer: reply 451, so that the application tries
    again, or send it without tracking."""
    max_rewrite_size: Size = 5 * 2**20
    """The body of a larger message is not rewritten."""
    trusted: Annotated[Trusted, Empty] = Field(default_factory=Trusted)
    """Which clients may use control headers."""
    users: Annotated[Mapping[Login, Annotated[User, Empty]], Empty, Frozen] = Field(
        default_factory=_none
    )
    """Settings for individual SMTP AUTH logins. `crm` also matches `crm@REALM`, unless there is an
    entry for the full name."""
    default_mail_class: ClassName | None = None
    """The Mail Class of trusted mail for which neither X-GreenArrow-MailClass nor the login selects
    one."""
    bounce_mailbox: Address | None = None
    """The bounce mailbox, which becomes the return path; default: the envelope
    sender is not changed."""
    recipient_delimiter: Delimiter = "+"
    """The character between the bounce mailbox and the VERP tag."""
    verp: Switch = True
    """Add a VERP tag, which identifies the message, to the return path."""
    bounce_memory: Duration = 10 * 86400
    """How long Redis keeps the recipient, ListID and Click-Tracking-ID for each VERP tag, by which
    bounces are attributed."""
    bounces: Annotated[Bounces, Empty] = Field(default_factory=Bounces)
    """How bounces are read, and when an address is bad."""
    trace_memory: DurationOrZero = 7 * 86400
    """How long Redis keeps the trace of each message (`fletching trace`); 0: no traces."""
    unsubscribe_mailbox: Address | None = None
    """The mailbox of mailto: unsubscribes; default: List-Unsubscribe has no mailto: part."""
    feedback_mailbox: Address | None = None
    """The mailbox that is registered for feedback loops, to which providers send complaints."""
    url_domain: UrlDomain | None = None
    """The scheme and host of tracking links."""
    tracker_format: TrackerFormat = "b"
    """The format of tracking URLs: a `/click/TOKEN`, b `/click?TOKEN`, c `/click?qs=TOKEN`."""
    link_keys: File | None = None
    """The file with the keys that encrypt and authenticate tokens, created by `fletching key new`;
    required if a class tracks or adds List-Unsubscribe."""
    untracked_hosts: Annotated[tuple[HostPattern, ...], Several] = ()
    """Hosts whose links are not tracked."""
    preserve_visible_urls: Switch = True
    """Do not change a link whose visible text is itself a URL."""
    one_click: Switch = True
    """Add List-Unsubscribe-Post to unsubscribe links made by Fletching."""
    unsubscribe_tag: UnsubscribeTag = "confirm"
    """What a link made from ##unsubscribetag## does: show a page with a button, or unsubscribe at
    once."""
    suppress: Suppress = "off"
    """What to do with mail to an address on the suppression list of its ListID (unsubscribed,
    complained, bad, or added by hand): deliver, deliver with a warning, or reject. Of a mail to
    several recipients, `refuse` removes those who are suppressed, and rejects it if all are."""
    routed_mailers: Annotated[tuple[Service, ...], Several] = ("smtp", "relay")
    """The Postfix transports whose mail may be routed to a VirtualMTA; `unknown` is mail whose
    transport Postfix does not report, such as mail from sendmail(1)."""
    route_by: Literal["header", "sender"] = "header"
    """How Postfix learns the transport: from a header field that milter_header_checks matches, or
    from the envelope sender, which sender_dependent_default_transport_maps looks up."""
    mail_classes: Annotated[Mapping[ClassName, Annotated[MailClass, Empty]], Empty, Frozen] = Field(
        default_factory=_none
    )
    """The Mail Classes."""
    virtual_mtas: Annotated[Mapping[MtaName, Annotated[VirtualMta, Empty]], Empty, Frozen] = Field(
        default_factory=_none
    )
    """The VirtualMTAs."""
    seed_lists: Annotated[
        Mapping[Label, Annotated[tuple[SeedEntry, ...], Several]], Empty, Frozen
    ] = Field(default_factory=_none)
    """Lists of mailboxes that receive seed copies; each entry is an address, or has options."""
    seeds: Annotated[Seeds, Empty] = Field(default_factory=Seeds)
    """How seed copies are sent."""
    header_aliases: HeaderAliases = Field(default_factory=_none)
    """Headers of other systems that set a control, as the control header would, which wins over
    them. Of two that set the same control, the first one here wins."""
    dialects: Annotated[tuple[DialectName, ...], Several, Different] = ()
    """Vendors whose headers are read like control headers (docs/dialects.md). Control headers and
    aliases win over them; of two dialects, the first one here wins."""
    rules: Annotated[tuple[Rule, ...], Several] = ()
    """Rules that steer trusted mail by what it already has."""
    providers: Annotated[Mapping[Label, Annotated[tuple[Host, ...], Several]], Empty, Frozen] = (
        Field(default_factory=_none)
    )
    """Mailbox providers with their recipient domains, which extend the built-in table."""
    add_headers: Annotated[AddedHeaders, Empty] = Field(default_factory=no_headers)
    """Header fields to add to mail that has a Mail Class, unless the mail has them."""
    repair: Annotated[Repair, Empty] = Field(default_factory=Repair)
    """Which missing header fields are added to mail that has a Mail Class."""
    dkim: Annotated[Dkim, Empty] = Field(default_factory=Dkim)
    """DKIM signatures."""
    web: Web | None = None
    """The web server for tracking links, and the dashboard."""
    lmtp: Lmtp | None = None
    """The LMTP server for bounces, complaints and unsubscribes by mail; without this section, it
    does not run."""
    postfix: Postfix | None = None
    """Where Fletching reads what Postfix does."""
    metrics: Metrics | None = None
    """The server for metrics and health of this host; without this section, it does not run."""
    events: Events | None = None
    """Delivery of events to other systems."""

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @model_validator(mode="after")
    def _named(self) -> Config:
        for name, mail_class in self.mail_classes.items():
            mail_class._name = name
        for name, virtual_mta in self.virtual_mtas.items():
            virtual_mta._name = name
        return self

    def user_name(self, login: str | None) -> str | None:
        """The entry of `users` for an SMTP AUTH login: its full name, else the part before `@`."""
        for name in (login, (login or "").rpartition("@")[0]):
            if name in self.users:
                return name
        return None

    def where(self, *place: str | int) -> str:
        """`FILE:LINE` of an option or a section; empty if it is not in the file."""
        return self._origin.at(*place)

    def rule_source(self, number: int) -> str:
        """What a rule is called: its name, else its number, counted from 1, and its line."""
        place = self.where("rules", number)
        return self.rules[number].name or f"rule {number + 1}" + (place and f" ({place})")

    @cached_property
    def rules_need_body(self) -> bool:
        """Whether the body of mail matters to a rule."""
        return any(each.needs_body for each in self.rules)

    @property
    def recipient_files(self) -> list[tuple[Place, Path]]:
        """Every file of `recipient_in`, with the place of its option."""
        return [found for n, each in enumerate(self.rules) for found in each.files(("rules", n))]

    def mail_class(self, name: str) -> MailClass | None:
        """The Mail Class of that name, compared without case."""
        return self._mail_classes.get(name.lower())

    @cached_property
    def uses_shadow(self) -> bool:
        """Whether any mail may be in shadow."""
        classes = self.mail_classes.values()
        return self.mode == "shadow" or any(
            each.mode == "shadow" or bool(each.shadow) for each in classes
        )

    @cached_property
    def is_all_in_shadow(self) -> bool:
        """Whether all mail of trusted clients is in shadow, whatever its class, and all of it
        keeps its control headers or all of it loses them."""
        keeps = (None, self.shadow_keeps_headers)
        return self.mode == "shadow" and all(
            each.mode != "live" and each.shadow in (None, 1) and each.shadow_keeps_headers in keeps
            for each in self.mail_classes.values()
        )

    def measured(self, mail_class: str) -> frozenset[str]:
        """Which numbers are measured for mail of a class: `opens`, `clicks`, `unsubscribes`,
        `deliveries`, `bounces`, `complaints`, `seeds`.

        For a class that no longer exists, opens, clicks and unsubscribes may have been.
        """
        if self.link_keys is None:
            return frozenset()
        found = self.mail_class(mail_class)
        reads_log = self.postfix is not None and self.postfix.log is not None
        measured = {
            "opens": found is None or found.track.opens,
            "clicks": found is None or found.track.clicks,
            # With `aggregate`, no link names a recipient who could be unsubscribed.
            "unsubscribes": found is None or found.privacy == "full",
            "deliveries": reads_log,
            "bounces": reads_log or self.lmtp is not None,
            "complaints": self.lmtp is not None,
            "seeds": bool(self.seed_lists),
        }
        return frozenset(name for name, is_measured in measured.items() if is_measured)

    def bounces_of(self, mail_class: str) -> Bounces:
        """The bounce options with the thresholds of a class, compared without case."""
        found = self.mail_class(mail_class)
        if found is None or found.bounces is None:
            return self.bounces
        return self.bounces.model_copy(update=found.bounces.model_dump(exclude_none=True))

    def virtual_mta(self, name: str) -> VirtualMta | None:
        """The VirtualMTA of that name, compared without case."""
        return self._virtual_mtas.get(name.lower())

    @cached_property
    def seed_addresses(self) -> Mapping[str, tuple[str, ...]]:
        """The addresses of each seed list, in lower case."""
        return {
            name: tuple(seed.address.lower() for seed in seeds)
            for name, seeds in self.seed_lists.items()
        }

    @cached_property
    def _mail_classes(self) -> Mapping[str, MailClass]:
        return {name.lower(): found for name, found in self.mail_classes.items()}

    @cached_property
    def _virtual_mtas(self) -> Mapping[str, VirtualMta]:
        return {name.lower(): found for name, found in self.virtual_mtas.items()}

    @cached_property
    def own_hosts(self) -> frozenset[str]:
        """Host or host:port of every URL domain, in lower case."""
        domains = [self.url_domain, *(each.url_domain for each in self.mail_classes.values())]
        return frozenset(found.partition("://")[2] for found in domains if found is not None)

    @cached_property
    def transports(self) -> frozenset[str]:
        """All Postfix transports that mail can be routed to."""
        found = (each.transport for each in self.virtual_mtas.values())
        return frozenset(each for each in found if each is not None)

    @cached_property
    def routes(self) -> frozenset[str]:
        """All routes that mail can have: a transport, perhaps with a next hop."""
        return frozenset(each.route for each in self.virtual_mtas.values() if each.route)
