"""A content filter as amavisd-new is one: mail comes in by SMTP and goes back to Postfix unchanged.

It gives the client's address by XFORWARD, as amavisd-new does, where Postfix offers it.
"""

from __future__ import annotations

import smtplib

from aiosmtpd.smtp import SMTP, Envelope, Session

from sandbox.sinks import Sink


class Reinjector(Sink):
    """A sink that hands each mail on to ``port`` before it answers, with that server's answer."""

    def __init__(self, port: int) -> None:
        super().__init__("filter")
        self.back = port

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """aiosmtpd's hook: a whole mail has come. The loop waits; this filter has one client."""
        with smtplib.SMTP("127.0.0.1", self.back, "filter.example", timeout=60) as smtp:
            smtp.ehlo()
            if smtp.has_extn("xforward"):
                smtp.docmd("XFORWARD", "ADDR=198.51.100.7 NAME=stranger.example")
            smtp.mail(envelope.mail_from or "")
            for recipient in envelope.rcpt_tos:
                smtp.rcpt(recipient)
            code, text = smtp.data(envelope.original_content or b"")
        return f"{code} {text.decode('utf-8', 'replace')}"
