"""A lease: the right of one process of the fleet to do something, for as long as it renews it.

Here live its two scripts. What is done under a lease may
not be known here.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from fletching.store import keys
from fletching.store.connection import Store

SECONDS = 10.0
"""After this time without a renewal, another holder may have it."""

_HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_LEAVE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 0"


class Lease:
    """One holder's side of a lease. ``name``: of our own making. Threads may share it."""

    def __init__(self, store: Store, name: str, seconds: float = SECONDS) -> None:
        self._store = store
        self._key = keys.lease(name)
        self._seconds = seconds
        self._until = 0.0
        self._holder = secrets.token_hex(8)

    @property
    def held(self) -> bool:
        """Whether it is ours: it also ends where Redis cannot be asked to renew it."""
        return time.monotonic() < self._until

    def hold(self) -> bool:
        """Takes or renews it; False while another has it. Raises StoreAway."""
        asked_at = time.monotonic()
        is_ours = bool(self._run(_HOLD, self._holder, int(self._seconds * 1000)))
        self._until = asked_at + self._seconds if is_ours else 0.0
        return is_ours

    def leave(self) -> None:
        """Another may have it at once. Raises StoreAway."""
        self._until = 0.0
        self._run(_LEAVE, self._holder)

    def _run(self, script: str, *arguments: str | int) -> Any:
        return self._store.ask(
            lambda client: client.execute_command("EVAL", script, 1, self._key, *arguments)
        )
