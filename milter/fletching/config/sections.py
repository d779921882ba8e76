"""The independent sections of the file: trust, users, tracking, seeds, DKIM, servers, events.

Declared as in `model.py`, which puts them together. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from fletching.config import values
from fletching.config.fields import (
    Address,
    ClassName,
    Count,
    DaemonName,
    Different,
    Duration,
    Empty,
    File,
    Frozen,
    HeaderName,
    HeaderValue,
    Host,
    InnerPath,
    Label,
    Networks,
    Pattern,
    PostfixLog,
    ProxyUrl,
    Selector,
    ServerSocket,
    Several,
    Share,
    Size,
    SmtpServer,
    SqlUrl,
    Switch,
    WebUrl,
)

EventType = Literal[
    "engine_click",
    "engine_open",
    "engine_unsub",
    "scomp",
    "bounce_all",
    "bounce_bad_address",
    "delivery_attempt",
    "message_prepared",
    "seed_sent",
]


BounceReason = Literal[
    "user_unknown",
    "mailbox_full",
    "mailbox_disabled",
    "domain_unknown",
    "no_mail_service",
    "expired",
    "network",
    "too_big",
    "content",
    "spam",
    "virus",
    "policy",
    "auth_failure",
    "blocked",
    "rate_limited",
    "sender_rejected",
    "recipient_filtered",
    "relay_denied",
    "protocol",
    "system",
    "moved",
    "other",
]


def lack(rule: str) -> PydanticCustomError:
    """An error that may only result from a removed invalid option; then it is not reported."""
    return PydanticCustomError("lack", "{rule}", {"rule": rule})


class Options(BaseModel):
    """A section of the file."""

    # A value may be a password, so no error of pydantic may show it.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    @classmethod
    def by_name(cls) -> Mapping[str, FieldInfo]:
        """The options by their names in the file; a keyword of Python has an alias here."""
        return {each.alias or name: each for name, each in cls.model_fields.items()}


class Trusted(Options):
    """Which clients may use control headers."""

    authenticated: Switch = True
    """Trust a client that has authenticated with SMTP AUTH."""
    networks: Networks = (values.network("127.0.0.0/8"), values.network("::1/128"))
    """Trust a client whose address is in one of these networks."""
    services: Annotated[tuple[DaemonName, ...], Several, Different] = ()
    """The smtpd services where `networks` are trusted, by `milter_macro_daemon_name`; empty: every
    service. Needed if a content filter returns mail of untrusted clients from a trusted
    address."""


class User(Options):
    """Settings for the mail of one SMTP AUTH login."""

    force_mail_class: ClassName | None = None
    """The Mail Class of all mail of this login, even if X-GreenArrow-MailClass names another."""
    mail_class: ClassName | None = None
    """The Mail Class of mail of this login without X-GreenArrow-MailClass."""


class Track(Options):
    """Which tracking is added to the mail of a class."""

    clicks: Switch = False
    """Rewrite links in HTML into click links."""
    opens: Switch = False
    """Add an open-tracking pixel to HTML."""
    text: Switch = True
    """With `clicks`, rewrite links in plain text too."""


class Archive(Options):
    """Copies of sent mail of a class."""

    sample: Share
    """The share of the class's messages that are archived."""
    directory: InnerPath
    """The directory of the .eml files; relative to `state_dir`."""
    keep: Duration = 30 * 86400
    """How long a file is kept."""


class DkimKey(Options):
    """A private key that signs."""

    domain: Host
    """The signing domain (d=)."""
    selector: Selector
    """The selector of the key's DNS record (s=)."""
    file: File
    """The private key: PEM, RSA or Ed25519."""
    default: Switch = False
    """Sign mail of this domain with this key, unless a header says otherwise."""


class Dkim(Options):
    """DKIM signatures."""

    enabled: Switch = True
    """Sign mail; set it to `false` if a later milter signs."""
    sign_unclassified: Switch = False
    """Also sign trusted mail without a Mail Class."""
    keys: Annotated[tuple[DkimKey, ...], Several] = ()
    """The private keys."""


class Web(Options):
    """The web server for tracking links, and the dashboard."""

    listen: ServerSocket = "127.0.0.1:8090"
    """Listen socket of the web server."""
    trusted_proxies: Networks = ()
    """Proxies whose X-Forwarded-For is trusted; that of a proxy on a Unix socket always is."""
    templates: File | None = None
    """A directory with your own pages, which replace the built-in pages of the same file names."""
    app_links: File | None = None
    """A directory with `apple-app-site-association` and `assetlinks.json`, for links that open
    apps."""
    honeypot: Switch = False
    """Add an invisible link to HTML with tracked clicks; only bots follow it."""
    admin_listen: ServerSocket = "127.0.0.1:8091"
    """Listen socket of the dashboard; a password is required if other hosts can reach it."""
    admin_password_file: File | None = None
    """The file with the dashboard's password in its first line, at least 12 characters."""


class Lmtp(Options):
    """The LMTP server to which Postfix delivers the mailboxes of bounces, complaints and
    unsubscribes."""

    listen: ServerSocket = "unix:/run/fletching/lmtp.sock"
    """Listen socket of the LMTP server."""


class Metrics(Options):
    """The HTTP server for `/metrics` (Prometheus) and `/healthz`."""

    listen: ServerSocket = "127.0.0.1:9810"
    """Listen socket of this server."""


class BounceRule(Options):
    """A rule that decides why mail bounced, by the server's words; the first match decides."""

    pattern: Pattern
    """The pattern to search for in the server's words; case does not matter."""
    reason: BounceReason
    """The reason of such a bounce."""
    type: Literal["hard", "soft", "other"] | None = None
    """The type of such a bounce; default: that of the reason."""


class BounceThresholds(Options):
    """When an address of a class is bad."""

    hard: Count | None = None
    """How many hard bounces make an address bad; overrides the global number."""
    soft: Count | None = None
    """How many soft bounces make an address bad; overrides the global number."""
    within: Duration | None = None
    """The time in which these bounces are counted; overrides the global one."""


class Bounces(Options):
    """How bounces are read, and when an address is bad."""

    hard: Count = 1
    """How many hard bounces make an address bad."""
    soft: Count = 5
    """How many soft bounces make an address bad; a delivery in between resets the count."""
    within: Duration = 10 * 86400
    """The time in which these bounces are counted."""
    copy_to: Address | None = None
    """The address that receives a copy of each returned mail, as an attachment."""
    submit: SmtpServer = "127.0.0.1:25"
    """The SMTP server to which these copies are sent: Postfix."""
    rules: Annotated[tuple[BounceRule, ...], Several] = ()
    """Your own rules for the reasons of bounces, which are tried before the built-in tables."""


class Postfix(Options):
    """Where Fletching reads what Postfix does."""

    log: PostfixLog | None = None
    """Postfix's log, from which deliveries are read: a file such as `/var/log/mail.log`, or
    `journal` for the systemd journal; default: deliveries are not known."""


_OF_A_WEBHOOK = ("secret_file", "auth_file", "headers", "proxy", "max_attempts", "format")

SMALLEST_FILE = 1024
"""Bytes: with less, every batch would rotate the file, and only ten batches would be kept."""


class Destination(Options):
    """A destination of events: a `webhook`, a `file` or a database (`sql`)."""

    name: Label
    """The name of the destination."""
    webhook: WebUrl | None = Field(default=None, repr=False)
    """A URL that receives batches of events by POST."""
    file: File | None = None
    """A file that receives one JSON object per line."""
    sql: SqlUrl | None = Field(default=None, repr=False)
    """A database that receives one row per event."""
    secret_file: File | None = None
    """The file with the secret that signs webhook requests, in its first line, at least 16
    characters."""
    auth_file: File | None = None
    """The file with user and password for the webhook (HTTP basic authentication): `USER:PASSWORD`
    in its first line."""
    headers: Annotated[Mapping[HeaderName, HeaderValue], Empty, Frozen] = Field(
        default_factory=lambda: MappingProxyType({}), repr=False
    )
    """Additional headers of webhook requests."""
    proxy: ProxyUrl | None = None
    """The HTTP proxy for webhook requests."""
    max_attempts: Count = 10
    """How many times a single event that the webhook rejects with 400 or 422 is sent before it
    becomes a dead letter; by default this takes 5 to 10 minutes."""
    format: Literal["json", "form", "listmonk", "sendgrid", "ses", "postmark", "mailgun"] = "json"
    """The format of webhook requests: `json` is an array of events; `form` is one event per
    request as a form, like GreenArrow, and the response must begin with the word `ok`; the others
    are those of the webhooks of these programs and services, and leave out events that have no
    counterpart there."""
    rotate: Size | None = None
    """Rotate the file at this size to FILE.1, up to FILE.10; default: no rotation; logrotate
    may move the file."""
    types: Annotated[tuple[EventType, ...], Different] | None = None
    """The event types that are delivered; default: all."""
    classes: tuple[ClassName, ...] | None = None
    """The Mail Classes whose events are delivered; default: all."""

    @model_validator(mode="after")
    def _one_kind(self) -> Destination:
        kinds = [kind for kind in (self.webhook, self.file, self.sql) if kind is not None]
        if not kinds:
            raise lack("has none of webhook, file and sql: must have exactly one of them")
        if len(kinds) > 1:
            raise ValueError(
                "has more than one of webhook, file and sql: must have exactly one of them"
            )
        if self.format == "mailgun" and self.secret_file is None:
            raise lack("format mailgun requires secret_file, the webhook signing key")
        for option in _OF_A_WEBHOOK:
            if option in self.model_fields_set and self.webhook is None:
                raise ValueError(f"only a webhook may have {option}")
        names = [name.lower() for name in self.headers]
        if len(set(names)) < len(names):
            raise ValueError("duplicate header in headers (names are case-insensitive)")
        if self.auth_file is not None and "authorization" in names:
            raise ValueError("auth_file and an Authorization header cannot be combined")
        if self.rotate is not None and self.file is None:
            raise ValueError("only a file may have rotate")
        if self.rotate is not None and self.rotate < SMALLEST_FILE:
            raise ValueError("rotate must be at least 1KiB")
        return self


_OF_EACH_MAIL = frozenset({"delivery_attempt", "message_prepared"})


class Events(Options):
    """Where events are delivered, and for how long delivery is tried."""

    destinations: Annotated[tuple[Destination, ...], Several] = ()
    """The destinations of events."""
    keep: Duration = 7 * 86400
    """How long delivery to a destination is retried; events stay in Redis one day longer."""

    @property
    def unlisted(self) -> frozenset[str]:
        """Event types of which every mail has one, and which no destination lists in `types`.

        The stream leaves them out, because they would take room in Redis for each mail.
        """
        listed = {type for each in self.destinations for type in each.types or ()}
        return _OF_EACH_MAIL - listed
