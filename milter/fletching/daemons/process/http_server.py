"""The HTTP server under the tracking service: uvicorn, with limits and without its own words.

Here lives what a client may send and for how long, whoever it is and whatever stands in front of
us. What is asked and answered is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fletching import log
from fletching.daemons.process.fork import END_WORKER, RELOAD_WORKER
from fletching.daemons.process.listener import Listener, ListenError, open_listener
from fletching.daemons.process.log_limit import LogLimit

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
_crowded = LogLimit(TELL_EVERY)


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
                log.out_of_file_descriptors(_most_descriptors(), _crowded.take_skipped())

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
    """The server of one worker. It leaves signals alone: `serve` takes them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server(application: Any, *, ends_within: int = LIVES_ON) -> Server:
    """A server that does not run yet. ``ends_within``: seconds that requests in hand have at the
    end. What uvicorn has to log is for `library_log`.
    """
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
            timeout_graceful_shutdown=ends_within,
        )
    )


async def serve(answering: Server, heard: socket.socket, reload: Callable[[], None]) -> None:
    """Serves a socket until the parent ends this worker; calls ``reload`` at each reload."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(END_WORKER, setattr, answering, "should_exit", True)
    loop.add_signal_handler(RELOAD_WORKER, reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (END_WORKER, RELOAD_WORKER))
    await answering.serve(sockets=[heard])


def run(answering: Server, work: Coroutine[Any, Any, None]) -> None:
    """Runs the work of a worker in the event loop that the server wants."""
    asyncio.Runner(loop_factory=answering.config.get_loop_factory()).run(work)


def _most_descriptors() -> int:
    """File descriptors that this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class HttpSocket:
    """A listening socket, and the care for its path where it has one."""

    def __init__(self, opened: socket.socket, listener: Listener | None = None) -> None:
        self.socket = opened
        self._listener = listener

    def close_path(self) -> None:
        """Lets nobody new in. Whoever is connected or waits still gets an answer."""
        if self._listener is not None:
            self._listener.close_path()


def listen(where: str) -> HttpSocket:
    """Opens `unix:/PATH` or `HOST:PORT`. Raises ListenError."""
    if where.startswith("unix:"):
        opened: list[socket.socket] = []

        def open_at(path: str) -> None:
            opened.append(_listening(socket.AF_UNIX, path.removeprefix("unix:")))

        listener = open_listener(where, open_at)
        return HttpSocket(opened[0], listener)
    host, _, port = where.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return HttpSocket(_listening(family, address[:2]))  # type: ignore[arg-type]
    except OSError as error:
        raise ListenError(f"{where}: {error.strerror}") from error


def _listening(family: int, address: tuple[str, int] | str) -> socket.socket:
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
