"""Checks Redis' persistence, memory and replicas: what data its settings can lose.

The wording is here, each with its cure; the settings are read by `store/durability.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from fletching.checks.finding import Finding, error, warning
from fletching.config.model import Config
from fletching.store.connection import Store
from fletching.store.durability import Durability, durability

_ALMOST_FULL = 0.9

_REPLICA = (
    "is a read-only replica: set redis: to its master, or to the sentinels (redis+sentinel://)"
)
_NOTHING_ON_DISK = (
    "no persistence: a restart loses campaigns, statistics, suppression lists and"
    " undelivered events: CONFIG SET appendonly yes, then CONFIG REWRITE"
)
_SNAPSHOTS = (
    "no append-only file: a crash loses everything since the last snapshot, except what"
    " hosts still have on disk (unsubscribes, the last hour's events): CONFIG SET appendonly"
    " yes, then CONFIG REWRITE"
)
_EVICTION = (
    "maxmemory-policy is {}: when memory runs out, Redis deletes campaigns, statistics and"
    " suppression lists: CONFIG SET maxmemory-policy noeviction, then CONFIG REWRITE"
)
_LIMITS = (
    "may forget what the VirtualMTAs have used of their limits, so that a limit is exceeded on the"
    " day of a crash: CONFIG SET appendonly yes, then CONFIG REWRITE"
)
_FULL = (
    "memory is full ({:.0f} % of maxmemory): writes are refused, mail is deferred and events"
    " wait on the hosts: raise maxmemory, or shorten stats_retention"
)
_ALMOST = (
    "memory is almost full ({:.0f} % of maxmemory): once it is full, writes are refused and"
    " mail is deferred: raise maxmemory, or shorten stats_retention"
)
_FAILED = (
    "cannot write to its disk ({}): it may refuse writes, and a restart loses recent data:"
    " free disk space, check permissions and Redis' log"
)
_ALONE = (
    "no replica: the sentinels cannot fail over, and if this server fails, mail is deferred"
    " until it is back: add a replica (replicaof)"
)
_CUT_OFF = (
    "min-replicas-to-write is 0: in a network partition the old master keeps accepting"
    " writes, which are lost when it rejoins: with two or more replicas, CONFIG SET"
    " min-replicas-to-write 1, then CONFIG REWRITE, on each server"
)


def check_durability(config: Config, store: Store) -> Iterator[Finding]:
    """Findings about data that this Redis may lose, or writes that it may refuse.

    Raises StoreUnavailable.
    """
    sentinels = "+sentinel://" in config.redis
    for server in durability(store):
        place = f"redis {server.node}".rstrip()
        if server.replica:
            yield error(place, _REPLICA)
            continue
        if not server.append_only and any(each.limited for each in config.virtual_mtas.values()):
            yield warning(place, _LIMITS)
        for text in _texts(server, sentinels):
            yield warning(place, text)


def _texts(server: Durability, sentinels: bool) -> Iterator[str]:
    if not server.append_only:
        yield _NOTHING_ON_DISK if server.snapshots is False else _SNAPSHOTS
    if server.failed:
        yield _FAILED.format(", ".join(server.failed))
    if server.eviction != "noeviction":
        yield _EVICTION.format(server.eviction)
    if server.memory_limit:
        share = server.memory / server.memory_limit
        if share > _ALMOST_FULL:
            yield (_FULL if share >= 1 else _ALMOST).format(share * 100)
    if sentinels and server.replicas == 0:
        yield _ALONE
    elif sentinels and not server.needs_replicas:
        yield _CUT_OFF
