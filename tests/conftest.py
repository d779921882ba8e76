"""What every test process does once: its own pauses may not look like those of Redis.

And the store of the tests that hold for one server and a cluster alike.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from fletching.store import campaigns, connection

from sandbox.redis_cluster import SHAPES, Stores, running


def pytest_configure() -> None:
    """Within this process the store has ten times as long as in the daemons, which keep 300 ms.

    Two test processes share the machine with all their servers, and a full collection of one's
    garbage takes a fifth of a second. A test of the limit itself sets it.
    """
    campaigns.LIMIT = 3.0
    connection.SOCKET_TIMEOUT = 2.5


def pytest_collection_finish() -> None:
    """What was collected lives to the end, so the garbage collector need not walk through it."""
    gc.collect()
    gc.freeze()


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
