"""A mail while it arrives, piece by piece, and the count of such mails.

Here lives what is collected between MAIL FROM and the end of the message. No MIME, no decisions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from fletching.daemons.milter.seeding import DueSeeds
from fletching.mail.envelope import Envelope, Recipient
from fletching.mail.message import Header, Message
from fletching.policy import seed_copy
from fletching.policy.setup import Setup
from fletching.policy.trust import needs_body

_LOOPBACK = ("127.0.0.1", "::1")


@dataclass(slots=True)
class Mail:
    """One mail, from MAIL FROM to its end. ``setup`` stays the same until then.

    ``failure``: an exception in a callback that has no reply. ``release`` is called once, when the
    mail ends, however it ends; None if the mail began too late to be waited for.
    ``has_whole_header``: no field is missing.
    ``due_seeds``: those to claim once the mail has its reply.
    """

    setup: Setup
    sender: str
    login: str | None
    release: Callable[[], None] | None
    recipients: list[Recipient] = field(default_factory=list)
    headers: list[Header] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    failure: Exception | None = None
    has_whole_header: bool = True
    keeps_body: bool | None = None
    due_seeds: DueSeeds | None = None

    def add_header(self, name: str, value: bytes) -> None:
        """Adds a header field as libmilter has it: without the space after the colon, folds as
        LF.
        """
        self.has_whole_header = False
        # Names are ASCII: to Postfix, a line with any other name is part of the body.
        lines = value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        self.headers.append(Header(name.encode("ascii"), b" " + lines, len(self.headers)))
        self.has_whole_header = True

    def add_body(self, chunk: bytes, client: str, service: str | None) -> None:
        """Adds a piece of the body, unless the body is not needed."""
        if self.keeps_body is None:
            # Not at the end of the header: that would be another callback for each mail.
            envelope = self.envelope(client, "", service)
            headers = tuple(self.headers)
            self.keeps_body = needs_body(headers, envelope, self.setup.config) or (
                # Whoever submits it.
                seed_copy.read(Message(headers, b""), envelope, self.setup.link_keys) is not None
            )
        if self.keeps_body:
            self.chunks.append(chunk)

    def message(self) -> Message:
        """The message. The collected body is dropped: a large one must not be in memory twice."""
        body = b"".join(self.chunks)
        self.chunks.clear()
        return Message(tuple(self.headers), body)

    def envelope(self, client: str, queue_id: str, service: str | None) -> Envelope:
        """The SMTP envelope.

        smtpd(8) sends {rcpt_mailer} with every recipient, since it is requested. The session that
        cleanup(8) simulates for non_smtpd_milters has none, and has the client 127.0.0.1 or ::1 if
        the mail comes from sendmail(1) (seen with Postfix 3.7). QMQP mail has none either, but has
        its real client. (Mail that `postsuper -r` requeues does not reach milters there.)
        """
        by_smtpd = any(recipient.mailer is not None for recipient in self.recipients)
        return Envelope(
            sender=self.sender,
            recipients=tuple(self.recipients),
            client=client,
            login=self.login,
            local=not by_smtpd and client in _LOOPBACK,
            queue_id=queue_id,
            service=service,
        )

    def end(self) -> None:
        """Releases the mail: it has its reply, or was aborted."""
        if self.release is not None:
            self.release()
            self.release = None


class OpenMails:
    """Counts the mails that have begun and not ended; a stop waits for them."""

    def __init__(self) -> None:
        self._count = 0
        self._closed = False
        self._changed = threading.Condition()

    def add(self) -> Callable[[], None] | None:
        """Counts a mail, and returns the function to call at its end. None after `close`."""
        with self._changed:
            if self._closed:
                return None
            self._count += 1
        return self._release

    def close(self) -> int:
        """Counts no more mails; how many are open."""
        with self._changed:
            self._closed = True
            return self._count

    def wait(self, seconds: float) -> int:
        """Waits until no mail is open, or for so many seconds; how many are open then."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0, seconds)
            return self._count

    def _release(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()
