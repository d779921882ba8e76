"""Statistics of campaigns: what was sent, opened, clicked, by hour, VirtualMTA, list and link.

Here lives what reads the counters. `counting.py` counts events, and `sent.py` counts mails that
Postfix accepted. Uniqueness is exact: one bit for each message and kind says whether it was counted
before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.counts import (
    EVERY,
    EVERY_KIND,
    HOUR,
    KINDS_BY,
    STEP,
    Campaign,
    Dimension,
    Failures,
    Fields,
    Link,
    Measured,
    Row,
    Wanted,
    cells,
    counted_by,
    counts_of,
    failures_of,
    most_frequent_first,
    sources_in,
    sums_by_kind,
)

_PAGE = 200
_KEYS = {"provider": keys.providers, "reason": keys.reasons}
_BY_HOUR = ("sent", "delivered", "deferred", "bounces", "opens", "clicks", "unsubscribes")


class Statistics:
    """Reads the statistics of a fleet, of many campaigns in each round trip.

    Every method raises StoreUnavailable if Redis does not answer.
    """

    def __init__(self, store: Store, measured: Measured, page: int = _PAGE) -> None:
        """``page``: campaigns in a round trip."""
        self._store = store
        self.measured = measured
        self._page = page

    def campaigns(
        self, limit: int | None = None, skip: int = 0, wanted: Wanted = EVERY
    ) -> tuple[Campaign, ...]:
        """The wanted campaigns, newest first: at most ``limit``, after the first ``skip``."""
        heads = islice(self._heads(wanted), skip, None if limit is None else skip + limit)
        return tuple(self._whole(head, counters) for head, counters in self._with_counters(heads))

    def each(self, wanted: Wanted = EVERY) -> Iterator[Campaign]:
        """The wanted campaigns, newest first, while they are read."""
        return (self._whole(*each) for each in self._with_counters(self._heads(wanted)))

    def count(self, wanted: Wanted = EVERY) -> int:
        """How many campaigns are wanted."""
        return sum(1 for _ in self._heads(wanted))

    def campaign(self, name: str) -> Campaign | None:
        """One campaign; None if it is unknown, or was deleted."""
        heads = self._existing([name])
        return next((self._whole(*each) for each in self._with_counters(heads)), None)

    def newest(self, sendid: str) -> Campaign | None:
        """The newest campaign of a SendID, whatever its case; None if there is none."""
        sendid = sendid.lower()
        open_one = self._run("GET", keys.sendid(sendid))
        if open_one and (found := self.campaign(str(open_one))):
            return found
        heads = self._heads(Wanted(search=sendid))
        ended = next((head.campaign for head in heads if head.sendid == sendid), None)
        return self.campaign(ended) if ended else None

    def hours(self, name: str) -> Mapping[str, Mapping[int, int]]:
        """The counts of a campaign by kind and hour, in unix seconds; all bounces are one kind."""
        found: dict[str, Counter[int]] = {kind: Counter() for kind in _BY_HOUR}
        for kind, hour, _, _, count in cells(self._hash(keys.counts(name))):
            kind = "bounces" if kind.startswith("bounces_") else kind
            if kind in found:
                found[kind][hour * HOUR] += count
        return found

    def steps(self, name: str) -> Mapping[str, Mapping[int, int]]:
        """The same as `hours` by kind and step, in the first hours of a campaign."""
        found: dict[str, Counter[int]] = {kind: Counter() for kind in _BY_HOUR}
        for field, count in self._hash(keys.steps(name)).items():
            kind, _, number = field.partition("|")
            found["bounces" if kind.startswith("bounces_") else kind][int(number) * STEP] += int(
                count
            )
        return found

    def failures(self, name: str) -> tuple[Failures, ...]:
        """Why messages of a campaign bounced or were deferred, the most frequent first."""
        return failures_of(self._hash(keys.reasons(name)))

    def links(self, name: str) -> tuple[Link, ...]:
        """The links of a campaign that were clicked, most clicks first."""
        fields = self._hash(keys.links(name))
        found = [
            Link(
                url,
                clicks=int(fields.get(f"{digest}|clicks", 0)),
                unique_clicks=int(fields.get(f"{digest}|unique_clicks", 0)),
                bot_clicks=int(fields.get(f"{digest}|bot_clicks", 0)),
            )
            for digest, url in fields.items()
            if "|" not in digest
        ]
        return tuple(sorted(found, key=lambda link: (-link.clicks, -link.bot_clicks, link.url)))

    def warnings(self, name: str) -> tuple[tuple[str, int], ...]:
        """The warnings of a campaign and how many mails had each, the most frequent first."""
        return most_frequent_first(self._hash(keys.warnings(name)))

    def by(
        self, dimension: Dimension, name: str | None = None, wanted: Wanted = EVERY
    ) -> tuple[Row, ...]:
        """The counts of one campaign, or of all wanted ones, by one of the dimensions.

        Sorted by name; providers and reasons with the most messages come first.
        """
        heads = self._heads(wanted) if name is None else self._existing([name])
        sums: dict[str, Counter[str]] = defaultdict(Counter)
        sources: dict[str, set[str]] = defaultdict(set)
        sendids: dict[str, dict[str, None]] = defaultdict(dict)
        key = _KEYS.get(dimension, keys.counts)
        for head, counters in self._with_counters(heads, key):
            rows = tuple(counted_by(dimension, head, counters))
            counted = Counter[str]()
            for _, kind, count in rows:
                counted[kind] += count
            measured = self._sources(head, counted)
            for row, kind, count in rows:
                sums[row][kind] += count
                sources[row] |= measured
            if dimension == "monitor":
                sendids[head.monitor][head.sendid] = None
        kinds = KINDS_BY.get(dimension, EVERY_KIND)
        names = sorted(sums)
        if dimension in _KEYS:
            names.sort(key=lambda name: -sums[name].total())
        return tuple(
            Row(
                **counts_of(sums[name], sources[name], kinds),
                name=name,
                sendids=tuple(sendids.get(name, ())),
            )
            for name in names
        )

    def _heads(self, wanted: Wanted) -> Iterator[Campaign]:
        """The wanted campaigns, newest first, without their counts."""
        start, span = 0, (f"({wanted.until}" if wanted.until else "+inf", wanted.since)
        while names := self._run(
            "ZREVRANGEBYSCORE", keys.CAMPAIGNS, *span, "LIMIT", start, self._page
        ):
            found = self._existing(names)
            # A campaign's keys expire; its entry in the index does not.
            if expired := set(names) - {each.campaign for each in found}:
                self._run("ZREM", keys.CAMPAIGNS, *expired)
            start += len(found)
            yield from filter(wanted.has, found)

    def _existing(self, names: Sequence[str]) -> list[Campaign]:
        """Those of the campaigns that exist, without their counts."""
        wanted = ("sendid", "mail_class", "opened", "monitor", "subject", "listid")
        answers = self._all([("HMGET", keys.campaign(name), *wanted) for name in names])
        return [
            Campaign(
                campaign=name,
                sendid=(sendid or "").lower(),
                mail_class=mail_class or "",
                opened=int(opened or 0),
                monitor=monitor or "",
                subject=subject or "",
                listid=listid or "",
            )
            for name, (sendid, mail_class, opened, monitor, subject, listid) in zip(
                names, answers, strict=True
            )
            if any(each is not None for each in (sendid, mail_class, opened))
        ]

    def _with_counters(
        self, heads: Iterable[Campaign], key: Callable[[str], str] = keys.counts
    ) -> Iterator[tuple[Campaign, Fields]]:
        left = iter(heads)
        while page := list(islice(left, self._page)):
            answers = self._all([("HGETALL", key(head.campaign)) for head in page])
            yield from zip(page, map(_as_fields, answers), strict=True)

    def _whole(self, head: Campaign, counters: Fields) -> Campaign:
        sums = sums_by_kind(counters)
        return replace(head, **counts_of(sums, self._sources(head, sums)))

    def _sources(self, head: Campaign, sums: Mapping[str, int]) -> frozenset[str]:
        return self.measured(head.mail_class) | sources_in(sums) | {"sent"}

    def _hash(self, key: str) -> Fields:
        return _as_fields(self._run("HGETALL", key))

    def _all(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """The answers to commands, in one round trip; in a cluster, in one for each node."""

        def ask(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return list(pipeline.execute())

        return self._store.ask(ask)

    def _run(self, *command: Any) -> Any:
        return self._store.ask(lambda client: client.execute_command(*command))


def _as_fields(answer: Any) -> Fields:
    if isinstance(answer, dict):
        return answer
    each = iter(answer)
    return dict(zip(each, each, strict=True))
