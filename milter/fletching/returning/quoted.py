"""What a returned mail quotes of the message that it returns: its envelope sender, X-Mailer-Info.

By these it may be found which message of ours it is about. Whether a text is a tag or a token of
ours only the keys can say, which are not known here.
"""

from __future__ import annotations

import re

from fletching.returning import feedback, status_reports
from fletching.returning.attribution import TAG
from fletching.returning.pieces import MailPieces

MOST = 20
"""Addresses that may be the envelope sender."""

_MAILER_INFO = re.compile(
    r"^[>\t ]{0,4}X-Mailer-Info:"
    r"((?:[^\n]{0,1000}\n[>\t ]{0,4}[\t ](?=[A-Za-z0-9_-]{1,1000}[\t ]{0,8}$)){0,40}"
    r"[^\n]{0,1000})",
    re.IGNORECASE | re.MULTILINE,
)
_RETURN_PATH = re.compile(
    r"^[>\t ]{0,4}(?:Return-Path|X-Envelope-From|X-Original-From|Errors-To|X-Original-Return-Path)"
    r":[\t ]{0,8}(\S[^\n]{0,1000})",
    re.IGNORECASE | re.MULTILINE,
)
# Begins where a word begins: a body in base64 would be read a hundred times.
_NOT_IN = r"\s<>()\[\],;:\"'@"
_ADDRESS = re.compile(rf"(?<![^{_NOT_IN}])[^{_NOT_IN}]{{1,128}}@[^{_NOT_IN}]{{1,255}}")


def mailer_info(found: MailPieces) -> str:
    """The value of X-Mailer-Info in the returned message; empty without one."""
    for text in (found.returned, found.notice):
        if info := _MAILER_INFO.search(text):
            return "".join(info[1].replace(">", "").split())
    return ""


def return_paths(found: MailPieces) -> tuple[str, ...]:
    """The addresses that may be the envelope sender of the returned message.

    First those that are named as such, then any that have the form of one with a tag.
    """
    named = [
        status_reports.addressed(field[1])
        for text in (found.returned, found.notice)
        for field in _RETURN_PATH.finditer(text)
    ]
    named += [each for text in found.reports for each in status_reports.senders(text)]
    named += feedback.senders(found.feedback or "")
    texts = (found.returned, *found.reports[:1], found.feedback or "", found.notice)
    tagged = [
        address
        for text in texts
        for address in _ADDRESS.findall(text[: 2**16])
        if TAG.search(address.rpartition("@")[0])
    ]
    return tuple(dict.fromkeys(each for each in (*named, *tagged) if each and each.isprintable()))[
        :MOST
    ]
