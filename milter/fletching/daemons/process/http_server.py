"""The HTTP server under the tracking service and the dashboard: uvicorn, with limits.

Here live the limits for what a client may send, and for how long, whether or not a proxy is in
front. Requests and responses are not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fletching import log
from fletching.daemons.process.fork import END_WORKER, RELOAD_WORKER
from fletching.daemons.process.log_limit import LogLimit

LONGEST_HEAD = 64 * 1024
"""Bytes of a request line and headers; a token takes up to 32 KiB of them."""

LONGEST_BODY = 64 * 1024
"""Bytes of a body including chunk headers and trailers; more ends the connection."""

REQUEST_TIMEOUT = 15.0
"""Seconds within which a request must be complete, and the first one of a connection begin."""

KEEP_ALIVE = 75
"""Seconds that a connection may be idle: longer than proxies keep theirs (nginx: 60), so that they
do not send a request on a connection that is being closed."""

RESERVED = 16
"""File descriptors that are not for clients, so that some are left for Redis and files."""

LOG_EVERY = 60.0
"""Seconds between two log lines about file descriptors."""

STOP_TIMEOUT = 8
"""Seconds for current requests at a stop."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"retry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)
_crowded = LogLimit(LOG_EVERY)


class Protocol(HttpToolsProtocol):
    """One connection, with a limit to the size and the time of each request."""

    def __init__(self, *args: Any, request_timeout: float = REQUEST_TIMEOUT, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request_timeout = request_timeout
        self._inside = False
        self._in_body = False
        self._completed = False
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()
        # The kernel gives the lowest free number, so all below it are in use. When none is left,
        # libuv accepts connections, closes them, and reports nothing.
        if transport.get_extra_info("socket").fileno() >= _descriptor_limit() - RESERVED:
            self._refuse(_BUSY)
            if _crowded.is_due():
                log.out_of_file_descriptors(_descriptor_limit(), _crowded.take_skipped())

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        self._completed = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_body and self._size > LONGEST_HEAD + LONGEST_BODY:
            # It may have its response already.
            self.transport.close()
        elif self._inside and not self._in_body and self._size > LONGEST_HEAD:
            self._refuse(_TOO_LARGE)
        elif self._timer is None and (self._inside or not self._completed):
            # Inside a request, or empty lines where one should begin.
            self._start_timer()

    def on_message_begin(self) -> None:
        self._inside = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_body = True
        # It may have come in one piece, followed by more.
        headers = sum(len(name) + len(value) for name, value in self.headers)
        if len(self.url) + headers > LONGEST_HEAD:
            raise ValueError("too large")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop_timer()
        self._inside = self._in_body = False
        self._completed, self._size = True, 0
        super().on_message_complete()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self._request_timeout, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.transport.close()


class Server(uvicorn.Server):
    """The server of one worker. It leaves signals alone: `serve` takes them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server(
    application: Any, *, stop_timeout: int = STOP_TIMEOUT, request_timeout: float = REQUEST_TIMEOUT
) -> Server:
    """A server that does not run yet. ``stop_timeout``: seconds for current requests at a stop.
    uvicorn logs through `library_log`.
    """
    return Server(
        uvicorn.Config(
            application,
            http=partial(Protocol, request_timeout=request_timeout),  # type: ignore[arg-type]
            loop="uvloop",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=stop_timeout,
        )
    )


async def serve(answering: Server, listening: socket.socket, reload: Callable[[], None]) -> None:
    """Serves a socket until the parent ends this worker; calls ``reload`` at each reload.

    A worker that cannot reload ends: its replacement has the new configuration.
    """
    loop = asyncio.get_running_loop()

    def reload_or_end() -> None:
        try:
            reload()
        except Exception:
            answering.should_exit = True
            raise

    loop.add_signal_handler(END_WORKER, setattr, answering, "should_exit", True)
    loop.add_signal_handler(RELOAD_WORKER, reload_or_end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (END_WORKER, RELOAD_WORKER))
    await answering.serve(sockets=[listening])


def run(answering: Server, work: Coroutine[Any, Any, None]) -> None:
    """Runs the work of a worker in the event loop that the server wants."""
    asyncio.Runner(loop_factory=answering.config.get_loop_factory()).run(work)


def _descriptor_limit() -> int:
    """The limit of file descriptors of this process."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
