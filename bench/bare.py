"""The minimum cost of a redirect in Python, which the benchmark `web` compares Fletching with.

Two ASGI applications: `answer` only redirects; `record` first adds an entry to a Redis stream.
Neither decrypts a token or counts anything, so they are not fit for real use.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from redis.asyncio import Redis

REDIS_SOCKET = "BENCH_REDIS_SOCKET"
"""The environment variable with the path of Redis' socket."""

STREAM = "bench:bare"

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HEADERS = [(b"location", b"https://shop.example/"), (b"content-length", b"0")]
_redis: Redis | None = None


async def answer(_scope: object, _receive: object, send: Send) -> None:
    """Redirect."""
    await send({"type": "http.response.start", "status": 302, "headers": _HEADERS})
    await send({"type": "http.response.body"})


async def record(scope: MutableMapping[str, Any], receive: object, send: Send) -> None:
    """Add the path to Redis, then redirect."""
    global _redis
    if _redis is None:
        _redis = Redis(unix_socket_path=os.environ[REDIS_SOCKET])
    await _redis.xadd(STREAM, {"event": scope["raw_path"]})
    await answer(scope, receive, send)
