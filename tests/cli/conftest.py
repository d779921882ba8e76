"""Fixtures of the command tests: a Redis, and hosts with and without it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fletching import events
from fletching.store.events import EventLog
from fletching.store.warnings import Warnings

from sandbox.redis_server import RedisServer
from tests.cli_setting import AWAY, DESTINATIONS, NEW, OLD, OPENED, STEERING, of, sent
from tests.host import Host
from tests.stores import open_store


@pytest.fixture
def redis(redis: RedisServer) -> RedisServer:
    """The same, empty."""
    redis.client.flushall()
    return redis


@pytest.fixture
def away(tmp_path: Path) -> Host:
    """A host whose Redis does not answer."""
    host = Host(tmp_path)
    host.config.write_text(host.config.read_text() + DESTINATIONS)
    return host


@pytest.fixture
def host(away: Host, redis: RedisServer) -> Host:
    away.edit(AWAY, redis.url)
    return away


@pytest.fixture
def stream(redis: RedisServer, tmp_path: Path) -> EventLog:
    return EventLog(open_store(redis.url))


@pytest.fixture
def counted(redis: RedisServer, stream: EventLog, tmp_path: Path) -> None:
    """Two campaigns; the newer one has 8 messages, opened by 2, clicked by 3."""
    sent(redis, tmp_path, 3, sendid="crm1", mail_class="crm", candidate=OLD, now=OPENED - 86400)
    sent(redis, tmp_path, 8)
    told = [of(NEW, number, events.OPEN) for number in (1, 1, 2)]
    told += [of(NEW, number) for number in (1, 2, 2, 3)]
    told += [
        of(NEW, 4, is_bot=True),
        of(NEW, 5, click_url=f"https://shop.example.com/{STEERING}"),
        of(NEW, 6, events.UNSUBSCRIBE),
        of(NEW, 7, events.BOUNCE, bounce_type="h"),
    ]
    stream.append(told)
    Warnings(open_store(redis.url)).count(NEW, {f"unknown list {STEERING}": 1})
