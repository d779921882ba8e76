"""What a returned mail says: `read`, the way into this folder for mail.

It asks what the mail is, in this order: a feedback report, a delivery status notification, a bounce
without one, an automatic reply. Here lives this order, and how what the pieces say is put together.
`pieces.py` takes the mail apart. Nothing raises for any bytes, and the work is linear in the size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

from fletching.mail.message import Message, addresses, parse
from fletching.returning import evidence, feedback, sns_reports, status_reports
from fletching.returning.classify import LONGEST, bounce_type, classify_first
from fletching.returning.notices import Notice, command_in, notices, said
from fletching.returning.pieces import MailPieces, pieces
from fletching.returning.quoted import mailer_info, return_paths
from fletching.returning.returned import (
    Failure,
    MailKind,
    Reason,
    ReturnedMail,
    ReturnedRecipient,
)
from fletching.returning.rules import Rule
from fletching.returning.status_reports import Report

_KINDS = {
    "failed": MailKind.BOUNCE,
    "delayed": MailKind.DELAYED,
    "delivered": MailKind.DELIVERED,
    "relayed": MailKind.DELIVERED,
    "expanded": MailKind.DELIVERED,
}
# RFC 5965 section 7.3. The other types report on authentication, or that a mail was not spam: they
# are no complaints.
_FEEDBACK = {
    "": MailKind.COMPLAINT,
    "abuse": MailKind.COMPLAINT,
    "fraud": MailKind.COMPLAINT,
    "opt-out": MailKind.UNSUBSCRIBE,
}
_GRAVEST = (MailKind.BOUNCE, MailKind.DELAYED, MailKind.DELIVERED)
# What fails for a while is reported by mail only when its time is over.
_TIMED_OUT = re.compile(
    r"timed? ?out|not respond|did not accept our requests|not reachable", re.IGNORECASE
)
_NOT_CONNECTED = re.compile(
    r"timed? ?out|not respond|refused|unreachable|no route|not connect", re.IGNORECASE
)


LARGEST = 2 * 2**20
"""Bytes of a mail that are read. A bounce has what it says before the returned message; what costs
most time is a mail that is nothing but delimiters of parts."""


def read(raw: bytes, rules: Iterable[Rule] = ()) -> ReturnedMail:
    """What a returned mail says. ``rules``: the admin's own about reasons, before our tables."""
    message, found = _opened(parse(raw[:LARGEST]))
    mail = _read(message, found, tuple(rules))
    return replace(
        mail,
        recipients=tuple(map(_shown, mail.recipients)),
        mailer_info=mailer_info(found),
        return_paths=return_paths(found),
        unsubscribe=evidence.subject(message) if mail.kind in _ANSWERS else "",
        queue_id=next(filter(None, map(status_reports.queue_id, found.reports)), ""),
    )


_ANSWERS = (MailKind.UNSUBSCRIBE, MailKind.AUTO_REPLY, MailKind.NONE)


def _shown(recipient: ReturnedRecipient) -> ReturnedRecipient:
    """The recipient without an address that would not be seen as it is."""
    if recipient.email.isprintable() and recipient.original.isprintable():
        return recipient
    return replace(recipient, email="", original="")


def _opened(message: Message) -> tuple[Message, MailPieces]:
    """The mail and its pieces; those of the bounce in it, if it only forwards one."""
    found = pieces(message)
    names_none = not found.reports and found.feedback is None and found.enclosed
    if names_none and not notices(found.notice, evidence.failed_recipients(message), ()):
        inner = parse(found.enclosed)
        if evidence.is_bounce(message) and evidence.is_from_mailer(inner):
            return inner, pieces(inner)
    return message, found


def _read(message: Message, found: MailPieces, rules: Sequence[Rule]) -> ReturnedMail:
    if found.feedback is not None or evidence.is_complaint(message, found.returned):
        return _complaint(found)
    all_reports = (each for text in found.reports for each in status_reports.reports(text))
    reported = list(islice(all_reports, status_reports.MOST))
    if not reported:
        reported = status_reports.reports(found.notice) or sns_reports.reports(found.notice)
    if reported:
        return _notification(message, found, reported, rules)
    if evidence.is_unsubscribe(message):
        return ReturnedMail(MailKind.UNSUBSCRIBE, _sender(message))
    returns = found.reports or evidence.returns(found.notice, found.returned)
    if returns or evidence.is_bounce(message, found.notice):
        return _bounce(message, found, rules)
    if evidence.is_auto_reply(message):
        return ReturnedMail(MailKind.AUTO_REPLY)
    return ReturnedMail(MailKind.NONE)


def _complaint(found: MailPieces) -> ReturnedMail:
    report = found.feedback or ""
    type_ = feedback.type_of(report)
    named = feedback.recipients(report, found.returned)
    recipients = tuple(ReturnedRecipient(email) for email in named)
    return ReturnedMail(_FEEDBACK.get(type_, MailKind.NONE), recipients, type_)


def _notification(
    message: Message, found: MailPieces, reported: Sequence[Report], rules: Sequence[Rule]
) -> ReturnedMail:
    known = [each.email for each in reported if each.email]
    spoken = {each.email.lower(): each for each in notices(found.notice, known, _own(message))}
    if not known and not spoken:
        spoken = {each.email.lower(): each for each in _unreported(message, found)}
    recipients = []
    whole = said(" ".join(found.notice.split()))[: 2 * LONGEST]
    for each in reported:
        notice = spoken.get(each.email.lower())
        if not each.email and len(spoken) == 1:
            notice = next(iter(spoken.values()))
        recipients.append(_reported(each, notice, whole, rules))
    kind = next(kind for kind in _GRAVEST if kind in map(_kind, reported))
    return ReturnedMail(kind, tuple(recipients))


def _reported(
    report: Report, notice: Notice | None, whole: str, rules: Sequence[Rule]
) -> ReturnedRecipient:
    email = report.email or (notice.email if notice else "")
    kind = _kind(report)
    if kind is MailKind.DELIVERED:
        return ReturnedRecipient(email, original=report.original)
    texts = [report.diagnostic, *(notice.texts if notice else ())]
    if notice is None:
        texts.append(whole)
    command = command_in(report.diagnostic) or (notice.command if notice else "")
    failure = _failure(report.status, texts, rules, command)
    original = report.original or (notice.original if notice else "")
    return ReturnedRecipient(email, failure, kind is MailKind.DELAYED, original)


def _kind(report: Report) -> MailKind:
    by_status = MailKind.DELIVERED if report.status.startswith("2") else MailKind.BOUNCE
    return _KINDS.get(report.action, by_status)


def _bounce(message: Message, found: MailPieces, rules: Sequence[Rule]) -> ReturnedMail:
    """A bounce without a report for programs."""
    spoken = _unreported(message, found)
    is_delayed = evidence.is_delay(message, found.notice)
    recipients = tuple(
        ReturnedRecipient(
            each.email,
            _failure("", each.texts, rules, each.command),
            is_delayed,
            each.original,
        )
        for each in spoken
    )
    if not recipients:
        text = " ".join(found.notice.split())
        failure = _failure("", [said(text), text], rules, command_in(text))
        if failure.reason is Reason.OTHER and not found.returned:
            return ReturnedMail(MailKind.NONE)
        recipients = (ReturnedRecipient("", failure, is_delayed),)
    return ReturnedMail(MailKind.DELAYED if is_delayed else MailKind.BOUNCE, recipients)


def _unreported(message: Message, found: MailPieces) -> list[Notice]:
    """What is said about each address, where no report names them."""
    own = _own(message)
    known = evidence.failed_recipients(message)
    spoken = notices(found.notice, known, own) or notices(found.notice, known, _senders(message))
    named = {each.email.lower() for each in spoken}
    missing = [email for email in known if email.lower() not in named]
    if not spoken and not known:
        missing = (
            evidence.in_subject(message, own)
            or evidence.unqualified(message, found.notice)
            or feedback.in_header(found.returned)[:1]
            or feedback.in_header(found.notice)[:1]
        )
    text = " ".join(found.notice.split())
    texts = tuple(dict.fromkeys(each for each in (said(text), text) if each))
    return [*spoken, *(Notice(email, texts, command_in(text)) for email in missing)]


def _failure(status: str, texts: Sequence[str], rules: Sequence[Rule], command: str) -> Failure:
    failure = classify_first(status, 0, texts or ("",), rules=rules, command=command)
    pattern = _NOT_CONNECTED if status.endswith(".4.7") else _TIMED_OUT
    if failure.reason is Reason.NETWORK and any(pattern.search(text) for text in texts):
        return replace(failure, reason=Reason.EXPIRED, type=bounce_type(Reason.EXPIRED, True))
    return failure


def _sender(message: Message) -> tuple[ReturnedRecipient, ...]:
    return tuple(ReturnedRecipient(address) for address in _addresses(message, b"from"))[:1]


def _own(message: Message) -> list[str]:
    """The addresses of the notice itself: its sender, and to whom it was sent."""
    return [*_addresses(message, b"to"), *_senders(message)]


def _senders(message: Message) -> list[str]:
    return [*_addresses(message, b"from"), *_addresses(message, b"sender")]


def _addresses(message: Message, name: bytes) -> list[str]:
    return [address for field in message.all(name) for address in addresses(field.value)]
