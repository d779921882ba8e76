"""What the milter tells of a mail beside its number: `message_prepared`, and its warnings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fletching.store import keys
from fletching.store.events import EventLog
from fletching.store.warnings import LONGEST, MOST, Warnings

from sandbox.redis_server import RedisServer
from tests.milter_daemon import ACCEPT, MilterDaemon, header
from tests.stores import open_store, statistics_of

NOWHERE = Path("/nowhere")
CONFIG = """
server_id: mx1
default_mail_class: news
mail_classes: {news: {list_id: t100}}
"""
TOLD = CONFIG + "events: {destinations: [{name: log, file: events, types: [message_prepared]}]}\n"
TOLD_OF_CLICKS = CONFIG + "events: {destinations: [{name: log, file: events}]}\n"
FROM = header("From", "app@example.com")
ID = header("X-GreenArrow-Click-Tracking-ID", "4711")


@pytest.fixture
def redis(redis: RedisServer) -> RedisServer:
    """The same, empty."""
    redis.client.flushall()
    return redis


def prepared_events(redis: RedisServer) -> list[dict[str, object]]:
    return [json.loads(event) for _, event in EventLog(open_store(redis.url)).read("0", 100)]


def test_message_prepared_is_written_for_a_destination_that_wants_it(redis: RedisServer) -> None:
    with MilterDaemon(redis.url, TOLD) as milter:
        replies = [milter.mail(FROM, ID), milter.mail(FROM)]
        assert [reply.replies for reply in replies] == [[ACCEPT], [ACCEPT]]
    first, second = prepared_events(redis)
    assert (
        first.items()
        >= {
            "event_type": "message_prepared",
            "server_id": "mx1",
            "email": "reader@example.org",
            "listid": "t100",
            "mail_class": "news",
            "click_tracking_id": "4711",
            "message_number": 1,
        }.items()
    )
    assert (second["campaign"], second["message_number"]) == (first["campaign"], 2)


@pytest.mark.parametrize("config", [CONFIG, TOLD_OF_CLICKS])
def test_message_prepared_is_not_written_without_such_a_destination(
    redis: RedisServer, config: str
) -> None:
    with MilterDaemon(redis.url, config) as milter:
        milter.mail(FROM)
    assert prepared_events(redis) == []


def test_warnings_are_counted_with_the_campaign(redis: RedisServer) -> None:
    wrong = header("X-GreenArrow-MtaID", "nobody")
    with MilterDaemon(redis.url, CONFIG) as milter:
        for _ in range(2):
            milter.mail(FROM, wrong)
        milter.mail(FROM)
    statistics = statistics_of(redis.url)
    (campaign,) = statistics.campaigns()
    counts = dict(statistics.warnings(campaign.campaign))
    assert [mails for text, mails in counts.items() if "MtaID" in text] == [2]
    assert set(counts.values()) == {2, 3}, "the others are of all three mails"


def test_number_of_different_warnings_is_limited(redis: RedisServer) -> None:
    redis.client.hset(keys.campaign("cccccccccccc"), "opened", 1)
    redis.client.expire(keys.campaign("cccccccccccc"), 1000)
    warnings = Warnings(open_store(redis.url))
    warnings.count("c" * 12, {f"warning {number}": 1 for number in range(MOST + 5)})
    warnings.count("c" * 12, {"warning 0": 1, "a new one": 1})
    counted = statistics_of(redis.url).warnings("c" * 12)
    assert len(counted) == MOST
    assert counted[0] == ("warning 0", 2)
    assert 0 < redis.client.ttl(keys.warnings("cccccccccccc")) <= 1000


def test_long_warning_is_cut(redis: RedisServer) -> None:
    redis.client.hset(keys.campaign("dddddddddddd"), "opened", 1)
    Warnings(open_store(redis.url)).count("d" * 12, {"y" * 9000: 2})
    counted = statistics_of(redis.url).warnings("d" * 12)
    assert counted == (("y" * LONGEST, 2),)
