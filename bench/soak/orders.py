"""The mails of the soak's applications: what each says, and what its recipient will do.

Everything about a mail follows from its number, so that each part of the soak, and the judge, knows
it without being given it. The number is the Click-Tracking-ID of the mail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SENDER = "shop@example.com"
URL_HOST = "click.example.com"
FEEDBACK = "feedback@example.com"

(
    REFUSED,
    DEFERRED,
    BOUNCED,
    FULL,
    COMPLAINED,
    MAILED,
    UNSUBSCRIBED,
    CLICKED,
    TWICE,
    OPENED,
    QUIET,
) = (
    *("refused", "deferred", "bounced", "full", "complained", "mailed"),
    *("unsubscribed", "clicked", "twice", "opened", "quiet"),
)
"""What becomes of a mail: its server refuses it, or lets it wait once; a bounce comes back later, a
hard or a soft one; its recipient complains, unsubscribes by mail or by one click, follows a link,
follows two links twice, loads the pixel, or does nothing."""

_CASES = (
    *(REFUSED, DEFERRED, BOUNCED, FULL, COMPLAINED, MAILED, UNSUBSCRIBED, UNSUBSCRIBED),
    *(CLICKED, CLICKED, CLICKED, CLICKED, TWICE, TWICE, OPENED, OPENED, OPENED),
    *(QUIET, QUIET, QUIET),
)
_PER_CAMPAIGN = 600
"""Consecutive numbers of one InstanceID."""

LISTS = {"newsletter": "t100", "digest": "d200", "receipt": "r300"}
"""The ListID of each Mail Class."""

_INSTEAD = {
    ("digest", OPENED): CLICKED,
    ("receipt", OPENED): CLICKED,
    ("receipt", MAILED): QUIET,
    ("receipt", UNSUBSCRIBED): QUIET,
}
"""A mail of plain text has no pixel, and a receipt no List-Unsubscribe."""

_ADDRESS = re.compile(r"r(\d+)@mailbox\d\.example", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Order:
    """One mail."""

    number: int

    @property
    def mail_class(self) -> str:
        """Its Mail Class."""
        return (*LISTS,)[self.number // len(_CASES) % len(LISTS)]

    @property
    def case(self) -> str:
        """What becomes of it."""
        case = _CASES[self.number % len(_CASES)]
        return _INSTEAD.get((self.mail_class, case), case)

    @property
    def instance_id(self) -> str:
        """Its InstanceID."""
        return str(self.number // _PER_CAMPAIGN + 1)

    @property
    def sendid(self) -> str:
        """Its SendID."""
        return self.mail_class + self.instance_id

    @property
    def listid(self) -> str:
        """Its ListID."""
        return LISTS[self.mail_class]

    @property
    def recipient(self) -> str:
        """Its recipient; each recipient gets one mail."""
        return f"r{self.number}@mailbox{self.number % 7}.example"

    def text(self) -> bytes:
        """The mail as the application sends it."""
        fields = [
            f"X-GreenArrow-MailClass: {self.mail_class}",
            f"X-GreenArrow-InstanceID: {self.instance_id}",
            f"X-GreenArrow-Click-Tracking-ID: {self.number}",
            f"From: Shop <{SENDER}>",
            f"To: {self.recipient}",
            f"Subject: Offers {self.instance_id}",
            "Date: Sat, 21 Nov 2026 09:00:00 +0000",
            f"Message-ID: <{self.number}@example.com>",
            "MIME-Version: 1.0",
        ]
        body = {"newsletter": _both, "digest": _plain, "receipt": _html}[self.mail_class]
        return "\r\n".join([*fields, body(self.number), ""]).encode("ascii")


def number_of(address: str) -> int | None:
    """The number of the mail to a recipient; None for other addresses."""
    found = _ADDRESS.fullmatch(address)
    return int(found[1]) if found else None


def _words(number: int) -> str:
    return f"Hello {number}, offers: https://shop.example/a?n={number} and https://shop.example/b"


def _page(number: int) -> str:
    return (
        f'<p>Hello {number}, here are <a href="https://shop.example/a?n={number}">offers</a>\r\n'
        'and <a href="https://shop.example/b?x=1&amp;y=2">more</a>.</p>'
    )


def _plain(number: int) -> str:
    return f"Content-Type: text/plain; charset=utf-8\r\n\r\n{_words(number)}"


def _html(number: int) -> str:
    return f"Content-Type: text/html; charset=utf-8\r\n\r\n{_page(number)}"


def _both(number: int) -> str:
    return (
        'Content-Type: multipart/alternative; boundary="part"\r\n\r\n'
        f"--part\r\n{_plain(number)}\r\n--part\r\n{_html(number)}\r\n--part--"
    )
