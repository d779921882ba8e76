"""Mails that come back: bounces (RFC 3464), complaints (RFC 5965), unsubscribes by mail."""

from __future__ import annotations


def bounce(to: str, header: str, status: str, words: str) -> str:
    """A delivery status notification about a mail with this header."""
    return _report(
        "delivery-status",
        f"Your message to {to} could not be delivered: {words}",
        "message/delivery-status",
        "Reporting-MTA: dns; mx.isp.example\r\n\r\n"
        f"Final-Recipient: rfc822; {to}\r\nAction: failed\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; {words} <{to}>\r\n",
        "text/rfc822-headers",
        header,
    )


def complaint(to: str, header: str) -> str:
    """A feedback report about a mail with this header."""
    return _report(
        "feedback-report",
        "This is a complaint about a message.",
        "message/feedback-report",
        "Feedback-Type: abuse\r\nUser-Agent: isp/1.0\r\nVersion: 1\r\n"
        f"Original-Rcpt-To: <{to}>\r\n",
        "message/rfc822",
        f"{header}\r\n\r\nHello\r\n",
    )


def unsubscribe(sender: str, to: str, subject: str) -> str:
    """What a mail program sends for a mailto of List-Unsubscribe."""
    return f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nPlease remove me.\r\n"


def _report(kind: str, words: str, second: str, fields: str, third: str, quoted: str) -> str:
    return (
        "From: <mailer-daemon@isp.example>\r\nTo: <bounces@example.com>\r\nSubject: Report\r\n"
        "MIME-Version: 1.0\r\n"
        f"Content-Type: multipart/report; report-type={kind}; boundary=part\r\n\r\n"
        f"--part\r\n\r\n{words}\r\n--part\r\nContent-Type: {second}\r\n\r\n{fields}\r\n"
        f"--part\r\nContent-Type: {third}\r\n\r\n{quoted}\r\n--part--\r\n"
    )
