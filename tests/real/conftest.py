"""Fixtures: one set of private servers for each test process, given clean to each test."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from fletching.store import keys

from sandbox import redis_cluster
from sandbox import sinks as sinks_module
from sandbox.postfix import Postfix
from sandbox.processes import in_memory, private_directory
from sandbox.redis_cluster import Cluster
from sandbox.redis_server import RedisServer
from sandbox.sasl import Sasl
from sandbox.sinks import Sink

from .fletching import Fletching

TRANSPORTS = ("smtp", "relay", "vmta-a", "vmta-b", "vmta-transactional")
"""Delivery agents of the private Postfix; each leads to the sink of its name."""

LOGINS = {"crm": "crm-secret", "shop": "shop-secret", "other": "other-secret"}
"""Users of the port with SMTP AUTH, and their passwords."""


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """No mail that reached a sink or a mailbox may carry a private header."""
    sinks_module.leaks.clear()
    yield
    seen = tuple(sinks_module.leaks)
    assert not seen, f"private headers have left: {seen}"


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """Where all servers of this test process keep their files."""
    with private_directory(in_memory()) as path:
        yield path


@pytest.fixture(scope="module")
def place(directory: Path) -> Path:
    """A folder for the servers of a file: always a new one, as a test process that takes over tests
    of others may come to a file twice."""
    path = Path(tempfile.mkdtemp(dir=directory))
    path.chmod(0o755)
    return path


@pytest.fixture
def fresh(request: pytest.FixtureRequest, directory: Path) -> Path:
    """A folder, not made yet, for a server of this test alone. Tests of two files share names."""
    name = re.sub(r"\W+", "-", request.node.name)[5:40]
    return directory / f"{len([*directory.iterdir()])}-{name}"


@pytest.fixture(scope="session")
def running_sinks() -> Iterator[Mapping[str, Sink]]:
    """A sink for each delivery agent."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Sink(name)) for name in TRANSPORTS}


@pytest.fixture(scope="session")
def running_postfix(directory: Path, running_sinks: Mapping[str, Sink]) -> Iterator[Postfix]:
    """Postfix and Dovecot's login service."""
    ports = {name: sink.port for name, sink in running_sinks.items()}
    postfix = Postfix(directory / "postfix", ports)
    with Sasl(directory / "dovecot", postfix.sasl_socket, LOGINS), postfix:
        yield postfix


@pytest.fixture(scope="session")
def running_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer | Cluster]:
    """Redis; a cluster where the test is one of those that run on both."""
    if getattr(request, "param", "server") == "cluster":
        with Cluster() as nodes:
            yield nodes
    else:
        with RedisServer() as server:
            yield server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What campaigns and events are is the same in a cluster."""
    both = metafunc.module.__name__.rpartition(".")[2] in (
        "test_campaign",
        "test_limits",
        "test_returning",
    )
    if both and "running_redis" in metafunc.fixturenames:
        metafunc.parametrize("running_redis", redis_cluster.SHAPES, indirect=True, scope="session")


@pytest.fixture
def sinks(running_sinks: Mapping[str, Sink]) -> Mapping[str, Sink]:
    """The sinks, empty."""
    for sink in running_sinks.values():
        sink.clear()
    return running_sinks


@pytest.fixture
def postfix(running_postfix: Postfix, sinks: Mapping[str, Sink]) -> Iterator[Postfix]:
    """Postfix with its first configuration and an empty queue."""
    yield running_postfix
    running_postfix.wait_idle()
    running_postfix.find_leaks()
    running_postfix.reset()


@pytest.fixture
def chrooted(directory: Path, sinks: Mapping[str, Sink]) -> Postfix:
    """Another Postfix, in Debian's chroot, that is not started yet."""
    # A short name: those of unix sockets below it may have 107 octets.
    root = Path(tempfile.mkdtemp(dir=directory))
    root.chmod(0o755)
    return Postfix(root / "postfix", {name: sink.port for name, sink in sinks.items()}, chroot=True)


@pytest.fixture
def redis(running_redis: RedisServer) -> Iterator[RedisServer]:
    """Redis, running and empty.

    Daemons that run keep their marks: they would write again what they have recorded.
    """
    running_redis.reset(keep=(keys.JOURNALS,))
    yield running_redis
    running_redis.reset(keep=(keys.JOURNALS,))


@pytest.fixture(scope="session")
def running_fletching(directory: Path, running_redis: RedisServer) -> Iterator[Fletching]:
    """The milter with its first configuration, for all tests that neither change nor hurt it."""
    with Fletching(
        directory / f"fletching-{len([*directory.iterdir()])}", running_redis.unix_url
    ) as daemon:
        yield daemon


@pytest.fixture
def fletching(running_fletching: Fletching, redis: RedisServer, postfix: Postfix) -> Fletching:
    """The milter before Postfix, with an empty Redis."""
    running_fletching.join(postfix)
    return running_fletching


@pytest.fixture
def logins() -> Mapping[str, str]:
    """Users of the port with SMTP AUTH, and their passwords."""
    return LOGINS
