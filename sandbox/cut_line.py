"""A line to a server that breaks after so many octets: what is longer never gets through."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class CutLine:
    """Takes connections on a loopback port and leads each to a server, for so many octets."""

    def __init__(self, port: int, octets: int) -> None:
        self._server, self._octets = port, octets
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> CutLine:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                for ends in ((client, server, self._octets), (server, client, 2**40)):
                    threading.Thread(target=_lead, args=ends, daemon=True).start()


def _lead(source: socket.socket, target: socket.socket, octets: int) -> None:
    with contextlib.suppress(OSError):
        while octets and (data := source.recv(min(octets, 65536))):
            target.sendall(data)
            octets -= len(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
