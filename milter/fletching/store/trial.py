"""Tries every command and script that Fletching uses on a Redis, for `fletching check`.

All keys of a trial have a prefix of their own and are deleted afterwards. What follows from a
refusal is decided in `checks/store.py`.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis import RedisCluster
from redis.exceptions import NoPermissionError, ResponseError

from fletching.store import keys
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.lease import Lease
from fletching.store.script import Script

# INFO may be forbidden; it has maxclients from 7.0 on.
_SELF = """
local clients = redis.pcall('INFO', 'clients')
if type(clients) ~= 'string' then clients = '' end
local time = redis.call('TIME')
return {time[1] * 1000 + math.floor(time[2] / 1000), clients}
"""

_MINUTE = 60

_KEY = "KEY"
# Every command of `store/`, in scripts or not. They use one key, a string that expires. Commands
# for other types write nothing: the answer is WRONGTYPE if the user has the right, since Redis
# checks rights first. Commands that delete or expire a key come before those that create it.
_COMMANDS: tuple[tuple[str | int, ...], ...] = (
    *(("DEL", _KEY), ("EXPIRE", _KEY, _MINUTE), ("PEXPIRE", _KEY, _MINUTE * 1000)),
    ("SET", _KEY, "a", "PX", _MINUTE * 1000),
    *(("PING",), ("TIME",), ("ROLE",), ("GET", _KEY), ("EXISTS", _KEY), ("PTTL", _KEY)),
    *(("SETBIT", _KEY, 0, 1), ("MGET", _KEY), ("STRLEN", _KEY), ("GETRANGE", _KEY, 0, -1)),
    ("APPEND", _KEY, "a"),
    *(("EVAL", "return 1", 1, _KEY), ("EVALSHA", "0" * 40, 1, _KEY)),
    *(("HSET", _KEY, "f", "v"), ("HSETNX", _KEY, "f", "v"), ("HINCRBY", _KEY, "f", 1)),
    *(("HGET", _KEY, "f"), ("HGETALL", _KEY), ("HEXISTS", _KEY, "f"), ("HLEN", _KEY)),
    *(("HSCAN", _KEY, 0), ("HDEL", _KEY, "f"), ("HMGET", _KEY, "f"), ("INFO", "replication")),
    *(("SADD", _KEY, "m"), ("SMEMBERS", _KEY)),
    *(("ZADD", _KEY, "NX", 1, "m"), ("ZREVRANGEBYSCORE", _KEY, "+inf", 0), ("ZREM", _KEY, "m")),
    *(("RPUSH", _KEY, "v"), ("LRANGE", _KEY, 0, -1), ("LLEN", _KEY), ("LPOS", _KEY, "v")),
    *(("XADD", _KEY, "*", "event", "{}"), ("XTRIM", _KEY, "MINID", "0-1"), ("XLEN", _KEY)),
    *(("XRANGE", _KEY, "-", "+"), ("XREVRANGE", _KEY, "+", "-")),
    *(("XGROUP CREATE", _KEY, "g", "$"), ("XGROUP SETID", _KEY, "g", "$")),
    ("XREADGROUP", "GROUP", "g", "c", "STREAMS", _KEY, ">"),
    *(("XAUTOCLAIM", _KEY, "g", "c", 0, "0-0"), ("XACK", _KEY, "g", "0-1")),
    *(("XPENDING", _KEY, "g"), ("XINFO GROUPS", _KEY)),
)
# What redis-py sends by itself: for a database, and in a cluster.
_CONNECTING = (("SELECT",), ("CLUSTER SLOTS",), ("COMMAND",), ("ASKING",))
_MAKES = ("DEL", "EXPIRE", "PEXPIRE", "SET")
_ALLOWED = ("WRONGTYPE", "NOSCRIPT", "No matching script")


def acl() -> str:
    """The rights that Fletching's Redis user needs, for ACL SETUSER."""
    rights = " ".join(f"+{_right(str(name))}" for name, *_ in (*_COMMANDS, *_CONNECTING))
    return f"on >PASSWORD resetkeys ~{keys.PREFIX}* resetchannels -@all {rights}"


def _right(command: str) -> str:
    return command.lower().replace(" ", "|")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What Redis refuses. ``right``: the missing one, for ACL SETUSER; empty for other errors."""

    what: str
    why: str
    right: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """What a server reports about itself.

    ``clock_ahead``: seconds by which its clock is ahead of this host's (negative: behind), without
    the round trip. ``max_clients``: None if unknown.
    """

    clock_ahead: float
    max_clients: int | None


def version(store: Store) -> str:
    """The version; of a cluster, the lowest. Empty before 6.0, which has no HELLO.

    HELLO needs no right. Raises StoreUnavailable.
    """
    try:
        return str(min(store.ask(_versions), key=numbers))
    except StoreUnavailable as away:
        if isinstance(away.__cause__, ResponseError) and "unknown command" in str(away):
            return ""
        raise


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers that can be compared."""
    return tuple(map(int, re.findall(r"\d+", version)))


def _versions(client: Any) -> list[str]:
    if isinstance(client, RedisCluster):
        ask: Any = client.execute_command
        nodes = client.get_primaries()  # type: ignore[no-untyped-call]
        answers = [ask("HELLO", target_nodes=node) for node in nodes]
    else:
        answers = [client.execute_command("HELLO")]
    return [answer[answer.index("version") + 1] for answer in answers]


def server(store: Store) -> Server:
    """What the server reports. Raises StoreUnavailable, also if a right is missing."""
    key = f"{_prefix()}self"
    before = time.time()
    millis, clients = store.ask(lambda client: client.execute_command("EVAL", _SELF, 1, key))
    after = time.time()
    found = re.search(r"(?m)^maxclients:(\d+)", clients)
    return Server(ahead(before, after, millis / 1000), int(found[1]) if found else None)


def ahead(before: float, after: float, there: float) -> float:
    """Seconds by which a clock was ahead when read from ``before`` to ``after``; 0 if within."""
    return max(0.0, there - after) + min(0.0, there - before)


def refused(store: Store) -> tuple[Refusal, ...]:
    """What Redis refuses. Scripts are tried only if every command is allowed.

    Raises StoreUnavailable if Redis stops answering; the message names the command or script.
    """
    return tuple(_commands(store)) or tuple(_scripts(store))


def _commands(store: Store) -> Iterator[Refusal]:
    key, forbidden = f"{_prefix()}key", 0
    try:
        for name, *words in _COMMANDS:
            sent = [name, *(key if word == _KEY else word for word in words)]
            ask = partial(_execute, words=sent)
            if refusal := _tried(str(name), lambda ask=ask: store.ask(ask)):  # type: ignore[misc]
                forbidden += refusal.right.startswith("+")
                yield refusal
                if name in _MAKES and not refusal.right:
                    return  # It accepts no writes, and would refuse each of them.
            if name == _MAKES[-1] and forbidden == len(_MAKES):
                return  # A key could neither expire nor be deleted.
    finally:
        _if_it_can(store, "EXPIRE", key, _MINUTE)
        _if_it_can(store, "DEL", key)


def _scripts(store: Store) -> Iterator[Refusal]:
    prefix = _prefix()
    key = {name: prefix + name for name in _KEYS}
    campaign, counts = key["campaign"], key["counts"]
    runs: dict[str, tuple[list[str], list[str | int]]] = {
        "open.lua": ([key["sendid"]], ["", "c", _MINUTE * 1000]),
        "begin.lua": ([campaign], [_MINUTE, "sendid", "c", "opened", 0]),
        "number.lua": ([campaign, f"{prefix}bounces:"], ["record", _MINUTE, 64, 0, 0]),
        "sent.lua": (
            [campaign, counts, key["counted"], key["steps"]],
            ["0|mta|list", "0", "a count", 1],
        ),
        "placements.lua": ([campaign, key["placements"]], ["an address", "{}"]),
        "warn.lua": ([campaign, key["warnings"]], [100, "a warning", 1]),
        "count.lua": (
            [
                *(campaign, counts, key["links"], key["counted"], f"{prefix}bits:"),
                *(key["providers"], key["reasons"], key["steps"]),
            ],
            [*("", "", 0, "opens", "0", "0", 1, "", "", "", "")],
        ),
        "failures.lua": (
            [key["due"], f"{prefix}failures:"],
            ["address", "h", 1, "c:1", 2, _MINUTE * 1000, "{}", "address", "d", 0, "c:1", 0, 0, ""],
        ),
        "report.lua": ([key["events"], key["reported"]], ["address", 1, 0, "{}"]),
        "claim.lua": ([key["claims"]], ["log", _MINUTE, "1 failure"]),
        "append.lua": ([key["events"], key["marks"]], ["", "", 0, 0, "{}"]),
        "suppress.lua": ([key["suppressed"]], ["", "a", 0, "unsubscribed"]),
        "trace.lua": (
            [key["trace"]],
            [_MINUTE * 1000, "1", 0, 1, 1, "\0\2head", "content"],
        ),
        "seed_claim.lua": (
            [campaign, key["seeds"], key["seedcontents"]],
            [
                _MINUTE * 1000,
                "content",
                '{"state":"waiting","attempt":0,"mail":1}',
                "a@example.net",
            ],
        ),
        "seed_state.lua": (
            [key["seeds"], key["seedcontents"]],
            ["a@example.net", 0, " waiting ", '{"state":"sent"}'],
        ),
        "trim.lua": ([key["events"], key["marks"]], ["0-1"]),
        "take.lua": (
            [f"{prefix}used:"],
            [1, "provider", 1, _MINUTE, *(word for at in range(4) for word in ("day", at, 9, ""))],
        ),
        "give_back.lua": ([f"{prefix}used:"], ["day", 1, "provider", 1]),
        "shadow.lua": (
            [key["shadow"]],
            ["a process", 1, 100, _MINUTE * 1000, "+", "c|edit|", 1, "^", "c|slowest|", 1],
        ),
        "touch.lua": ([key["touches"]], [_MINUTE * 1000, 100, "a line"]),
        "clock.lua": ([key["clock"]], [_MINUTE * 1000, 0]),
    }

    def run(name: str) -> None:
        script, (used, arguments) = Script(name), runs[name]
        store.ask(lambda client: script.run(client.execute_command, used, arguments))
        # At once: Redis may be unavailable when they should be deleted.
        for each in used:
            store.ask(partial(_execute, words=("EXPIRE", each, _MINUTE)))

    lease = Lease(store, prefix.removeprefix(keys.PREFIX))
    steps: dict[str, Callable[[], object]] = {
        **{name: partial(run, name) for name in runs},
        "the script that takes a lease": lease.acquire,
        "the script that leaves a lease": lease.release,
    }
    try:
        for what, step in steps.items():
            if refusal := _tried(what, step):
                yield refusal
    finally:
        _if_it_can(store, "DEL", *key.values())


def _tried(what: str, step: Callable[[], object]) -> Refusal | None:
    """Raises StoreUnavailable if Redis does not answer."""
    try:
        step()
    except StoreUnavailable as away:
        cause = away.__cause__
        if isinstance(cause, NoPermissionError):
            command = f"+{_right(what)}"
            # The other message is "... no permissions to run the 'xadd' command".
            right = f"~{keys.PREFIX}*" if " to access " in str(cause) else command
            return Refusal(what, str(away), right)
        if not isinstance(cause, ResponseError):
            raise StoreUnavailable(f"{what}: {away}") from cause
        return None if str(away).startswith(_ALLOWED) else Refusal(what, str(away))
    return None


def _execute(client: Any, words: Sequence[str | int]) -> Any:
    if words[0] == "ROLE" and isinstance(client, RedisCluster):
        # It has no key that would select a node.
        return client.execute_command(*words, target_nodes=client.get_primaries())  # type: ignore[no-untyped-call]
    return client.execute_command(*words)


def _if_it_can(store: Store, *words: str | int) -> None:
    with suppress(StoreUnavailable):
        store.ask(partial(_execute, words=words))


_KEYS = (
    *("sendid", "campaign", "bounces:0", "counts", "warnings", "links", "bits:opens:0"),
    *("bits:confirmed:0", "claims", "trace", "placements"),
    *("seeds", "seedcontents"),
    *("due", "failures:address", "reported", "used:day"),
    *("events", "marks", "counted", "providers", "reasons", "steps", "suppressed"),
    *("touches", "clock", "shadow"),
)


def _prefix() -> str:
    """Begins with `PREFIX`, to which the user may be limited; all keys are in one slot."""
    return keys.trial(secrets.token_hex(8))
