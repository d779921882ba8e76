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

SHOP_NEWSLETTER = b"""\
From: Shop <news@example.com>
To: joe@example.org
Subject: This week's offers
X-GreenArrow-MailClass: newsletter
X-GreenArrow-InstanceID: 20261130
MIME-Version: 1.0
Content-Type: text/html; charset=utf-8

<p><a href="https://shop.example.com/1?a=b">Offer</a></p>
"""
"""The first mail through a new installation, with LF line ends."""

USER_UNKNOWN_REPORT = b"""\
From: MAILER-DAEMON@mx.example.org
Subject: Undelivered mail
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org

Final-Recipient: rfc822; joe@example.org
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b--
"""
"""What its recipient's server sends back."""


def mail(*fields: bytes, body: bytes = b"Hello\r\n") -> bytes:
    """A mail with all the fields that Postfix would add; ``fields`` stand above them."""
    return b"".join(field + b"\r\n" for field in fields) + COMMON + b"\r\n" + body


def body_of(raw: bytes) -> bytes:
    """What stands below the header."""
    return raw.partition(b"\r\n\r\n")[2]


def links(mail: SunkMail) -> list[str]:
    """The tracking links in the body, in order."""
    return re.findall(r"https://click\.example\.com/[^\s\"<>]+", body_of(mail.raw).decode())
