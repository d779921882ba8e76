"""The sink: an SMTP server on a port of loopback that keeps the check mails of one command.

It offers STARTTLS with a certificate that it makes itself, so that a transport that demands TLS
delivers to it; one that verifies certificates does not.
"""

from __future__ import annotations

import asyncio
import datetime
import errno
import re
import socket
import ssl
import tempfile
import threading
from dataclasses import dataclass

from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAME = "check.fletching.invalid"
_LINE = 1 << 20
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Arrived:
    """A mail as the sink received it. ``client``: the IP address it came from; ``helo``: the EHLO
    name; ``tls``: whether the session was encrypted."""

    raw: bytes
    sender: str
    recipients: tuple[str, ...]
    client: str
    helo: str
    tls: bool

    @property
    def header(self) -> bytes:
        """The header block."""
        return re.split(rb"\r?\n\r?\n", self.raw, maxsplit=1)[0] + b"\r\n"


class Sink:
    """Serves within a `with` block. Raises OSError if no port is free."""

    def __init__(self) -> None:
        self._sockets = _sockets()
        self.port: int = self._sockets[0].getsockname()[1]
        self._mails: list[Arrived] = []
        self._arrived = threading.Condition()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Sink:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(5)

    @property
    def has_ipv6(self) -> bool:
        return len(self._sockets) > 1

    def wait(self, message_id: str, seconds: float) -> Arrived | None:
        """The mail with this Message-ID; None if it has not come after so many seconds."""

        def found() -> Arrived | None:
            wanted = message_id.encode()
            return next((each for each in self._mails if wanted in each.raw), None)

        with self._arrived:
            self._arrived.wait_for(lambda: found() is not None, max(0.0, seconds))
            return found()

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        context = _certified()
        servers = [
            await self._loop.create_server(lambda: self._receiver(context), sock=each)
            for each in self._sockets
        ]
        self._ready.set()
        await self._ended.wait()
        for server in servers:
            server.close()

    def _receiver(self, context: ssl.SSLContext) -> SMTP:
        server = SMTP(
            self,
            hostname=NAME,
            data_size_limit=None,
            enable_SMTPUTF8=True,
            tls_context=context,
            loop=self._loop,
        )
        server.line_length_limit = _LINE
        return server

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """The hook of aiosmtpd: a mail is complete."""
        mail = Arrived(
            raw=envelope.original_content or b"",
            sender=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            client=str((session.peer or ("",))[0]),
            helo=session.host_name or "",
            tls=session.ssl is not None,
        )
        with self._arrived:
            self._mails.append(mail)
            self._arrived.notify_all()
        return "250 2.0.0 check mail received"


def _sockets() -> list[socket.socket]:
    """One for IPv4, and one with the same port for IPv6 if the host has it."""
    for _ in range(_TRIES):
        first = socket.create_server(("127.0.0.1", 0))
        port = first.getsockname()[1]
        if not socket.has_ipv6:
            return [first]
        try:
            return [first, socket.create_server(("::1", port), family=socket.AF_INET6)]
        except OSError as trouble:
            if trouble.errno != errno.EADDRINUSE:
                return [first]
            first.close()
    raise OSError("no port is free on 127.0.0.1 and ::1")


def _certified() -> ssl.SSLContext:
    """A server's context with a certificate of its own, for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    # The ssl module reads certificates from files only.
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context
