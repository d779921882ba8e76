"""Offers: a value for a setting of a mail, and the source that the value comes from.

Control headers offer values, and so do the entry of a login in `users`, the Mail Class and the
global options. Here are the settings, the kinds of sources and the rule which offer wins. Who makes
offers is not known here: `control.py` reads them from headers, `configured.py` takes them from the
configuration. A new source is one more function that returns `Offers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class SourceKind(IntEnum):
    """The kinds of sources, strongest first (docs/mail.md, "Order of precedence")."""

    FORCED = 0
    HEADER = 1
    ALIAS = 2
    DIALECT = 3
    RULE = 4
    LOGIN = 5
    CLASS = 6
    GLOBAL = 7


@dataclass(frozen=True, eq=False)
class Setting(Generic[T]):
    """Something that a source can give a value for. ``name`` is shown by `fletching explain`."""

    name: str


class Offer(NamedTuple, Generic[T]):
    """A value, and its source as `fletching explain` shows it: `X-GreenArrow-ListID`, `global`."""

    value: T
    source: str


@dataclass(frozen=True, slots=True)
class Offers:
    """What one kind of source offers: at most one value for each setting.

    ``places``: where the configuration has the value, as `FILE:LINE`, for `fletching explain`.
    """

    kind: SourceKind
    by_setting: Mapping[Setting[Any], Offer[Any]]
    places: Mapping[Setting[Any], str] = field(default_factory=dict, repr=False, compare=False)


_kind = attrgetter("kind")


class RankedOffers:
    """The offers of several sources, in whatever order they are given, by the rank of the source.

    Of two `Offers` of one kind, the first one given is the stronger one.
    """

    __slots__ = ("_best", "_offers")

    def __init__(self, offers: Iterable[Offers]) -> None:
        self._offers = sorted(offers, key=_kind)
        self._best: dict[Setting[Any], Offer[Any]] = {}
        for each in reversed(self._offers):
            self._best.update(each.by_setting)

    def ranked(self, setting: Setting[T]) -> list[tuple[SourceKind, Offer[T]]]:
        """Every offer for the setting with the kind of its source, strongest first."""
        return [
            (each.kind, each.by_setting[setting])
            for each in self._offers
            if setting in each.by_setting
        ]

    def everything(self) -> Iterator[tuple[Setting[Any], Offer[Any], str]]:
        """Every offer for each setting with its place, the strongest first."""
        for setting in sorted(self._best, key=lambda each: each.name):
            for each in self._offers:
                if setting in each.by_setting:
                    yield setting, each.by_setting[setting], each.places.get(setting, "")

    def outrank(self, invalid: InvalidValue) -> bool:
        """Whether a stronger source has a value, so that the invalid one would not count anyway."""
        return any(
            each.kind < invalid.kind and invalid.setting in each.by_setting for each in self._offers
        )

    def best(self, setting: Setting[T]) -> Offer[T] | None:
        """The strongest offer for the setting; None if nothing offers a value."""
        return self._best.get(setting)

    def value(self, setting: Setting[T]) -> T | None:
        """The value of the strongest offer."""
        best = self._best.get(setting)
        return None if best is None else best.value


@dataclass(frozen=True, slots=True)
class InvalidValue:
    """A value that was ignored, and the rule that it breaks. The value itself is never repeated.

    ``kind`` and ``source`` are those of the offer that it would have been; ``source`` is shown to
    clients and in logs. ``setting`` is None for a control header that does not exist. ``strict``:
    `on_invalid_header: reject` refuses the mail because of it.
    """

    kind: SourceKind
    source: str
    setting: Setting[Any] | None
    rule: str
    strict: bool = True

    def __str__(self) -> str:
        return f"{self.source}: {self.rule}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What one kind of source asks for in one mail: its valid and its invalid values.

    ``remove``: positions of the fields that are to be removed. ``warnings``: what it asks for that
    Fletching does not have.
    """

    offers: Offers
    invalid: tuple[InvalidValue, ...] = ()
    remove: frozenset[int] = frozenset()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DkimRequest:
    """One signature that is asked for: an object of X-GreenArrow-DKIM. None: not given."""

    domain: str | None = None
    from_domain: bool = False
    selector: str | None = None
    use_key_from: str | None = None
    allow_duplicate: bool = False

    def __str__(self) -> str:
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        shown = ((name, "yes" if value is True else value) for name, value in given.items())
        return ", ".join(f"{name} {value}" for name, value in shown if value) or "default"


MAIL_CLASS = Setting[str]("mail_class")
INSTANCE_ID = Setting[str]("instance_id")
LIST_ID = Setting[str]("list_id")
VIRTUAL_MTA = Setting[str]("virtual_mta")
BOUNCE_MAILBOX = Setting[str]("bounce_mailbox")
VERP = Setting[bool]("verp")
OBSCURED_EMAIL = Setting[str]("obscured_email")
CLICK_TRACKING = Setting[bool]("click_tracking")
"""False leaves the body as it is, byte for byte."""
CLICKS = Setting[bool]("clicks")
OPENS = Setting[bool]("opens")
TEXT = Setting[bool]("text")
CLICK_TRACKING_ID = Setting[str]("click_tracking_id")
URL_DOMAIN = Setting[str]("url_domain")
TRACKER_FORMAT = Setting[str]("tracker_format")
UNTRACKED_HOSTS = Setting[tuple[str, ...]]("untracked_hosts")
PRESERVE_VISIBLE_URLS = Setting[bool]("preserve_visible_urls")
LIST_UNSUBSCRIBE = Setting[bool]("list_unsubscribe")
LIST_UNSUBSCRIBE_URL = Setting[str]("list_unsubscribe_url")
LIST_UNSUBSCRIBE_POST = Setting[str]("list_unsubscribe_post")
UNSUBSCRIBE_MAILBOX = Setting[str]("unsubscribe_mailbox")
ONE_CLICK = Setting[bool]("one_click")
SUPPRESS = Setting[str]("suppress")
REPAIR_DATE = Setting[bool]("repair.date")
REPAIR_MESSAGE_ID = Setting[bool]("repair.message_id")
SEED = Setting[bool]("seed")
SEED_PROGRESS = Setting[float]("seed_progress")
DKIM = Setting[tuple[DkimRequest, ...]]("dkim")
ON_INVALID_HEADER = Setting[str]("on_invalid_header")
