"""Can this Redis keep its promise? What its settings mean for numbers, events and suppression.

Here live the sentences, each with its cure; what is looked at is in `store/durability.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from fletching.checks.finding import Finding, error, warning
from fletching.config.model import Config
from fletching.store.connection import Store
from fletching.store.durability import Durability, durability

_ALMOST_FULL = 0.9

_REPLICA = (
    "is a replica, which takes no writes: name its master in redis:, or the sentinels"
    " (redis+sentinel://)"
)
_NOTHING_ON_DISK = (
    "keeps nothing on disk: a restart loses campaigns, statistics, suppression lists and events"
    " that wait: CONFIG SET appendonly yes, then CONFIG REWRITE"
)
_SNAPSHOTS = (
    "has no append-only file: after a crash it comes back as old as its last snapshot, and only"
    " what hosts still have on disk (unsubscribes, the last hour's events) is written again:"
    " CONFIG SET appendonly yes, then CONFIG REWRITE"
)
_EVICTION = (
    "maxmemory-policy {} lets it forget campaigns, statistics and suppression lists where memory"
    " runs out: CONFIG SET maxmemory-policy noeviction, then CONFIG REWRITE"
)
_FULL = (
    "its memory is full ({:.0f} % of maxmemory): it refuses writes, mail is deferred and events"
    " wait on the hosts: raise maxmemory, or shorten stats_retention"
)
_ALMOST = (
    "its memory is almost full ({:.0f} % of maxmemory): then it refuses writes and mail is"
    " deferred: raise maxmemory, or shorten stats_retention"
)
_FAILED = (
    "could not write to its disk ({}): it may refuse writes, and a restart loses what came since:"
    " make room, look at rights and at its log"
)
_ALONE = (
    "has no replica: the sentinels have nothing to fail over to, and if it dies, mail is deferred"
    " until it is back: add one (replicaof)"
)
_CUT_OFF = (
    "min-replicas-to-write is 0: a master that is cut off from the others goes on taking writes,"
    " and these are lost when it joins again: with two replicas or more, CONFIG SET"
    " min-replicas-to-write 1, then CONFIG REWRITE, on each server"
)


def check_durability(config: Config, store: Store) -> Iterator[Finding]:
    """Where this Redis may lose what it took, or soon takes nothing. Raises StoreAway."""
    sentinels = "+sentinel://" in config.redis
    for server in durability(store):
        place = f"redis {server.place}".rstrip()
        if server.replica:
            yield error(place, _REPLICA)
            continue
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
