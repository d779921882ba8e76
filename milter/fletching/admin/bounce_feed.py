"""`fletching bounce feed`: hands mails in files to the LMTP service, as Postfix does."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fletching.config import values
from fletching.config.model import Config
from fletching.config.sections import Lmtp
from fletching.returning.kept import KeptMail, unpacked

_TIMEOUT = 60.0
"""Seconds for each reply of the service."""


class FeedError(Exception):
    """The service cannot be reached. Says why, and the cure."""


@dataclass(frozen=True, slots=True)
class Fed:
    """What came of a file. ``reply``: of the service, or why the file was not read."""

    file: Path
    recipient: str
    is_accepted: bool
    reply: str


def feed(config: Config, files: Sequence[Path]) -> Iterator[Fed]:
    """Hands mails over, one after the other. Raises FeedError.

    A mail whose file names no recipient goes to the bounce mailbox.
    """
    listen = (config.lmtp or Lmtp()).listen
    try:
        with _connected(listen) as client:
            for file in files:
                yield _fed(client, file, config.bounce_mailbox or "postmaster")
    except (OSError, smtplib.SMTPException) as error:
        raise FeedError(
            f"lmtp.listen: {listen}: {_text(error)}: start the LMTP service"
            " (systemctl start fletching-lmtp), or check its log (journalctl -u fletching-lmtp)"
        ) from None


def _connected(listen: str) -> smtplib.LMTP:
    # For smtplib, a host that begins with a slash is a Unix socket.
    host, port = values.host_and_port(listen) or (listen.removeprefix("unix:"), 0)
    client = smtplib.LMTP(values.connectable(host), port, timeout=_TIMEOUT)
    client.command_encoding = "utf-8"
    return client


def _fed(client: smtplib.LMTP, file: Path, mailbox: str) -> Fed:
    try:
        mail = unpacked(file.read_bytes())
    except OSError as error:
        return Fed(file, "", is_accepted=False, reply=_text(error))
    recipient = mail.recipient or mailbox
    try:
        code, reply = _delivered(client, mail, recipient)
    except UnicodeEncodeError:
        return Fed(file, recipient, is_accepted=False, reply="an address is not UTF-8")
    return Fed(file, recipient, code == 250, f"{code} {reply.decode('utf-8', 'replace')}")


def _delivered(client: smtplib.LMTP, mail: KeptMail, recipient: str) -> tuple[int, bytes]:
    client.ehlo_or_helo_if_needed()
    client.rset()
    for code, reply in (client.mail(mail.sender), client.rcpt(recipient)):
        if code != 250:
            return code, reply
    return client.data(mail.content)


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
