"""Feedback reports about mail that a recipient marked as spam (ARF, RFC 5965), and Microsoft's.

Here lives what a report says. Which part of a mail has it is not known here.
"""

from __future__ import annotations

import re

from fletching.returning.status_reports import addressed

_FIELD = re.compile(r"^([A-Za-z][A-Za-z0-9-]{0,60})[ \t]{0,4}:[ \t]{0,20}(\S.*)$", re.MULTILINE)
_UNFOLD = re.compile(r"\n[ \t]+")
_RECIPIENTS = {
    "original-rcpt-to",
    "removal-recipient",
    "x-hmxmroriginalrecipient",
    "redacted-address",
}
# How the returned message names the recipient, the surest first.
_IN_HEADER = (
    "x-hmxmroriginalrecipient",
    "x-envelope-to",
    "to",
    "x-apparently-to",
    "x-original-to",
    "delivered-to",
)
_SENDERS = {"original-mail-from"}

MOST = 1000
"""Recipients of one report that are read."""


def type_of(report: str) -> str:
    """The Feedback-Type in lower case; empty if it is missing."""
    for name, value in _fields(report):
        if name == "feedback-type":
            return value.lower().split()[0].strip(";")
    return ""


def recipients(report: str, returned: str) -> tuple[str, ...]:
    """The addresses that a report names, else those in the returned message's header."""
    found = [addressed(value) for name, value in _fields(report) if name in _RECIPIENTS]
    named = dict.fromkeys(email for email in found if email)
    return tuple(named)[:MOST] or tuple(dict.fromkeys(in_header(returned)))[:1]


def senders(report: str) -> list[str]:
    """The envelope senders of the returned message that a report names."""
    found = [addressed(value) for name, value in _fields(report) if name in _SENDERS]
    return [email for email in found if email]


def in_header(header: str) -> list[str]:
    """The recipients that a message's header names, the surest first."""
    fields = _fields(header)
    found = []
    for wanted in _IN_HEADER:
        found += [addressed(value) for name, value in fields if name == wanted]
    return [email for email in found if email]


def _fields(text: str) -> list[tuple[str, str]]:
    return [
        (field[1].lower(), field[2].strip()) for field in _FIELD.finditer(_UNFOLD.sub(" ", text))
    ]
