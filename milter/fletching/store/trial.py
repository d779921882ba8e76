"""Tries on a Redis what Fletching asks of it, for `fletching check`.

Here lives one run of each Lua script, below a key prefix of its own that is gone afterwards, and
what the server says of itself. What follows from that is for `admin/check_store.py` to say.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import ResponseError

from fletching.store.connection import Connection, StoreAway
from fletching.store.script import Script

# `redis.REDIS_VERSION` is there from 7.0 on (Redis Lua API reference). INFO may be forbidden.
_SELF = """
local clients = redis.pcall('INFO', 'clients')
if type(clients) ~= 'string' then clients = '' end
local time = redis.call('TIME')
return {redis.REDIS_VERSION or '', time[1] * 1000 + math.floor(time[2] / 1000), clients}
"""

_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Server:
    """What a Redis says of itself.

    ``version``: empty before 7.0. ``clock_ahead``: seconds that its clock is surely ahead of this
    host's (behind: less than 0), the round trip taken off. ``max_clients`` None: not told.
    """

    version: str
    clock_ahead: float
    max_clients: int | None


def server(url: str, state_dir: Path) -> Server:
    """Raises StoreAway, also where a right is lacking."""
    connection = Connection(url, state_dir)
    key = f"{_prefix()}self"
    before = time.time()
    version, millis, clients = connection.ask(
        lambda client: client.execute_command("EVAL", _SELF, 1, key)
    )
    after = time.time()
    found = re.search(r"(?m)^maxclients:(\d+)", clients)
    return Server(version, ahead(before, after, millis / 1000), int(found[1]) if found else None)


def ahead(before: float, after: float, there: float) -> float:
    """Seconds by which a clock was ahead, that was read between two looks at our own; 0 within."""
    return max(0.0, there - after) + min(0.0, there - before)


def lacking(url: str, state_dir: Path) -> dict[str, str]:
    """The scripts that Redis does not run, and why. Raises StoreAway where it does not answer."""
    prefix, failed = _prefix(), {}
    connection = Connection(url, state_dir)
    key = {name: prefix + name for name in _KEYS}
    campaign, counts = key["campaign"], key["counts"]
    runs: dict[str, tuple[list[str], list[str | int]]] = {
        "open.lua": ([key["sendid"]], ["", "c", _MINUTE * 1000]),
        "begin.lua": ([campaign], [_MINUTE, "sendid", "c"]),
        "number.lua": (
            [campaign, f"{prefix}bounces:", counts],
            ["record", _MINUTE, 64, "0|mta|list"],
        ),
        "warn.lua": ([campaign, key["warnings"]], [100, "a warning", 1]),
        "count.lua": (
            [campaign, counts, key["links"], f"{prefix}bits:"],
            ["opens", "0", 1, "", ""],
        ),
        "append.lua": ([key["events"]], ["{}"]),
        "trim.lua": ([key["events"]], ["0-1"]),
        "clock.lua": ([key["clock"]], [_MINUTE * 1000, 0]),
    }

    def run(name: str) -> None:
        script, (keys, arguments) = Script(name), runs[name]
        connection.ask(lambda client: script.run(client.execute_command, keys, arguments))

    try:
        for name in runs:
            try:
                run(name)
            except StoreAway as away:
                if not isinstance(away.__cause__, ResponseError):
                    raise
                # Redis 7.0 does not say which command of a script a user may not call.
                rights = " ".join(f"+{each.lower()}" for each in Script(name).commands)
                failed[name] = f"{away}; its user needs +eval +evalsha {rights} ~fletching:*"
    finally:
        try:
            connection.ask(lambda client: client.execute_command("DEL", *key.values()))
        except StoreAway as away:
            failed["DEL"] = str(away)
    return failed


_KEYS = (
    *("sendid", "campaign", "bounces:0", "counts", "warnings", "links", "bits:opens"),
    *("events", "clock"),
)


def _prefix() -> str:
    """Below `fletching:`, where a user may be shut in, and in one slot of a cluster."""
    return f"fletching:check:{{{secrets.token_hex(8)}}}:"
