"""The sections of the file that stand for themselves: trust, seeds, DKIM, servers, events.

Here lives what these options are called, what they may be, and one sentence on each, as in
`model.py`, which puts them together. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from fletching.config import values
from fletching.config.fields import (
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
    ProxyUrl,
    Selector,
    ServerSocket,
    Several,
    Share,
    Size,
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


def lack(rule: str) -> PydanticCustomError:
    """An error that can also come from leaving out what is wrong: then it is not told."""
    return PydanticCustomError("lack", "{rule}", {"rule": rule})


class Options(BaseModel):
    """A section of the file."""

    # An input may be a password: no message of pydantic may show one.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )


class Trusted(Options):
    """Whose control headers count."""

    authenticated: Switch = True
    """Trust a client that has authenticated itself by SMTP AUTH."""
    networks: Networks = (values.network("127.0.0.0/8"), values.network("::1/128"))
    """Trust a client whose address is in one of these networks."""
    services: Annotated[tuple[DaemonName, ...], Several, Different] = ()
    """The smtpd services at which `networks` count, by `milter_macro_daemon_name`; empty: every
    service. Needed where a content filter returns mail of strangers from a trusted address."""


class User(Options):
    """What holds for the mail of one SMTP AUTH login."""

    force_mail_class: ClassName | None = None
    """The Mail Class of all mail of this login, whatever X-GreenArrow-MailClass is."""
    mail_class: ClassName | None = None
    """The Mail Class of mail of this login that names none."""


class Track(Options):
    """What is tracked in the mail of a class."""

    clicks: Switch = False
    """Rewrite links in HTML into click links."""
    opens: Switch = False
    """Put an open pixel into HTML."""
    text: Switch = True
    """Rewrite links in plain text too, where `clicks` rewrites them in HTML."""


class Seed(Options):
    """Seed copies of a class's campaigns."""

    list: Label
    """The seed list that gets copies."""
    start: Count = 1
    """The message number at which the first seed is due."""
    end: Count
    """The message number at which the last seed is due."""

    @model_validator(mode="after")
    def _forward(self) -> Seed:
        if self.end < self.start:
            raise ValueError("end must not be less than start")
        return self


class Archive(Options):
    """Sent mail of a class that is kept."""

    sample: Share
    """The share of the class's mail that is kept."""
    directory: InnerPath
    """Where the .eml files go; a relative path is meant from `state_dir`."""


class DkimKey(Options):
    """A private key that signs."""

    domain: Host
    """The domain that signs (d=)."""
    selector: Selector
    """The selector of the key's DNS record (s=)."""
    file: File
    """The private key: PEM, RSA or Ed25519."""
    default: Switch = False
    """Sign mail of this domain with this key where no header says otherwise."""


class Dkim(Options):
    """DKIM signatures."""

    enabled: Switch = True
    """Sign; `false` leaves it to a milter after this one."""
    sign_unclassified: Switch = False
    """Sign trusted mail without a Mail Class too."""
    keys: Annotated[tuple[DkimKey, ...], Several] = ()
    """The private keys."""


class Web(Options):
    """The server behind the tracking links."""

    listen: ServerSocket = "127.0.0.1:8090"
    """Where the web server listens."""
    trusted_proxies: Networks = ()
    """Proxies whose word on the reader's address counts (X-Forwarded-For); one that comes by a Unix
    socket always counts."""
    templates: File | None = None
    """A folder with pages of your own, in place of the built-in ones of the same names."""
    app_links: File | None = None
    """A folder with `apple-app-site-association` and `assetlinks.json`: links open apps."""
    honeypot: Switch = False
    """Put a link that nobody sees into HTML with tracked clicks: who follows it is a program."""
    admin_listen: ServerSocket = "127.0.0.1:8091"
    """Where the dashboard listens; where others than this host reach it, it needs a password."""
    admin_password_file: File | None = None
    """The file with the dashboard's password, of at least 12 characters, in its first line."""


class Lmtp(Options):
    """The server that takes bounces and complaints from Postfix."""

    listen: ServerSocket = "unix:/run/fletching/lmtp.sock"
    """Where the LMTP server listens."""


_OF_A_WEBHOOK = ("secret_file", "auth_file", "headers", "proxy", "max_attempts", "format")

SMALLEST_FILE = 1024
"""Octets: with less, every batch would turn the files, and ten batches be all that is left."""


class Destination(Options):
    """Where events are delivered to: one of `webhook`, `file` and `sql`."""

    name: Label
    """The name of the destination."""
    webhook: WebUrl | None = Field(default=None, repr=False)
    """A URL that gets batches of events by POST."""
    file: File | None = None
    """A file that gets one JSON object a line."""
    sql: SqlUrl | None = Field(default=None, repr=False)
    """A database that gets a row an event."""
    secret_file: File | None = None
    """The secret that signs what a webhook gets: the first line, of at least 16 characters."""
    auth_file: File | None = None
    """The user and password that a webhook gets (HTTP basic authentication): `USER:PASSWORD` in the
    first line."""
    headers: Annotated[Mapping[HeaderName, HeaderValue], Empty, Frozen] = Field(
        default_factory=lambda: MappingProxyType({}), repr=False
    )
    """Headers that a webhook gets with each request, beside our own."""
    proxy: ProxyUrl | None = None
    """An HTTP proxy on the way to a webhook."""
    max_attempts: Count = 10
    """How often a webhook is sent an event by itself that it answers with 400 or 422, before the
    event becomes a dead letter; by default after 5 to 10 minutes."""
    format: Literal["json", "form"] = "json"
    """What a webhook gets: arrays of events in JSON, or one event as a form, as from GreenArrow;
    then the answer must begin with the word `ok`."""
    rotate: Size | None = None
    """The size from which on the file becomes FILE.1, and so on to FILE.10; default: it grows, and
    logrotate may move it and send SIGHUP."""
    types: Annotated[tuple[EventType, ...], Different] | None = None
    """The events that go there; default: all."""
    classes: tuple[ClassName, ...] | None = None
    """The Mail Classes whose events go there; default: all."""

    @model_validator(mode="after")
    def _one_kind(self) -> Destination:
        kinds = [kind for kind in (self.webhook, self.file, self.sql) if kind is not None]
        if not kinds:
            raise lack("has none of webhook, file and sql: must have exactly one of them")
        if len(kinds) > 1:
            raise ValueError(
                "has more than one of webhook, file and sql: must have exactly one of them"
            )
        for option in _OF_A_WEBHOOK:
            if option in self.model_fields_set and self.webhook is None:
                raise ValueError(f"only a webhook may have {option}")
        names = [name.lower() for name in self.headers]
        if len(set(names)) < len(names):
            raise ValueError("duplicate header in headers (names are case-insensitive)")
        if self.auth_file is not None and "authorization" in names:
            raise ValueError("auth_file and an Authorization header exclude each other")
        if self.rotate is not None and self.file is None:
            raise ValueError("only a file may have rotate")
        if self.rotate is not None and self.rotate < SMALLEST_FILE:
            raise ValueError("rotate must be at least 1KiB")
        return self


class Events(Options):
    """What happened to mail, and who is told."""

    destinations: Annotated[tuple[Destination, ...], Several] = ()
    """Who gets events."""
    keep: Duration = 7 * 86400
    """How long delivery to a destination is tried again; and a day longer than that, all events
    stay in Redis."""
