"""Every key of Redis is named in `store/keys.py`, and nowhere else."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fletching import events
from fletching.config.sections import Bounces
from fletching.events import Event
from fletching.numbering import Candidate, Period, Question, Window, campaign_id
from fletching.placements import Placement
from fletching.shadow_counts import Counted
from fletching.store import keys
from fletching.store.bad_addresses import BadAddresses
from fletching.store.bounce_claims import BounceClaims, Claim
from fletching.store.campaigns import Campaigns
from fletching.store.clock import Clock
from fletching.store.events import EventLog
from fletching.store.hosts import Hosts, Report
from fletching.store.lease import Lease
from fletching.store.placements import Placements
from fletching.store.seeds import Seeds
from fletching.store.sent import Sent
from fletching.store.shadow import ShadowCounts
from fletching.store.touches import Touches
from fletching.store.trial import acl
from fletching.store.warned import Example, Warned, WarnedMails
from fletching.store.warnings import Warnings
from fletching.store.write_traces import AcceptedTraces
from fletching.store.writing import EventBatch, JournalLine
from fletching.tokens import Facts
from fletching.traces import Accepted
from redis.crc import key_slot

from sandbox.redis_cluster import Stores
from tests.courier_setting import event
from tests.stores import open_store

ROOT = Path(__file__).parent.parent
KEYS = Path(keys.__file__)
# The table in keys.py: name, type, who writes it, when it ends.
ROW = re.compile(r"(?m)^    fletching:(\w+)\S* +(\S+(?: set| types)?) +(\S.*?)  +(\S.*)$")
TABLE = {row[1]: row for row in ROW.finditer(keys.__doc__ or "")}
A = campaign_id(1_795_248_000, bytes(4))


def slot(key: str) -> int:
    return key_slot(key.encode())


def texts(path: Path) -> Iterator[str]:
    """The strings of a Python file, or what stands in a Lua script."""
    text = path.read_text("utf-8")
    if path.suffix == ".lua":
        yield text
    else:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


FILES = [
    path
    for folder in ("milter/fletching", "tests", "sandbox", "bench", "demo")
    for suffix in ("py", "lua")
    for path in sorted((ROOT / folder).rglob(f"*.{suffix}"))
    if path not in (KEYS, Path(__file__))
]


def test_no_key_is_spelled_elsewhere() -> None:
    assert len(FILES) > 100
    key = re.compile(rf"{keys.PREFIX}({'|'.join(TABLE)})\b")
    found = [str(path) for path in FILES if any(map(key.search, texts(path)))]
    assert found == []


def test_one_function_or_constant_for_each_key_of_the_table() -> None:
    tree = ast.parse(KEYS.read_text("utf-8"))
    spelled = [
        found[1]
        for node in tree.body[1:]
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
        if (found := re.match(r"fletching:(\w+)", each.value))
    ]
    assert sorted(spelled) == sorted(TABLE)


def test_keys_of_a_campaign_share_its_slot() -> None:
    of_campaign = (
        *(keys.bounces, keys.counts, keys.links, keys.counted, keys.seen, keys.warnings),
        *(keys.trace, keys.providers, keys.reasons, keys.placements, keys.steps),
        *(keys.seeds, keys.seed_contents),
    )
    for name in of_campaign:
        assert slot(name(A)) == slot(keys.campaign(A)), name


def test_stream_and_its_journals_share_a_slot() -> None:
    assert slot(keys.JOURNALS) == slot(keys.EVENTS)


def test_failures_of_all_addresses_share_a_slot_with_those_that_are_due() -> None:
    assert slot(keys.FAILURES + keys.of_address("t{1}", "{a}@b")) == slot(keys.DUE)


def test_reported_addresses_are_in_the_slot_of_the_stream() -> None:
    assert slot(keys.REPORTED) == slot(keys.EVENTS)


def test_touches_of_all_messages_share_a_slot() -> None:
    assert slot(keys.touches("a:1")) == slot(keys.touches("b:2"))


def test_acl_covers_every_key() -> None:
    assert f" ~{keys.PREFIX}* " in acl()


def bounce_of(recipient: str, type: str) -> Event:
    found = event(3, events.BOUNCE)
    facts = replace(found.facts, email=f"{recipient}@example.com")
    return replace(found, facts=facts, details={"bounce_type": type})


def test_types_and_lifetimes_are_those_of_the_table(store: Stores) -> None:
    """Every part of the store writes something that stays."""
    opened = open_store(store.url)
    opened.ping()
    record = (("email", "r@example.com"),)
    question = Question("news1", "News", "1", "", 1_795_248_000, 86400, A, record, 86400)
    windows = tuple(Window(f"day-{at}", 0, 9) for at in range(4))
    limited = (Candidate("a b", (Period("day", windows),)),)
    assert Campaigns(opened).campaign_of(replace(question, candidates=limited))
    thresholds = Bounces(hard=1, soft=2)
    log = EventLog(opened, trace_memory=86400, thresholds=lambda _: thresholds)
    sent = Sent(opened)
    log.create_group("shop", "0")
    bounces = [bounce_of("a", "h"), bounce_of("b", "s")]
    happened = [event(1), event(2, events.UNSUBSCRIBE), *bounces]
    runs = log.state([]).runs
    assert runs
    lines = [JournalLine(number, each, each.json()) for number, each in enumerate(happened, 1)]
    assert log.write(EventBatch(lines, "a journal", runs)).is_complete
    assert BadAddresses(opened).report() == 1
    log.append([bounce_of("c", "h")])
    log.add_dead_letters("shop", [(*log.take("shop", "one", 1, 10)[0], "refused")])
    sent.add(Facts(A, 1, "News", "1", "t100", "", "", "a", 1_795_248_000))
    assert not sent.write()
    assert BounceClaims(opened).claim("log", [Claim(A, 1, "f")], 86400) == [True]
    Warnings(opened).count(A, {"a warning": 1})
    WarnedMails(opened).count([Warned("a", 1, Example("a", "4F1A", 1, "mx1"))], int(time.time()))
    Hosts(opened).report(Report("mx1", int(time.time()), "1", (), ()))
    traced = AcceptedTraces(opened, 86400)
    for number in range(1, 5):
        traced.add(Accepted(A, number, int(time.time()), "4F1A", "", mtaid="a common text"))
    assert not traced.write()
    shadow = ShadowCounts(opened)
    shadow.add(1_795_248_000, {Counted("News", "verdict", "accept"): 1})
    assert not shadow.write()
    seeds = Seeds(opened)
    about: dict[str, Any] = {"list": "main", "about": "token", "milliseconds": 1_795_248_000_000}
    assert seeds.claim(A, ["s@example.net"], b"content", mail=1, **about)
    Touches(opened).add({f"{A}:1": "first\n"})
    assert Lease(opened, "courier:shop").acquire()
    Clock(opened).read()
    placements = Placements(opened)
    placements.keep(A, [Placement("seed@example.com", "inbox", "INBOX")])
    placements.watch([A], 1_795_248_000)
    everything = store.keys()
    found = {key.split(":")[1]: key for key in everything}
    assert found.keys() == TABLE.keys() - {"check"}
    for name, key in found.items():
        type = TABLE[name][2]
        assert store.look.type(key) == ("zset" if type == "sorted set" else type), key
        assert (store.look.pttl(key) == -1) == TABLE[name][4].startswith("never"), key
