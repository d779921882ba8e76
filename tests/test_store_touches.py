"""Touches in a real Redis, one server and a cluster: told to all, bounded, and soon gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from fletching.store import keys
from fletching.store.connection import StoreUnavailable
from fletching.store.touches import KEPT, LARGEST, Touches

from sandbox.redis_cluster import Stores
from tests.stores import open_store

NOWHERE = Path("/nonexistent")


def test_touches_are_shared_between_processes(store: Stores) -> None:
    one, other = Touches(open_store(store.url)), Touches(open_store(store.url))
    one.add({"a:1": "first\n", "b:2": "of b\n"})
    other.add({"a:1": "second\nthird\n"})
    assert one.of(["a:1", "none:0", "b:2"]) == ["first\nsecond\nthird\n", "", "of b\n"]


def test_touches_expire(store: Stores) -> None:
    Touches(open_store(store.url)).add({"a:1": "first\n"})
    assert 0 < store.look.pttl(f"{keys.touches('')}a:1") <= KEPT


def test_only_the_latest_touches_are_kept(store: Stores) -> None:
    touches = Touches(open_store(store.url))
    for number in range(LARGEST // 100):
        touches.add({"a:1": "".join(f"{number:05}-{at:04}\n" for at in range(100))})
    (found,) = touches.of(["a:1"])
    assert len(found) < 2 * LARGEST
    assert found.endswith(f"{number:05}-0099\n")


def test_newer_half_is_kept_above_the_largest_size(store: Stores) -> None:
    touches = Touches(open_store(store.url))
    full = "".join(f"{number:07}\n" for number in range(LARGEST // 8))
    assert len(full) == LARGEST
    touches.add({"a:1": full})
    touches.add({"a:1": "next\n"})
    assert touches.of(["a:1"]) == [full + "next\n"]
    touches.add({"a:1": "last\n"})
    assert touches.of(["a:1"]) == [(full + "next\n")[-LARGEST // 2 :] + "last\n"]


def test_touches_raise_without_redis() -> None:
    with pytest.raises(StoreUnavailable):
        Touches(open_store("redis://127.0.0.1:1/0")).of(["a:1"])
