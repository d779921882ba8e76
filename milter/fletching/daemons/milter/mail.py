"""A mail while it comes in, piece by piece, and which mails are in hand.

Here lives what is collected between MAIL FROM and the end. It knows no MIME and decides nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from fletching.mail.envelope import Envelope, Recipient
from fletching.mail.message import Header, Message
from fletching.policy.setup import Setup
from fletching.policy.trust import needs_body

_LOOPBACK = ("127.0.0.1", "::1")


@dataclass(slots=True)
class Mail:
    """One mail, from MAIL FROM to its end. ``setup`` stays what it was when the mail began.

    ``failure``: what went wrong where nothing could be answered. ``let_go`` is called once, when
    the mail has ended in whatever way; None: the mail came too late to be waited for.
    """

    setup: Setup
    sender: str
    login: str | None
    let_go: Callable[[], None] | None
    recipients: list[Recipient] = field(default_factory=list)
    headers: list[Header] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    failure: Exception | None = None
    keeps_body: bool | None = None

    def add_header(self, name: str, value: bytes) -> None:
        """A field as libmilter gives it: without the space behind the colon, folds as LF."""
        # Names are ASCII: Postfix takes a line with another name for the body.
        lines = value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        self.headers.append(Header(name.encode("ascii"), b" " + lines, len(self.headers)))

    def add_body(self, chunk: bytes, client: str, service: str | None) -> None:
        """A piece of the body, which is not kept where nobody will read it."""
        if self.keeps_body is None:
            # Not at the end of the header: that would be one more call from Postfix for each mail.
            envelope = self.envelope(client, "", service)
            self.keeps_body = needs_body(tuple(self.headers), envelope, self.setup.config)
        if self.keeps_body:
            self.chunks.append(chunk)

    def message(self) -> Message:
        """The mail, taken out of here: a long body is not kept twice."""
        body = b"".join(self.chunks)
        self.chunks.clear()
        return Message(tuple(self.headers), body)

    def envelope(self, client: str, queue_id: str, service: str | None) -> Envelope:
        """What SMTP said.

        smtpd(8) gives {rcpt_mailer} with every recipient, since we ask for it; the SMTP that
        cleanup(8) plays for non_smtpd_milters has none, and the client 127.0.0.1 or ::1 where the
        mail comes from sendmail(1), seen on Postfix 3.7. Mail by QMQP has none either, but its
        own client. (Mail that `postsuper -r` requeues comes to no milter there.)
        """
        told = any(recipient.mailer is not None for recipient in self.recipients)
        return Envelope(
            sender=self.sender,
            recipients=tuple(self.recipients),
            client=client,
            login=self.login,
            local=not told and client in _LOOPBACK,
            queue_id=queue_id,
            service=service,
        )

    def end(self) -> None:
        """The mail was answered, or given up."""
        if self.let_go is not None:
            self.let_go()
            self.let_go = None


class InHand:
    """Counts the mails that have begun and not ended; at a stop they are waited for."""

    def __init__(self) -> None:
        self._count = 0
        self._closed = False
        self._changed = threading.Condition()

    def take(self) -> Callable[[], None] | None:
        """One more mail; what to call at its end. None after `close`: it is not waited for."""
        with self._changed:
            if self._closed:
                return None
            self._count += 1
        return self._let_go

    def close(self) -> int:
        """Takes no more; how many there are."""
        with self._changed:
            self._closed = True
            return self._count

    def wait(self, seconds: float) -> int:
        """Waits until none is left; how many are left at last."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0, seconds)
            return self._count

    def _let_go(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()
