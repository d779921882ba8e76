"""What a returned mail says, in each of its forms."""

from __future__ import annotations

import base64
from typing import NamedTuple

from fletching.config.load import parse
from fletching.mail.message import parse as parse_mail
from fletching.returning import status_reports
from fletching.returning.pieces import pieces
from fletching.returning.reading import LARGEST, read
from fletching.returning.returned import ReturnedMail
from fletching.returning.rules import compiled

from tests.cases import for_every
from tests.test_config import FILE

TAGGED = "bounces+" + "a2b3c4d5" * 4 + "@example.com"


def mail(body: str, **fields: str) -> bytes:
    """A mail with header fields; ``_`` in their names stands for ``-``."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\n".join([*lines, "", body]).encode()


def report(
    status: str, notice: str = "Sorry.", returned: str = "", kind: str = "delivery-status"
) -> bytes:
    """A multipart/report (RFC 6522)."""
    parts = (
        f"Content-Type: text/plain\n\n{notice}\n",
        f"Content-Type: message/{kind}\n\n{status}\n",
        f"Content-Type: text/rfc822-headers\n\n{returned or 'Subject: x'}\n",
    )
    body = "".join(f"--b\n{part}" for part in parts) + "--b--\n"
    content_type = f'multipart/report; report-type={kind}; boundary="b"'
    return mail(body, From="mailer-daemon@mx.example", Content_Type=content_type)


def bounce(text: str, subject: str = "Undelivered mail", **fields: str) -> bytes:
    """A bounce that only people are meant to read."""
    fields = {"From": "mailer-daemon@mx.example", "To": TAGGED, "Subject": subject, **fields}
    return mail(text, **fields)


def told(found: ReturnedMail) -> list[tuple[str, str, str]]:
    """Address, type and reason of each recipient."""
    return [
        (each.email, each.failure.type.value, each.failure.reason.value)
        for each in found.recipients
        if each.failure
    ]


ONE = "Final-Recipient: rfc822; joe@a.example\nAction: failed\nStatus: 5.1.1"
QUOTED = ONE.replace(".1.1", "=2E1.=\n1")
UNKNOWN = ("joe@a.example", "h", "user_unknown")
FULL = ("joe@a.example", "s", "mailbox_full")


class Reading(NamedTuple):
    """A mail, its kind, and its recipients with type and reason."""

    raw: bytes
    kind: str
    recipients: list[tuple[str, str, str]]


REPORTS = {
    "failed": Reading(report(f"Reporting-MTA: dns; mx.example\n\n{ONE}"), "bounce", [UNKNOWN]),
    "several recipients": Reading(
        report(
            f"Reporting-MTA: dns; mx.example\n\n{ONE}\n\nFinal-Recipient: rfc822;ann@a.example\n"
            "Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 552 5.2.2 over quota"
        ),
        "bounce",
        [UNKNOWN, ("ann@a.example", "s", "mailbox_full")],
    ),
    "all in one block": Reading(
        report(f"Reporting-MTA: dns; mx.example\n{ONE}\n{ONE.replace('joe', 'ann')}"),
        "bounce",
        [UNKNOWN, ("ann@a.example", "h", "user_unknown")],
    ),
    "original recipient behind the final one": Reading(
        report(f"{ONE}\nOriginal-Recipient: rfc822; jo@b.example"), "bounce", [UNKNOWN]
    ),
    "names in any case": Reading(report(ONE.upper()), "bounce", [("JOE@A.EXAMPLE", *UNKNOWN[1:])]),
    "folded": Reading(
        report(f"{ONE.replace('5.1.1', '5.0.0')}\nDiagnostic-Code: smtp; 550 mailbox\n\tis full"),
        "bounce",
        [FULL],
    ),
    "comment in the status": Reading(
        report(
            "Final-Recipient: rfc822; joe@a.example\nAction: failed\nStatus: 5.0.0 (over quota)"
        ),
        "bounce",
        [FULL],
    ),
    "address in brackets": Reading(
        report(ONE.replace("joe@a.example", "<joe@a.example>")), "bounce", [UNKNOWN]
    ),
    "only the original recipient": Reading(
        report(ONE.replace("Final", "Original")), "bounce", [UNKNOWN]
    ),
    "delayed": Reading(
        report(
            "Final-Recipient: rfc822; joe@a.example\nAction: delayed\nStatus: 4.4.1\n"
            "Diagnostic-Code: x-postfix; connect to a[192.0.2.1]:25: Connection refused"
        ),
        "delayed",
        [("joe@a.example", "s", "network")],
    ),
    "timed out": Reading(
        report(
            "Final-Recipient: rfc822; joe@a.example\nAction: failed\nStatus: 4.4.1\n"
            "Diagnostic-Code: x-postfix; connect to a[192.0.2.1]:25: Connection timed out"
        ),
        "bounce",
        [("joe@a.example", "s", "expired")],
    ),
    "delivered": Reading(
        report(ONE.replace("failed", "delivered").replace("5.1.1", "2.1.5")), "delivered", []
    ),
    "relayed": Reading(
        report(ONE.replace("failed", "relayed").replace("5.1.1", "2.0.0")), "delivered", []
    ),
    "expanded": Reading(
        report(ONE.replace("failed", "expanded").replace("5.1.1", "2.0.0")), "delivered", []
    ),
    "no action": Reading(report(ONE.replace("Action: failed\n", "")), "bounce", [UNKNOWN]),
    "no recipient, which the returned message names": Reading(
        report("Action: failed\nStatus: 5.1.1", returned="To: joe@a.example"), "bounce", [UNKNOWN]
    ),
    "internationalized (RFC 6533)": Reading(
        report(
            "Final-Recipient: utf-8; j\u00f6@a.example\nAction: failed\nStatus: 5.1.1",
            kind="global-delivery-status",
        ),
        "bounce",
        [("j\u00f6@a.example", "h", "user_unknown")],
    ),
    "internationalized, in ASCII": Reading(
        report("Final-Recipient: utf-8; j\\x{F6}@a.example\nAction: failed\nStatus: 5.1.1"),
        "bounce",
        [("j\u00f6@a.example", "h", "user_unknown")],
    ),
    "reason only in the text for people": Reading(
        report(
            ONE.replace("5.1.1", "5.0.0"),
            "<joe@a.example>: host a[192.0.2.1] said: 552 mailbox full (in reply to RCPT command)",
        ),
        "bounce",
        [FULL],
    ),
    "refused after the content, as the text for people says": Reading(
        report(
            f"{ONE.replace('5.1.1', '5.0.0')}\nDiagnostic-Code: smtp; 550 unknown user",
            "<joe@a.example>: host a[192.0.2.1] said: 550 unknown user (in reply to end of DATA\n"
            "    command)",
        ),
        "bounce",
        [("joe@a.example", "s", "recipient_filtered")],
    ),
    "quoted-printable": Reading(
        mail(
            "--b\nContent-Type: message/delivery-status\n"
            f"Content-Transfer-Encoding: quoted-printable\n\n{QUOTED}\n--b--",
            Content_Type="multipart/report; boundary=b",
        ),
        "bounce",
        [UNKNOWN],
    ),
    "without a boundary": Reading(
        mail(f"Content-Type: message/delivery-status\n\n{ONE}\n", Content_Type="multipart/report"),
        "bounce",
        [UNKNOWN],
    ),
}


@for_every(REPORTS)
def test_status_notification(raw: bytes, kind: str, recipients: list[tuple[str, str, str]]) -> None:
    found = read(raw)
    assert (found.kind, told(found)) == (kind, recipients)


def test_report_about_a_bounce_and_a_delay() -> None:
    delayed = "Final-Recipient: rfc822; ann@a.example\nAction: delayed\nStatus: 4.2.2"
    found = read(report(f"{ONE}\n\n{delayed}"))
    assert found.kind == "bounce"
    assert [each.is_delayed for each in found.recipients] == [False, True]


COPY = f"\n--- Below is a copy of the message.\n\nReturn-Path: <{TAGGED}>\nTo: joe@a.example\n"

NOTICES = {
    "qmail": Reading(
        bounce(
            "Hi. This is the qmail-send program.\n\n<joe@a.example>:\n192.0.2.1 does not like"
            f" recipient.\nRemote host said: 550 no such user\nGiving up on 192.0.2.1.\n{COPY}"
        ),
        "bounce",
        [UNKNOWN],
    ),
    "two recipients": Reading(
        bounce(
            "<joe@a.example>:\nSorry, no mailbox here by that name.\n\n<ann@a.example>:\n"
            f"552 over quota\n{COPY}"
        ),
        "bounce",
        [UNKNOWN, ("ann@a.example", "s", "mailbox_full")],
    ),
    "exim": Reading(
        bounce(
            "The following address(es) failed:\n\n  joe@a.example\n    SMTP error from remote mail"
            " server after end of data:\n    host a [192.0.2.1]: 550 unknown user",
            X_Failed_Recipients="joe@a.example",
        ),
        "bounce",
        [("joe@a.example", "s", "recipient_filtered")],
    ),
    "opensmtpd": Reading(
        bounce("following list of recipients:\n\njoe@a.example: 550 5.2.2 mailbox full\n"),
        "bounce",
        [FULL],
    ),
    "sendmail": Reading(
        bounce(
            "   ----- The following addresses had permanent fatal errors -----\n<joe@a.example>\n\n"
            "   ----- Transcript of session follows -----\n... while talking to a.example.:\n"
            ">>> RCPT To:<joe@a.example>\n<<< 550 5.1.1 unknown\n"
        ),
        "bounce",
        [UNKNOWN],
    ),
    "pipelined RCPT in a transcript": Reading(
        bounce(
            "   ----- Transcript of session follows -----\n>>> DATA\n<<< 550 no such user\n"
            "550 <joe@a.example>... User unknown\n<<< 503 Need RCPT (recipient)\n"
        ),
        "bounce",
        [UNKNOWN],
    ),
    "transcript alone": Reading(
        bounce(">>> RCPT TO:<joe@a.example>\n<<< 452 4.2.2 over quota\n"), "bounce", [FULL]
    ),
    "reason above the address": Reading(
        bounce("User not listed in public Name & Address Book\njoe@a.example\n"),
        "bounce",
        [UNKNOWN],
    ),
    "phrase": Reading(
        bounce(
            "Your mail\n  Could not be delivered to: <joe@a.example>\n  As their mailbox is full."
        ),
        "bounce",
        [FULL],
    ),
    "address in the subject": Reading(
        bounce("Your message did not arrive.", subject="Undeliverable: joe@a.example"),
        "bounce",
        [("joe@a.example", "o", "other")],
    ),
    "address in the returned message": Reading(
        bounce(f"Sorry, the mailbox is full.\n{COPY}"), "bounce", [FULL]
    ),
    "warning": Reading(
        bounce(
            "THIS IS A WARNING MESSAGE ONLY.\n\nDelivery to the following recipient has been"
            " delayed:\n\n     joe@a.example\n\n450 4.2.2 mailbox full\n",
            subject="Delivery Status Notification (Delay)",
        ),
        "delayed",
        [FULL],
    ),
    "in HTML only": Reading(
        bounce(
            "<html><style>p {}</style><p>Delivery failed:</p><p>&lt;joe@a.example&gt;</p>"
            "<p>550 5.2.2 over quota</p></html>",
            Content_Type="text/html",
        ),
        "bounce",
        [FULL],
    ),
    "in base64": Reading(
        bounce(
            base64.encodebytes(b"<joe@a.example>:\nmailbox full\n").decode(),
            Content_Transfer_Encoding="base64",
        ),
        "bounce",
        [FULL],
    ),
    "numbered": Reading(
        bounce("These failed:\n\n1. joe@a.example: user unknown\n2. ann@a.example: user unknown"),
        "bounce",
        [UNKNOWN, ("ann@a.example", *UNKNOWN[1:])],
    ),
    "sender before the recipient": Reading(
        bounce(f"Mail from {TAGGED} to joe@a.example was not delivered: mailbox full"),
        "bounce",
        [FULL],
    ),
    "blank in a quoted local part": Reading(
        bounce('<"joe smith"@a.example>: user unknown'),
        "bounce",
        [('"joe smith"@a.example', *UNKNOWN[1:])],
    ),
    "table of Microsoft 365, in HTML only": Reading(
        bounce(
            "<p>Your message to joe@a.example couldn't be delivered.</p><table>"
            "<tr><td>Reported error:</td><td>550 5.1.1 user unknown</td></tr>"
            "<tr><td>Sender Address:</td><td>news@b.example</td></tr>"
            "<tr><td>Recipient Address:</td><td>joe@a.example</td></tr></table>",
            Content_Type="text/html",
        ),
        "bounce",
        [UNKNOWN],
    ),
    "days of trying": Reading(
        bounce("We could not deliver your message to <joe@a.example> for 5 days."),
        "bounce",
        [("joe@a.example", "s", "expired")],
    ),
    "nothing but a sender": Reading(bounce("Hello.", subject="x"), "none", []),
}


@for_every(NOTICES)
def test_bounce_for_people(raw: bytes, kind: str, recipients: list[tuple[str, str, str]]) -> None:
    found = read(raw)
    assert (found.kind, told(found)) == (kind, recipients)


def feedback(fields: str, returned: str = "To: joe@a.example") -> bytes:
    return report(fields, returned=returned, kind="feedback-report")


class Complaint(NamedTuple):
    """A report, its kind and feedback type, and its recipients."""

    raw: bytes
    kind: str
    type: str
    recipients: list[str]


COMPLAINTS = {
    "abuse": Complaint(
        feedback("Feedback-Type: abuse\nOriginal-Rcpt-To: <ann@a.example>"),
        "complaint",
        "abuse",
        ["ann@a.example"],
    ),
    "type in upper case": Complaint(
        feedback("Feedback-Type: Fraud"), "complaint", "fraud", ["joe@a.example"]
    ),
    "no type": Complaint(feedback("User-Agent: x"), "complaint", "", ["joe@a.example"]),
    "several recipients": Complaint(
        feedback("Original-Rcpt-To: ann@a.example\nOriginal-Rcpt-To: bob@a.example"),
        "complaint",
        "",
        ["ann@a.example", "bob@a.example"],
    ),
    "without a boundary": Complaint(
        mail(
            "Feedback-Type: abuse\nOriginal-Rcpt-To: joe@a.example\n\nReceived: from a\n",
            From="fbl@a.example",
            Content_Type="multipart/report; report-type=feedback-report",
        ),
        "complaint",
        "abuse",
        ["joe@a.example"],
    ),
    "no recipient": Complaint(
        feedback("Feedback-Type: abuse", "Subject: x"), "complaint", "abuse", []
    ),
    "opt-out": Complaint(
        feedback("Feedback-Type: opt-out"), "unsubscribe", "opt-out", ["joe@a.example"]
    ),
    "not about a complaint": Complaint(
        feedback("Feedback-Type: auth-failure"), "none", "auth-failure", ["joe@a.example"]
    ),
    "Microsoft's, without a report": Complaint(
        mail(
            "--b\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: joe@a.example\n\n--b--",
            From="staff@hotmail.com",
            Subject="complaint about message from 192.0.2.1",
            Content_Type="multipart/mixed; boundary=b",
        ),
        "complaint",
        "",
        ["joe@a.example"],
    ),
}


@for_every(COMPLAINTS)
def test_complaint(raw: bytes, kind: str, type: str, recipients: list[str]) -> None:
    found = read(raw)
    assert (found.kind, found.feedback_type) == (kind, type)
    assert [each.email for each in found.recipients] == recipients


@for_every(["not-spam", "virus", "other", "x-unknown"])
def test_feedback_of_another_type_is_no_complaint(type: str) -> None:
    assert read(feedback(f"Feedback-Type: {type}")).kind == "none"


OTHERS = {
    "away": (mail("I am away.", From="joe@a.example", Auto_Submitted="auto-replied"), "auto_reply"),
    "away, older sign": (mail("Away.", From="joe@a.example", X_Autoreply="yes"), "auto_reply"),
    "away, by the subject": (
        mail("Away.", From="joe@a.example", Subject="=?utf-8?q?Out_of_office=3A_x?="),
        "auto_reply",
    ),
    "encoded words that cannot be decoded": (
        mail("Hello.", From="=?utf-8?b?m?= <joe@a.example>", Subject="=?x?b?a?= =?utf-8?q?=Z?="),
        "none",
    ),
    "unsubscribe": (mail("", From="joe@a.example", Subject="Unsubscribe"), "unsubscribe"),
    "away, from whom it was sent to": (
        mail("<joe@a.example>", From="joe@a.example", Subject="Out of office: not delivered"),
        "auto_reply",
    ),
    "answer of a person": (
        mail("<joe@a.example>", From="joe@a.example", Subject="Re: rejected"),
        "none",
    ),
    "letter": (mail("Hello, my mailbox is full.", From="joe@a.example", Subject="Hi"), "none"),
    "empty": (b"", "none"),
    "letter with an attached letter": (
        mail(
            "--b\n\nSee this.\n--b\nContent-Type: message/rfc822\n\nTo: joe@a.example\n\nx\n--b--",
            From="joe@a.example",
            Content_Type="multipart/mixed; boundary=b",
        ),
        "none",
    ),
}


@for_every(OTHERS)
def test_mail_that_is_no_bounce(raw: bytes, kind: str) -> None:
    assert read(raw).kind == kind


def test_token_of_a_mailed_unsubscribe_is_in_the_subject() -> None:
    assert read(mail("", From="joe@a.example", Subject="CAEtoken")).unsubscribe == "CAEtoken"


INFO = "X-Mailer-Info: abc\n def\n g-_\nSubject: x"
RETURNED = {
    "report": (report(ONE, returned=INFO), "abcdefg-_"),
    "folded by a program": (report(ONE, returned=INFO.replace("\n ", "\n\t")), "abcdefg-_"),
    "in a text": (bounce(f"<joe@a.example>: full\n\n{INFO}\n\nHello"), "abcdefg-_"),
    "complaint": (feedback("Feedback-Type: abuse", INFO), "abcdefg-_"),
    "none": (report(ONE), ""),
}


@for_every(RETURNED)
def test_mailer_info_of_the_returned_message(raw: bytes, info: str) -> None:
    assert read(raw).mailer_info == info


PATHS = {
    "Return-Path": report(ONE, returned=f"Return-Path: <{TAGGED}>"),
    "a sender field of a report": report(f"X-Postfix-Sender: rfc822; {TAGGED}\n\n{ONE}"),
    "of a feedback report": feedback(f"Original-Mail-From: <{TAGGED}>"),
    "in a Received field": report(ONE, returned=f"Received: from a (envelope-from <{TAGGED}>)"),
    "in a text": bounce(f"<joe@a.example>: full\n{COPY}"),
    "by its form alone": report(ONE, f"Your mail from {TAGGED} failed."),
}


@for_every(PATHS)
def test_return_path_of_the_returned_message(raw: bytes) -> None:
    assert TAGGED in read(raw).return_paths


def test_address_with_control_characters_is_not_shown() -> None:
    found = read(report(ONE.replace("joe", "j\x1b\u202ee") + "\nStatus: 5.1.1"))
    assert [each.email for each in found.recipients] == [""]


def test_forwarded_bounce_is_read() -> None:
    inner = report(ONE).decode()
    raw = bounce(
        f"--c\n\nA mail came back.\n--c\nContent-Type: message/rfc822\n\n{inner}\n--c--",
        Content_Type="multipart/mixed; boundary=c",
    )
    assert told(read(raw)) == [UNKNOWN]


def test_rules_come_before_the_tables() -> None:
    text = b"bounces: {rules: [{pattern: /zzz/, reason: policy, type: hard}]}"
    found = read(
        report(f"{ONE}\nDiagnostic-Code: smtp; zzz"), compiled(parse(text, FILE).bounces.rules)
    )
    assert told(found) == [("joe@a.example", "h", "policy")]


def test_recipients_of_many_reports_are_limited() -> None:
    part = f"--b\nContent-Type: message/delivery-status\n\n{ONE}\n\n{ONE}\n"
    raw = mail(part * status_reports.MOST, Content_Type="multipart/report; boundary=b")
    assert len(read(raw).recipients) == status_reports.MOST


ADDRESSES = {
    "apostrophe": ("rfc822; o'brien@a.example", "o'brien@a.example"),
    "apostrophe between angle brackets": ("rfc822;<o'brien@a.example>", "o'brien@a.example"),
    "quoted": ('rfc822; "a b"@a.example', '"a b"@a.example'),
    "quoted pair": (r'rfc822; "a\"b"@a.example', r'"a\"b"@a.example'),
    "between apostrophes": ("rfc822; 'joe@a.example'", "joe@a.example"),
    "with a comment": ("rfc822; joe@a.example (Joe)", "joe@a.example"),
    "with a dot behind": ("rfc822; joe@a.example.", "joe@a.example"),
    "many quoted pairs": ('rfc822; "' + r"\"" * 200_000, ""),
}


@for_every(ADDRESSES)
def test_address_of_a_report(value: str, wanted: str) -> None:
    assert status_reports.addressed(value) == wanted


def test_only_the_beginning_of_a_large_mail_is_read() -> None:
    raw = report(ONE, returned="Subject: x\n\n" + "x\n" * LARGEST)
    assert told(read(raw)) == [UNKNOWN]
    assert read(raw) == read(raw[:LARGEST])
    assert read(mail("x\n" * LARGEST + report(ONE).decode())).kind == "none"


def test_nested_multiparts_without_leaves_are_read_once() -> None:
    """Each contains all that are in it: read one by one, thousands of them would take minutes."""
    nested = "".join(
        f"Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n" for level in range(9)
    )
    text = "Content-Type: multipart/mixed; boundary=x\n\nhello\n"
    assert pieces(parse_mail(f"{nested}{text}".encode())).notice.count("hello") == 1
