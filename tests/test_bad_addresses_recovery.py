"""Bad addresses while Redis and couriers are killed: one event for each, from several hosts."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from fletching.config.sections import Bounces
from fletching.daemons.intake.journal import Journal
from fletching.daemons.intake.recorder import Recorder
from fletching.events import BAD_ADDRESS, BOUNCE, DELIVERY, Event, unique_id
from fletching.store.connection import StoreUnavailable
from fletching.store.events import EventLog
from fletching.store.suppression import Suppression
from fletching.tokens import Facts

from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from tests.courier_setting import Courier
from tests.stores import open_store

pytestmark = pytest.mark.slow

NOW = 1_795_259_482_236
KEPT = 7 * 86400
ADDRESSES = 120
FACTS = Facts("c" * 12, 1, "News", "1", "T100", "", "", "vmta", 0)


def bounce(address: int, type: str, message: int) -> Event:
    facts = replace(FACTS, email=f"r{address}@example.net", number=1000 * message + address)
    id = unique_id(NOW + message, f"{address:06}{message:04}".encode())
    if type == "d":
        return Event(DELIVERY, NOW + message, id, "mx1", facts, {"status": "success"})
    return Event(BOUNCE, NOW + message, id, "mx1", facts, {"bounce_type": type})


def bounces(round: int) -> list[Event]:
    """A third of the addresses has a hard bounce, a third five soft ones, a third also delivers."""
    hard = [bounce(at, "h", round) for at in range(0, ADDRESSES, 3)]
    soft = [bounce(at, "s", round) for at in range(1, ADDRESSES, 3)]
    good = [bounce(at, "d" if round == 3 else "s", round) for at in range(2, ADDRESSES, 3)]
    return hard + soft + good


BAD = {f"r{at}@example.net" for at in range(ADDRESSES) if at % 3 != 2}


class Host:
    """A process that records, and what its journal holds."""

    def __init__(self, url: str, folder: Path) -> None:
        log = EventLog(open_store(url), frozenset([DELIVERY]), thresholds=lambda _: Bounces())
        self._recorder = Recorder(log, lambda: Journal(folder, KEPT))

    def record(self, happened: Sequence[Event]) -> None:
        async def record() -> None:
            await asyncio.gather(*(self._recorder.record(event) for event in happened))

        asyncio.run(record())

    def close(self) -> None:
        self._recorder.close()


@pytest.fixture(params=["appendonly yes", "appendonly no"])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One that forgets nothing when it is killed, and one that forgets all."""
    with RedisServer(request.param) as running:
        yield running


def reported(url: str) -> Counter[str]:
    """How many events each bad address has in the stream."""
    with suppress(StoreUnavailable):
        entries = EventLog(open_store(url)).read("0", 100_000)
        found = [json.loads(event) for _, event in entries]
        return Counter(each["email"] for each in found if each["event_type"] == BAD_ADDRESS)
    return Counter()


def suppressed(url: str) -> set[str]:
    with suppress(StoreUnavailable):
        return {entry.address for entry in Suppression(open_store(url)).entries()}
    return set()


def test_each_bad_address_has_one_event(server: RedisServer, tmp_path: Path) -> None:
    hosts = [Host(server.url, tmp_path / name) for name in ("one", "two")]
    couriers = [Courier(tmp_path / f"courier{at}", server.url, "{}") for at in range(2)]
    with couriers[0], couriers[1]:
        for round in range(1, 6):
            happened = bounces(round)
            for half in (happened[::2], happened[1::2]):
                hosts[round % 2].record(half)
                if round in (2, 4):
                    server.kill()
                    server.start()
            couriers[round % 2].daemon.kill()
            couriers[round % 2].start()
        wait_until("addresses are missing", lambda: reported(server.url).keys() == BAD, 60)
        server.kill()
        server.start()
        wait_until("addresses are missing", lambda: reported(server.url).keys() == BAD, 60)
        wait_until("they are not suppressed", lambda: suppressed(server.url) == BAD, 60)
    for host in hosts:
        host.close()
    assert set(reported(server.url).values()) == {1}
