"""What each Redis server reports about its disk, memory and replicas.

This is for `fletching check` and for the health of a host. What follows from it is decided in
`checks/durability.py` and in `daemons/health/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from fletching.store.connection import Store


@dataclass(frozen=True, slots=True)
class Durability:
    """One server that accepts writes, or should. ``node``: HOST:PORT in a cluster, else empty.

    ``snapshots``: whether it saves snapshots by itself; None if CONFIG is forbidden. ``memory`` and
    ``memory_limit``: bytes; a limit of 0 is none. ``needs_replicas``: whether it refuses writes
    while it has too few replicas (min-replicas-to-write).
    """

    node: str
    replica: bool
    replicas: int
    needs_replicas: bool
    append_only: bool
    snapshots: bool | None
    failed: tuple[str, ...]
    memory: int
    memory_limit: int
    eviction: str


def durability(store: Store, *, with_snapshots: bool = True) -> tuple[Durability, ...]:
    """Of the server, or of each primary of a cluster. Empty if INFO is forbidden.

    Without ``with_snapshots``, CONFIG is not asked: where it is forbidden, each time would be a
    line in the log of Redis. Raises StoreUnavailable.
    """
    return store.ask(lambda client: _look(client, with_snapshots))


def _look(client: Any, with_snapshots: bool) -> tuple[Durability, ...]:
    if isinstance(client, Redis):
        servers = {"": client}
    else:
        servers = {node.name: client.get_redis_connection(node) for node in client.get_primaries()}
    try:
        return tuple(_of(node, server, with_snapshots) for node, server in servers.items())
    except ResponseError:
        return ()


def _of(node: str, server: Redis, with_snapshots: bool) -> Durability:
    info: Mapping[str, Any] = server.info()
    statuses = ("aof_last_write_status", "rdb_last_bgsave_status", "aof_last_bgrewrite_status")
    return Durability(
        node=node,
        replica=info.get("role") == "slave",
        replicas=int(info.get("connected_slaves", 0)),
        # Redis reports the number of good replicas only if it requires some.
        needs_replicas="min_slaves_good_slaves" in info,
        append_only=bool(info.get("aof_enabled")),
        snapshots=_snapshots(server) if with_snapshots else None,
        failed=tuple(each for each in statuses if info.get(each, "ok") != "ok"),
        memory=int(info.get("used_memory", 0)),
        memory_limit=int(info.get("maxmemory", 0)),
        eviction=str(info.get("maxmemory_policy", "noeviction")),
    )


def _snapshots(server: Redis) -> bool | None:
    # Some providers do not offer the command at all.
    with suppress(ResponseError):
        found: Any = server.config_get("save")
        return bool(found["save"]) if "save" in found else None
    return None
