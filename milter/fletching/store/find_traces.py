"""Reads traces: finds messages by a name, and what happened to each.

How traces are written is in `write_traces.py`; the form of their lines, in `traces.py`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from fletching import traces
from fletching.encoding import read_varint
from fletching.store import keys
from fletching.store.bounce_records import BounceRecords
from fletching.store.connection import Store
from fletching.store.write_traces import (
    CAMPAIGN_BYTES,
    DIGEST_BYTES,
    NameKind,
    campaign_mark,
    name_digest,
)
from fletching.tokens import Facts, MessageKey
from fletching.traces import DAY, PER_BLOCK, Moment, TraceLine

AT_ONCE = 50
"""Messages that are read in one round trip."""

_PAGE = 2000
_KINDS = frozenset(NameKind)
_LONGEST_WINDOW = 366 * DAY


@dataclass(frozen=True, slots=True)
class Trace:
    """The life of one message. ``moments``: in order of time; empty if nothing is kept.

    ``facts``: of its bounce record, as far as there is one; ``email`` is empty for a mail to
    several recipients. ``links``: URLs by digest.
    """

    facts: Facts
    moments: tuple[Moment, ...]
    links: dict[str, str]

    @property
    def accepted(self) -> Moment | None:
        """When and how the mail was accepted; None if that is no longer kept."""
        return next((each for each in self.moments if each.type == traces.ACCEPTED), None)


class Traces:
    """The traces of a fleet. ``keep``: seconds for which they are kept.

    Every method raises StoreUnavailable if Redis does not answer.
    """

    def __init__(self, store: Store, keep: int) -> None:
        self._store, self._keep = store, keep
        self._records = BounceRecords(store)

    def named(self, name: str, most: int) -> list[Trace]:
        """The messages that have a name, newest first: a recipient or what stands for it, a queue
        id or a Message-ID.
        """
        found: list[Trace] = []
        candidates = self._candidates(name)
        while len(found) < most and (some := list(islice(candidates, min(AT_ONCE, most)))):
            kinds = dict(some)
            found += [each for each in self.of(list(kinds)) if _has(each, kinds, name)]
        found.sort(key=lambda each: each.moments[0].seconds, reverse=True)
        return found[:most]

    def of(self, messages: Sequence[MessageKey]) -> list[Trace]:
        """The traces of messages; without those of which nothing is kept."""
        lines = self._lines(messages)
        texts = self._texts(line for found in lines.values() for line in found)
        facts = self._records.facts(messages)
        moments = {
            message: tuple(sorted((traces.moment(line, texts) for line in found), key=_order))
            for message, found in lines.items()
        }
        links = self._links(moments)
        return [
            Trace(facts.get(message) or Facts(*message), moments[message], links)
            for message in messages
            if moments[message]
        ]

    def _candidates(self, name: str) -> Iterator[tuple[MessageKey, NameKind]]:
        """The messages that may have a name, each once, about newest first."""
        index, digest = name_digest(name)
        campaigns: dict[bytes, list[str]] | None = None
        seen: set[MessageKey] = set()
        today = int(time.time()) // DAY
        # A day's list is kept until the last mail of the day is as old as the trace memory.
        for day in range(today + 1, today - self._keep // DAY - 3, -1):
            entries = self._entries(keys.trace_names(index, day), digest)
            for mark, number, kind in reversed(entries):
                campaigns = self._campaigns() if campaigns is None else campaigns
                for campaign in campaigns.get(mark, ()):
                    if (campaign, number) not in seen:
                        seen.add((campaign, number))
                        yield (campaign, number), kind

    def _entries(self, key: str, digest: bytes) -> list[tuple[bytes, int, NameKind]]:
        """Mark of the campaign, message number and kind of each entry with a digest, oldest
        first.
        """
        found: list[tuple[bytes, int, NameKind]] = []
        at = 0
        while page := self._store.ask(
            lambda client, at=at: client.lrange(key, at, at + _PAGE - 1)  # type: ignore[misc]
        ):
            at += len(page)
            for entry in map(_bytes, page):
                if digest in entry:
                    found += _matching(entry, digest)
        return found

    def _campaigns(self) -> dict[bytes, list[str]]:
        """The campaigns that may have messages of the trace memory, by mark."""
        since = int(time.time()) - self._keep - _LONGEST_WINDOW
        ids = self._store.ask(lambda client: client.zrevrangebyscore(keys.CAMPAIGNS, "+inf", since))
        by_mark: dict[bytes, list[str]] = {}
        for id in ids:
            by_mark.setdefault(campaign_mark(str(id)), []).append(str(id))
        return by_mark

    def _lines(self, messages: Sequence[MessageKey]) -> dict[MessageKey, list[TraceLine]]:
        blocks = sorted({(campaign, number // PER_BLOCK) for campaign, number in messages})

        def ask(client: Any) -> list[list[str]]:
            pipeline = client.pipeline(transaction=False)
            for campaign, block in blocks:
                pipeline.lrange(f"{keys.trace(campaign)}{block}", 0, -1)
            found: list[list[str]] = pipeline.execute()
            return found

        lines: dict[MessageKey, list[TraceLine]] = {message: [] for message in messages}
        for (campaign, block), entries in zip(blocks, self._store.ask(ask), strict=True):
            for line in traces.read(map(_bytes, entries), campaign, block):
                if (campaign, line.number) in lines:
                    lines[campaign, line.number].append(line)
        return lines

    def _texts(self, lines: Iterable[TraceLine]) -> dict[bytes, str]:
        """The common texts that lines refer to, by reference."""
        wanted = sorted({each for line in lines for each in line.references})
        by_day: dict[int, list[bytes]] = {}
        for day, reference in wanted:
            by_day.setdefault(day, []).append(reference)
        texts: dict[bytes, str] = {}
        for day, references in by_day.items():
            values = self._store.ask(
                lambda client, day=day, references=references: client.hmget(  # type: ignore[misc]
                    keys.trace_texts(day), references
                )
            )
            found = zip(references, values, strict=True)
            texts |= {reference: value for reference, value in found if value is not None}
        return texts

    def _links(self, moments: dict[MessageKey, tuple[Moment, ...]]) -> dict[str, str]:
        """The URLs that were clicked, by digest."""
        wanted: dict[str, set[str]] = {}
        for (campaign, _), found in moments.items():
            for each in found:
                if link := each.details.get("link"):
                    wanted.setdefault(campaign, set()).add(str(link))
        links: dict[str, str] = {}
        for campaign, digests in wanted.items():
            named = sorted(digests)
            values = self._store.ask(
                lambda client, campaign=campaign, named=named: client.hmget(  # type: ignore[misc]
                    keys.links(campaign), named
                )
            )
            links |= {name: value for name, value in zip(named, values, strict=True) if value}
        return links


def _matching(entry: bytes, digest: bytes) -> Iterator[tuple[bytes, int, NameKind]]:
    mark, at = entry[:CAMPAIGN_BYTES], CAMPAIGN_BYTES
    while at < len(entry):
        found = entry[at : at + DIGEST_BYTES]
        packed, at = read_varint(entry, at + DIGEST_BYTES)
        if found == digest and packed % 4 in _KINDS:
            yield mark, packed >> 2, NameKind(packed % 4)


def _has(trace: Trace, kinds: Mapping[MessageKey, NameKind], name: str) -> bool:
    """Whether a message has a name, as far as is known: digests are short.

    A Message-ID is not kept, nor are the addresses of a mail to several recipients.
    """
    facts, accepted = trace.facts, trace.accepted
    known = ""
    match kinds[facts.campaign, facts.number]:
        case NameKind.RECIPIENT:
            known = facts.email
        case NameKind.QUEUE_ID if accepted is not None:
            known = str(accepted.details.get("queue_id", ""))
    return known.lower() in ("", name.lower())


def _order(moment: Moment) -> tuple[int, bool]:
    return moment.seconds, moment.type != traces.ACCEPTED


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
