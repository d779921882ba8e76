"""The counts of campaigns as values, and how counters in Redis become such values.

Here lives what can be said without asking Redis: names of counts, what measures them, sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import quote, unquote

from fletching import events

Dimension = Literal["mail_class", "listid", "mtaid", "day"]
"""What counts can be broken down by."""

Count = int | None
"""None if nothing measures it. 0 would say that it has not happened."""

Fields = Mapping[str, str]
"""What a hash in Redis holds."""

HOUR = 3600

_OPENS = ("opens", "privacy_opens", "unique_opens", "confirmed_opens", "bot_opens")


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened to messages.

    ``opens``: loads of the pixel by a person's mail program. ``privacy_opens``: loads by a mailbox
    provider's proxy, which also loads messages that nobody reads. ``bot_opens``: loads by other
    programs. ``unique_opens``: messages with a load that is not a bot's, or with a person's click.
    ``confirmed_opens``: messages with a person's load or click. ``unique_clicks``: messages with a
    person's click: never more than confirmed opens, which are never more than unique opens.
    """

    sent: int = 0
    opens: Count = 0
    unique_opens: Count = 0
    clicks: Count = 0
    unique_clicks: Count = 0
    bot_clicks: Count = 0
    bot_opens: Count = 0
    unsubscribes: Count = 0
    complaints: Count = 0
    bounces_hard: Count = 0
    bounces_soft: Count = 0
    delivered: Count = 0
    seeds: Count = 0
    privacy_opens: Count = 0
    confirmed_opens: Count = 0


@dataclass(frozen=True, slots=True)
class Campaign(Counts):
    """A campaign's counts. ``opened``: unix seconds of its first message."""

    campaign: str = ""
    sendid: str = ""
    mail_class: str = ""
    opened: int = 0


@dataclass(frozen=True, slots=True)
class Row(Counts):
    """The counts of a class, a list, a VirtualMTA or a day over all campaigns."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """How often a link was clicked. ``unique_clicks``: messages in which a person clicked it."""

    url: str
    clicks: int
    unique_clicks: int
    bot_clicks: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which campaigns: of a class, opened since a time (unix seconds), with a text in the SendID.

    All comparisons ignore case.
    """

    mail_class: str = ""
    since: float = 0
    search: str = ""

    def has(self, campaign: Campaign) -> bool:
        """Whether it is one of them."""
        return (
            self.mail_class.lower() in ("", campaign.mail_class.lower())
            and campaign.opened >= self.since
            and self.search.lower() in campaign.sendid
        )


EVERY = Wanted()

_NAMES = tuple(each.name for each in fields(Counts))

# What measures a count. If one count of a source is there, the others of that source are measured.
_SOURCES = {
    "sent": "sent",
    "bounces_hard": "bounces",
    "bounces_soft": "bounces",
    **dict.fromkeys(_OPENS, "opens"),
    **dict.fromkeys(("clicks", "unique_clicks", "bot_clicks"), "clicks"),
}

Measured = Callable[[str], frozenset[str]]
"""By Mail Class: what is measured of its mail, such as `Config.measured`."""


@lru_cache(4096)
def cell(hour: int, mtaid: str, listid: str) -> str:
    """What a count belongs to, as counters name it: the hour, the VirtualMTA and the list."""
    return f"{hour}|{_quoted(mtaid)}|{_quoted(listid.lower())}"


def _quoted(name: str) -> str:
    # As the name is in events.
    return quote(str(events.text(name)), safe="")


def cells(counters: Fields) -> Iterator[tuple[str, int, str, str, int]]:
    """Each counter of a campaign: kind, hour, VirtualMTA, list, count."""
    for field, count in counters.items():
        kind, hour, mtaid, listid = field.split("|")
        yield kind, int(hour), unquote(mtaid), unquote(listid), int(count)


def sums_by_kind(counters: Fields) -> Counter[str]:
    """The counters of a campaign, added up over hours, VirtualMTAs and lists."""
    sums = Counter[str]()
    for field, count in counters.items():
        sums[field.partition("|")[0]] += int(count)
    return sums


def sources_in(sums: Mapping[str, int]) -> frozenset[str]:
    """What measures a campaign, by what was counted of it.

    Unique and confirmed opens prove nothing: those who clicked are counted there as well.
    """
    return frozenset(_source(kind) for kind in sums.keys() - {"unique_opens", "confirmed_opens"})


def counts_of(sums: Mapping[str, int], sources: Collection[str]) -> dict[str, Any]:
    """The fields of `Counts`: None for what no source measures."""
    return {kind: sums.get(kind, 0) if _source(kind) in sources else None for kind in _NAMES}


def _source(kind: str) -> str:
    return _SOURCES.get(kind, kind)


@lru_cache(4096)
def day(hour: int) -> str:
    """The UTC day of an hour (unix seconds / 3600)."""
    return datetime.fromtimestamp(hour * HOUR, UTC).strftime("%Y-%m-%d")


def most_frequent_first(warnings: Fields) -> tuple[tuple[str, int], ...]:
    """Warnings of a campaign and how many mails had each."""
    counted = ((warning, int(mails)) for warning, mails in warnings.items())
    return tuple(sorted(counted, key=lambda each: (-each[1], each[0])))
