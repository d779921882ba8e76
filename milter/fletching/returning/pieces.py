"""The pieces of a returned mail: what people read, the reports for programs, the returned message.

Here lives how they are found, also where the MIME structure is broken or missing. What they say is
read in `status_reports.py`, `feedback.py` and `notices.py`. Nothing raises for any bytes, and the
work is linear in the size.
"""

from __future__ import annotations

import binascii
import html
import re
from dataclasses import dataclass

from fletching.mail import charsets, mime, transfer
from fletching.mail.message import Message
from fletching.mail.mime import Part

LONGEST_NOTICE = 2**16
"""Characters of the notice, and of the returned message's header, that are looked at."""
LONGEST_REPORT = 2**20
"""Characters of a report: a thousand recipients have their fields in it."""

_STATUS = {"message/delivery-status", "message/global-delivery-status"}
_FEEDBACK = {"message/feedback-report"}
_RETURNED = {
    "message/rfc822",
    "message/global",
    "text/rfc822-headers",
    "message/global-headers",
    "message/rfc822-headers",
}
# Where the returned message begins in a text: a line that announces it, or its trace fields.
_ANNOUNCED = re.compile(
    r"^[^\n]{0,60}(?:"
    r"(?:original|unsent|returned|undelivered|rejected|bounced) (?:message|mail|e-?mail)"
    r"(?: (?:headers?|info|text))?(?: (?:is|are))?(?: follow(?:s|ing)?| below| attached)?"
    r"|cop(?:y|ies) of (?:the|your) (?:message|mail|original)"
    r"|(?:header|headers|text|body) of the (?:original )?(?:message|mail)"
    r"|(?:message|mail) (?:headers?|text|body) follows?"
    r")[^\n\w]{0,80}(?:follows?|below|attached|including[^\n]{0,80}|is following)?[ .:*|=-]{0,80}$"
    r"(?=\s{1,200}[A-Za-z>][A-Za-z0-9-]{1,40}:)",
    re.IGNORECASE | re.MULTILINE,
)
_TRACE = re.compile(
    r"^(?:Received|Return-Path|X-Received|DKIM-Signature|X-Originating-IP|X-Envelope-From"
    r"|Delivered-To|X-Apparently-To|ARC-Seal|X-Google-DKIM-Signature|X-Google-Smtp-Source"
    r"|X-Mailer-Info|X-HmXmrOriginalRecipient):",
    re.IGNORECASE | re.MULTILINE,
)
_HEADER_NAMES = re.compile(
    r"^(?:Received|Return-Path|From|To|Subject|Date|Message-ID):", re.IGNORECASE | re.MULTILINE
)
_FEEDBACK_TYPE = re.compile(r"^Feedback-Type:", re.IGNORECASE | re.MULTILINE)
_END_OF_HEADER = re.compile(r"\n[ \t]*\n")
# Elements that end a line; all other tags leave a blank.
_BREAK = re.compile(r"<(?:br|/p|/div|/tr|/h\d|/li|/td)[^>]{0,200}>", re.IGNORECASE)
_TAG = re.compile(r"<(?:/?[a-zA-Z!][^<>]{0,2000})>")
_HIDDEN = re.compile(r"<(style|script|title)\b[^>]{0,200}>[^<]{0,20000}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MailPieces:
    """What a returned mail consists of. All texts have LF line ends and no CR.

    ``notice``: what people read, without the returned message. ``reports``: the fields of delivery
    status notifications. ``feedback``: the fields of a feedback report, None without one.
    ``returned``: the header of the returned message, empty if there is none. ``enclosed``: that
    message, as far as it is there.
    """

    notice: str
    reports: tuple[str, ...]
    feedback: str | None
    returned: str
    enclosed: bytes


def pieces(message: Message) -> MailPieces:
    """The pieces of a mail."""
    parts = [part for part in mime.parts(message) if not part.forwarded]
    leaves = [part for part in parts if not part.container or part.content_type in _RETURNED]
    if not leaves:
        # A multipart without any of its delimiters. Only the outermost: each contains the next.
        leaves = parts[:1]
    reports: list[str] = []
    notices: list[str] = []
    pages: list[Part] = []
    returned, enclosed, feedback = "", b"", None
    for part in leaves:
        if part.content_type in _STATUS:
            reports.append(_text(message, part, LONGEST_REPORT))
        elif part.content_type in _FEEDBACK:
            feedback = feedback or _text(message, part, LONGEST_REPORT)
        elif part.content_type in _RETURNED:
            returned = returned or _header(_text(message, part, LONGEST_NOTICE))
            enclosed = enclosed or _content(message, part)
        elif part.content_type == "text/html":
            pages.append(part)
        elif part.content_type.startswith(("text/", "multipart/")) or part.root:
            notices.append(_text(message, part, LONGEST_NOTICE))
    if not notices:
        notices = [_without_tags(_text(message, part, LONGEST_NOTICE)) for part in pages]
    if feedback is None:
        feedback = _loose_feedback(message, notices)
    notice, rest = _cut("\n\n".join(notices)[:LONGEST_NOTICE])
    return MailPieces(
        notice,
        tuple(reports),
        feedback,
        returned or _header(rest),
        enclosed or rest.encode("utf-8", "replace"),
    )


def _loose_feedback(message: Message, notices: list[str]) -> str | None:
    """The fields of a feedback report whose MIME structure is broken."""
    content_type = message.first(b"content-type")
    if content_type is None or b"feedback-report" not in content_type.text.lower():
        return None
    return next((text for text in notices if _FEEDBACK_TYPE.search(text)), None)


def _text(message: Message, part: Part, longest: int) -> str:
    """The content of a part as text, whatever is wrong with its encoding."""
    content = _content(message, part)[: 4 * longest]
    label = part.parameters.get("charset", "")
    name = charsets.codec(label) or charsets.guessed(content, html=False)
    text = content.decode(name, "replace").replace("\r\n", "\n").replace("\r", "\n")
    return text[:longest]


def _content(message: Message, part: Part) -> bytes:
    raw = message.body[part.start : part.end]
    try:
        return transfer.decode(raw, part.encoding)
    except transfer.TransferError:
        return _roughly_decoded(raw, part.encoding)


def _roughly_decoded(raw: bytes, encoding: str) -> bytes:
    if encoding == "quoted-printable":
        return binascii.a2b_qp(raw)
    if encoding == "base64":
        digits = b"".join(re.findall(rb"[A-Za-z0-9+/]+", raw))
        whole = digits[: len(digits) // 4 * 4]
        return binascii.a2b_base64(whole)
    return raw


def _cut(text: str) -> tuple[str, str]:
    """A notice, and the message that follows it in the same text."""
    starts = [found.start() for found in (_TRACE.search(text),) if found]
    announced = _ANNOUNCED.search(text)
    if announced and _HEADER_NAMES.search(text, announced.end(), announced.end() + 2000):
        starts.append(announced.start())
    if not starts:
        return text, ""
    at = min(starts)
    begins = announced.end() if announced and announced.start() == at else at
    return text[:at], text[begins:].lstrip("\n")


def _header(text: str) -> str:
    end = _END_OF_HEADER.search(text)
    return text[: end.start()] if end else text


def _without_tags(page: str) -> str:
    text = _HIDDEN.sub(" ", page)
    return html.unescape(_TAG.sub(" ", _BREAK.sub("\n", text)))
