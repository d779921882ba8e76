"""What goes wrong, by name: a set-up of Redis, and what is done to it while mail and clicks run.

A fault returns when it is over: servers are started again, the network is healed. ``key`` says
which shard of a cluster is hurt: the one that has it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.drills import stores
from bench.drills.network import Network
from bench.drills.stores import Cluster, Making, Node, Sentinels, Single, Store
from tests.real.processes import program, wait_until

_FORGOTTEN = 2.0
"""Seconds that a Redis forgets which is killed so long behind its last save."""
_AWAY = 1.0
"""Seconds until a service manager starts what was killed."""
_HANGS = 6
"""Seconds that a server hangs: longer than sentinels and nodes of a cluster wait."""
_APART = 4.0
"""Seconds that both sides of a cut network go on when the majority has a new master."""
_PATIENCE = 60.0
_FIRST_SLOT = "06S"
"""A key in slot 0."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """``rounds``: how often it is to hold. ``fault`` gets the store, a key and the network."""

    store: Making
    fault: Callable[[Any, str, Network | None], None]
    rounds: int = 3
    has_network: bool = False


def _kill_after_save(store: Single, key: str, _: Network | None) -> None:
    node = _held(store, key)
    node.ask("BGSAVE")
    with node.client() as client:
        wait_until("no snapshot", lambda: not client.info("persistence")["rdb_bgsave_in_progress"])
    time.sleep(_FORGOTTEN)
    _kill(store, key, None)


def _restart(store: Single, key: str, _: Network | None) -> None:
    """As for an upgrade: everything is saved."""
    node = _held(store, key)
    with node.client() as client:
        client.shutdown(save=True)
    node.wait()
    time.sleep(_AWAY)
    node.start()


def _kill(store: Store, key: str, _: Network | None) -> None:
    """Killed and started again before anybody else takes over."""
    node = _held(store, key)
    node.kill()
    time.sleep(_AWAY)
    node.start()


def _kill_at_once(store: Store, key: str, _: Network | None) -> None:
    """Started again so soon that no sentinel notices, with what its last snapshot has."""
    node = _held(store, key)
    node.kill()
    node.start()


def _held(store: Store, key: str) -> Node:
    node = store.holder(key)
    assert node is not None, "all is whole before the fault"
    return node


def _replaced(store: Store, key: str, node: Node) -> None:
    def is_replaced() -> bool:
        return store.holder(key) not in (node, None)

    wait_until("no other took over", is_replaced, _PATIENCE)


def _kill_for_good(store: Store, key: str, _: Network | None) -> None:
    """Killed, and back when another has taken over."""
    node = _held(store, key)
    node.kill()
    _replaced(store, key, node)
    time.sleep(_AWAY)
    node.start()


def _shutdown(store: Store, key: str, _: Network | None) -> None:
    node = _held(store, key)
    with node.client() as client:
        client.shutdown()
    node.wait()
    _replaced(store, key, node)
    time.sleep(_AWAY)
    node.start()


def _sleep(store: Store, key: str, _: Network | None) -> None:
    _held(store, key).ask("DEBUG", "SLEEP", _HANGS)


def _pause(store: Store, key: str, _: Network | None) -> None:
    _held(store, key).ask("CLIENT", "PAUSE", _HANGS * 1000, "ALL")
    time.sleep(_HANGS)


def _sentinel_failover(store: Sentinels, key: str, _: Network | None) -> None:
    node = _held(store, key)
    store.failover()
    _replaced(store, key, node)


def _cluster_failover(store: Cluster, key: str, _: Network | None) -> None:
    node = _held(store, key)
    store.replica_of(node).ask("CLUSTER", "FAILOVER")
    _replaced(store, key, node)


def _partition(store: Store, _: str, network: Network | None) -> None:
    """The master, or the primary of the first slots, is alone with one host of the fleet."""
    assert network is not None, "the scenario has a network"
    node = _held(store, _FIRST_SLOT)
    network.cut()
    try:
        _replaced(store, _FIRST_SLOT, node)
        time.sleep(_APART)
    finally:
        network.heal()


def _shard_away(store: Cluster, key: str, _: Network | None) -> None:
    """A primary and its replica are gone, so that nobody has its slots."""
    node = _held(store, key)
    gone = (store.replica_of(node), node)
    for each in gone:
        each.kill()
    time.sleep(_HANGS)
    for each in reversed(gone):
        each.start()


def _reshard(store: Cluster, key: str, _: Network | None) -> None:
    """The slots of the shard go to another one, from the first to the key's."""
    node = _held(store, key)
    others = [each for each in store.nodes if each.replication()["role"] == "master"]
    target = next(each for each in others if each is not node)
    subprocess.run(
        [
            *(program("redis-cli", "redis-tools"), "--cluster", "reshard", node.place),
            *("--cluster-from", str(node.ask("CLUSTER", "MYID"))),
            *("--cluster-to", str(target.ask("CLUSTER", "MYID"))),
            *("--cluster-slots", str(store.slots_to(node, key)), "--cluster-yes"),
        ],
        check=True,
        capture_output=True,
    )


_PARTLY = partial(stores.cluster, coverage="no")

SCENARIOS = {
    "redis-restart": Scenario(stores.single, _restart),
    "redis-kill": Scenario(stores.single, _kill_after_save, rounds=5),
    "redis-kill-empty": Scenario(stores.single, _kill),
    "sentinel-failover": Scenario(stores.sentinels, _sentinel_failover),
    "sentinel-kill": Scenario(stores.sentinels, _kill_for_good),
    "sentinel-restart": Scenario(stores.sentinels, _kill_at_once),
    "sentinel-shutdown": Scenario(stores.sentinels, _shutdown),
    "sentinel-sleep": Scenario(stores.sentinels, _sleep),
    "sentinel-pause": Scenario(stores.sentinels, _pause),
    "sentinel-partition": Scenario(stores.sentinels, _partition, has_network=True),
    "cluster-failover": Scenario(stores.cluster, _cluster_failover),
    "cluster-kill": Scenario(stores.cluster, _kill_for_good),
    "cluster-shutdown": Scenario(stores.cluster, _shutdown),
    "cluster-sleep": Scenario(stores.cluster, _sleep),
    "cluster-pause": Scenario(stores.cluster, _pause),
    "cluster-partition": Scenario(stores.cluster, _partition, has_network=True),
    "cluster-reshard": Scenario(stores.cluster, _reshard),
    "cluster-down": Scenario(stores.cluster, _shard_away),
    "cluster-shard-away": Scenario(_PARTLY, _shard_away),
}
"""In this order they run and stand in the table."""
