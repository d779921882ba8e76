"""Statistics of campaigns: what was sent, opened, clicked, by hour, VirtualMTA, list and link.

Here live the sums over the counters. `counting.py` counts events, and `sent.py` what was sent, once
Postfix has it. Uniqueness is exact: a bit per message says whether it was there before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any, Literal
from urllib.parse import quote, unquote

from fletching import events
from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.warnings import sorted_by_mails

What = Literal["mail_class", "listid", "mtaid", "day"]

Count = int | None
"""None: nothing measures it. 0 would say that it has not happened."""

_PAGE = 200
"""Campaigns in a round trip."""

Fields = Mapping[str, str]
"""What a hash in Redis holds."""

HOUR = 3600


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened to messages.

    ``opens``: loads of the pixel by people's programs; ``privacy_opens``: by a mailbox provider's
    proxy, which loads what nobody may have read; ``bot_opens``: by programs that read for nobody.
    ``unique_opens``: messages with a load that was no bot's, or with a person's click;
    ``confirmed_opens``: those with a person's load or click. ``unique_clicks``: messages with a
    person's click, so no more than confirmed opens, and these no more than unique opens.
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
    """How often a link was followed; ``unique_clicks``: by how many messages' readers."""

    url: str
    clicks: int
    unique_clicks: int
    bot_clicks: int


_NAMES = tuple(each.name for each in fields(Counts))

# What counts a kind: where one of a source's kinds is counted, the others are measured, too.
_SOURCES = {
    "sent": "sent",
    "bounces_hard": "bounces",
    "bounces_soft": "bounces",
    **dict.fromkeys(
        ("opens", "privacy_opens", "unique_opens", "confirmed_opens", "bot_opens"), "opens"
    ),
    **dict.fromkeys(("clicks", "unique_clicks", "bot_clicks"), "clicks"),
}

Measured = Callable[[str], frozenset[str]]
"""By Mail Class: what is measured of its mail, such as `Config.measured`."""


@lru_cache(4096)
def place(hour: int, mtaid: str, listid: str) -> str:
    """Where something is counted: the hour, the VirtualMTA and the list."""
    return f"{hour}|{_quoted(mtaid)}|{_quoted(listid.lower())}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which campaigns: of a class, opened since a time (unix seconds), with a text in the SendID.

    Case makes no difference.
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


class Statistics:
    """What reads, many campaigns in each round trip. All raise StoreAway where Redis does not
    answer."""

    def __init__(self, store: Store, measured: Measured, page: int = _PAGE) -> None:
        """``page``: campaigns in a round trip."""
        self._store = store
        self.measured = measured
        self._page = page

    def campaigns(
        self, limit: int | None = None, skip: int = 0, wanted: Wanted = EVERY
    ) -> tuple[Campaign, ...]:
        """The campaigns that are wanted, newest first, without so many at the beginning."""
        heads = islice(self._heads(wanted), skip, None if limit is None else skip + limit)
        return tuple(self._whole(head, counters) for head, counters in self._with_counters(heads))

    def campaign(self, name: str) -> Campaign | None:
        """One campaign; None where it is not known, or not any more."""
        heads = self._there([name])
        return next((self._whole(*each) for each in self._with_counters(heads)), None)

    def newest(self, sendid: str) -> Campaign | None:
        """The newest campaign of a SendID, in any case; None where there is none."""
        sendid = sendid.lower()
        open_one = self._run("GET", keys.sendid(sendid))
        if open_one and (found := self.campaign(str(open_one))):
            return found
        heads = self._heads(Wanted(search=sendid))
        ended = next((head.campaign for head in heads if head.sendid == sendid), None)
        return self.campaign(ended) if ended else None

    def hours(self, name: str) -> Mapping[str, Mapping[int, int]]:
        """By kind: the counts of a campaign by the hour that they are of, in unix seconds."""
        found: dict[str, Counter[int]] = {
            kind: Counter() for kind in ("sent", "opens", "clicks", "unsubscribes")
        }
        for kind, hour, _, _, count in _counted(self._hash(keys.counts(name))):
            if kind in found:
                found[kind][hour * HOUR] += count
        return found

    def links(self, name: str) -> tuple[Link, ...]:
        """The links of a campaign that were followed, the most followed first."""
        told = self._hash(keys.links(name))
        found = [
            Link(
                url,
                clicks=int(told.get(f"{digest}|clicks", 0)),
                unique_clicks=int(told.get(f"{digest}|unique_clicks", 0)),
                bot_clicks=int(told.get(f"{digest}|bot_clicks", 0)),
            )
            for digest, url in told.items()
            if "|" not in digest
        ]
        return tuple(sorted(found, key=lambda link: (-link.clicks, -link.bot_clicks, link.url)))

    def warnings(self, name: str) -> tuple[tuple[str, int], ...]:
        """What mails of a campaign were let through with, and how many; the most frequent first."""
        return sorted_by_mails(self._hash(keys.warnings(name)))

    def by(self, what: What, name: str | None = None, wanted: Wanted = EVERY) -> tuple[Row, ...]:
        """The counts of the wanted campaigns, or of one, by class, list, VirtualMTA or UTC day."""
        heads = self._heads(wanted) if name is None else self._there([name])
        sums: dict[str, Counter[str]] = defaultdict(Counter)
        sources: dict[str, set[str]] = defaultdict(set)
        for head, counters in self._with_counters(heads):
            measured = self._sources(head, _sums(counters))
            for kind, hour, mtaid, listid, count in _counted(counters):
                of = {"mail_class": head.mail_class, "listid": listid, "mtaid": mtaid}
                row = _day(hour) if what == "day" else of[what]
                sums[row][kind] += count
                sources[row] |= measured
        return tuple(Row(**_counts(sums[row], sources[row]), name=row) for row in sorted(sums))

    def _heads(self, wanted: Wanted) -> Iterator[Campaign]:
        """The campaigns that are wanted, newest first, without their counts."""
        start = 0
        while names := self._run(
            "ZREVRANGEBYSCORE", keys.CAMPAIGNS, "+inf", wanted.since, "LIMIT", start, self._page
        ):
            found = self._there(names)
            # A campaign ends by itself, and its entry does not.
            if ended := set(names) - {each.campaign for each in found}:
                self._run("ZREM", keys.CAMPAIGNS, *ended)
            start += len(found)
            yield from filter(wanted.has, found)

    def _there(self, names: Sequence[str]) -> list[Campaign]:
        """Those of the campaigns that are there, without their counts."""
        about = ("sendid", "mail_class", "opened")
        told = self._all([("HMGET", keys.campaign(name), *about) for name in names])
        return [
            Campaign(
                campaign=name,
                sendid=(sendid or "").lower(),
                mail_class=mail_class or "",
                opened=int(opened or 0),
            )
            for name, (sendid, mail_class, opened) in zip(names, told, strict=True)
            if any(each is not None for each in (sendid, mail_class, opened))
        ]

    def _with_counters(self, heads: Iterable[Campaign]) -> Iterator[tuple[Campaign, Fields]]:
        left = iter(heads)
        while page := list(islice(left, self._page)):
            told = self._all([("HGETALL", keys.counts(head.campaign)) for head in page])
            yield from zip(page, map(_as_fields, told), strict=True)

    def _whole(self, head: Campaign, counters: Fields) -> Campaign:
        sums = _sums(counters)
        return replace(head, **_counts(sums, self._sources(head, sums)))

    def _sources(self, head: Campaign, sums: Mapping[str, int]) -> frozenset[str]:
        """What measures a campaign. Opens by those who clicked prove no pixel."""
        seen = {_source(kind) for kind in sums.keys() - {"unique_opens", "confirmed_opens"}}
        return self.measured(head.mail_class) | seen | {"sent"}

    def _hash(self, key: str) -> Fields:
        return _as_fields(self._run("HGETALL", key))

    def _all(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """The answers to commands, in one round trip, to a cluster one for each node."""

        def ask(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return list(pipeline.execute())

        return self._store.ask(ask)

    def _run(self, *command: Any) -> Any:
        return self._store.ask(lambda client: client.execute_command(*command))


def _as_fields(found: Any) -> Fields:
    if isinstance(found, dict):
        return found
    each = iter(found)
    return dict(zip(each, each, strict=True))


def _sums(counters: Fields) -> Counter[str]:
    """All counts of a campaign by their kind."""
    sums = Counter[str]()
    for field, count in counters.items():
        sums[field.partition("|")[0]] += int(count)
    return sums


def _counts(sums: Mapping[str, int], sources: Collection[str]) -> dict[str, Any]:
    return {kind: sums.get(kind, 0) if _source(kind) in sources else None for kind in _NAMES}


def _source(kind: str) -> str:
    return _SOURCES.get(kind, kind)


def _counted(counters: Fields) -> Iterator[tuple[str, int, str, str, int]]:
    """Kind, hour, VirtualMTA, list, count."""
    for field, count in counters.items():
        kind, hour, mtaid, listid = field.split("|")
        yield kind, int(hour), unquote(mtaid), unquote(listid), int(count)


@lru_cache(4096)
def _day(hour: int) -> str:
    return datetime.fromtimestamp(hour * HOUR, UTC).strftime("%Y-%m-%d")


def _quoted(name: str) -> str:
    # The name as events tell it.
    return quote(str(events.text(name)), safe="")
