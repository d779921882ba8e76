"""Connections to IMAP servers that end in time, and whose answers have a bound.

imaplib has a time-out for each byte only, and reads whatever a server sends. What is asked of a
server is in `mailbox.py`.
"""

from __future__ import annotations

import imaplib
import socket
import threading
from contextlib import suppress
from typing import Any

MOST_BYTES = 16 * 2**20
"""Bytes of the answer to one command. The largest one that is asked for has about 4 MiB."""

TOO_LONG = "the mailbox took too long to read"


class TooMuchError(Exception):
    """The server sent too much, or for too long. Says which."""


class Connection(imaplib.IMAP4):
    """A connection that is ended after ``seconds``. Every method may raise TooMuchError."""

    _size = 0
    _is_over = False
    _timer: threading.Timer | None = None

    def __init__(self, seconds: float, *where: Any, **how: Any) -> None:
        """``where`` and ``how``: as imaplib takes them."""
        self._seconds = seconds
        super().__init__(*where, **how)

    def open(self, *where: Any, **how: Any) -> None:
        super().open(*where, **how)
        self._timer = threading.Timer(self._seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def shutdown(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().shutdown()

    def _end(self) -> None:
        self._is_over = True
        with suppress(OSError):
            # Not that of SSLSocket: another thread reads from it.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def send(self, data: Any) -> None:
        self._size = 0
        super().send(data)

    def read(self, size: int) -> bytes:
        self._count(size)
        data = super().read(size)
        self._check()
        return data

    def readline(self) -> bytes:
        line = super().readline()
        self._count(len(line))
        self._check()
        return line

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > MOST_BYTES:
            raise TooMuchError("an answer of the server is too large")

    def _check(self) -> None:
        if self._is_over:
            raise TooMuchError(TOO_LONG)


class SecureConnection(Connection, imaplib.IMAP4_SSL):
    """The same over TLS."""
