"""Redis in both of its shapes, one server and a cluster of three masters, behind one face.

What the store does must be the same on both. Here lives how a cluster is put together and how a
test looks into either; nothing here knows a key of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from redis.cluster import ClusterNode

from sandbox.processes import Server, free_port, wait_until
from sandbox.redis_server import RedisServer
from sandbox.redis_tls import Certificates

SHAPES = ("server", "cluster")
_SLOTS = 16384


@dataclass(frozen=True, slots=True)
class Stores:
    """A running Redis. ``url``: as in a configuration; ``look``: a client beside the tested one."""

    url: str
    servers: tuple[RedisServer, ...]
    look: Any

    def flush(self) -> None:
        """Everything in it is gone."""
        self.look.flushall()

    def keys(self, pattern: str = "*") -> list[str]:
        """The keys on all of its servers."""
        return sorted(str(key) for server in self.servers for key in server.client.keys(pattern))


@contextmanager
def running(shape: str) -> Iterator[Stores]:
    """Redis in one of `SHAPES`, for as long as the context lasts."""
    if shape == "server":
        with RedisServer() as server:
            yield Stores(server.url, (server,), server.client)
    else:
        with cluster() as nodes:
            yield Stores(cluster_url(nodes), tuple(nodes), client(nodes))


class Cluster(Server):
    """Redis Cluster of three masters in the place of one `RedisServer`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._stores: Stores | None = None

    @property
    def running(self) -> bool:
        """Whether it was started."""
        return self._stores is not None

    @property
    def unix_url(self) -> str:
        """How a configuration names it, in place of the socket of a single Redis."""
        return self._started.url

    @property
    def _started(self) -> Stores:
        assert self._stores is not None
        return self._stores

    def nodes(self) -> list[Any]:
        """A client of each node."""
        return [server.client for server in self._started.servers]

    def raw_client(self) -> redis.RedisCluster:
        """A client that knows all nodes and gives bytes."""
        return client(self._started.servers, decode_responses=False)

    def start(self) -> None:
        """Start all nodes."""
        self._stores = self._stack.enter_context(running("cluster"))

    def stop(self) -> None:
        """End all nodes."""
        self._stack.close()
        self._stores = None

    def reset(self, keep: Sequence[str] = ()) -> None:
        """Empty but for the hashes ``keep``."""
        for server in self._started.servers:
            server.empty(keep)


def client(nodes: Sequence[RedisServer], *, decode_responses: bool = True) -> redis.RedisCluster:
    """A client that knows all nodes."""
    start = [ClusterNode("127.0.0.1", node.port) for node in nodes]  # type: ignore[no-untyped-call]
    return redis.RedisCluster(startup_nodes=start, decode_responses=decode_responses)


@contextmanager
def cluster(*options: str, tls: Certificates | None = None) -> Iterator[list[RedisServer]]:
    """Three masters that share the slots."""
    with ExitStack() as stack:
        nodes = [_node(stack, options, tls) for _ in range(3)]
        for place, node in enumerate(nodes):
            first, last = place * _SLOTS // 3, (place + 1) * _SLOTS // 3 - 1
            at = node.client
            _ask(at, "CLUSTER ADDSLOTSRANGE", first, last)
            _ask(at, "CLUSTER SET-CONFIG-EPOCH", place + 1)
            bus = int(str(nodes[0].client.config_get("cluster-port")["cluster-port"]))
            _ask(at, "CLUSTER MEET", "127.0.0.1", nodes[0].port, bus)
        wait_until("the nodes do not find each other", lambda: is_whole(nodes))
        yield nodes


def is_whole(nodes: Sequence[RedisServer]) -> bool:
    """Whether each node takes the cluster for whole."""
    return all(map(_knows_all, nodes))


def cluster_url(nodes: list[RedisServer]) -> str:
    """A cluster as a configuration names it."""
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)


def _node(stack: ExitStack, options: Sequence[str], tls: Certificates | None) -> RedisServer:
    own = ("cluster-enabled yes", f"cluster-port {free_port()}", "appendonly no")
    bus = ("tls-cluster yes",) if tls else ()
    return stack.enter_context(RedisServer(*own, *bus, *options, tls=tls))


def _knows_all(node: RedisServer) -> bool:
    client = node.client
    client.set_response_callback("CLUSTER INFO", str)
    return "cluster_state:ok" in str(_ask(client, "CLUSTER INFO"))


def _ask(client: redis.Redis, *words: object) -> object:
    """A command that redis-py has no method for."""
    return client.execute_command(*words)  # type: ignore[no-untyped-call]
