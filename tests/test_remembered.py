"""Ids that were recorded: which are known, and how little memory that takes."""

from __future__ import annotations

import tracemalloc

from fletching.daemons.intake.remembered import Remembered


def names(first: int, last: int) -> list[str]:
    return [f"name{number}" for number in range(first, last)]


def test_known_and_unknown_ids() -> None:
    known = Remembered(names(0, 25), most=100, together=10)
    assert all(name in known for name in names(0, 25))
    assert not any(name in known for name in names(25, 60))
    assert len(known) == 25


def test_an_id_that_is_added_twice_is_known_once() -> None:
    known = Remembered([*names(0, 5), *names(0, 5)], most=100, together=10)
    assert len(known) == 5


def test_oldest_ids_are_forgotten() -> None:
    known = Remembered(names(0, 95), most=50, together=10)
    assert all(name in known for name in names(45, 95))
    assert not any(name in known for name in names(0, 40))


def test_all_ids_are_forgotten() -> None:
    known = Remembered(names(0, 25), most=100, together=10)
    known.clear()
    assert not any(name in known for name in names(0, 25))
    known.add(names(0, 3))
    assert len(known) == 3


def test_memory_of_an_id() -> None:
    added = names(0, 100_000)
    tracemalloc.start()
    known = Remembered(added, most=1_000_000)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(known) == 100_000
    assert size < 20 * 100_000
