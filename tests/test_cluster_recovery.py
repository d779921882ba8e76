"""A cluster that lost a node, or all of its addresses: who goes on, and who comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fletching.store.connection import Store, StoreUnavailable
from redis.crc import key_slot

from sandbox import redis_cluster
from sandbox.processes import free_port, wait_until
from sandbox.redis_sentinels import ask
from sandbox.redis_server import RedisServer
from tests.stores import open_store

pytestmark = pytest.mark.slow

NOWHERE = Path("/nonexistent")


@pytest.fixture
def nodes() -> Iterator[list[RedisServer]]:
    """They find a node dead within a second."""
    with redis_cluster.cluster("cluster-node-timeout 1000") as running:
        yield running


def key_on(place: int) -> str:
    """A key of the node at a place."""
    return next(key for key in map(str, range(100)) if key_slot(key.encode()) * 3 // 16384 == place)


def works(connection: Store, key: str) -> bool:
    try:
        connection.ask(lambda client: client.incr(key))
    except StoreUnavailable:
        return False
    return True


@pytest.mark.parametrize(
    ("hurt", "heal"),
    [(RedisServer.kill, RedisServer.start), (RedisServer.pause, RedisServer.resume)],
    ids=["killed", "hung"],
)
def test_client_reaches_all_shards_after_recovery(
    nodes: list[RedisServer],
    hurt: Callable[[RedisServer], None],
    heal: Callable[[RedisServer], None],
) -> None:
    connection = open_store(redis_cluster.cluster_url(nodes))
    keys = [key_on(place) for place in range(3)]
    assert all(works(connection, key) for key in keys)
    hurt(nodes[1])
    try:
        wait_until("it is not away", lambda: not works(connection, keys[1]))
        wait_until("no node says so", lambda: not works(connection, keys[0]))
    finally:
        heal(nodes[1])
    wait_until("the cluster is not whole", lambda: redis_cluster.is_whole(nodes))
    wait_until("it is stuck", lambda: all(works(connection, key) for key in keys))


def test_other_shards_are_served_during_a_partial_outage(nodes: list[RedisServer]) -> None:
    for node in nodes:
        node.client.config_set("cluster-require-full-coverage", "no")
    connection = open_store(redis_cluster.cluster_url(nodes))
    keys = [key_on(place) for place in range(3)]
    assert all(works(connection, key) for key in keys)
    nodes[1].kill()
    for _ in range(20):
        assert not works(connection, keys[1])
        assert works(connection, keys[0])
        assert works(connection, keys[2])


def lone_node() -> RedisServer:
    return RedisServer("cluster-enabled yes", f"cluster-port {free_port()}", "appendonly no")


def test_nodes_of_the_url_are_asked_if_all_known_nodes_are_gone() -> None:
    """All nodes have new addresses, which their names in the URL lead to."""
    with lone_node() as old, lone_node() as new:
        new.kill()
        ask(old.client, "CLUSTER ADDSLOTSRANGE", 0, 16383)
        connection = open_store(redis_cluster.cluster_url([old, new]))
        wait_until("the old node does not serve", lambda: works(connection, "a"))
        old.kill()
        new.start()
        ask(new.client, "CLUSTER ADDSLOTSRANGE", 0, 16383)
        wait_until("the new node is not found", lambda: works(connection, "a"))
