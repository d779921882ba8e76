"""SMTP servers that keep what they are given: where every mail of these tests ends.

Two kinds: ``Sink`` keeps everything one can know about a transaction, ``FastSink`` is Debian's
smtp-sink, for load. Both look at every mail for headers that must never leave (``find_leaks``);
what they find stands in ``leaks`` until the fixture ``no_leaks`` fails the test.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from sandbox.processes import Daemon, Server, answers, free_port, program, wait_until

_PRIVATE = re.compile(rb"(?im)^(?:x-greenarrow-|x-fletching-route|x-fletching-check)[^\r\n]*")

leaks: list[str] = []
"""Private headers seen by any sink or mailbox of this process, with the place they were seen."""


def find_leaks(raw: bytes, place: str) -> None:
    """Note every private header in the header block of a mail that has left."""
    block = re.split(rb"(?m)^\r?$", raw, maxsplit=1)[0]
    for line in _PRIVATE.findall(block):
        leaks.append(f"{place}: {line.decode('latin-1')}")


@dataclass(frozen=True, slots=True)
class SunkMail:
    """One mail as a sink received it, and the transaction around it.

    ``raw`` is what came after DATA without dot-stuffing, not changed in any byte.
    """

    raw: bytes
    sender: str
    sender_options: tuple[str, ...]
    recipients: tuple[str, ...]
    recipient_options: tuple[str, ...]
    helo: str
    client: str

    @property
    def eightbit(self) -> bool:
        """Whether the sender announced an 8-bit body (RFC 6152)."""
        return "BODY=8BITMIME" in (option.upper() for option in self.sender_options)

    @property
    def below_received(self) -> bytes:
        """The mail without the one Received field that Postfix puts on top."""
        field = re.match(rb"(?i)received:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", self.raw)
        assert field is not None, "no Received field on top"
        return self.raw[field.end() :]

    @property
    def message(self) -> EmailMessage:
        """The mail as the standard library reads it."""
        parsed = message_from_bytes(self.raw, policy=policy.SMTP)
        assert isinstance(parsed, EmailMessage)
        return parsed

    @property
    def header_names(self) -> tuple[str, ...]:
        """Names of the header fields in lower case, in order."""
        return tuple(name.lower() for name in self.message)


class _Receiver(SMTP):
    """aiosmtpd without limits of its own: no line is too long to be looked at."""

    line_length_limit = 2**24
    command_size_limit = 4096


def _accepts(address: str) -> str:
    return "250 2.1.5 recipient accepted"


class Sink(Server):
    """An SMTP server on a free loopback port, in a thread of this process.

    It can be told not to announce 8BITMIME or SMTPUTF8. ``answer`` is the reply to the end of
    DATA; with a 4xx or 5xx reply nothing is kept. ``answer_to`` gives the reply to each RCPT TO.
    """

    def __init__(
        self, name: str, *, eightbit: bool = True, smtputf8: bool = True, ipv6: bool = False
    ) -> None:
        self.name = name
        self.answer = "250 2.0.0 sunk"
        self.answer_to: Callable[[str], str] = _accepts
        self._eightbit = eightbit
        self._smtputf8 = smtputf8
        self._mails: list[SunkMail] = []
        self._arrived = threading.Condition()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name=name)
        # Bound here, so that the port is known before anything starts.
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        address = "::1" if ipv6 else "127.0.0.1"
        self._socket = socket.create_server((address, 0), family=family)
        self.port: int = self._socket.getsockname()[1]

    def start(self) -> None:
        """Serve."""
        self._thread.start()
        assert self._ready.wait(10), "the sink did not start"

    def stop(self) -> None:
        """End, closing the connections that Postfix keeps open."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the sink did not end"

    @property
    def mails(self) -> tuple[SunkMail, ...]:
        """What has arrived until now."""
        with self._arrived:
            return tuple(self._mails)

    def take(self) -> tuple[SunkMail, ...]:
        """What has arrived since the last call; it is forgotten here."""
        with self._arrived:
            arrived, self._mails = tuple(self._mails), []
        return arrived

    def wait(self, count: int = 1) -> tuple[SunkMail, ...]:
        """Wait until ``count`` mails have arrived; more are an error."""
        wait_until(
            f"sink {self.name} has {len(self.mails)} of {count} mails",
            lambda: len(self.mails) >= count,
        )
        assert len(self.mails) == count, f"sink {self.name}: {len(self.mails)} mails, not {count}"
        return self.mails

    def clear(self) -> None:
        """Forget what has arrived, and answer as at first."""
        with self._arrived:
            self._mails.clear()
        self.answer = "250 2.0.0 sunk"
        self.answer_to = _accepts

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        server = await self._loop.create_server(self._receiver, sock=self._socket)
        self._ready.set()
        await self._ended.wait()
        server.close()
        # asyncio.run() cancels what still talks; waiting for Postfix to hang up would take minutes.

    def _receiver(self) -> SMTP:
        return _Receiver(
            self,
            data_size_limit=None,
            enable_SMTPUTF8=self._smtputf8,
            hostname=f"{self.name}.sink.example",
            loop=self._loop,
        )

    async def handle_EHLO(
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        """aiosmtpd's hook: what we announce."""
        session.host_name = hostname
        hidden = () if self._eightbit else ("250-8BITMIME",)
        return [line for line in responses if line not in hidden]

    async def handle_RCPT(
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        """aiosmtpd's hook: a recipient is named."""
        answer = self.answer_to(address)
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """aiosmtpd's hook: a whole mail has come."""
        mail = SunkMail(
            raw=envelope.original_content or b"",
            sender=envelope.mail_from or "",
            sender_options=tuple(envelope.mail_options),
            recipients=tuple(envelope.rcpt_tos),
            recipient_options=tuple(envelope.rcpt_options),
            helo=session.host_name or "",
            client=str((session.peer or ("",))[0]),
        )
        find_leaks(mail.raw, f"sink {self.name}")
        answer = self.answer
        if answer.startswith("2"):
            with self._arrived:
                self._mails.append(mail)
        return answer


class FastSink(Server):
    """Debian's smtp-sink. It keeps each mail in a file; the envelope stands on top of it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.port = free_port()
        self._directory = directory
        directory.mkdir(mode=0o777)
        directory.chmod(0o777)
        self._daemon = Daemon(
            [
                program("smtp-sink", "postfix"),
                *("-u", "nobody", "-R", directory, "-d", "mail.%M."),
                *("-h", f"{name}.sink.example", f"127.0.0.1:{self.port}", "1000"),
            ],
            directory.parent / f"{directory.name}.log",
        )

    @property
    def pid(self) -> int:
        """The process id of smtp-sink."""
        return self._daemon.pid

    def start(self) -> None:
        """Serve."""
        self._daemon.start(lambda: answers(self.port))

    def stop(self) -> None:
        """End, and look at every mail once."""
        self._daemon.stop()
        for raw in self.mails():
            find_leaks(raw, f"sink {self.name}")

    def count(self) -> int:
        """How many mails have begun to arrive."""
        return sum(1 for _ in self._directory.iterdir())

    def mails(self) -> Sequence[bytes]:
        """Every mail, below the lines smtp-sink adds, with bare LF line ends as it writes them."""
        return [_below_dump_lines(dump) for dump in self._dumps()]

    def envelopes(self) -> list[tuple[str, bytes]]:
        """The recipient of each mail that has only one, and the mail as in `mails`.

        Without mails whose header is not complete: they still arrive, or their sender died.
        """
        found = []
        for dump in self._dumps():
            head, ended, _ = dump.partition(b"\n\n")
            recipients = re.findall(rb"(?m)^X-Rcpt-Args: <([^>]*)>", head)
            if ended and len(recipients) == 1:
                found.append((recipients[0].decode(), _below_dump_lines(dump)))
        return found

    def _dumps(self) -> Iterator[bytes]:
        return (file.read_bytes() for file in sorted(self._directory.iterdir()))


def _below_dump_lines(dump: bytes) -> bytes:
    """Cut smtp-sink's X-*-Addr ... X-Rcpt-Args lines and its own Received field."""
    top = re.match(rb"(?:X-[^\n]*\n)*Received:[^\n]*\n(?:[ \t][^\n]*\n)*", dump)
    assert top is not None, f"not a dump of smtp-sink: {dump[:200]!r}"
    return dump[top.end() :]
