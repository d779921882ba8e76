"""The HTTP server under the tracking service: uvicorn, with limits and without its own words.

Here lives what a client may send and for how long, whoever it is and whatever stands in front of
us. What is asked and answered is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fletching import log
from fletching.daemons.process.seldom import Seldom

LONGEST_HEAD = 64 * 1024
"""Octets of a request line and headers; a token takes up to 32 KiB of them."""

LONGEST_BODY = 64 * 1024
"""Octets of a body with all that encloses it, chunks and trailers; more ends the connection."""

WHOLE_WITHIN = 15.0
"""Seconds until a request that has begun has to be there, and the first one of a connection."""

KEPT_ALIVE = 75
"""Seconds for which a connection may be silent: longer than a proxy keeps its own (nginx: 60), so
that it does not ask on one that we are closing."""

RESERVED = 16
"""File descriptors that are not for clients: else none is left for Redis and the pages."""

TELL_EVERY = 60.0
"""Seconds between two lines about file descriptors."""

LIVES_ON = 8
"""Seconds that requests in hand have at the end."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"retry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)
_crowded = Seldom(TELL_EVERY)


class Protocol(HttpToolsProtocol):
    """One connection, with a limit to the size and the time of each request."""

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        self._inside = False
        self._in_body = False
        self._completed = False
        self._size = 0
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        # The lowest free one is given: all below it are in use. When none is left at all, libuv
        # accepts and closes, and says nothing.
        if transport.get_extra_info("socket").fileno() >= _most_descriptors() - RESERVED:
            self._refuse(_BUSY)
            if _crowded.is_due():
                log.no_descriptors(_most_descriptors(), _crowded.taken())

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        self._completed = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_body and self._size > LONGEST_HEAD + LONGEST_BODY:
            # It may have its answer already.
            self.transport.close()
        elif self._inside and not self._in_body and self._size > LONGEST_HEAD:
            self._refuse(_TOO_LARGE)
        elif self._patience is None and (self._inside or not self._completed):
            # Inside a request, or empty lines where one should begin.
            self._wait()

    def on_message_begin(self) -> None:
        self._inside = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_body = True
        # It may have come in one piece, with more behind it.
        headers = sum(len(name) + len(value) for name, value in self.headers)
        if len(self.url) + headers > LONGEST_HEAD:
            raise ValueError("too large")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._wait_no_more()
        self._inside = self._in_body = False
        self._completed, self._size = True, 0
        super().on_message_complete()

    def _wait(self) -> None:
        self._patience = self.loop.call_later(WHOLE_WITHIN, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.transport.close()


class Server(uvicorn.Server):
    """The server of one process; its signals are the process's own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server(application: Any) -> Server:
    """A server that does not run yet. What there is to log is for `library_log`."""
    return Server(
        uvicorn.Config(
            application,
            http=Protocol,
            loop="uvloop",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEPT_ALIVE,
            timeout_graceful_shutdown=LIVES_ON,
        )
    )


def _most_descriptors() -> int:
    """File descriptors that this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def listening(family: int, address: tuple[str, int] | str) -> socket.socket:
    """A socket that listens. Raises OSError."""
    opened = socket.socket(family)
    try:
        if family != socket.AF_UNIX:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(2048)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened
