"""How often the rules for bots are right: the labelled patterns, against the real service.

All patterns are played at the same time, each with a message of its own, and a connection for each
request, so that any process may get it. Precision is the share of what was flagged that was a
program's, recall the share of what was a program's that was flagged: of events, which is asserted,
and of patterns. Shown with: pytest -s tests/test_bots_labelled.py
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fletching.tokens import Facts, Kind

from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from tests.bots_labelled import ALL, OPEN, UNSUBSCRIBE, Step
from tests.test_web import Web

PRECISION, RECALL = 0.95, 0.85

Key = tuple[int, str, str]
"""Message number, address, link: all requests of one have one label."""


def target(web: Web, number: int, step: Step, sent: int) -> str:
    facts = Facts("abcdefghijkl", number, "News", "1", "T1", "", "r@example.org", "", sent)
    kinds = {OPEN: Kind.OPEN, UNSUBSCRIBE: Kind.LIST_UNSUBSCRIBE}
    kind = kinds.get(step.link, Kind.CLICK_HTML)
    noun = {Kind.OPEN: "open", Kind.LIST_UNSUBSCRIBE: "unsub"}.get(kind, "click")
    return f"/{noun}?{web.keys.seal(kind, facts, url(step))}"


def url(step: Step) -> str:
    return f"https://shop.example/{step.link}" if step.link >= 0 else ""


def key(number: int, step: Step) -> Key:
    return number, step.by, "open" if step.link == OPEN else url(step)


def play(web: Web, number: int, start: float) -> None:
    """Sends each request at its time in its own thread, so that a slow one delays no other."""
    pattern = ALL[number]
    threads = []
    for step in sorted(pattern.steps, key=lambda step: step.at):
        time.sleep(max(0.0, start + step.at - time.monotonic()))
        threads.append(threading.Thread(target=request, args=(web, number, step)))
        threads[-1].start()
    for thread in threads:
        thread.join()


def request(web: Web, number: int, step: Step) -> None:
    headers = {**step.headers, "User-Agent": step.agent, "X-Forwarded-For": step.by}
    web.ask(step.method, target(web, number, step, int(time.time()) - ALL[number].age), "", headers)


def recorded(web: Web) -> list[dict[str, Any]]:
    """All click and open events of the requests."""
    count = sum(
        step.method == "GET" and step.link != UNSUBSCRIBE
        for pattern in ALL
        for step in pattern.steps
    )
    wait_until("an event is missing", lambda: len(web.recorded()) >= count)
    events = web.recorded()
    assert len(events) == count
    return events


def rates(flags: Sequence[tuple[bool, bool]]) -> tuple[float, float]:
    """Precision and recall of pairs: whether it was flagged, whether it is a program's."""
    counts = Counter(flags)
    right = counts[True, True]
    return right / (right + counts[True, False]), right / (right + counts[False, True])


def test_requests_of_one_client_for_one_link_have_one_label() -> None:
    labels: dict[Key, set[bool]] = defaultdict(set)
    for number, pattern in enumerate(ALL):
        for step in pattern.steps:
            labels[key(number, step)].add(step.is_bot)
    # A browser that fetched a link in advance has the address of the person who clicks later.
    both = {ALL[number].name for (number, *_), found in labels.items() if len(found) > 1}
    assert both == {
        "a browser fetches ahead, then a click",
        "a filter at the same address, then a person",
    }


def test_there_are_enough_patterns_of_both_kinds() -> None:
    assert len(ALL) >= 100
    assert len({pattern.name for pattern in ALL}) == len(ALL)
    share = sum(pattern.steps[-1].is_bot for pattern in ALL) / len(ALL)
    assert 0.4 < share < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 8])
def test_precision_and_recall_of_the_rules(
    tmp_path: Path, redis: RedisServer, workers: int
) -> None:
    redis.client.flushall()
    change = {"workers": workers, "web": {"trusted_proxies": ["127.0.0.1"], "honeypot": True}}
    web = Web(tmp_path, redis.url, change)
    web.start()
    try:
        start = time.monotonic() + 1
        players = [
            threading.Thread(target=play, args=(web, number, start)) for number in range(len(ALL))
        ]
        for player in players:
            player.start()
        for player in players:
            player.join()
        found = recorded(web)
    finally:
        web.daemon.stop()
    events = judged(found)
    patterns = [
        (sum(flag for flag, _ in flags) * 2 > len(flags), is_bot)
        for (_, is_bot), flags in by_pattern(events).items()
    ]
    flags = [flag for _, flag in events]
    for what, pairs in (("events", flags), ("patterns", patterns)):
        print(f"{workers} workers, {len(pairs)} {what}: {rates(pairs)}")
    print(wrong(events))
    precision, recall = rates(flags)
    assert precision >= PRECISION
    assert recall >= RECALL


Judged = Sequence[tuple[int, tuple[bool, bool]]]
"""For each event: its pattern; whether it was flagged, whether it is a program's."""


def judged(recorded: Sequence[dict[str, Any]]) -> Judged:
    """Events of one message, client and link get their labels in order, like the steps."""
    labels: dict[Key, list[bool]] = defaultdict(list)
    for number, pattern in enumerate(ALL):
        for step in sorted(pattern.steps, key=lambda step: step.at):
            if step.method == "GET":
                labels[key(number, step)].append(step.is_bot)
    found = []
    for event in sorted(recorded, key=lambda event: str(event["timestamp"])):
        kind = "open" if event["event_type"] == "engine_open" else str(event["click_url"])
        at = (int(event["message_number"]), str(event["engine_ip"]), kind)
        found.append((at[0], (bool(event["is_bot"]), labels[at].pop(0))))
    return found


def by_pattern(events: Judged) -> dict[tuple[int, bool], list[tuple[bool, bool]]]:
    """The pairs of each pattern; the person and the program of one pattern are separate."""
    found = defaultdict(list)
    for number, flags in events:
        found[number, flags[1]].append(flags)
    return found


def wrong(events: Judged) -> str:
    counts = Counter((ALL[number].name, *flags) for number, flags in events if flags[0] != flags[1])
    return "\n".join(
        f"{name}: {count} {'flagged' if flagged else 'missed'}"
        for (name, flagged, _), count in counts.items()
    )
