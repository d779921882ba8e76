"""Copies of returned mail for the operator: option `bounces.copy_to`.

A copy is a new mail with the returned one as its only part, so that no field of a mail that came
from anybody is read as one of a trusted client. It has the null sender, so nothing returns it, and
a field by which the LMTP service knows it: a copy is never copied. Its X-Mailer-Info makes the
milter leave it as it is.
"""

from __future__ import annotations

import asyncio
import smtplib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import formatdate

from fletching import log
from fletching.config.values import host_and_port
from fletching.daemons.process.log_limit import LogLimit
from fletching.returning.delivery_fields import values
from fletching.returning.kept import KeptMail
from fletching.tokens import Facts, Keyring, Kind

MARK = "X-Fletching-Copy"

_CONNECTIONS = 4
_TIMEOUT = 30.0
_LOG_EVERY = 60.0


class NotCopiedError(Exception):
    """The copy may be accepted another time. Says why."""


@dataclass(frozen=True)
class CopySettings:
    """``to``: the address, None for no copies. ``submit``: HOST:PORT of the SMTP server."""

    to: str | None
    submit: str
    keys: Keyring


class Copies:
    """Sends the copies of one process. Its methods are for one event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="copies")
        self._open = threading.local()
        self._refused = LogLimit(_LOG_EVERY)

    async def send(self, settings: CopySettings, mail: KeptMail, kind: str, name: str) -> None:
        """Returns when the SMTP server has a copy, or has refused it for good.

        ``name``: the same for the same mail. Raises NotCopiedError.
        """
        if settings.to is None or _is_copy(mail):
            return
        loop = asyncio.get_running_loop()
        message = copied(settings, settings.to, mail, kind, name)
        await loop.run_in_executor(self._threads, self._send, settings, settings.to, message)

    def close(self) -> None:
        self._threads.shutdown()

    def _send(self, settings: CopySettings, to: str, message: bytes) -> None:
        try:
            self._connected(settings.submit).sendmail("", [to], message)
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as error:
            if (reply := _permanent(error)) is None:
                raise NotCopiedError(str(error)) from None
            if self._refused.is_due():
                log.copy_refused(to, reply)
        except (OSError, smtplib.SMTPException) as error:
            self._open.client = None
            raise NotCopiedError(f"{settings.submit}: {error}") from None

    def _connected(self, submit: str) -> smtplib.SMTP:
        """This thread's connection, which is opened again if the server has closed it."""
        client: smtplib.SMTP | None = getattr(self._open, "client", None)
        if client is not None and getattr(self._open, "submit", "") == submit:
            try:
                if client.noop()[0] == 250:
                    return client
            except (OSError, smtplib.SMTPException):
                client.close()
        client = smtplib.SMTP(*host_and_port(submit) or ("", 0), timeout=_TIMEOUT)
        self._open.client, self._open.submit = client, submit
        return client


def copied(settings: CopySettings, to: str, mail: KeptMail, kind: str, name: str) -> bytes:
    """The copy, as a mail."""
    recipient = "".join(each if " " < each < "\x7f" else "?" for each in mail.recipient)
    token = settings.keys.seal(Kind.MAILER_INFO, Facts())
    fields = {
        "From": f"Fletching <{to}>",
        "To": f"<{to}>",
        "Subject": f"Returned mail: {kind}, {recipient[:200]}",
        "Date": formatdate(),
        "Message-ID": f"<{name}.copy@{to.rpartition('@')[2]}>",
        "Auto-Submitted": "auto-generated",
        MARK: "yes",
        "X-Mailer-Info": token,
        "MIME-Version": "1.0",
        "Content-Type": "message/rfc822",
        "Content-Transfer-Encoding": "8bit",
    }
    header = "".join(f"{field}: {value}\r\n" for field, value in fields.items())
    return header.encode("ascii", "replace") + b"\r\n" + mail.content


def _is_copy(mail: KeptMail) -> bool:
    return bool(values(mail.content, MARK.lower().encode()))


def _permanent(error: smtplib.SMTPException) -> str | None:
    """The reply of a server that will never accept the copy; None if it may."""
    code, reply = 0, b""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        ((code, reply),) = error.recipients.values()
    elif isinstance(error, smtplib.SMTPDataError) and isinstance(error.smtp_error, bytes):
        code, reply = error.smtp_code, error.smtp_error
    return f"{code} {reply.decode('utf-8', 'replace')}" if code >= 500 else None
