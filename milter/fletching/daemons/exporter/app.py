"""The pages of `metrics.listen`: `/metrics` and `/healthz`.

Here lives the ASGI side. The metrics come from `fletching/metrics/`, the health from
`daemons/health/`; both do I/O, and do it in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fletching import log
from fletching.config.model import Config
from fletching.daemons.health.findings import errors
from fletching.daemons.process.log_limit import LogLimit
from fletching.metrics import export
from fletching.store.connection import Store

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Page = tuple[int, bytes, bytes]
"""Status, content type and content."""

_TEXT = b"text/plain; charset=utf-8"
_LOG_EVERY = 600.0


class Application:
    """The ASGI application. ``config`` may be replaced by a reloaded one."""

    def __init__(self, config: Config, store: Store) -> None:
        self.config = config
        self._store = store
        self._failed = LogLimit(_LOG_EVERY)
        self._pages = {b"/metrics": self._metrics, b"/healthz": self._health}
        self._running: dict[bytes, asyncio.Task[Page]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "no other protocol is switched on"
        status, kind, content = await self._page(scope["method"], scope["raw_path"])
        headers = [
            (b"content-type", kind),
            (b"content-length", b"%d" % len(content)),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else content
        await send({"type": "http.response.body", "body": body})

    async def _page(self, method: str, path: bytes) -> Page:
        make = self._pages.get(path)
        if make is None:
            return 404, _TEXT, b"not found: there are /metrics and /healthz\n"
        if method not in ("GET", "HEAD"):
            return 405, _TEXT, b"method not allowed\n"
        # However many clients ask, a page is made once at a time.
        if path not in self._running:
            task = asyncio.get_running_loop().create_task(asyncio.to_thread(make))
            task.add_done_callback(lambda _: self._running.pop(path))
            self._running[path] = task
        try:
            return await asyncio.shield(self._running[path])
        except Exception as error:  # noqa: BLE001 an edge: the client gets 500
            if self._failed.is_due():
                log.page_failed("metrics", error)
            return 500, _TEXT, b"internal error\n"

    def _metrics(self) -> Page:
        return 200, export.CONTENT_TYPE, export.export(self.config.state_dir)

    def _health(self) -> Page:
        found = errors(self.config, self._store)
        return 503 if found else 200, _TEXT, "\n".join([*(found or ["ok"]), ""]).encode()
