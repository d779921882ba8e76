"""A user of Redis who may do what the documentation asks for, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import redis
from fletching.store.trial import acl

from sandbox.redis_cluster import Cluster
from sandbox.redis_server import RedisServer

USER, PASSWORD = "limited", "a-password"


def limited(server: RedisServer | Cluster) -> str:
    """The URL for that user, who is made by it."""
    words = acl().replace(">PASSWORD", f">{PASSWORD}").split()
    for node in server.nodes():
        node.execute_command("ACL", "SETUSER", USER, "reset", *words)
        node.execute_command("ACL", "LOG", "RESET")
    return server.unix_url.replace("://", f"://{USER}:{PASSWORD}@", 1)


def denied(server: RedisServer | Cluster) -> list[str]:
    """What the user tried and may not do, but for what `check` can do without."""
    entries: list[Any] = [entry for node in server.nodes() for entry in node.acl_log()]
    what = (_text(entry["object"]) for entry in entries if _text(entry["username"]) == USER)
    return [each for each in what if each != "config|get"]


def remove(server: RedisServer | Cluster) -> None:
    """It is gone."""
    for node in server.nodes():
        with suppress(redis.ConnectionError):
            node.acl_deluser(USER)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
