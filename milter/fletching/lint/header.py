"""Rules about the header: which fields are there, how often, and what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import parsedate_tz

from fletching.lint.rule import Finding
from fletching.lint.rules import found
from fletching.lint.sent import Sent, short
from fletching.mail.message import Header, addresses
from fletching.mail.transfer import LONGEST_LINE

_REQUIRED = ("From", "Date", "Message-ID")
# RFC 5322 section 3.6, RFC 2045, RFC 2183, RFC 2369, RFC 2919, RFC 8058.
_ONCE = (
    *("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID"),
    *("In-Reply-To", "References", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
    *("List-Id", "List-Unsubscribe", "List-Unsubscribe-Post"),
)
_ID = re.compile(rb"<[^<>@\s]+@[^<>@\s]+>")
_GMAIL = ("gmail.com", "googlemail.com")


def judge_header(sent: Sent) -> Iterator[Finding]:
    """All findings about the header."""
    message = sent.message
    for name in _REQUIRED:
        if not message.has(name.lower().encode()):
            yield found("field-missing", f"no {name} field")
    for name in _ONCE:
        if (count := len(message.all(name.lower().encode()))) > 1:
            yield found("field-repeated", f"{count} {name} fields")
    yield from _from(sent)
    yield from _others(sent)
    for header in message.headers:
        yield from _bytes(header)


def _from(sent: Sent) -> Iterator[Finding]:
    header = sent.message.first(b"from")
    if header is None:
        return
    mailboxes = addresses(header.text)
    if len(mailboxes) != 1:
        yield found("from-invalid", f"From has {len(mailboxes)} addresses, not one")
    if sent.author in _GMAIL:
        yield found("from-gmail", f"From is an address in {sent.author}")


def _others(sent: Sent) -> Iterator[Finding]:
    message = sent.message
    date, identifier = message.first(b"date"), message.first(b"message-id")
    if date is not None and not _is_date(date):
        yield found("date-invalid", "Date is not a date")
    if identifier is not None and not _ID.fullmatch(identifier.text):
        yield found("message-id-invalid", "Message-ID is not an identifier in angle brackets")
    subject = message.first(b"subject")
    if subject is None or not subject.text:
        yield found("subject-empty", "no Subject field" if subject is None else "Subject is empty")
    if not message.has(b"to"):
        yield found("to-missing", "no To field")


def _is_date(header: Header) -> bool:
    try:
        return parsedate_tz(header.text.decode("ascii", "replace")) is not None
    except (ValueError, IndexError, OverflowError):
        return False


def _bytes(header: Header) -> Iterator[Finding]:
    name = short(header.name.decode("ascii", "backslashreplace"))
    whole = header.name + b":" + header.value
    if not whole.isascii():
        yield _not_ascii(name, whole)
    longest = max(map(len, whole.split(b"\r\n")))
    if longest > LONGEST_LINE:
        yield found("line-too-long", f"{name} has a line of {longest} bytes")


def _not_ascii(name: str, whole: bytes) -> Finding:
    try:
        whole.decode("utf-8")
    except UnicodeDecodeError:
        return found("header-not-text", f"{name} has 8-bit bytes that are not UTF-8")
    return found("header-not-ascii", f"{name} has characters that are not ASCII")
