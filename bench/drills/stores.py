"""Redis in three setups: alone, with sentinels, as a cluster. All with the default RDB, no AOF.

This file builds each setup, and says which server holds a key and whether the setup is healthy. The
faults are in `scenarios.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from bench.drills.network import Site
from sandbox.processes import Daemon, Server, free_port, program, wait_until

SERVICE = "mails"
_SLOTS = 16384
_FORMING = 60.0
"""Seconds that replicas and nodes may take to find each other on a busy machine."""

_PATIENCE = 30.0
"""Seconds to wait for an answer; a server that hangs in a drill answers afterwards."""

_SAVES = ("save 3600 1 300 100 60 10000", "appendonly no", "enable-debug-command yes")
_REPLICA = ("repl-diskless-sync-delay 0", "repl-timeout 10")


class Node(Server):
    """A redis-server or a sentinel. Its file is written once, since Redis changes it later."""

    def __init__(
        self, directory: Path, site: Site, options: Sequence[str], *, sentinel: bool = False
    ) -> None:
        directory.mkdir()
        self.port, self.address = free_port(), site.address
        self.socket = directory / "redis.sock"
        conf = directory / "redis.conf"
        lines = (
            f"port {self.port}",
            f"bind {site.address}",
            "protected-mode no",
            f"unixsocket {self.socket}",
            f"dir {directory}",
            *options,
        )
        conf.write_text("\n".join(lines) + "\n")
        server = program("redis-server", "redis-server")
        kind = ("--sentinel",) if sentinel else ()
        self._daemon = Daemon([*site.enter, server, conf, *kind], directory / "log")

    @property
    def place(self) -> str:
        """Address and port."""
        return f"{self.address}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._daemon.running

    def start(self) -> None:
        """Start or restart the server."""
        self._daemon.start(self.answers)

    def stop(self) -> None:
        """Kill it if it is running."""
        if self.running:
            self._daemon.kill()

    def kill(self) -> None:
        """Kill it."""
        self._daemon.kill()

    def wait(self) -> None:
        """Wait until it has ended by itself."""
        self._daemon.wait()

    def client(self) -> redis.Redis:
        """A client over the Unix socket, which bypasses the network. It does not retry."""
        return redis.Redis(
            unix_socket_path=str(self.socket),
            decode_responses=True,
            socket_timeout=_PATIENCE,
            retry=Retry(NoBackoff(), 0),
        )

    def ask(self, *words: object) -> Any:
        """The answer to one command."""
        with self.client() as client:
            return client.execute_command(*words)

    def replication(self) -> dict[str, Any]:
        """INFO replication."""
        with self.client() as client:
            return dict(client.info("replication"))

    def answers(self) -> bool:
        """Whether it answers, and is not still loading."""
        try:
            return bool(self.ask("PING"))
        except redis.RedisError:
            return False


class Store(Protocol):
    """A setup as the scenarios use it."""

    @property
    def url(self) -> str:
        """The Redis URL for the configuration."""

    def holder(self, key: str) -> Node | None:
        """The server that accepts writes for this key, by majority; None if there is none."""

    def is_whole(self) -> bool:
        """Whether every server is up and has its proper role."""


@dataclass(frozen=True, slots=True)
class Single:
    """One Redis."""

    node: Node

    @property
    def url(self) -> str:
        return f"redis://{self.node.place}/0"

    def holder(self, key: str) -> Node:
        return self.node

    def is_whole(self) -> bool:
        return self.node.running and self.node.answers()


@dataclass(frozen=True, slots=True)
class Sentinels:
    """A master, its replicas, and sentinels, of which the last two are the majority."""

    nodes: tuple[Node, ...]
    sentinels: tuple[Node, ...]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(each.place for each in self.sentinels)}/{SERVICE}"

    def holder(self, key: str) -> Node:
        return self._named_by(self.sentinels[-1])

    def is_whole(self) -> bool:
        if not all(each.running for each in self.nodes):
            return False
        masters = {self._named_by(each).place for each in self.sentinels}
        master = self.holder("")
        facts = master.replication()
        online = [
            f"slave{n}" for n in range(2) if facts.get(f"slave{n}", {}).get("state") == "online"
        ]
        return masters == {master.place} and facts["role"] == "master" and len(online) == 2

    def failover(self) -> None:
        """A planned failover by an operator."""
        self.sentinels[-1].ask("SENTINEL", "FAILOVER", SERVICE)

    def _named_by(self, sentinel: Node) -> Node:
        host, port = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(each for each in self.nodes if each.place == f"{host}:{port}")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Three primaries, each with a replica."""

    nodes: tuple[Node, ...]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(each.place for each in self.nodes)}"

    def holder(self, key: str) -> Node | None:
        slot = int(self._living()[0].ask("CLUSTER", "KEYSLOT", key))
        views = [(self._view(node), node) for node in self._living()]
        mine = [(view.epoch, node) for view, node in views if view.is_primary and view.has(slot)]
        return max(mine, key=lambda found: found[0], default=(0, None))[1]

    def replica_of(self, node: Node) -> Node:
        """A replica of this server."""
        mine = self._view(node).id
        return next(each for each in self._living() if self._view(each).follows == mine)

    def is_whole(self) -> bool:
        if len(self._living()) < len(self.nodes):
            return False
        views = [self._view(node) for node in self.nodes]
        primaries = {view.id for view in views if view.is_primary and view.slots}
        return (
            all(view.state == "ok" for view in views)
            and len(primaries) == 3
            and sum(view.slots for view in views if view.is_primary) == _SLOTS
            and all(view.is_primary or view.is_linked for view in views)
        )

    def slots_to(self, node: Node, key: str) -> int:
        """How many of the node's first slots must move so that the key's slot moves too."""
        slot = int(node.ask("CLUSTER", "KEYSLOT", key))
        ranges = self._view(node).ranges
        return sum(max(0, min(last, slot) - first + 1) for first, last in ranges)

    def _living(self) -> list[Node]:
        return [node for node in self.nodes if node.running]

    @staticmethod
    def _view(node: Node) -> _View:
        return _View.of(node)


@dataclass(frozen=True, slots=True)
class _View:
    """A cluster node's own view of itself."""

    id: str
    is_primary: bool
    is_linked: bool
    follows: str
    epoch: int
    state: str
    ranges: tuple[tuple[int, int], ...] = field(default=())

    @classmethod
    def of(cls, node: Node) -> _View:
        with node.client() as client:
            client.set_response_callback("CLUSTER NODES", str)
            client.set_response_callback("CLUSTER INFO", str)
            lines = str(client.execute_command("CLUSTER NODES")).splitlines()
            info = str(client.execute_command("CLUSTER INFO"))
            link = client.info("replication").get("master_link_status")
        words = next(line.split() for line in lines if "myself" in line)
        return cls(
            id=words[0],
            is_primary="master" in words[2],
            is_linked=link == "up",
            follows=words[3],
            epoch=int(words[6]),
            state=info.partition("cluster_state:")[2].split()[0],
            ranges=tuple(_range(word) for word in words[8:] if not word.startswith("[")),
        )

    @property
    def slots(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def has(self, slot: int) -> bool:
        return any(first <= slot <= last for first, last in self.ranges)


def _range(word: str) -> tuple[int, int]:
    first, _, last = word.partition("-")
    return int(first), int(last or first)


# Building the setups. ``sites``: the site of the first server, which a partition cuts off, and the
# site of the others; the same site twice without a network.

Sites = Sequence[Site]
Making = Callable[[Path, Sites], Any]


@contextmanager
def single(directory: Path, sites: Sites) -> Iterator[Single]:
    """One Redis with its default snapshots."""
    with Node(directory / "redis", sites[0], _SAVES) as node:
        yield Single(node)


@contextmanager
def sentinels(directory: Path, sites: Sites) -> Iterator[Sentinels]:
    """A master and a sentinel at the first site, two replicas and two sentinels at the second."""
    with ExitStack() as stack:
        master = stack.enter_context(Node(directory / "redis-0", sites[0], (*_SAVES, *_REPLICA)))
        follow = f"replicaof {master.address} {master.port}"
        replicas = [
            stack.enter_context(
                Node(directory / f"redis-{n}", sites[1], (*_SAVES, *_REPLICA, follow))
            )
            for n in (1, 2)
        ]
        watch = (
            f"sentinel monitor {SERVICE} {master.address} {master.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} 1000",
            f"sentinel failover-timeout {SERVICE} 5000",
        )
        watching = [
            stack.enter_context(Node(directory / f"sentinel-{n}", site, watch, sentinel=True))
            for n, site in enumerate((sites[0], sites[1], sites[1]))
        ]
        store = Sentinels((master, *replicas), tuple(watching))
        wait_until(
            "the sentinels do not find each other",
            lambda: store.is_whole() and all(map(_knows_all, watching)),
            _FORMING,
        )
        yield store


def _knows_all(sentinel: Node) -> bool:
    facts = sentinel.ask("SENTINEL", "MASTER", SERVICE)
    return int(facts["num-other-sentinels"]) == 2 and int(facts["num-slaves"]) == 2


@contextmanager
def cluster(directory: Path, sites: Sites, coverage: str = "yes") -> Iterator[Cluster]:
    """Three primaries and three replicas; the first primary alone is at the first site.

    ``coverage``: cluster-require-full-coverage.
    """
    with ExitStack() as stack:
        places = [sites[0], *[sites[1]] * 5]
        nodes = []
        for n, site in enumerate(places):
            options = (
                *("cluster-enabled yes", "cluster-node-timeout 2000"),
                *(f"cluster-port {free_port()}", f"cluster-require-full-coverage {coverage}"),
            )
            node = Node(directory / f"redis-{n}", site, (*_SAVES, *_REPLICA, *options))
            nodes.append(stack.enter_context(node))
        store = Cluster(tuple(nodes))
        _join(nodes)
        wait_until("the cluster does not form", store.is_whole, _FORMING)
        yield store


def _join(nodes: Sequence[Node]) -> None:
    primaries, replicas = nodes[:3], nodes[3:]
    bus = nodes[0].ask("CONFIG", "GET", "cluster-port")["cluster-port"]
    for n, node in enumerate(primaries):
        first, last = n * _SLOTS // 3, (n + 1) * _SLOTS // 3 - 1
        node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
    for n, node in enumerate(nodes, 1):
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", n)
        node.ask("CLUSTER", "MEET", nodes[0].address, nodes[0].port, bus)
    ids = [str(node.ask("CLUSTER", "MYID")) for node in primaries]
    for replica, its_primary in zip(replicas, ids, strict=True):
        wait_until("a node is unknown", lambda: _knows(replica, ids), _FORMING)  # noqa: B023
        replica.ask("CLUSTER", "REPLICATE", its_primary)


def _knows(node: Node, ids: Sequence[str]) -> bool:
    with node.client() as client:
        client.set_response_callback("CLUSTER NODES", str)
        text = str(client.execute_command("CLUSTER NODES"))
    return all(each in text for each in ids)
