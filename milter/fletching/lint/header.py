"""Rules about the header: which fields are there, how often, and what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import parsedate_tz

from fletching.lint.rule import Finding
from fletching.lint.rules import found
from fletching.lint.sent import Sent, ascii_or_same, short
from fletching.mail.encoded_words import decoded
from fletching.mail.message import Header, Message, addresses
from fletching.mail.transfer import LONGEST_LINE

_REQUIRED = ("From", "Date", "Message-ID")
# RFC 5322 section 3.6, RFC 2045, RFC 2183, RFC 2369, RFC 2919, RFC 8058.
_ONCE = (
    *("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID"),
    *("In-Reply-To", "References", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
    *("List-Id", "List-Unsubscribe", "List-Unsubscribe-Post"),
)
_ID = re.compile(rb"<[^<>@\s]+@[^<>@\s]+>")
# A name with an @ before the address in brackets.
_NAME_WITH_ADDRESS = re.compile(rb"[^<>@]*@([^\s<>@\",;()]{1,255})[^<>]*<[^<>]*>\s*\Z")
_REPLY = re.compile(r"(?:re|fwd?|aw|wg|tr)\s*:", re.IGNORECASE)
_MOST_NAMES = 5
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
    yield from _bytes(message)


def _from(sent: Sent) -> Iterator[Finding]:
    header = sent.message.first(b"from")
    if header is None:
        return
    mailboxes = addresses(header.text)
    if len(mailboxes) != 1:
        yield found("from-invalid", f"From has {len(mailboxes)} addresses, not one")
    shown = _NAME_WITH_ADDRESS.match(header.text)
    if shown is not None and sent.author is not None:
        domain = ascii_or_same(shown[1].decode("utf-8", "replace").lower())
        if not sent.alignment.related(domain, sent.author):
            yield found("from-name-is-address", f"the name in From is in {short(domain)}")
    if sent.author in _GMAIL:
        yield found("from-gmail", f"From is an address in {sent.author}")


def _others(sent: Sent) -> Iterator[Finding]:
    message = sent.message
    date, identifier = message.first(b"date"), message.first(b"message-id")
    if date is not None and not _is_date(date):
        yield found("date-invalid", "Date is not a date")
    if identifier is not None and not _ID.fullmatch(identifier.text):
        yield found("message-id-invalid", "Message-ID is not an identifier in angle brackets")
    yield from _subject(message)
    if not message.has(b"to"):
        yield found("to-missing", "no To field")


def _subject(message: Message) -> Iterator[Finding]:
    header = message.first(b"subject")
    text = decoded(header.text).strip() if header is not None else ""
    if not text:
        yield found("subject-empty", "no Subject field" if header is None else "Subject is empty")
    elif _REPLY.match(text) and not (message.has(b"in-reply-to") or message.has(b"references")):
        yield found("subject-of-reply", "Subject looks like that of a reply, but there is none")


def _is_date(header: Header) -> bool:
    try:
        return parsedate_tz(header.text.decode("ascii", "replace")) is not None
    except (ValueError, IndexError, OverflowError):
        return False


def _bytes(message: Message) -> Iterator[Finding]:
    """What is in the fields that is no ASCII text in short lines, one finding for each fault."""
    faults: dict[str, list[str]] = {}
    for header in message.headers:
        whole = header.name + b":" + header.value
        name = header.name.decode("ascii", "backslashreplace")
        if not whole.isascii():
            faults.setdefault(_not_ascii(whole), []).append(name)
        if len(whole) > LONGEST_LINE and max(map(len, whole.split(b"\r\n"))) > LONGEST_LINE:
            faults.setdefault("line-too-long", []).append(name)
    for rule, names in faults.items():
        yield found(rule, f"{_WHAT[rule]}: {_listed(names)}")


_WHAT = {
    "header-not-ascii": "fields with characters that are not ASCII",
    "header-not-text": "fields with 8-bit bytes that are not UTF-8",
    "line-too-long": f"fields with a line of more than {LONGEST_LINE} bytes",
}


def _not_ascii(whole: bytes) -> str:
    try:
        whole.decode("utf-8")
    except UnicodeDecodeError:
        return "header-not-text"
    return "header-not-ascii"


def _listed(names: list[str]) -> str:
    """The names, each once, and only the first of many."""
    distinct = list(dict.fromkeys(map(short, names)))
    more = len(distinct) - _MOST_NAMES
    return ", ".join(distinct[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
