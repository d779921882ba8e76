"""The scenarios by name: a setup of Redis, and the fault that is caused under load.

A fault returns when it is over: servers are running again, and the network is restored.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from bench.drills import stores
from bench.drills.fleet import Host
from bench.drills.network import Network
from bench.drills.stores import Cluster, Making, Node, Sentinels, Single, Store
from sandbox.processes import program, wait_until

S = TypeVar("S", bound=Store, covariant=True)

_FORGOTTEN = 2.0
"""Seconds between the last save and the kill, whose data Redis loses."""
_AWAY = 1.0
"""Seconds until a service manager restarts a killed server."""
_HANGS = 6
"""Seconds that a server hangs, longer than the time-outs of sentinels and cluster nodes."""
_APART = 4.0
"""Seconds that both sides of a partition keep working after the majority has a new master."""
_PATIENCE = 60.0
_FIRST_SLOT = "06S"
"""A key in slot 0."""


@dataclass(frozen=True)
class Scene(Generic[S]):
    """The running servers. In a cluster, the shard of ``key`` is broken."""

    store: S
    key: str
    hosts: tuple[Host, ...]
    network: Network | None

    @property
    def master(self) -> Node:
        """The server that accepts writes for the key before the fault."""
        node = self.store.holder(self.key)
        assert node is not None, "everything is healthy before the fault"
        return node

    def wait_replaced(self, node: Node) -> None:
        """Wait until another server accepts writes for the key."""

        def is_replaced() -> bool:
            return self.store.holder(self.key) not in (node, None)

        wait_until("no other took over", is_replaced, _PATIENCE)


@dataclass(frozen=True, slots=True)
class Scenario:
    """``rounds``: how often the scenario runs."""

    store: Making
    fault: Callable[[Scene[Any]], None]
    rounds: int = 3
    has_network: bool = False


def _restart(scene: Scene[Single]) -> None:
    """Restart as for an upgrade, with everything saved."""
    node = scene.master
    with node.client() as client:
        client.shutdown(save=True)
    node.wait()
    time.sleep(_AWAY)
    node.start()


def _kill(scene: Scene[Single]) -> None:
    node = scene.master
    node.kill()
    time.sleep(_AWAY)
    node.start()


def _kill_after_save(scene: Scene[Single]) -> None:
    _save(scene.master)
    _kill(scene)


def _save(node: Node) -> None:
    node.ask("BGSAVE")
    with node.client() as client:
        wait_until("no snapshot", lambda: not client.info("persistence")["rdb_bgsave_in_progress"])
    time.sleep(_FORGOTTEN)


def _kill_with_web(scene: Scene[Single]) -> None:
    """Kill Redis and all web services at once: answered requests are only on the hosts' disks."""
    node = scene.master
    _save(node)
    node.kill()
    for host in scene.hosts:
        host.kill_web()
    time.sleep(_AWAY)
    node.start()
    for host in scene.hosts:
        host.start_web()


def _kill_unnoticed(scene: Scene[Sentinels]) -> None:
    """Restart from the last snapshot, so soon that no sentinel notices."""
    node = scene.master
    node.kill()
    node.start()


def _kill_for_good(scene: Scene[Store]) -> None:
    """Kill, and restart after another server has taken over."""
    node = scene.master
    node.kill()
    _back_later(scene, node)


def _shutdown(scene: Scene[Store]) -> None:
    node = scene.master
    with node.client() as client:
        client.shutdown()
    node.wait()
    _back_later(scene, node)


def _back_later(scene: Scene[Store], node: Node) -> None:
    scene.wait_replaced(node)
    time.sleep(_AWAY)
    node.start()


def _sleep(scene: Scene[Store]) -> None:
    scene.master.ask("DEBUG", "SLEEP", _HANGS)


def _pause(scene: Scene[Store]) -> None:
    scene.master.ask("CLIENT", "PAUSE", _HANGS * 1000, "ALL")
    time.sleep(_HANGS)


def _sentinel_failover(scene: Scene[Sentinels]) -> None:
    node = scene.master
    scene.store.failover()
    scene.wait_replaced(node)


def _cluster_failover(scene: Scene[Cluster]) -> None:
    node = scene.master
    scene.store.replica_of(node).ask("CLUSTER", "FAILOVER")
    scene.wait_replaced(node)


def _partition(scene: Scene[Store]) -> None:
    """Isolate the master, or the primary of the first slots, together with one host."""
    network, scene = scene.network, replace(scene, key=_FIRST_SLOT)
    assert network is not None, "the scenario has a network"
    node = scene.master
    network.cut()
    try:
        scene.wait_replaced(node)
        time.sleep(_APART)
    finally:
        network.heal()


def _shard_away(scene: Scene[Cluster]) -> None:
    """Kill a primary and its replica, so that no server has its slots."""
    node = scene.master
    gone = (scene.store.replica_of(node), node)
    for each in gone:
        each.kill()
    time.sleep(_HANGS)
    for each in reversed(gone):
        each.start()


def _reshard(scene: Scene[Cluster]) -> None:
    """Move the shard's slots, from the first to the key's, to another shard."""
    node = scene.master
    primaries = [each for each in scene.store.nodes if each.replication()["role"] == "master"]
    target = next(each for each in primaries if each is not node)
    subprocess.run(
        [
            *(program("redis-cli", "redis-tools"), "--cluster", "reshard", node.place),
            *("--cluster-from", str(node.ask("CLUSTER", "MYID"))),
            *("--cluster-to", str(target.ask("CLUSTER", "MYID"))),
            *("--cluster-slots", str(scene.store.slots_to(node, scene.key)), "--cluster-yes"),
        ],
        check=True,
        capture_output=True,
    )


_PARTLY = partial(stores.cluster, coverage="no")

SCENARIOS = {
    "redis-restart": Scenario(stores.single, _restart),
    "redis-kill": Scenario(stores.single, _kill_after_save, rounds=5),
    "redis-kill-empty": Scenario(stores.single, _kill),
    "redis-kill-web": Scenario(stores.single, _kill_with_web),
    "sentinel-failover": Scenario(stores.sentinels, _sentinel_failover),
    "sentinel-kill": Scenario(stores.sentinels, _kill_for_good),
    "sentinel-restart": Scenario(stores.sentinels, _kill_unnoticed),
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
"""The order of the runs and of the table."""
