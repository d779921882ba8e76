"""The least that a redirect can cost in Python: what the room `web` compares Fletching with.

Two ASGI applications. `answer` redirects and knows nothing; `record` puts an entry into a stream of
Redis before. Neither opens a token, counts or can do without Redis: nobody should run them.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from redis.asyncio import Redis

REDIS_SOCKET = "BENCH_REDIS_SOCKET"
"""The variable in the environment that says where Redis listens."""

STREAM = "bench:bare"

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HEADERS = [(b"location", b"https://shop.example/"), (b"content-length", b"0")]
_redis: Redis | None = None


async def answer(_scope: object, _receive: object, send: Send) -> None:
    """Redirects."""
    await send({"type": "http.response.start", "status": 302, "headers": _HEADERS})
    await send({"type": "http.response.body"})


async def record(scope: MutableMapping[str, Any], receive: object, send: Send) -> None:
    """Redirects, when the path is in Redis."""
    global _redis
    if _redis is None:
        _redis = Redis(unix_socket_path=os.environ[REDIS_SOCKET])
    await _redis.xadd(STREAM, {"event": scope["raw_path"]})
    await answer(scope, receive, send)
