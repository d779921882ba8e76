"""Mails to send, and what tests look for in those that arrive."""

from __future__ import annotations

import re

from sandbox.sinks import SunkMail

SENDER = "shop@example.com"
RECIPIENT = "ada@gmail.example"
NEWSLETTER = b"X-GreenArrow-MailClass: newsletter"
TRANSACTIONAL = b"X-GreenArrow-MailClass: transactional"
MIME = b"MIME-Version: 1.0\r\n"
COMMON = (
    b"From: Shop <shop@example.com>\r\nTo: ada@gmail.example\r\nSubject: Offers\r\n"
    b"Date: Sat, 21 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n"
)


def mail(*fields: bytes, body: bytes = b"Hello\r\n") -> bytes:
    """A mail with all the fields that Postfix would add; ``fields`` stand above them."""
    return b"".join(field + b"\r\n" for field in fields) + COMMON + b"\r\n" + body


def body_of(raw: bytes) -> bytes:
    """What stands below the header."""
    return raw.partition(b"\r\n\r\n")[2]


def links(mail: SunkMail) -> list[str]:
    """The tracking links in the body, in order."""
    return re.findall(r"https://click\.example\.com/[^\s\"<>]+", body_of(mail.raw).decode())
