"""The counts of campaigns as values, and how counters in Redis become such values.

Here lives what can be said without asking Redis: names of counts, what measures them, sums.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import quote, unquote

from fletching import events
from fletching.numbering import opened_at

Dimension = Literal["mail_class", "listid", "mtaid", "day", "provider", "reason", "monitor"]
"""What counts can be broken down by. Only deliveries, failures and complaints have a provider, and
only failures have a reason."""

Count = int | None
"""None if nothing measures it. 0 would say that it has not happened."""

Fields = Mapping[str, str]
"""What a hash in Redis holds."""

HOUR = 3600
STEP = 600
"""Seconds of a step, in which a campaign is also counted at first."""

FIRST_HOURS = 24
"""Hours with steps: that of the first message, and the ones after it."""

STEPPED = frozenset(
    {
        *("sent", "delivered", "deferred", "bounces_hard", "bounces_soft", "bounces_other"),
        *("opens", "clicks", "unsubscribes"),
    }
)
"""What is counted in steps."""

_OPENS = ("opens", "privacy_opens", "unique_opens", "confirmed_opens", "bot_opens")


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened to messages.

    ``opens``: loads of the pixel by a person's mail program. ``privacy_opens``: loads by a mailbox
    provider's proxy, which also loads messages that nobody reads. ``bot_opens``: loads by other
    programs. ``unique_opens``: messages with a load that is not a bot's, or with a person's click.
    ``confirmed_opens``: messages with a person's load or click. ``unique_clicks``: messages with a
    person's click: never more than confirmed opens, which are never more than unique opens.

    ``delivered``: messages that the recipient's server accepted; a message to several recipients
    is counted for each. ``deferred``: messages that were deferred at least once. ``bounces_hard``,
    ``bounces_soft``, ``bounces_other``: messages that bounced in this way. ``blocked``: messages
    that were deferred or bounced because of the sender's reputation or rate.
    """

    sent: Count = 0
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
    deferred: Count = 0
    bounces_other: Count = 0
    blocked: Count = 0

    @property
    def bounces(self) -> Count:
        """All bounces. A message that bounced hard and soft is counted twice."""
        if self.bounces_hard is None:
            return None
        return self.bounces_hard + (self.bounces_soft or 0) + (self.bounces_other or 0)


@dataclass(frozen=True, slots=True)
class Campaign(Counts):
    """A campaign's counts. ``opened``: unix seconds of its first message, whose ``subject`` and
    ``listid`` these are. ``monitor``: Monitor's grouping (docs/campaigns.md)."""

    sent: int = 0
    campaign: str = ""
    sendid: str = ""
    mail_class: str = ""
    opened: int = 0
    monitor: str = dataclasses.field(default="", compare=False)
    subject: str = dataclasses.field(default="", compare=False)
    listid: str = dataclasses.field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Row(Counts):
    """The counts of a class, a list, a VirtualMTA or a day over all campaigns.

    ``sendids``: of a group of Monitor, the SendIDs of its campaigns, newest first.
    """

    name: str = ""
    sendids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failures:
    """Messages that failed for the same reason, with the same words of a server.

    ``words``: without what is different in each message; empty for words that found no room.
    ``deferred``: by the reason of the first deferral. ``provider``: with the most of them.
    """

    reason: str
    words: str
    bounced: int
    deferred: int
    provider: str


@dataclass(frozen=True, slots=True)
class Link:
    """How often a link was clicked. ``unique_clicks``: messages in which a person clicked it."""

    url: str
    clicks: int
    unique_clicks: int
    bot_clicks: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which campaigns: of a class, opened in a span of time, with a text in one of their names.

    ``since`` and ``until``: unix seconds, the latter exclusive; 0 for no limit. ``search``: a text
    in the SendID, the subject, the Mail Class, the ListID or the campaign id. All comparisons
    ignore case.
    """

    mail_class: str = ""
    since: float = 0
    search: str = ""
    until: float = 0

    def has(self, campaign: Campaign) -> bool:
        """Whether it is one of them."""
        return (
            self.mail_class.lower() in ("", campaign.mail_class.lower())
            and campaign.opened >= self.since
            and not 0 < self.until <= campaign.opened
            and self._is_named(campaign)
        )

    def _is_named(self, campaign: Campaign) -> bool:
        text = self.search.lower()
        names = (campaign.sendid, campaign.subject, campaign.mail_class, campaign.listid)
        return not text or any(text in name.lower() for name in (*names, campaign.campaign))


def total(found: Sequence[Counts]) -> Counts:
    """The sums; None for what none of them measures."""

    def of(name: str) -> Count:
        counts = [getattr(each, name) for each in found]
        known = [count for count in counts if count is not None]
        return sum(known) if known or not counts else None

    return Counts(**{name: of(name) for name in EVERY_KIND})


EVERY = Wanted()

EVERY_KIND = tuple(each.name for each in fields(Counts))

_BOUNCES = ("bounces_hard", "bounces_soft", "bounces_other")
KINDS_BY: Mapping[str, Collection[str]] = {
    "provider": ("delivered", "deferred", *_BOUNCES, "blocked", "complaints"),
    "reason": ("deferred", *_BOUNCES),
}
"""What is counted by a dimension that does not have all counts."""

# What measures a count. If one count of a source is there, the others of that source are measured.
_SOURCES = {
    "sent": "sent",
    **dict.fromkeys((*_BOUNCES, "blocked"), "bounces"),
    **dict.fromkeys(("delivered", "deferred"), "deliveries"),
    **dict.fromkeys(_OPENS, "opens"),
    **dict.fromkeys(("clicks", "unique_clicks", "bot_clicks"), "clicks"),
}

Measured = Callable[[str], frozenset[str]]
"""By Mail Class: what is measured of its mail, such as `Config.measured`."""


@lru_cache(4096)
def cell(hour: int, mtaid: str, listid: str) -> str:
    """What a count belongs to, as counters name it: the hour, the VirtualMTA and the list."""
    return f"{hour}|{_quoted(mtaid)}|{_quoted(listid.lower())}"


def step(campaign: str, seconds: int) -> str:
    """The step of a time (unix seconds); empty for a time that has none in this campaign."""
    hours = seconds // HOUR - _first_hour(campaign)
    return str(seconds // STEP) if 0 <= hours < FIRST_HOURS else ""


@lru_cache(4096)
def _first_hour(campaign: str) -> int:
    try:
        return opened_at(campaign) // HOUR
    except ValueError:
        return -FIRST_HOURS  # No campaign of ours: without steps.


def _quoted(name: str) -> str:
    # As the name is in events.
    return quote(str(events.text(name)), safe="")


def cells(counters: Fields) -> Iterator[tuple[str, int, str, str, int]]:
    """Each counter of a campaign: kind, hour, VirtualMTA, list, count."""
    for field, count in counters.items():
        kind, hour, mtaid, listid = field.split("|")
        yield kind, int(hour), unquote(mtaid), unquote(listid), int(count)


def counted_by(
    dimension: Dimension, head: Campaign, counters: Fields
) -> Iterator[tuple[str, str, int]]:
    """The counters of a campaign by a dimension: name, kind, count.

    ``counters``: of `keys.providers` and `keys.reasons` for these dimensions, else of
    `keys.counts`.
    """
    if dimension == "provider":
        for field, count in counters.items():
            kind, _, provider = field.partition("|")
            yield provider, kind, int(count)
    elif dimension == "reason":
        for digest, kind, _, number in _failed(counters):
            yield counters[digest].partition(" ")[0], kind, number
    else:
        for kind, hour, mtaid, listid, number in cells(counters):
            if dimension in ("mail_class", "monitor"):
                name = head.mail_class if dimension == "mail_class" else head.monitor
            else:
                name = {"day": day(hour), "listid": listid, "mtaid": mtaid}[dimension]
            yield name, kind, number


def _failed(counters: Fields) -> Iterator[tuple[str, str, str, int]]:
    """Each counter of `keys.reasons`: digest of the words, kind, provider, count."""
    for field, count in counters.items():
        digest, _, of = field.partition("|")
        if of:
            kind, _, provider = of.partition("|")
            yield digest, kind, provider, int(count)


def failures_of(counters: Fields) -> tuple[Failures, ...]:
    """The failures of a campaign by reason and words, the most frequent first."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    providers: dict[str, Counter[str]] = defaultdict(Counter)
    for digest, kind, provider, count in _failed(counters):
        kinds[digest]["deferred" if kind == "deferred" else "bounced"] += count
        providers[digest][provider] += count
    found = []
    for digest, counts in kinds.items():
        reason, _, words = counters[digest].partition(" ")
        # Of two with the same number, the same one each time.
        most = min(providers[digest].items(), key=lambda each: (-each[1], each[0]))[0]
        found.append(Failures(reason, words, counts["bounced"], counts["deferred"], most))
    return tuple(
        sorted(found, key=lambda each: (-each.bounced - each.deferred, each.reason, each.words))
    )


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


def counts_of(
    sums: Mapping[str, int], sources: Collection[str], kinds: Collection[str] = EVERY_KIND
) -> dict[str, Any]:
    """The fields of `Counts`: None for what no source measures, and for other kinds."""
    return {
        kind: sums.get(kind, 0) if kind in kinds and _source(kind) in sources else None
        for kind in EVERY_KIND
    }


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
