"""Submits one mail to an SMTP server, byte for byte, and says what the server answered.

What is submitted, and what follows from the answer, is not known here.
"""

from __future__ import annotations

import smtplib
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from fletching.config.values import host_and_port

TIMEOUT = 60.0
"""Seconds for each answer of the server."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply that settled an attempt. ``code`` 0: no reply, and the text says why."""

    code: int
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}" if self.code else self.text


def submit(server: str, sender: str, recipient: str, message: bytes) -> Reply:
    """Submits a message for one recipient; ``server``: HOST:PORT. Raises nothing of the network.

    A code of 250 means that the server has the message.
    """
    try:
        with smtplib.SMTP(*host_and_port(server) or ("", 0), timeout=TIMEOUT) as client:
            return _transaction(client, sender, recipient, message)
    except (OSError, smtplib.SMTPException, UnicodeError) as error:
        if isinstance(error, smtplib.SMTPResponseException):
            return _reply(error.smtp_code, error.smtp_error)
        return Reply(0, f"{server}: {error}")


def _transaction(client: smtplib.SMTP, sender: str, recipient: str, message: bytes) -> Reply:
    client.ehlo_or_helo_if_needed()
    options = ["BODY=8BITMIME"] if client.has_extn("8bitmime") else []
    if not (sender + recipient).isascii():
        options.append("SMTPUTF8")
        client.command_encoding = "utf-8"
    replies = (
        partial(client.mail, sender, options),
        partial(client.rcpt, recipient),
        partial(client.data, message),
    )
    reply = Reply(0, "")
    for ask in replies:
        reply = _reply(*ask())
        if reply.code // 100 != 2:
            return reply
    with suppress(OSError, smtplib.SMTPException):
        # The reply counts, whatever becomes of the connection.
        client.quit()
    return reply


def _reply(code: int, text: bytes | str) -> Reply:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    printable = "".join(each if each.isprintable() else " " for each in words)
    return Reply(code, printable)
