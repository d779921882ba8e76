"""Whether the milter answers on its socket, as Postfix would ask."""

from __future__ import annotations

import socket
import struct

from fletching.config import values

TIMEOUT = 5.0
"""Seconds within which a worker of the milter must answer."""

# Version 6, all actions and protocol steps, as Postfix offers them.
_NEGOTIATE = struct.pack("!IcIII", 13, b"O", 6, 0x1FF, 0x1FFFFF)
_QUIT = struct.pack("!Ic", 1, b"Q")


def milter_answers(listen: str) -> bool:
    """Whether a worker of the milter negotiates, as with Postfix. ``listen``: the option."""
    try:
        with connected(listen, values.inet_place(listen), TIMEOUT) as client:
            client.sendall(_NEGOTIATE)
            answer = client.recv(5)
            client.sendall(_QUIT)
    except OSError:
        return False
    return answer[4:] == b"O"


def connected(listen: str, place: tuple[str, int] | None, timeout: float) -> socket.socket:
    """A connection to a listen socket. ``place``: its host and port, None for `unix:/PATH`;
    ``timeout``: in seconds. Raises OSError."""
    if place is not None:
        return socket.create_connection((values.connectable(place[0]), place[1]), timeout)
    client = socket.socket(socket.AF_UNIX)
    try:
        client.settimeout(timeout)
        client.connect(listen.removeprefix("unix:"))
    except OSError:
        client.close()
        raise
    return client
