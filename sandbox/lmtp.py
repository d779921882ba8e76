"""A client of an LMTP server (RFC 2033) that sends mails as Postfix's lmtp(8) does.

smtplib has one too, but it reads one reply to a mail, and not one for each recipient.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from types import TracebackType


class LmtpClient:
    """One connection to a Unix socket. Raises OSError."""

    def __init__(self, path: str, timeout: float = 60) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(path)
        self._lines = self._socket.makefile("rb")
        self.greeting = self.reply()

    def __enter__(self) -> LmtpClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def send(self, sent: bytes) -> None:
        self._socket.sendall(sent)

    def reply(self) -> bytes:
        """The last line of a reply. Raises ConnectionError if the server has closed."""
        line = self._lines.readline()
        while line[3:4] == b"-":
            line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the server has closed the connection")
        return line.rstrip(b"\r\n")

    def say(self, command: bytes) -> bytes:
        """A command, and its reply."""
        self.send(command + b"\r\n")
        return self.reply()

    def deliver(self, sender: str, recipients: Sequence[str], content: bytes) -> list[bytes]:
        """Sends a mail; the replies, one for each recipient. ``content`` ends with CRLF."""
        commands = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{each}>" for each in recipients), "DATA"]
        self.send("".join(f"{command}\r\n" for command in commands).encode())
        answers = [self.reply() for _ in commands]
        refused = {at for at, answer in enumerate(answers[1:-1]) if not answer.startswith(b"250")}
        if not answers[-1].startswith(b"354"):
            return answers[1:-1]
        stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
        self.send(stuffed + b".\r\n")
        return [answers[1 + at] if at in refused else self.reply() for at in range(len(recipients))]
