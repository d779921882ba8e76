"""What every test process does once, and the Redis that tests share."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.redis_cluster import SHAPES, Stores, running
from sandbox.redis_server import RedisServer

SLOW = "\npytestmark = pytest.mark.slow\n"
"""A file with this line is slow as a whole."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`make quick` need not import what it does not run, nor the libraries of that."""
    if config.option.markexpr == "not slow" and collection_path.suffix == ".py":
        return SLOW in collection_path.read_text() or None
    return None


def pytest_collection_finish() -> None:
    """What was collected lives to the end, so the garbage collector need not walk through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """One server for the tests of a file, with what the tests before have left."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module", params=SHAPES)
def running_store(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """A Redis in both of its shapes, with what the tests before have left."""
    with running(request.param) as store:
        yield store


@pytest.fixture
def store(running_store: Stores) -> Stores:
    """The same, empty."""
    running_store.flush()
    return running_store
