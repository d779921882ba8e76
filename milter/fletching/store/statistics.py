"""Statistics of campaigns: what was sent, opened, clicked, by hour, VirtualMTA, list and link.

Here live the keys of the counters and the sums over them. All that is counted follows from events,
but for what was sent: that is counted as the message gets its number. Uniqueness is exact: a bit
per message says whether it was there before. Keys, those of a campaign in one slot of Redis
Cluster:

    fletching:campaigns              sorted set: campaign -> unix seconds of its first message
    fletching:counts:{<id>}          hash: kind|hour|VirtualMTA|list -> count
    fletching:links:{<id>}           hash: digest -> URL, digest|kind -> count
    fletching:counted:{<id>}         hash: writer of a journal -> sequence number of its last event
                                     that is counted
    fletching:seen:{<id>}:<kind>:<number // 65536>            bits by message number % 65536
    fletching:seen:{<id>}:<kind>:<digest>:<number // 4096>    those of one link, % 4096

All keys of a campaign but its bounces end with it. Names of VirtualMTAs and lists are
percent-encoded there; an hour is unix seconds / 3600.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

from fletching import events
from fletching.events import Event
from fletching.store.connection import Connection
from fletching.store.script import Script
from fletching.store.warnings import key as warnings_key
from fletching.store.warnings import sorted_by_mails
from fletching.store.writing import Batch, Line, Write

INDEX = "fletching:campaigns"
CAMPAIGN = "fletching:campaign:"
"""What the keys of campaigns begin with."""
What = Literal["mail_class", "listid", "mtaid", "day"]

_KINDS = {
    events.OPEN: ("opens", "bot_opens"),
    events.CLICK: ("clicks", "bot_clicks"),
    events.UNSUBSCRIBE: ("unsubscribes", "unsubscribes"),
    events.COMPLAINT: ("complaints", "complaints"),
    events.SEED: ("seeds", "seeds"),
}
_BOUNCES = {"h": "bounces_hard", "s": "bounces_soft"}
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened to messages. Unique: to how many of them."""

    sent: int = 0
    opens: int = 0
    unique_opens: int = 0
    clicks: int = 0
    unique_clicks: int = 0
    bot_clicks: int = 0
    bot_opens: int = 0
    unsubscribes: int = 0
    complaints: int = 0
    bounces_hard: int = 0
    bounces_soft: int = 0
    delivered: int = 0
    seeds: int = 0


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


_NAMES = frozenset(each.name for each in fields(Counts))


class Counting:
    """What writes."""

    def __init__(self) -> None:
        self._script = Script("count.lua")

    def writes(self, batch: Batch) -> Iterator[Write]:
        """What counts the events of a batch, campaign by campaign."""
        of_campaign: dict[str, list[str]] = defaultdict(list)
        for line in batch.lines:
            # A mail sent while the store was away belongs to none.
            if line.event.facts.campaign and (kind := _kind(line.event)):
                of_campaign[line.event.facts.campaign] += _words(kind, line)
        for campaign, words in of_campaign.items():
            of = f"{{{campaign}}}"
            keys = (
                *(f"{CAMPAIGN}{of}", counts_key(campaign), _links(campaign)),
                *(f"fletching:counted:{of}", f"fletching:seen:{of}:"),
            )
            run = partial(self._script.run, keys=keys, arguments=[*batch.gate, *words])
            yield Write(keys[0], run)


@lru_cache(4096)
def place(hour: int, mtaid: str, listid: str) -> str:
    """Where something is counted: the hour, the VirtualMTA and the list."""
    return f"{hour}|{_quoted(mtaid)}|{_quoted(listid.lower())}"


def _kind(event: Event) -> str:
    """What it counts as; empty for nothing."""
    if event.type == events.BOUNCE:
        return _BOUNCES.get(str(event.details.get("bounce_type")), "")
    if event.type == events.DELIVERY:
        return "delivered" if event.details.get("status") == "success" else ""
    human, bot = _KINDS.get(event.type, ("", ""))
    return bot if event.details.get("is_bot") else human


def _words(kind: str, line: Line) -> Iterator[str]:
    """As count.lua takes them."""
    event, facts = line.event, line.event.facts
    yield str(line.sequence)
    yield kind
    yield place(event.milliseconds // 1000 // _HOUR, facts.mtaid, facts.listid)
    yield str(facts.number)
    url = str(events.text(event.details["click_url"])) if event.type == events.CLICK else ""
    yield _digest(url) if url else ""
    yield url


@lru_cache(4096)
def _digest(url: str) -> str:
    return hashlib.blake2b(url.encode(), digest_size=8).hexdigest()


class Statistics:
    """What reads. All raise StoreAway where Redis does not answer."""

    def __init__(self, url: str, state_dir: Path) -> None:
        self._connection = Connection(url, state_dir)

    def campaigns(self, limit: int | None = None) -> tuple[Campaign, ...]:
        """The campaigns, newest first."""
        names = self._run("ZREVRANGE", INDEX, 0, -1 if limit is None else limit - 1)
        found = {str(name): self.campaign(str(name)) for name in names}
        # A campaign ends by itself, and its entry does not.
        if ended := [name for name, campaign in found.items() if campaign is None]:
            self._run("ZREM", INDEX, *ended)
        return tuple(campaign for campaign in found.values() if campaign is not None)

    def campaign(self, name: str) -> Campaign | None:
        """One campaign; None where it is not known, or not any more."""
        told = self._hash(f"fletching:campaign:{{{name}}}")
        if not told:
            return None
        counts = Counter[str]()
        for kind, _, _, _, count in self._counted(name):
            counts[kind] += count
        counts["sent"] = int(told.get("sent", 0))
        return Campaign(
            **_known(counts),
            campaign=name,
            sendid=told.get("sendid", "").lower(),
            mail_class=told.get("mail_class", ""),
            opened=int(told.get("opened", 0)),
        )

    def hours(self, name: str) -> Mapping[str, Mapping[int, int]]:
        """By kind: the counts of a campaign by the hour that they are of, in unix seconds."""
        found: dict[str, Counter[int]] = {
            kind: Counter() for kind in ("sent", "opens", "clicks", "unsubscribes")
        }
        for kind, hour, _, _, count in self._counted(name):
            if kind in found:
                found[kind][hour * _HOUR] += count
        return found

    def links(self, name: str) -> tuple[Link, ...]:
        """The links of a campaign that were followed, the most followed first."""
        told = self._hash(_links(name))
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
        return sorted_by_mails(self._hash(warnings_key(name)))

    def by(self, what: What, name: str | None = None) -> tuple[Row, ...]:
        """The counts of all campaigns, or of one, by class, list, VirtualMTA or day (UTC)."""
        sums: dict[str, Counter[str]] = defaultdict(Counter)
        names = [name] if name is not None else self._run("ZREVRANGE", INDEX, 0, -1)
        for each in map(str, names):
            mail_class = self._hash(f"fletching:campaign:{{{each}}}").get("mail_class", "")
            for kind, hour, mtaid, listid, count in self._counted(each):
                day = datetime.fromtimestamp(hour * _HOUR, UTC).strftime("%Y-%m-%d")
                of = {"mail_class": mail_class, "listid": listid, "mtaid": mtaid, "day": day}
                sums[of[what]][kind] += count
        return tuple(Row(**_known(counts), name=of) for of, counts in sorted(sums.items()))

    def _counted(self, campaign: str) -> Iterator[tuple[str, int, str, str, int]]:
        """Kind, hour, VirtualMTA, list, count."""
        for field, count in self._hash(counts_key(campaign)).items():
            kind, hour, mtaid, listid = field.split("|")
            yield kind, int(hour), unquote(mtaid), unquote(listid), int(count)

    def _hash(self, key: str) -> dict[str, str]:
        found = self._run("HGETALL", key)
        if isinstance(found, dict):
            return {str(field): str(value) for field, value in found.items()}
        each = iter(found)
        return {str(field): str(value) for field, value in zip(each, each, strict=True)}

    def _run(self, *command: Any) -> Any:
        return self._connection.ask(lambda client: client.execute_command(*command))


def _known(counts: Mapping[str, int]) -> dict[str, int]:
    return {kind: count for kind, count in counts.items() if kind in _NAMES}


def counts_key(campaign: str) -> str:
    """The key of a campaign's counters."""
    return f"fletching:counts:{{{campaign}}}"


def _links(campaign: str) -> str:
    return f"fletching:links:{{{campaign}}}"


def _quoted(name: str) -> str:
    # The name as events tell it.
    return quote(str(events.text(name)), safe="")
