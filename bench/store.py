"""How many messages per second one Redis can number, and how much memory a message takes there.

The load is the scripts of `fletching.store`, with exactly the commands that `store/campaigns.py`
sends for the newsletter. They are recorded once, and redis-benchmark then sends them repeatedly
over the Unix socket, so no Python is in the times.

Either all messages belong to one campaign, or each to a campaign of its own (transactional mail).
In the second case, redis-benchmark replaces the campaign's id in each key with a different number;
without Redis Cluster that is the same work.
"""

from __future__ import annotations

import ast
import itertools
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from fletching.numbering import Numbered, Question
from fletching.store.campaigns import Campaigns
from fletching.store.connection import Store
from rich.table import Table

from bench import mails
from bench.course import Effort, Tell
from bench.outgoing import opened, way_of
from sandbox.processes import PATIENCE, program
from sandbox.redis_server import RedisServer

SIZE = "23 kB"
NUMBER_ONE, NUMBER_EACH, BEGIN_ONE, BEGIN_EACH, OPEN_ONE, OPEN_EACH = (
    "number.lua, one campaign",
    "number.lua, a campaign each",
    "begin.lua, one campaign",
    "begin.lua, a campaign each",
    "open.lua, one SendID",
    "open.lua, a SendID each",
)
FSYNC = ("always", "everysec", "no")
CONNECTIONS = (1, 10, 50)
_SPACE = 10**9
_CHANCE = "__rand_int__"
_MESSAGES = {"always": 20_000, "everysec": 100_000, "no": 100_000}
_REMEMBERED = 20_000
_QUICK_PART = 10

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rate:
    """One run of redis-benchmark."""

    what: str
    fsync: str
    connections: int
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class Kept:
    """The memory of messages: number, bounce record, and the campaign's own keys."""

    what: str
    messages: int
    added_bytes: int

    @property
    def bytes_per_1000(self) -> float:
        return 1000 * self.added_bytes / self.messages


@dataclass(frozen=True, slots=True)
class Results:
    """All measurements, and the commands that were sent."""

    rates: tuple[Rate, ...]
    kept: tuple[Kept, ...]
    words: dict[str, Words]


def measure(effort: Effort, tell: Tell) -> Results:
    """Start a private Redis and measure."""
    with RedisServer() as server, server.raw_client() as client:
        client.config_set("auto-aof-rewrite-percentage", 0)
        words = recorded(server, newsletter_question())
        rates = tuple(_rates(server, client, words, effort, tell))
        tell("memory", 0.9)
        kept = tuple(_kept(server, client, words, effort))
    return Results(rates, kept, words)


def newsletter_question() -> Question:
    """The question that processing the newsletter asks the store."""
    questions: list[Question] = []

    def answer(question: Question) -> Numbered:
        questions.append(question)
        return Numbered(question.candidate, 1)

    with tempfile.TemporaryDirectory() as name:
        way_of(mails.SIZES[SIZE], opened(Path(name)), answer)()
    return questions[0]


def recorded(server: RedisServer, question: Question) -> dict[str, Words]:
    """The commands that Fletching sends for the first message of a campaign, by what they do."""
    # The first call loads the scripts into Redis; the second one is recorded with MONITOR.
    assert Campaigns(Store(server.unix_url, Path())).campaign_of(question) is not None
    with server.raw_client() as client, _monitored(server) as sent:
        client.flushall()
        numbered = Campaigns(Store(server.unix_url, Path())).campaign_of(question)
        assert numbered is not None, "Redis did not answer"
        # The commands look up the campaign, create it, open it, and take a number.
        scripts = (words for words in sent if words[0] == "EVALSHA")
        _, begun, opening, numbering = itertools.islice(scripts, 4)
    sendid, own_key = question.sendid.lower(), begun[3]
    assert own_key in numbering
    return {
        NUMBER_ONE: numbering,
        # This key stays, because only an existing campaign gives numbers.
        NUMBER_EACH: tuple(
            word if word == own_key else word.replace(numbered.campaign, _CHANCE)
            for word in numbering
        ),
        BEGIN_ONE: begun,
        BEGIN_EACH: tuple(word.replace(numbered.campaign, _CHANCE) for word in begun),
        OPEN_ONE: opening,
        OPEN_EACH: tuple(word.replace(sendid, _CHANCE) for word in opening),
    }


@contextmanager
def _monitored(server: RedisServer) -> Iterator[Iterator[Words]]:
    """The commands that Redis gets from its clients from now on."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(PATIENCE)
        line.connect(str(server.socket))
        lines = line.makefile("r", encoding="ascii")
        line.sendall(b"MONITOR\r\n")
        assert lines.readline() == "+OK\n", "Redis refuses MONITOR"
        yield (monitored(line) for line in lines if " lua] " not in line)


def monitored(line: str) -> Words:
    """The words of a command in MONITOR's output: each is quoted and escaped as in Python."""
    quoted = re.findall(r'"(?:[^"\\]|\\.)*"', line)
    return tuple(ast.literal_eval("b" + word).decode("ascii") for word in quoted)


def _rates(
    server: RedisServer, client: redis.Redis, words: dict[str, Words], effort: Effort, tell: Tell
) -> Iterator[Rate]:
    runs = list(itertools.product(words, FSYNC, CONNECTIONS))
    if effort.quick:
        runs = list(itertools.product((NUMBER_ONE, NUMBER_EACH), FSYNC[:2], (10,)))
    for place, (what, fsync, connections) in enumerate(runs):
        tell(f"{what}, fsync {fsync}, {connections} connections", 0.9 * place / len(runs))
        client.flushall()
        client.execute_command(*words[BEGIN_ONE])  # type: ignore[no-untyped-call]
        client.config_set("appendfsync", fsync)
        count = _MESSAGES[fsync] // (4 if connections == 1 else 1)
        count //= _QUICK_PART if effort.quick else 1
        result = benchmark(server, words[what], count, connections)
        assert client.dbsize() > (what != BEGIN_ONE), "Redis has stored nothing"
        yield Rate(
            *(what, fsync, connections, result["rps"], result["p50_latency_ms"]),
            *(result["p99_latency_ms"], result["max_latency_ms"]),
        )


def benchmark(server: RedisServer, words: Words, count: int, connections: int) -> dict[str, float]:
    """The figures of redis-benchmark for ``count`` calls, by its own names."""
    done = subprocess.run(
        [
            program("redis-benchmark", "redis-tools"),
            *("-s", str(server.socket), "-c", str(connections), "-n", str(count)),
            *("-r", str(_SPACE), "--csv", *words),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return parsed_csv(done.stdout)


def parsed_csv(output: str) -> dict[str, float]:
    """The figures in redis-benchmark's CSV: a line of names, a line of values.

    The first column is the command, whose quotes and commas are not escaped.
    """
    first, last = output.splitlines()
    names = first.replace('"', "").split(",")[1:]
    values = last.rsplit(",", len(names))[1:]
    return {name: float(value.strip('"')) for name, value in zip(names, values, strict=True)}


def _kept(
    server: RedisServer, client: redis.Redis, words: dict[str, Words], effort: Effort
) -> Iterator[Kept]:
    client.config_set("appendfsync", "no")
    count = _REMEMBERED // (_QUICK_PART if effort.quick else 1)
    sent_of = {
        "one campaign": (NUMBER_ONE,),
        "a campaign each": (BEGIN_EACH, OPEN_EACH, NUMBER_EACH),
    }
    for what, sent in sent_of.items():
        client.flushall()
        client.execute_command(*words[BEGIN_ONE])  # type: ignore[no-untyped-call]
        with _growing(client) as added:
            for one in sent:
                benchmark(server, words[one], count, 1)
        _all_there(client, what, count)
        yield Kept(what, count, added[0])


def _all_there(client: redis.Redis, what: str, count: int) -> None:
    """Raise an error if Redis has fewer keys than the messages must have created."""
    keys = client.dbsize()
    # One campaign and a key of records per 64 messages (0 to 63, 64 to 127, ...); or campaign,
    # SendID and records for each message, plus the first campaign.
    wanted = 1 + count // 64 + 1 if what == "one campaign" else 1 + 3 * count
    # Few random numbers occur twice.
    assert wanted * 0.99 <= keys <= wanted, f"{keys} keys and not {wanted}"


@contextmanager
def _growing(client: redis.Redis) -> Iterator[list[int]]:
    added: list[int] = []
    before = _used(client)
    yield added
    added.append(_used(client) - before)


def _used(client: redis.Redis) -> int:
    # Without the buffers of clients and of the append-only file, which vary.
    info = client.info("memory")
    return int(info["used_memory"]) - int(info["mem_not_counted_for_evict"]) - _clients(info)


def _clients(info: dict[str, Any]) -> int:
    return int(info["mem_clients_normal"])


def figures(results: Results) -> dict[str, object]:
    """For JSON, with units in the names."""
    return {
        "command_words": {name: list(words) for name, words in results.words.items()},
        "rates": [
            {
                "script": rate.what,
                "appendfsync": rate.fsync,
                "connections": rate.connections,
                "calls_per_second": rate.per_second,
                "p50_ms": rate.p50_ms,
                "p99_ms": rate.p99_ms,
                "max_ms": rate.max_ms,
            }
            for rate in results.rates
        ],
        "memory": [
            {
                "campaigns": kept.what,
                "messages": kept.messages,
                "redis_bytes_per_1000_messages": round(kept.bytes_per_1000),
            }
            for kept in results.kept
        ],
    }


def tables(results: Results) -> Iterator[Table]:
    """Rates, and memory."""
    table = Table("script", title="calls per second of one Redis", title_justify="left")
    for name in ("fsync", "connections", "calls/s", "p50 ms", "p99 ms", "max ms"):
        table.add_column(name, justify="right")
    for rate in results.rates:
        table.add_row(
            *(rate.what, rate.fsync, str(rate.connections), f"{rate.per_second:,.0f}"),
            *(f"{ms:.2f}" for ms in (rate.p50_ms, rate.p99_ms, rate.max_ms)),
        )
    yield table
    table = Table("messages of", title="memory in Redis", title_justify="left")
    for name in ("messages", "kB per 1,000 messages"):
        table.add_column(name, justify="right")
    for kept in results.kept:
        table.add_row(kept.what, f"{kept.messages:,}", f"{kept.bytes_per_1000 / 1000:.0f}")
    yield table
