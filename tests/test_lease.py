"""Leases: one holder at a time, for as long as it renews."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from fletching.store import keys
from fletching.store import lease as module
from fletching.store.connection import StoreUnavailable
from fletching.store.lease import SECONDS, Lease

from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from tests.stores import open_store

NOWHERE = Path("/nowhere")


def test_lease_has_one_holder_at_a_time(redis: RedisServer) -> None:
    one, two = (Lease(open_store(redis.url), "a") for _ in range(2))
    assert [one.acquire(), two.acquire(), one.acquire(), two.acquire()] == [
        True,
        False,
        True,
        False,
    ]
    two.release()
    assert not two.acquire()
    one.release()
    assert two.acquire()
    assert not one.acquire()


def test_lease_expires_while_redis_is_unavailable() -> None:
    """Another may have it by then: whoever cannot ask has it no more."""
    with RedisServer() as own:
        lease = Lease(open_store(own.url), "a", 0.5)
        assert lease.acquire()
        assert lease.held
        own.stop()
        with pytest.raises(StoreUnavailable):
            lease.acquire()
        wait_until("it never ends", lambda: not lease.held)


def test_leases_are_independent_by_name(redis: RedisServer) -> None:
    assert Lease(open_store(redis.url), "b").acquire()
    assert Lease(open_store(redis.url), "c").acquire()


def test_lease_that_is_not_renewed_expires(redis: RedisServer) -> None:
    assert Lease(open_store(redis.url), "d", 0.2).acquire()
    wait_until("it never ends", Lease(open_store(redis.url), "d").acquire)


def test_renewal_restarts_the_time(redis: RedisServer) -> None:
    renewed = Lease(open_store(redis.url), "f", 1000)
    assert renewed.acquire()
    redis.client.pexpire(keys.lease("f"), 5000)
    assert renewed.acquire()
    left = redis.client.pttl(keys.lease("f"))
    assert isinstance(left, int)
    assert left > 5000


def test_lease_raises_without_redis() -> None:
    lease = Lease(open_store("unix:///no/such/socket"), "a")
    with pytest.raises(StoreUnavailable):
        lease.acquire()
    with pytest.raises(StoreUnavailable):
        lease.release()


def test_redis_keeps_a_lease_for_ten_seconds_by_default(redis: RedisServer) -> None:
    assert SECONDS == 10
    assert Lease(open_store(redis.url), "g").acquire()
    left = redis.client.pttl(keys.lease("g"))
    assert isinstance(left, int)
    assert 5000 < left <= 10_000


@pytest.mark.parametrize("seconds", [SECONDS, 100.0])
def test_the_holder_gives_a_lease_up_no_later_than_redis(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """The holder counts from before its question; Redis counts from its answer."""
    clock = 1000.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock))
    lease = Lease(open_store(redis.url), f"h{seconds:g}", seconds)
    question = lease._run

    def slow(script: str, *arguments: str | int) -> object:
        nonlocal clock
        clock += 3
        return question(script, *arguments)

    monkeypatch.setattr(lease, "_run", slow)
    assert lease.acquire()
    left = redis.client.pttl(keys.lease(f"h{seconds:g}"))
    assert isinstance(left, int)
    assert seconds * 500 < left <= seconds * 1000
    clock = 1000 + seconds - 0.001
    assert lease.held
    clock = 1000 + seconds
    assert not lease.held
