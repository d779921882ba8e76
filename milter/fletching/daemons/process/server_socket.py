"""Listening sockets of servers that run on asyncio: the web server, the dashboard, LMTP.

Here lives the opening of `unix:/PATH` and of `HOST:PORT`. How a path is kept from other daemons is
in `listener.py`.
"""

from __future__ import annotations

import socket

from fletching.config.values import host_and_port
from fletching.daemons.process.listener import Listener, ListenError, open_listener


class ServerSocket:
    """A listening socket, and the care for its path where it has one."""

    def __init__(self, opened: socket.socket, listener: Listener | None = None) -> None:
        self.socket = opened
        self._listener = listener

    def close_path(self) -> None:
        """Removes the path, so that no new client connects. Those that are connected are still
        served.
        """
        if self._listener is not None:
            self._listener.close_path()


def listen(where: str) -> ServerSocket:
    """Opens `unix:/PATH` or `HOST:PORT`. Raises ListenError."""
    place = host_and_port(where)
    if place is None:
        opened: list[socket.socket] = []

        def open_at(path: str) -> None:
            opened.append(_listening(socket.AF_UNIX, path.removeprefix("unix:")))

        listener = open_listener(where, open_at)
        return ServerSocket(opened[0], listener)
    try:
        found = socket.getaddrinfo(*place, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return ServerSocket(_listening(family, address[:2]))  # type: ignore[arg-type]
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
