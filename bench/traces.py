"""The cost of traces: memory in Redis, and the time of the process that writes them.

Mails of one campaign are accepted, and their traces are written as a milter worker writes them, a
batch at a time; then each mail is delivered, and the events are written as `fletching logtail`
writes them. The names of recipients, servers and replies are made up, in proportions that a list of
private recipients has: two of three mails go to a few large providers, the others to two thousand
small servers. The budget is bytes in Redis per message. The case "one at a time" is a site where
hardly ever two mails are accepted in the same fifth of a second.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fletching.events import DELIVERY, Event
from fletching.numbering import campaign_id
from fletching.store.connection import Store
from fletching.store.events import EventLog
from fletching.store.write_traces import AcceptedTraces
from fletching.store.writing import EventBatch, JournalLine
from fletching.tokens import Facts
from fletching.traces import Accepted
from rich.table import Table

from bench import budgets
from bench.budgets import Budget
from bench.course import Effort, Tell
from sandbox.redis_server import RedisServer

BYTES_A_MESSAGE = 100.0
MESSAGES = 100_000
_QUICK_PART = 10
_EVENTS_A_BATCH = 500
_IDS = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"

_LARGE = (
    ("gmail-smtp-in.l.google.example", "250 2.0.0 OK  {time} {hex}-{hex}si{time}pfb.{hex} - gsmtp"),
    ("mta5.am0.yahoodns.example", "250 ok dirdel"),
    (
        "outlook-com.olc.protection.outlook.example",
        "250 2.6.0 <{hex}@news.example.com> [InternalId={time}] 9114 bytes in 0.19, 46.9 KB/sec "
        "Queued mail for delivery -> 250 2.1.5",
    ),
    ("mx01.emig.gmx.example", "250 Requested mail action okay, completed: id=1{hex}-{hex}"),
    ("mx02.mail.icloud.example", "250 2.0.0 {hex}{hex}-1 Message accepted for delivery"),
)
_SMALL = ("250 2.0.0 Ok: queued as {hex}", "250 OK id=1{hex}-{hex}-{hex}")


@dataclass(frozen=True, slots=True)
class Case:
    """How mail arrives. ``at_once``: mails that a worker accepts in a fifth of a second."""

    name: str
    at_once: int
    long_ids: bool = False


CASES = (
    Case("200 mails at once", 200),
    Case("200 mails at once, long queue ids", 200, long_ids=True),
    Case("one at a time", 1),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """``by_kind``: bytes per message in lines, names and common texts, with their keys."""

    case: str
    bytes: float
    by_kind: dict[str, float]
    accepted_us: float
    delivered_us: float


@dataclass(frozen=True, slots=True)
class Results:
    messages: int
    costs: tuple[Cost, ...]

    @property
    def bars(self) -> tuple[Budget, ...]:
        return tuple(
            Budget(
                f"Redis memory per traced message with one delivery, {cost.case}",
                "bytes",
                BYTES_A_MESSAGE,
                cost.bytes,
                ", ".join(f"{kind} {size:.0f}" for kind, size in cost.by_kind.items()),
            )
            for cost in self.costs
        )


def measure(effort: Effort, tell: Tell) -> Results:
    """Start a private Redis for each case and measure."""
    messages = MESSAGES // (_QUICK_PART if effort.quick else 1)
    costs = []
    for at, case in enumerate(CASES):
        tell(f"{messages:,} traces, {case.name}", at / len(CASES))
        costs.append(_cost(case, messages))
    return Results(messages, tuple(costs))


def _cost(case: Case, messages: int) -> Cost:
    chance = random.Random(4711)
    with RedisServer() as server, server.raw_client() as client:
        client.config_set("appendonly", "no")
        store = Store(server.unix_url, Path())
        store.ping()
        # A first trace loads scripts and makes connections, which cost memory once.
        _write(store, case, chance, [0])
        client.flushall()
        before = _used(client)
        accepted, delivered = _write(store, case, chance, range(messages))
        after = _used(client)
        sizes = dict.fromkeys(("trace", "tracenames", "tracetexts"), 0)
        others = 0
        for key in client.scan_iter():
            kind = key.decode().split(":")[1]
            size = client.memory_usage(key, samples=0) or 0
            if kind in sizes:
                sizes[kind] += size
            else:
                others += size
    by_kind = {kind: size / messages for kind, size in sizes.items()}
    used = (after - before - others) / messages
    return Cost(case.name, used, by_kind, 1e6 * accepted / messages, 1e6 * delivered / messages)


def _used(client: Any) -> int:
    client.memory_purge()
    return int(client.info("memory")["used_memory"])


def _write(
    store: Store, case: Case, chance: random.Random, numbers: Sequence[int]
) -> tuple[float, float]:
    """Writes the traces; CPU seconds of this process for accepted mails and for deliveries."""
    now = int(time.time())
    campaign = campaign_id(now - 7200, chance.randbytes(4))
    traces = AcceptedTraces(store, 7 * 86400)
    accepted = 0.0
    for start in range(0, len(numbers), case.at_once):
        batch = [
            _accepted(campaign, number + 1, now, case, chance)
            for number in numbers[start : start + case.at_once]
        ]
        began = time.process_time()
        for mail in batch:
            traces.add(mail)
        assert not traces.write(), "Redis takes no traces"
        accepted += time.process_time() - began
    log = EventLog(store, frozenset([DELIVERY]), 7 * 86400)
    runs = log.state([]).runs
    assert runs
    delivered = 0.0
    for start in range(0, len(numbers), _EVENTS_A_BATCH):
        events = [
            _delivered(campaign, number + 1, now + 2, chance)
            for number in numbers[start : start + _EVENTS_A_BATCH]
        ]
        lines = [JournalLine(at, event, "") for at, event in enumerate(events, start + 1)]
        began = time.process_time()
        assert log.write(EventBatch(lines, "journal", runs)).is_complete
        delivered += time.process_time() - began
    return accepted, delivered


def _accepted(campaign: str, number: int, now: int, case: Case, chance: random.Random) -> Accepted:
    if case.long_ids:
        queue_id = "4" + "".join(chance.choices(_IDS, k=14))
    else:
        queue_id = f"{chance.getrandbits(20):05X}{chance.getrandbits(22):X}"
    return Accepted(
        *(campaign, number, now, queue_id, f"{chance.getrandbits(64):x}@news.example.com"),
        names=(f"first.last{number:06}@example.com",),
        mtaid=f"vmta-{chance.choice('abcd')}",
        warnings=("no signature: no key for the From domain",) if chance.random() < 0.02 else (),
    )


def _delivered(campaign: str, number: int, now: int, chance: random.Random) -> Event:
    if chance.random() < 2 / 3:
        host, reply = chance.choice(_LARGE)
        address = f"203.0.113.{chance.randrange(8)}"
    else:
        server = chance.randrange(2000)
        host, reply = f"mx{server % 3}.firm-{server}.example", _SMALL[server % 2]
        address = f"198.51.{server // 256}.{server % 256}"
    facts = Facts(
        *(campaign, number, "news", "1", "t100", f"c4711-s{number}"),
        *(f"first.last{number:06}@example.com", "vmta-a", 0),
    )
    while "{hex}" in reply:
        reply = reply.replace("{hex}", f"{chance.getrandbits(44):011X}", 1)
    details = {
        "status": "success",
        "message": reply.replace("{time}", str(now)),
        "bounce_status": "2.0.0",
        "mx_hostname": host,
        "mx_ip": address,
        "outmtaid": "vmta-a",
        "recipient_domain": "example.com",
    }
    return Event(
        DELIVERY, now * 1000, f"{chance.getrandbits(128):032x}"[:26], "mx1", facts, details
    )


def figures(results: Results) -> dict[str, object]:
    """For JSON, with units in the names."""
    return {
        "messages": results.messages,
        "cases": {
            cost.case: {
                "redis_bytes_per_message": round(cost.bytes, 1),
                "redis_bytes_per_message_by_key": {
                    kind: round(size, 1) for kind, size in cost.by_kind.items()
                },
                "cpu_us_per_accepted_message": round(cost.accepted_us, 1),
                "cpu_us_per_delivery": round(cost.delivered_us, 1),
            }
            for cost in results.costs
        },
        "budgets": budgets.figures(results.bars),
    }


def tables(results: Results) -> Iterator[Table]:
    """The tables to print."""
    yield from budgets.tables(results.bars)
    title = f"CPU to write the traces of {results.messages:,} messages with one delivery each"
    table = Table("mails", title=title, title_justify="left")
    for column in ("us per accepted mail", "us per delivery"):
        table.add_column(column, justify="right")
    for cost in results.costs:
        numbers = (cost.accepted_us, cost.delivered_us)
        table.add_row(cost.case, *(f"{number:.0f}" for number in numbers))
    yield table
