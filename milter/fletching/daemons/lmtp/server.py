"""The LMTP server (RFC 2033): aiosmtpd, with our limits and our way to read a mail.

Here lives the protocol. A returned mail must never be refused for good: Postfix would have to
return it to a sender who does not exist, and it would be lost. So there is no limit above which a
mail is refused; what is too long of it is discarded, and what is unexpected is answered with 451.
What becomes of a mail is not known here.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import Envelope, Session, syntax

from fletching import log

LARGEST = 8 * 2**20
"""Bytes of a mail that are read. A bounce has its report first, and then the returned mail, of
which Postfix returns 50,000 bytes (`bounce_size_limit`)."""

MOST_RECIPIENTS = 100
"""Recipients of one mail; Postfix sends those above it later, in another transaction."""

MOST_CONNECTIONS = 100
"""Connections at the same time; Postfix opens 20 (`lmtp_destination_concurrency_limit`)."""

TIMEOUT = 300.0
"""Seconds between two commands, and for the whole content of a mail."""

TRY_AGAIN = "451 4.3.0 not recorded, try again"
_TOO_MANY = "421 4.3.2 too many connections, try again"

_BUFFER = 256 * 1024
_LONGEST_COMMAND = 16 * 1024
_LINE_END, _END = b"\r\n", b"\r\n.\r\n"
_PATH = re.compile(r'\s*<((?:"(?:[^"\\]|\\.)*"|[^>"])*)>\s*(.*)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Transaction:
    """A mail and its envelope. ``sender``: empty for the null sender.

    ``size``: bytes of the mail, of which ``content`` has the first `LARGEST`.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    size: int


Receive = Callable[[Transaction], Awaitable[Sequence[str]]]
"""Takes a mail; the replies, one for each recipient."""


class Clients:
    """The connections of one process."""

    def __init__(self, receive: Receive, name: str, timeout: float = TIMEOUT) -> None:
        """``name``: of this host, for the greeting."""
        self._receive, self._name, self._timeout = receive, name, timeout
        self.connections: set[Connection] = set()

    def connection(self) -> Connection:
        """A new connection, for `asyncio.Server`."""
        return Connection(self, self._receive, self._name, self._timeout)

    @property
    def is_crowded(self) -> bool:
        return len(self.connections) > MOST_CONNECTIONS

    async def end(self, seconds: float) -> None:
        """Closes idle connections, and waits so long for those that have a mail in hand."""
        for connection in list(self.connections):
            connection.end()
        deadline = asyncio.get_running_loop().time() + seconds
        while self.connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)


class Hooks:
    """The hooks of aiosmtpd that answer commands."""

    async def handle_EHLO(
        self, server: Any, session: Session, envelope: Envelope, name: str, replies: list[str]
    ) -> list[str]:
        session.host_name = name
        return [replies[0], "250-PIPELINING", "250-ENHANCEDSTATUSCODES", *replies[1:]]

    async def handle_MAIL(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if len(envelope.rcpt_tos) >= MOST_RECIPIENTS:
            return "452 4.5.3 too many recipients, send the others later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_exception(self, error: Exception) -> str:
        log.returned_mail_failed(error)
        return TRY_AGAIN


class Connection(LMTP):
    """One connection of a client."""

    # The limit of the buffer, since no line of a mail is read by itself.
    line_length_limit = _BUFFER

    def __init__(self, clients: Clients, receive: Receive, name: str, timeout: float) -> None:
        super().__init__(
            Hooks(),
            data_size_limit=None,
            enable_SMTPUTF8=True,
            hostname=name,
            ident="Fletching",
            timeout=timeout,
            loop=asyncio.get_running_loop(),
        )
        self.command_size_limits = defaultdict(lambda: _LONGEST_COMMAND)
        self._clients, self._receive = clients, receive
        self._is_ending = self._has_mail = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._clients.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._clients.connections.discard(self)
        super().connection_lost(error)

    def end(self) -> None:
        """Closes the connection, after the mail in hand."""
        self._is_ending = True
        if not self._has_mail and self.transport is not None:
            self.transport.close()

    async def _handle_client(self) -> None:
        if self._clients.is_crowded:
            await self.push(_TOO_MANY)
            self.end()
            return
        await super()._handle_client()

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:
        """Receives a mail, and answers for each of its recipients."""
        envelope = self.envelope
        if envelope is None or not envelope.rcpt_tos:
            await self.push("503 5.5.1 need RCPT command")
            return
        self._has_mail = True
        try:
            # So that a mail ends at a line with a dot, even if that is its first line.
            self._reader.feed_data(_LINE_END)
            await self.push("354 end data with <CR><LF>.<CR><LF>")
            content, size = await self._content()
            self._reset_timeout()
            replies = await self._replies(envelope, content, size)
            self.envelope = self._create_envelope()
            await self.push("\r\n".join(replies))
        finally:
            self._has_mail = False
            if self._is_ending:
                self.end()

    async def _replies(self, envelope: Envelope, content: bytes, size: int) -> Sequence[str]:
        recipients = tuple(map(str, envelope.rcpt_tos))
        sender = str(envelope.mail_from or "")
        mail = Transaction("" if sender == "<>" else sender, recipients, content, size)
        try:
            return await self._receive(mail)
        except Exception as error:  # noqa: BLE001 an edge: Postfix tries again
            log.returned_mail_failed(error)
            return [TRY_AGAIN] * len(recipients)

    async def _content(self) -> tuple[bytes, int]:
        """The first bytes of a mail, without transparency dots, and its size with them."""
        pieces: list[bytes] = []
        size, is_over = -len(_LINE_END), False
        while not is_over:
            try:
                piece = await self._reader.readuntil(_END)
                is_over = True
            except asyncio.LimitOverrunError as overrun:
                piece = await self._reader.readexactly(overrun.consumed)
            if size < LARGEST:
                pieces.append(piece)
            size += len(piece)
        size -= len(_END) - len(_LINE_END)
        content = b"".join(pieces)[: len(_LINE_END) + size].replace(b"\r\n.", _LINE_END)
        return content[len(_LINE_END) :][:LARGEST], size

    def _getaddr(self, arg: str | None) -> tuple[str | None, str | None]:
        """An address as it is: a mail is not refused because its sender has an odd one."""
        found = _PATH.fullmatch(arg or "")
        return (found[1] or "<>", found[2]) if found else (None, None)
