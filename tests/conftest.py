"""What every test process does once, and the Redis that tests share."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from sandbox.redis_cluster import SHAPES, Stores, running
from sandbox.redis_server import RedisServer
from tests.dealing import dealt

# Other processes run beside the tests: time says nothing about what is tested.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

TESTS = Path(__file__).parent
LONGEST = (
    "real/test_install.py",
    "real/test_package.py",
    "real/test_image.py",
    "real/test_soak.py",
    "real/test_returning.py",
    "real/test_failure.py",
    "real/test_fleet.py",
    "real/test_daemon.py",
    "real/test_filters.py",
    "real/test_bench.py",
    "real/test_pieces.py",
    "real/test_campaign.py",
    "real/test_drills.py",
    "real/test_one_recipient.py",
    "real/test_submission.py",
    "real/test_recycling.py",
    "real/test_outage.py",
    "test_courier.py",
    "test_store_events.py",
    "test_recorder.py",
)
"""The files that take longest, longest first; all others that are slow take less."""

SLOW = "\npytestmark = pytest.mark.slow\n"
"""A file with this line is slow as a whole."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`make quick` need not import what it does not run, nor the libraries of that."""
    if config.option.markexpr == "not slow" and collection_path.suffix == ".py":
        return SLOW in collection_path.read_text() or None
    return None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several test processes, each begins with some of the files that take long."""
    processes = getattr(config, "workerinput", {}).get("workercount")
    if processes is None:
        return
    files = {item.path for item in items if item.get_closest_marker("slow") is None}
    slow = [item for item in items if item.path not in files]
    slow.sort(key=_place)
    quick = [item for item in items if item.path in files]
    items[:] = dealt([(_group(item), item) for item in slow], quick, processes)


def _place(item: pytest.Item) -> int:
    name = item.path.relative_to(TESTS).as_posix()
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def _group(item: pytest.Item) -> tuple[Path, object]:
    """The file, and the shape of Redis where all of its tests are run with both."""
    params = getattr(item, "callspec", None)
    return item.path, params and params.params.get("running_redis")


def pytest_collection_finish() -> None:
    """What was collected lives to the end, so the garbage collector need not walk through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shapes() -> Iterator[Callable[[str], Stores]]:
    """Redis in either of its shapes, started when it is first wanted: a cluster takes two seconds.

    One for the whole test process. The two fixtures below give it to the tests of a file.
    """
    with ExitStack() as stack:
        yield cache(lambda shape: stack.enter_context(running(shape)))


@pytest.fixture(scope="module")
def redis(shapes: Callable[[str], Stores]) -> RedisServer:
    """A server, empty for the first test of a file; the others find what is left by those before.

    Who stops it or changes its configuration starts one of his own.
    """
    (server,) = shapes("server").servers
    server.empty()
    return server


@pytest.fixture(scope="module", params=SHAPES)
def running_store(request: pytest.FixtureRequest, shapes: Callable[[str], Stores]) -> Stores:
    """As `redis`, in both shapes."""
    store = shapes(request.param)
    store.flush()
    return store


@pytest.fixture
def store(running_store: Stores) -> Stores:
    """The same, empty."""
    running_store.flush()
    return running_store
