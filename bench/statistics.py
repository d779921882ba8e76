"""The cost of statistics: memory in Redis, and time to read them.

First, one campaign of a million messages. Fletching's own script numbers them, each with a bounce
record, called by redis-benchmark (see `store.py`). Then people and bots open and click, and their
events are written to Redis as Fletching writes them. The benchmark counts the same events in Python
sets; if Redis' numbers differ, that is an error.

Then many campaigns of one mail each, as with transactional mail. There are three budgets: bytes in
Redis per message, without the events in the stream, which are kept for a few days only; the time to
read everything that `fletching stats CAMPAIGN` shows; and the time to read the first page of many
campaigns.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import redis
from fletching.events import CLICK, OPEN, Event
from fletching.numbering import Question
from fletching.store import keys
from fletching.store.campaigns import Campaigns
from fletching.store.connection import Store
from fletching.store.counts import Wanted
from fletching.store.events import EventLog
from fletching.store.sent import Sent
from fletching.store.statistics import Statistics
from fletching.tokens import Facts
from rich.table import Table

from bench import budgets, store
from bench.budgets import Budget
from bench.course import Effort, Tell
from bench.figures import middle
from sandbox.redis_server import RedisServer

BYTES_A_MESSAGE, READING_SECONDS, FIRST_PAGE_SECONDS = 200.0, 1.0, 1.0
MESSAGES, OPENS, CLICKS = 1_000_000, 400_000, 120_000
CAMPAIGNS = 12_000
LINKS = tuple(f"https://www.example.com/spring/offer-{number}?utm_id=4711" for number in range(10))
_MTAS = ("vmta-a", "vmta-b", "vmta-c", "vmta-d")
_HOURS = 72
_BOTS = 0.1
_PROXIES = 0.2
_QUICK_PART = 100
_A_STEP = 500
_FIRST_PAGE, _ALL = "the first page", "all"
_LETTERS = str.maketrans("0123456789", "abcdefghij")
# redis-benchmark replaces it with a 12-digit number, different for each message.
_CHANCE = "__rand_int__"


@dataclass(frozen=True, slots=True)
class Results:
    """``key_bytes``: memory of the campaign's keys, by type; ``added_bytes``: growth of Redis'
    memory; ``reading_ms``: by query; ``many_ms``: the same for many campaigns."""

    messages: int
    events: int
    key_bytes: dict[str, int]
    added_bytes: int
    stream_bytes: int
    counted_per_second: float
    reading_ms: dict[str, float]
    campaigns: int
    many_ms: dict[str, float]

    @property
    def bars(self) -> tuple[Budget, ...]:
        records = self.key_bytes["bounces"] / self.messages
        slowest = max(self.reading_ms, key=lambda name: self.reading_ms[name])
        return (
            Budget(
                f"Redis memory per message, with {self.messages:,} messages, without the stream",
                "bytes",
                BYTES_A_MESSAGE,
                self.added_bytes / self.messages,
                f"including {records:.0f} for the bounce record",
            ),
            Budget(
                "time to read all statistics of the campaign",
                "s",
                READING_SECONDS,
                sum(self.reading_ms.values()) / 1000,
                f"slowest: {slowest}, {self.reading_ms[slowest]:.0f} ms",
            ),
            Budget(
                f"time to read the first page of {self.campaigns:,} campaigns",
                "s",
                FIRST_PAGE_SECONDS,
                self.many_ms[_FIRST_PAGE] / 1000,
                f"all pages: {self.many_ms[_ALL] / 1000:.1f} s",
            ),
        )


@dataclass
class Played:
    """The expected counts."""

    kinds: Counter[str] = field(default_factory=Counter)
    opened: set[int] = field(default_factory=set)
    confirmed: set[int] = field(default_factory=set)
    clicked: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))


def measure(effort: Effort, tell: Tell) -> Results:
    """Start a private Redis and measure."""
    part = _QUICK_PART if effort.quick else 1
    messages, opens, clicks = MESSAGES // part, OPENS // part, CLICKS // part
    with RedisServer() as server, server.raw_client() as client:
        client.config_set("appendonly", "no")
        template = question()
        before, words = _empty(client), store.recorded(server, template)
        tell(f"{messages:,} messages get their numbers", 0)
        store.benchmark(server, words[store.NUMBER_ONE], messages - 1, 10)
        _count_as_sent(server, template, messages)
        began = time.monotonic()
        played = _play(server, template, (messages, opens, clicks), tell)
        seconds = time.monotonic() - began
        tell("reading", 0.9)
        stored = Statistics(Store(server.unix_url, Path()), lambda _: frozenset())
        _compare(stored, template.candidate, messages, played)
        reading_ms = _read(stored, template.candidate, effort)
        key_bytes = _key_bytes(client, template.candidate)
        stream_bytes = _stream_bytes(client)
        added_bytes = _used(client) - before
        tell(f"{CAMPAIGNS // part:,} campaigns of one mail each", 0.95)
        many_ms = _many(server, stored, CAMPAIGNS // part, effort)
        return Results(
            *(messages, opens + clicks, key_bytes, added_bytes, stream_bytes),
            *((opens + clicks) / seconds, reading_ms, CAMPAIGNS // part, many_ms),
        )


def _count_as_sent(server: RedisServer, template: Question, messages: int) -> None:
    sent = Sent(Store(server.unix_url, Path()))
    message = Facts(
        *(template.candidate, 1, template.mail_class, template.instance_id, template.listid),
        *("", "", _MTAS[0], template.now),
    )
    for _ in range(messages):
        sent.add(message)
    assert not sent.write(), "Redis does not count what was sent"


def question() -> Question:
    """The newsletter's question to the store, with a different address for each message."""
    remember = {
        "listid": "t100",
        "click_tracking_id": f"c4711-s{_CHANCE}",
        "email": f"first.last{_CHANCE}@example.com",
    }
    return replace(store.newsletter_question(), remember=tuple(remember.items()))


def _play(
    server: RedisServer, template: Question, amounts: tuple[int, int, int], tell: Tell
) -> Played:
    messages, opens, clicks = amounts
    chance, played = random.Random(4711), Played()
    log = EventLog(Store(server.unix_url, Path()))
    types = [OPEN] * opens + [CLICK] * clicks
    chance.shuffle(types)
    for start in range(0, len(types), _A_STEP):
        tell(f"{len(types):,} opens and clicks", 0.2 + 0.7 * start / len(types))
        step = types[start : start + _A_STEP]
        happened = [_event(type, template, chance.randint(1, messages), chance) for type in step]
        for event in happened:
            _note(played, event)
        log.append(happened)
    return played


def _event(type: str, template: Question, number: int, chance: random.Random) -> Event:
    facts = Facts(
        *(template.candidate, number, template.mail_class, template.instance_id, template.listid),
        *(f"c4711-s{number:012}", f"first.last{number:012}@example.com"),
        *(_MTAS[number % len(_MTAS)], template.now),
    )
    details: dict[str, str | bool] = {
        "engine_ip": f"192.0.2.{number % 256}",
        "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15",
        "html_or_text": "html",
        "is_privacy_open": type == OPEN and chance.random() < _PROXIES,
        "is_bot": chance.random() < _BOTS,
        "bot_reason": "",
        "click_url": chance.choice(LINKS) if type == CLICK else "",
    }
    # Most comes in the first hours.
    second = template.now + int(_HOURS * 3600 * chance.random() ** 3)
    id = f"{chance.getrandbits(128):032x}"[:26]
    return Event(type, second * 1000, id, "mx1", facts, details)


def _note(played: Played, event: Event) -> None:
    number = event.facts.number
    if event.details["is_bot"]:
        played.kinds["bot_opens" if event.type == OPEN else "bot_clicks"] += 1
        return
    played.opened.add(number)
    if event.details["is_privacy_open"]:
        played.kinds["privacy_opens"] += 1
        return
    played.confirmed.add(number)
    if event.type == OPEN:
        played.kinds["opens"] += 1
    else:
        played.kinds["clicks"] += 1
        played.clicked[str(event.details["click_url"])].add(event.facts.number)


def _compare(stored: Statistics, campaign: str, messages: int, played: Played) -> None:
    """Raise an error if Redis counted differently."""
    found = stored.campaign(campaign)
    assert found is not None, "the campaign is missing"
    kinds = played.kinds
    wanted: tuple[int, ...] = (
        *(messages, kinds["opens"]),
        *(len(played.opened), kinds["bot_opens"]),
    )
    assert (found.sent, found.opens, found.unique_opens, found.bot_opens) == wanted
    wanted = (kinds["privacy_opens"], len(played.confirmed))
    assert (found.privacy_opens, found.confirmed_opens) == wanted
    clicked = len(set().union(*played.clicked.values()))
    wanted = (kinds["clicks"], clicked, kinds["bot_clicks"])
    assert (found.clicks, found.unique_clicks, found.bot_clicks) == wanted
    unique = {link.url: link.unique_clicks for link in stored.links(campaign)}
    assert unique == {url: len(numbers) for url, numbers in played.clicked.items()}
    assert sum(row.unique_opens or 0 for row in stored.by("day", campaign)) == len(played.opened)


def _read(stored: Statistics, campaign: str, effort: Effort) -> dict[str, float]:
    """Milliseconds of each query, median of the rounds."""
    questions: dict[str, Callable[[], object]] = {
        "the campaign": lambda: stored.campaign(campaign),
        "hours": lambda: stored.hours(campaign),
        "links": lambda: stored.links(campaign),
        "by class": lambda: stored.by("mail_class", campaign),
        "by list": lambda: stored.by("listid", campaign),
        "by VirtualMTA": lambda: stored.by("mtaid", campaign),
        "by day": lambda: stored.by("day", campaign),
    }
    return _timed(questions, effort)


def _many(server: RedisServer, stored: Statistics, count: int, effort: Effort) -> dict[str, float]:
    """Milliseconds of each query with ``count`` campaigns of one mail each."""
    opened = Store(server.unix_url, Path())
    campaigns, log = Campaigns(opened), EventLog(opened)
    chance, template = random.Random(4712), store.newsletter_question()
    happened = []
    for number in range(count):
        sendid, id = f"order{number}", f"{number:08}".translate(_LETTERS)
        each = replace(template, sendid=sendid, candidate=id, now=template.now + number)
        while campaigns.campaign_of(each) is None:
            pass  # Redis was too slow; an application would retry, too
        happened.append(_event(CLICK, each, 1, chance))
    # Each event belongs to another campaign, so it takes a script call of its own.
    for start in range(0, count, _A_STEP // 10):
        log.append(happened[start : start + _A_STEP // 10])
    questions: dict[str, Callable[[], object]] = {
        _FIRST_PAGE: lambda: stored.campaigns(21),
        "the last page": lambda: stored.campaigns(21, count - 20),
        _ALL: stored.campaigns,
        "a SendID that does not exist": lambda: stored.campaigns(
            21, wanted=Wanted(search="nosuch")
        ),
        "by class": lambda: stored.by("mail_class"),
        "by day": lambda: stored.by("day"),
        "one, by its SendID": lambda: stored.newest("order1"),
    }
    assert len(stored.campaigns()) == count + 1
    return _timed(questions, effort)


def _timed(questions: dict[str, Callable[[], object]], effort: Effort) -> dict[str, float]:
    """Milliseconds of each query, median of the rounds."""
    rounds: dict[str, list[float]] = defaultdict(list)
    for _ in range(effort.rounds):
        for name, ask in questions.items():
            began = time.perf_counter()
            ask()
            rounds[name].append(1000 * (time.perf_counter() - began))
    return {name: middle(taken) for name, taken in rounds.items()}


def _key_bytes(client: redis.Redis, campaign: str) -> dict[str, int]:
    found: Counter[str] = Counter()
    for key in client.scan_iter(f"{keys.PREFIX}*{{{campaign}}}*", count=1000):
        found[key.decode().split(":")[1]] += int(client.memory_usage(key, samples=0) or 0)
    return dict(found)


def _stream_bytes(client: redis.Redis) -> int:
    """The memory of the events, which are deleted here."""
    before = _used(client)
    client.delete(keys.EVENTS)
    return before - _used(client)


def _empty(client: redis.Redis) -> int:
    client.flushall()
    return _used(client)


def _used(client: redis.Redis) -> int:
    # Without the buffers of clients and of the append-only file, which vary.
    info: dict[str, Any] = client.info("memory")
    aside = int(info["mem_not_counted_for_evict"]) + int(info["mem_clients_normal"])
    return int(info["used_memory"]) - aside


def figures(results: Results) -> dict[str, object]:
    """For JSON, with units in the names."""
    return {
        "messages": results.messages,
        "events": results.events,
        "redis_bytes_per_message": round(results.added_bytes / results.messages, 1),
        "redis_bytes_per_message_by_key": {
            name: round(octets / results.messages, 2) for name, octets in results.key_bytes.items()
        },
        "stream_bytes_per_event": round(results.stream_bytes / results.events),
        "events_counted_per_second": round(results.counted_per_second),
        "reading_ms": {name: round(ms, 2) for name, ms in results.reading_ms.items()},
        "campaigns": results.campaigns,
        "reading_many_ms": {name: round(ms, 2) for name, ms in results.many_ms.items()},
        "budgets": budgets.figures(results.bars),
    }


def tables(results: Results) -> Iterator[Table]:
    """Budgets, memory, reading."""
    yield from budgets.tables(results.bars)
    title = f"memory in Redis after {results.messages:,} messages and {results.events:,} events"
    table = Table("keys", title=title, title_justify="left")
    for name in ("MB", "bytes per message"):
        table.add_column(name, justify="right")
    rows = {**results.key_bytes, "total growth of memory": results.added_bytes}
    for name, octets in rows.items():
        table.add_row(name, f"{octets / 1e6:.1f}", f"{octets / results.messages:.1f}")
    table.add_row("additionally, the stream, bytes per event", "", _per_event(results))
    yield table
    many = f"time to read, with {results.campaigns:,} campaigns of one mail"
    for title, times in (("time to read", results.reading_ms), (many, results.many_ms)):
        table = Table("query", title=title, title_justify="left")
        table.add_column("ms", justify="right")
        for name, ms in times.items():
            table.add_row(name, f"{ms:.1f}")
        yield table


def _per_event(results: Results) -> str:
    return f"{results.stream_bytes / results.events:.0f}"
