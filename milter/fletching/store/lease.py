"""A lease: the right of one process of the fleet to do something, for as long as it renews it.

Here live its two scripts. What is done under a lease is not known here.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from fletching.store import keys
from fletching.store.connection import Store

SECONDS = 10.0
"""After this time without a renewal, another process may take the lease."""

_ACQUIRE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 0"


class Lease:
    """A lease as one process holds it. Threads may share it."""

    def __init__(self, store: Store, name: str, seconds: float = SECONDS) -> None:
        self._store = store
        self._key = keys.lease(name)
        self._seconds = seconds
        self._until = 0.0
        self._holder = secrets.token_hex(8)

    @property
    def held(self) -> bool:
        """Whether this process holds it. It also expires if Redis does not answer."""
        return time.monotonic() < self._until

    def acquire(self) -> bool:
        """Takes or renews it; False while another process holds it. Raises StoreUnavailable."""
        started = time.monotonic()
        is_ours = bool(self._run(_ACQUIRE, self._holder, int(self._seconds * 1000)))
        self._until = started + self._seconds if is_ours else 0.0
        return is_ours

    def release(self) -> None:
        """Lets another process take it at once. Raises StoreUnavailable."""
        self._until = 0.0
        self._run(_RELEASE, self._holder)

    def _run(self, script: str, *arguments: str | int) -> Any:
        return self._store.ask(
            lambda client: client.execute_command("EVAL", script, 1, self._key, *arguments)
        )


def is_held(store: Store, name: str) -> bool:
    """Whether any process holds the lease. Raises StoreUnavailable."""
    return bool(store.ask(lambda client: client.exists(keys.lease(name))))
