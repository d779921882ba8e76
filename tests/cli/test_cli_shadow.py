"""`fletching shadow report`, with a real Redis."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from fletching import shadow_counts
from fletching.shadow_counts import OTHERS, Counted
from fletching.store import keys, shadow
from fletching.store.shadow import KEPT, MOST, ShadowCounts

from sandbox.processes import free_port
from sandbox.redis_server import RedisServer
from tests.cli_setting import STEERING
from tests.host import Host
from tests.stores import open_store

NOW = int(time.time())


def mails(name: str, verdict: str, milliseconds: float, count: int = 1) -> Counter[Counted]:
    found = Counter[Counted]()
    found[Counted(name, shadow_counts.VERDICT, verdict)] += count
    found[Counted(name, shadow_counts.TIME, str(shadow_counts.bucket(milliseconds / 1000)))] += (
        count
    )
    found[Counted(name, shadow_counts.SLOWEST)] = int(milliseconds * 1000)
    return found


@pytest.fixture
def counted(host: Host, redis: RedisServer) -> Host:
    """Mail of two classes, counted by two hosts."""
    news, crm = Counted("news", "", ""), Counted("crm", "", "")
    one, two = ShadowCounts(open_store(redis.url)), ShadowCounts(open_store(redis.url))
    links = {news._replace(topic="tracked"): 41, news._replace(topic="left", name="same host"): 3}
    routed = {news._replace(topic="route", name="a"): 98, news._replace(topic="route"): 2}
    one.add(NOW - 86400, mails("news", "accept", 4, 98) + Counter(links) + Counter(routed))
    one.add(NOW, mails("news", "accept", 60))
    two.add(NOW, mails("news", "error", 70))
    warning = f"unknown list {STEERING}"
    reply = crm._replace(topic="reply", name="550 5.7.1 no offers")
    two.add(NOW, mails("crm", "reject", 1) + Counter({reply: 1}))
    two.add(NOW, {crm._replace(topic="warning", name=warning): 1})
    two.add(NOW - KEPT - 7200, mails("old", "accept", 1))
    assert (one.write(), two.write()) == (False, False)
    return host


def reported(host: Host, *words: str) -> dict[str, object]:
    result = host.run("shadow", "report", "--json", *words)
    assert result.exit_code == 0, result.stderr
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_report_adds_up_all_hosts_hours_and_classes(counted: Host) -> None:
    found = reported(counted)
    figures = [found[each] for each in ("mails", "accept", "reject", "tempfail", "error")]
    assert figures == [101, 99, 1, 0, 1]
    assert (found["links_tracked"], found["links_left_alone"]) == (41, 3)
    assert found["links_left"] == [{"reason": "same host", "links": 3}]
    assert found["replies"] == [{"reply": "550 5.7.1 no offers", "mails": 1}]
    assert found["routes"] == [
        {"virtual_mta": "a", "transport": "vmta-a", "mails": 98},
        {"virtual_mta": None, "transport": None, "mails": 2},
    ]
    seconds = found["seconds"]
    assert isinstance(seconds, dict)
    assert 0.004 <= seconds["p50"] <= 0.0044
    assert 0.06 <= seconds["p99"] <= 0.066
    assert seconds["max"] == 0.07
    classes = found["classes"]
    assert isinstance(classes, list)
    assert [(each["mail_class"], each["mails"]) for each in classes] == [("crm", 1), ("news", 100)]


def test_report_of_a_class(counted: Host) -> None:
    assert reported(counted, "--class", "CRM")["mails"] == 1
    assert counted.run("shadow", "report", "--class", "none").exit_code == 1


def test_report_since_a_time(counted: Host) -> None:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - 7200))
    found = reported(counted, "--since", since)
    assert found["mails"] == 3
    assert str(found["since"]) == time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(NOW))


def test_report_as_tables_escapes_what_mail_contains(counted: Host) -> None:
    result = counted.run("shadow", "report")
    assert result.exit_code == 0
    assert "Nothing of this was done" in result.stdout
    assert "\x1b" not in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["98", "a", "vmta-a"] in lines
    assert "unknown list" in result.stdout
    (row,) = [line for line in lines if line[:2] == ["all", "101"]]
    assert row[2:8] == ["99", "1", "0", "1", "41", "3"]
    assert "Time from the end of a mail to the reply" in result.stdout


def test_report_without_mail(host: Host) -> None:
    result = host.run("shadow", "report")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "no mail in shadow\n")
    assert json.loads(host.run("shadow", "report", "--json").stdout)["since"] is None


def test_report_without_redis(away: Host) -> None:
    assert away.run("shadow", "report").exit_code == 2


# How counts get into Redis.


def total(url: str) -> int:
    _, found = shadow.since(open_store(url), NOW - 7200, NOW)
    return sum(n for each, n in found.items() if each.topic == shadow_counts.VERDICT)


def test_batch_whose_answer_is_lost_is_counted_once(redis: RedisServer) -> None:
    counts = ShadowCounts(open_store(redis.url))
    script = counts._script.run

    def lost(*arguments: object) -> None:
        script(*arguments)  # type: ignore[arg-type]
        raise ConnectionError("the answer is lost")

    counts._script.run = lost  # type: ignore[method-assign,assignment]
    counts.add(NOW, mails("news", "accept", 1))
    assert counts.write()
    counts._script.run = script  # type: ignore[method-assign]
    counts.add(NOW, mails("news", "accept", 1))
    assert not counts.write()
    assert total(redis.url) == 2


def test_counts_wait_while_redis_is_unavailable(tmp_path: Path, redis: RedisServer) -> None:
    counts = ShadowCounts(open_store(f"redis://127.0.0.1:{free_port()}/0"))
    for _ in range(3):
        counts.add(NOW, mails("news", "accept", 1))
        assert counts.write()
    counts._store = open_store(redis.url)
    assert not counts.write()
    assert total(redis.url) == 3


def test_texts_of_mails_take_bounded_room(redis: RedisServer) -> None:
    store = open_store(redis.url)
    for writer in range(3):
        counts = ShadowCounts(store)
        for number in range(MOST):
            text = f"{writer} {number} " + 500 * "x"
            counts.add(NOW, {Counted("news", shadow_counts.WARNING, text): 1})
        assert not counts.write()
    key = keys.shadow(NOW // 3600)
    fields = redis.client.hgetall(key)
    assert MOST <= len(fields) <= MOST + 5
    assert max(map(len, fields)) < 300
    assert fields[Counted("news", shadow_counts.WARNING, OTHERS).text] == str(2 * MOST)
    assert 0 < redis.client.ttl(key) <= KEPT


def test_buckets_are_at_most_9_percent_wide() -> None:
    for milliseconds in (0.01, 0.1, 1, 3.3, 50, 299, 70_000):
        at = shadow_counts.bucket(milliseconds / 1000)
        assert milliseconds / 1000 <= shadow_counts.seconds(at) * 1.0001
        if at:
            assert shadow_counts.seconds(at - 1) < milliseconds / 1000
    assert shadow_counts.seconds(1) / shadow_counts.seconds(0) < 1.091
