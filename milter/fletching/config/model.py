"""Every option, declared once: name, type, default, bounds, and one sentence.

Here lives what an admin can say and what it means to the program; `sections.py` has the smaller
sections. A configuration is a value: it reads no file, asks no clock, and does not change.
`load.py` makes one from a file.

A name that another option defines (a VirtualMTA, a Mail Class) is compared without regard to case.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from fletching.config.fields import (
    Address,
    ClassName,
    Delimiter,
    Duration,
    Empty,
    File,
    Frozen,
    Host,
    HostPattern,
    IpAddress,
    Label,
    ListId,
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
    Weight,
    Workers,
)
from fletching.config.sections import (
    Archive,
    Dkim,
    DkimKey,
    Events,
    Lmtp,
    Options,
    Seed,
    Track,
    Trusted,
    User,
    Web,
    lack,
)

__all__ = [
    "Archive",
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

Reaction = Literal["ignore", "reject"]
TrackerFormat = Literal["a", "b", "c"]
UnsubscribeTag = Literal["confirm", "immediate"]


def _off(value: object) -> object:
    """A bare `off` is false to YAML."""
    return "off" if value is False else value


Suppress = Annotated[Literal["off", "report", "refuse"], BeforeValidator(_off)]

# Options that are read and checked, and on which this version does not act yet.
LATER = ("seed_lists", "lmtp")
LATER_OF_A_CLASS = ("seed", "archive")


def _none() -> Mapping[str, Any]:
    return MappingProxyType({})


class MailClass(Options):
    """How the mail of one kind is treated.

    An option that is not given here, and that there is globally too, is as it is globally.
    """

    list_id: ListId | None = None
    """The ListID of mail that has no X-GreenArrow-ListID."""
    virtual_mta: MtaName | None = None
    """The VirtualMTA of mail that has no X-GreenArrow-MtaID; without it, Postfix chooses the
    transport."""
    track: Annotated[Track, Empty] = Field(default_factory=Track)
    """What is tracked."""
    list_unsubscribe: Switch = True
    """Add List-Unsubscribe to mail that has none."""
    multiple_recipients: Literal["shared", "reject"] = "shared"
    """What to do with a mail to several recipients: send it with tokens that name no recipient,
    or refuse it."""
    privacy: Literal["full", "aggregate"] = "full"
    """With `aggregate`, neither recipient nor Click-Tracking-ID is written down."""
    seed: Seed | None = None
    """Send copies of each campaign to a seed list."""
    archive: Archive | None = None
    """Keep a share of the mail as it left."""
    bounce_mailbox: Address | None = None
    """The mailbox of the return path, in place of the global one."""
    unsubscribe_mailbox: Address | None = None
    """The mailbox of mailto: unsubscribes, in place of the global one."""
    url_domain: UrlDomain | None = None
    """Where tracking links point to, in place of the global one."""
    tracker_format: TrackerFormat | None = None
    """The form of tracking URLs, in place of the global one."""
    on_invalid_header: Reaction | None = None
    """What an invalid control header does, in place of the global setting."""
    verp: Switch | None = None
    """Whether the return path carries a tag, in place of the global setting."""
    one_click: Switch | None = None
    """Whether one-click unsubscribe is offered, in place of the global setting."""
    unsubscribe_tag: UnsubscribeTag | None = None
    """What an unsubscribe link does, in place of the global setting."""
    suppress: Suppress | None = None
    """What becomes of mail to addresses that its list must not write to, in place of the global
    setting."""
    untracked_hosts: tuple[HostPattern, ...] | None = None
    """Hosts whose links are left alone, in place of the global list."""
    preserve_visible_urls: Switch | None = None
    """Whether visible URLs keep their link, in place of the global setting."""

    _name: str = PrivateAttr("")

    @cached_property
    def name(self) -> str:
        """The name as configured: the first half of a SendID."""
        return self._name


class VirtualMta(Options):
    """A way out of Postfix: a single transport, or a pool of such.

    Either `transport` is given or `pool`, never both.
    """

    transport: Service | None = None
    """The Postfix transport: the name of a service in master.cf."""
    address: IpAddress | None = None
    """The source address of the transport (`fletching postfix` writes it)."""
    helo: Host | None = None
    """The EHLO name of the transport (`fletching postfix` writes it)."""
    fallback: MtaName | None = None
    """The single VirtualMTA that takes the mail while this one is paused."""
    pool: Annotated[Mapping[MtaName, Weight], Frozen] | None = None
    """In place of a transport: the single VirtualMTAs that share the mail, each with its weight."""
    sticky: Literal["message", "campaign", "recipient_domain"] = "message"
    """What stays on one member of the pool: each message by itself, all of a SendID, or all that go
    to one domain."""

    _name: str = PrivateAttr("")

    @cached_property
    def name(self) -> str:
        """The name as configured."""
        return self._name

    @model_validator(mode="after")
    def _one_kind(self) -> VirtualMta:
        if self.transport is None and self.pool is None:
            raise lack("has neither transport nor pool: must have exactly one of them")
        if self.transport is not None and self.pool is not None:
            raise ValueError("has both transport and pool: must have exactly one of them")
        if self.pool is not None and not self.pool:
            raise lack("empty pool: must name at least one VirtualMTA")
        wrong = {"sticky"} if self.pool is None else {"address", "helo", "fallback"}
        if wrong := wrong & self.model_fields_set:
            kind = "a single VirtualMTA" if self.pool is None else "a pool"
            raise ValueError(f"{kind} must not have {' or '.join(sorted(wrong))}")
        return self


class Config(Options):
    """The whole file."""

    listen: MilterSocket = "unix:/run/fletching/milter.sock"
    """Where the milter waits for Postfix."""
    workers: Workers = "auto"
    """The processes of the milter, and of the web server; `auto`: as many as processors. With
    as many as processors, each process of the milter stays on one."""
    worker_max_messages: Messages = 100_000
    """After how many mails a process of the milter is replaced by a fresh one, while its open
    sessions go on to their end; some earlier, so that it is not all of them at once. 0: never."""
    redis: RedisUrl = Field(default="redis://127.0.0.1:6379/0", repr=False)
    """The Redis that the fleet shares; `embedded` starts a private one in `state_dir`."""
    state_dir: File = Path("/var/lib/fletching")
    """The folder of everything the daemons keep on disk."""
    timezone: TimeZone | None = None
    """The zone of the date that stands in for an InstanceID; default: the system's."""
    campaign_window: Duration = 21 * 86400
    """How long after its first message a campaign takes in more with its SendID."""
    stats_retention: Retention = 400 * 86400
    """How long the statistics of a campaign are kept, once it takes in no more and none of its
    bounces can be attributed by the tag alone; it counts for campaigns that begin from now on."""
    server_id: ServerId | None = None
    """This host's name in events; default: the host name."""
    on_invalid_header: Reaction = "ignore"
    """What an invalid control header does: it is ignored with a warning, or the mail is refused."""
    on_store_failure: Literal["tempfail", "untracked"] = "tempfail"
    """What happens to a mail while Redis does not answer: the application is told to try again,
    or it is sent without tracking."""
    max_rewrite_size: Size = 5 * 2**20
    """The body of a larger mail is not rewritten."""
    trusted: Annotated[Trusted, Empty] = Field(default_factory=Trusted)
    """Whose control headers count."""
    users: Annotated[Mapping[Login, Annotated[User, Empty]], Empty, Frozen] = Field(
        default_factory=_none
    )
    """What holds for single SMTP AUTH logins. `crm` stands for `crm@REALM` too, in every realm
    that has no entry of its own."""
    default_mail_class: ClassName | None = None
    """The Mail Class of trusted mail for which nothing else names one."""
    bounce_mailbox: Address | None = None
    """The mailbox of the return path; without it the envelope sender stays."""
    recipient_delimiter: Delimiter = "+"
    """What stands between the bounce mailbox and its tag."""
    verp: Switch = True
    """Put a tag that identifies the message into the return path."""
    bounce_memory: Duration = 10 * 86400
    """How long a bounce can be attributed by the tag alone."""
    unsubscribe_mailbox: Address | None = None
    """The mailbox of mailto: unsubscribes; without it List-Unsubscribe has no mailto: part."""
    url_domain: UrlDomain | None = None
    """Where tracking links point to."""
    tracker_format: TrackerFormat = "b"
    """The form of tracking URLs: a `/click/TOKEN`, b `/click?TOKEN`, c `/click?qs=TOKEN`."""
    link_keys: File | None = None
    """The keys that sign and encrypt tokens, made by `fletching key new`; needed where a class
    tracks or adds List-Unsubscribe."""
    untracked_hosts: Annotated[tuple[HostPattern, ...], Several] = ()
    """Hosts whose links are left alone."""
    preserve_visible_urls: Switch = True
    """Leave a link alone whose visible text is itself a URL."""
    one_click: Switch = True
    """Add List-Unsubscribe-Post to an unsubscribe link of our own."""
    unsubscribe_tag: UnsubscribeTag = "confirm"
    """What a link made by ##unsubscribetag## does: it shows a page with a button, or
    unsubscribes at once."""
    suppress: Suppress = "off"
    """What becomes of mail to an address on the suppression list of its ListID (unsubscribed,
    complained, bad, or entered by hand): it goes, it goes and is warned of, or it is refused. Mail
    to several recipients, or of a class with `privacy: aggregate`, goes in any case."""
    routed_mailers: Annotated[tuple[Service, ...], Several] = ("smtp", "relay")
    """The Postfix transports whose mail may be routed; `unknown` stands for mail whose transport
    Postfix does not tell, as from sendmail(1)."""
    route_by: Literal["header", "sender"] = "header"
    """How Postfix learns the transport: by header_checks, or by the envelope sender in
    sender_dependent_default_transport_maps."""
    mail_classes: Annotated[Mapping[ClassName, Annotated[MailClass, Empty]], Empty, Frozen] = Field(
        default_factory=_none
    )
    """The Mail Classes."""
    virtual_mtas: Annotated[Mapping[MtaName, Annotated[VirtualMta, Empty]], Empty, Frozen] = Field(
        default_factory=_none
    )
    """The VirtualMTAs."""
    seed_lists: Annotated[
        Mapping[Label, Annotated[tuple[Address, ...], Several]], Empty, Frozen
    ] = Field(default_factory=_none)
    """Lists of addresses that get seed copies."""
    dkim: Annotated[Dkim, Empty] = Field(default_factory=Dkim)
    """DKIM signatures."""
    web: Web | None = None
    """The server behind the tracking links."""
    lmtp: Lmtp | None = None
    """The server for bounces and complaints."""
    events: Events | None = None
    """Delivery of events."""

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

    def mail_class(self, name: str) -> MailClass | None:
        """The Mail Class of that name, in whatever case."""
        return self._mail_classes.get(name.lower())

    def measured(self, mail_class: str) -> frozenset[str]:
        """What is measured of mail of a class: `opens`, `clicks`, `unsubscribes`.

        Of a class that is not there any more, all of it may have been. A daemon that comes to count
        `bounces`, `complaints`, what was `delivered` or `seeds` says so here; without one, nothing
        is known of these, and 0 would be a guess.
        """
        if self.link_keys is None:
            return frozenset()
        found = self.mail_class(mail_class)
        if found is None:
            return frozenset({"opens", "clicks", "unsubscribes"})
        ways = {
            "opens": found.track.opens,
            "clicks": found.track.clicks,
            # No link of ours names anybody to unsubscribe.
            "unsubscribes": found.privacy == "full",
        }
        return frozenset(way for way, is_open in ways.items() if is_open)

    def virtual_mta(self, name: str) -> VirtualMta | None:
        """The VirtualMTA of that name, in whatever case."""
        return self._virtual_mtas.get(name.lower())

    @cached_property
    def _mail_classes(self) -> Mapping[str, MailClass]:
        return {name.lower(): found for name, found in self.mail_classes.items()}

    @cached_property
    def _virtual_mtas(self) -> Mapping[str, VirtualMta]:
        return {name.lower(): found for name, found in self.virtual_mtas.items()}

    @cached_property
    def own_hosts(self) -> frozenset[str]:
        """Host, or host:port, of every URL domain, in lower case."""
        domains = [self.url_domain, *(each.url_domain for each in self.mail_classes.values())]
        return frozenset(found.partition("://")[2] for found in domains if found is not None)

    @cached_property
    def transports(self) -> frozenset[str]:
        """Every Postfix transport that a mail can be routed to."""
        found = (each.transport for each in self.virtual_mtas.values())
        return frozenset(each for each in found if each is not None)

    @property
    def not_yet(self) -> tuple[str, ...]:
        """The parts of this configuration on which this version does not act yet."""
        parts = [name for name in LATER if getattr(self, name)]
        for name, mail_class in self.mail_classes.items():
            for option in LATER_OF_A_CLASS:
                if getattr(mail_class, option) is not None:
                    parts.append(f"mail_classes.{name}.{option}")
        return tuple(parts)
