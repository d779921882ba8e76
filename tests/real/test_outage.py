"""Redis is away for a while, and readers go on clicking: nobody notices, and no click is lost.

A short hour: 100 clicks a second, before Redis is killed, for 20 seconds without it, and behind its
return with the data that it had on disk.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from fletching.store import keys

from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from tests.stores import statistics_of
from tests.test_web import LOCATION, Web

pytestmark = pytest.mark.slow

CAMPAIGN = "abcdefghijkl"
READERS = 4
PER_SECOND = 100
BEFORE, AWAY, AFTER = 2, 20, 3
"""Seconds of clicks."""


class Readers:
    """Some who click at a steady pace, each message's link once. What they were told is checked."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._next = 0
        self._lock = threading.Lock()
        self.answered: list[int] = []
        self.wrong: list[object] = []

    def click(self, seconds: float) -> None:
        """For so long, all of them."""
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=self._read, args=(end,)) for _ in range(READERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.wrong == []

    def _read(self, end: float) -> None:
        try:
            with closing(HTTPConnection("127.0.0.1", self._web.port, timeout=30)) as connection:
                while (began := time.monotonic()) < end:
                    self._ask(connection)
                    time.sleep(max(0.0, began + READERS / PER_SECOND - time.monotonic()))
        except Exception as error:  # noqa: BLE001 of another thread; told in `click`
            self.wrong.append(error)

    def _ask(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._next += 1
            number = self._next
        connection.request("GET", f"/click?{self._web.token(number=number)}")
        response = connection.getresponse()
        response.read()
        if (response.status, response.getheader("location")) == (302, LOCATION):
            self.answered.append(number)
        else:
            self.wrong.append(response.status)


@pytest.fixture
def store() -> Iterator[RedisServer]:
    """A Redis that others do not use: it is killed."""
    with RedisServer() as running:
        with running.raw_client() as client:
            key = keys.campaign(CAMPAIGN)
            client.zadd(keys.CAMPAIGNS, {CAMPAIGN: 1})
            client.hset(key, "sendid", "news")
            client.expire(key, 86400)
        yield running


@pytest.fixture
def web(tmp_path: Path, store: RedisServer) -> Iterator[Web]:
    """The tracking service over that Redis."""
    running = Web(tmp_path, store.unix_url, {})
    running.start()
    yield running
    running.daemon.stop()


def test_nothing_is_lost(web: Web, store: RedisServer) -> None:
    readers = Readers(web)
    readers.click(BEFORE)
    store.kill()
    readers.click(AWAY)
    store.start()
    readers.click(AFTER)
    answered = sorted(readers.answered)
    wait_until("not all clicks have come", lambda: recorded(web) == answered)
    assert len(set(answered)) == len(answered)
    assert "redis_unavailable" in web.log()
    assert "events_lost" not in web.log()
    told = statistics_of(store.unix_url)

    def counted() -> tuple[int | None, int | None]:
        found = told.campaign(CAMPAIGN)
        assert found is not None
        return found.clicks, found.unique_clicks

    wait_until("the counts are others", lambda: counted() == (len(answered), len(answered)))


def recorded(web: Web) -> list[int]:
    """The messages whose clicks are in Redis, in their order."""
    return sorted(event["message_number"] for event in web.recorded())
