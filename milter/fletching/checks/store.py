"""Checks Redis: version, permissions, connections, clock, durability.

The wording is here; `store/trial.py` runs the commands.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from fletching.checks.durability import check_durability
from fletching.checks.finding import Finding, Level, error, warning
from fletching.config.model import Config
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.trial import numbers, refused, server, version

_OLDEST = (7, 0)
_CLOCK = 2.0
_LINES = 16
"""Roughly the most connections that a process keeps open."""


def check_store(config: Config, store: Store) -> Iterator[Finding]:
    """All findings about a Redis that has just answered."""
    try:
        yield from _findings(config, store)
    except StoreUnavailable as away:
        yield error("redis", f"stopped answering during this check: {away}")


def _findings(config: Config, store: Store) -> Iterator[Finding]:
    found_version = version(store)
    if numbers(found_version) < _OLDEST:
        age = f"version {found_version} is too old" if found_version else "version below 6.0"
        yield error("redis", f"{age}: install Redis 7.0 or later")
        return
    findings = [*check_durability(config, store)]
    yield from findings
    if any(each.level is Level.ERROR for each in findings):
        return
    refusals = refused(store)
    if rights := " ".join(dict.fromkeys(each.right for each in refusals if each.right)):
        why = next(each.why for each in refusals if each.right)
        yield error("redis", f"its user lacks {rights} ({why}): ACL SETUSER NAME {rights}")
    for refusal in refusals:
        if not refusal.right:
            yield error("redis", f"cannot run {refusal.what}: {refusal.why}")
    if not refusals:
        yield from _server(config, store)


def _server(config: Config, store: Store) -> Iterator[Finding]:
    found = server(store)
    workers = len(os.sched_getaffinity(0)) if config.workers == "auto" else config.workers
    needed = connections(workers)
    if found.max_clients is not None and found.max_clients < needed:
        yield warning(
            "redis",
            f"maxclients is {found.max_clients}, but this host may open {needed} connections"
            f" ({_LINES} for each worker of milter and web, and {_LINES} for courier and"
            " dashboard): raise maxclients; it must cover all hosts",
        )
    if abs(found.clock_ahead) > _CLOCK:
        way = "ahead of" if found.clock_ahead > 0 else "behind"
        yield warning(
            "redis",
            f"its clock is {abs(found.clock_ahead):.0f} s {way} this host's: synchronize both"
            " with NTP",
        )


def connections(workers: int) -> int:
    """Roughly how many connections the processes of one host may open."""
    return _LINES * (2 * workers + 1)
