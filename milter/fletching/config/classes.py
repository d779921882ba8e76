"""The options of a Mail Class, and the choices that it shares with the global options.

Declared as in `model.py`. Pure.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from fletching.config.added_headers import AddedHeaders, ClassRepair
from fletching.config.fields import (
    Address,
    Empty,
    HostPattern,
    ListId,
    MtaName,
    Share,
    Switch,
    UrlDomain,
)
from fletching.config.sections import Archive, BounceThresholds, Options, Track
from fletching.config.seeding import Seed

Reaction = Literal["ignore", "reject"]
TrackerFormat = Literal["a", "b", "c"]
UnsubscribeTag = Literal["confirm", "immediate"]
Mode = Literal["live", "shadow"]


def _off(value: object) -> object:
    """YAML reads an unquoted `off` as false."""
    return "off" if value is False else value


Suppress = Annotated[Literal["off", "report", "refuse"], BeforeValidator(_off)]


class MailClass(Options):
    """Settings for the mail of one class.

    An option that is not set here uses the global option of the same name, if there is one.
    """

    mode: Mode | None = None
    """Whether mail is changed (`live`) or changes are only computed and logged (`shadow`);
    overrides the global setting."""
    shadow: Share | None = None
    """The share of the class's messages that are in shadow, instead of `mode`; the others are
    live."""
    shadow_keeps_headers: Switch | None = None
    """Whether control headers stay in mail in shadow; overrides the global setting."""
    list_id: ListId | None = None
    """The ListID of mail without X-GreenArrow-ListID."""
    virtual_mta: MtaName | None = None
    """The VirtualMTA of mail without X-GreenArrow-MtaID; default: Postfix chooses the transport."""
    track: Annotated[Track, Empty] = Field(default_factory=Track)
    """Which tracking is added."""
    list_unsubscribe: Switch = True
    """Add List-Unsubscribe to mail without it."""
    multiple_recipients: Literal["shared", "reject"] = "shared"
    """What to do with a message to several recipients: send it with tokens that identify no
    recipient, or refuse it."""
    privacy: Literal["full", "aggregate"] = "full"
    """With `aggregate`, neither recipient nor Click-Tracking-ID is recorded."""
    seed: Seed | None = None
    """Send copies of each campaign to a seed list."""
    archive: Archive | None = None
    """Keep a share of the mail as it was sent."""
    bounce_mailbox: Address | None = None
    """The bounce mailbox, which becomes the return path; overrides the global one."""
    bounces: BounceThresholds | None = None
    """When an address of this class is bad; overrides the global thresholds."""
    unsubscribe_mailbox: Address | None = None
    """The mailbox of mailto: unsubscribes; overrides the global one."""
    url_domain: UrlDomain | None = None
    """The scheme and host of tracking links; overrides the global one."""
    tracker_format: TrackerFormat | None = None
    """The format of tracking URLs; overrides the global one."""
    on_invalid_header: Reaction | None = None
    """What to do with an invalid control header; overrides the global setting."""
    verp: Switch | None = None
    """Whether the return path gets a VERP tag; overrides the global setting."""
    one_click: Switch | None = None
    """Whether one-click unsubscribe is offered; overrides the global setting."""
    unsubscribe_tag: UnsubscribeTag | None = None
    """What an unsubscribe link does; overrides the global setting."""
    suppress: Suppress | None = None
    """What to do with mail to a suppressed address; overrides the global setting."""
    untracked_hosts: tuple[HostPattern, ...] | None = None
    """Hosts whose links are not tracked; overrides the global list."""
    preserve_visible_urls: Switch | None = None
    """Whether links with a visible URL stay unchanged; overrides the global setting."""

    add_headers: AddedHeaders | None = None
    """Header fields to add, unless the mail has them; they win over global ones of the same
    name."""
    repair: ClassRepair | None = None
    """Which missing header fields are added."""

    _name: str = PrivateAttr("")

    @cached_property
    def name(self) -> str:
        """The name as configured, which is the first part of a SendID."""
        return self._name
