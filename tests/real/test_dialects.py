"""Headers of other vendors behind a real Postfix: gone, followed, and the mail is signed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sandbox.postfix import Postfix
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail
from sandbox.verifiers import verify_dkimpy, verify_opendkim

from .fletching import Fletching, send_until_taken
from .mails import COMMON, MIME, RECIPIENT, SENDER, body_of

pytestmark = pytest.mark.slow

DIALECTS = ["mailgun", "sendgrid", "sparkpost", "postmark", "powermta"]
BODY = (
    b"--b1\r\nContent-Type: text/plain\r\n\r\nSee http://www.example.org/a\r\n"
    b"--b1\r\nContent-Type: text/html\r\n\r\n"
    b'<p><a href="http://www.example.org/b">See</a></p>\r\n--b1--\r\n'
)
TYPE = b"Content-Type: multipart/alternative; boundary=b1\r\n"
CLICK, OPEN = b"click.example.com/click", b"click.example.com/open"

# By vendor: the fields, what is removed, the sink, and what is tracked in text, HTML, and by pixel.
CASES: dict[str, tuple[bytes, list[bytes], str, tuple[bool, bool, bool]]] = {
    "mailgun": (
        b"X-Mailgun-Track-Clicks: htmlonly\r\nX-Mailgun-Track-Opens: no\r\n"
        b"X-Mailgun-Sending-Ip-Pool: b\r\nX-Mailgun-Deliver-By: tomorrow\r\n",
        [b"X-Mailgun-Track-", b"X-Mailgun-Sending-", b"X-Mailgun-Deliver-"],
        "vmta-b",
        (False, True, False),
    ),
    "sendgrid": (
        b'X-SMTPAPI: {"category": "welcome", "ip_pool": "a",\r\n'
        b'  "filters": {"clicktrack": {"settings": {"enable": 0}},\r\n'
        b'\t"opentrack": {"settings": {"enable": 1}}}}\r\n',
        [b"X-SMTPAPI"],
        "vmta-a",
        (False, False, True),
    ),
    "postmark": (
        b"X-PM-Message-Stream: transactional\r\nX-PM-TrackLinks: HtmlAndText\r\n"
        b"X-PM-TrackOpens: true\r\nX-PM-Metadata-order: 4711\r\n",
        [b"X-PM-"],
        "vmta-transactional",
        (True, True, True),
    ),
    "powermta": (
        b"x-virtual-mta: b\r\nx-job: 100525\r\n",
        [b"x-virtual-mta", b"x-job"],
        "vmta-b",
        (True, True, True),
    ),
}


@pytest.fixture(scope="module")
def running(place: Path, running_redis: RedisServer) -> Iterator[Fletching]:
    change = {
        "dialects": DIALECTS,
        "default_mail_class": "newsletter",
        "trusted": {"networks": ["127.0.0.1/32"]},
    }
    with Fletching(place / "dialects", running_redis.unix_url, change) as fletching:
        yield fletching


def tracked(body: bytes) -> tuple[bool, bool, bool]:
    text, _, html = body.replace(b"=\r\n", b"").partition(b"text/html")
    return CLICK in text, CLICK in html, OPEN in html


def sent(postfix: Postfix, raw: bytes, sinks: Mapping[str, Sink], sink: str) -> SunkMail:
    """The mail as it arrives, at that sink alone."""
    with postfix.client() as smtp:
        send_until_taken(smtp, raw, SENDER, [RECIPIENT])
    (found,) = sinks[sink].wait()
    assert [name for name, each in sinks.items() if each.mails] == [sink]
    return found


@pytest.mark.parametrize("vendor", CASES)
def test_mail_of_an_application_of_another_vendor(
    running: Fletching, postfix: Postfix, sinks: Mapping[str, Sink], redis: RedisServer, vendor: str
) -> None:
    fields, removed, sink, expected = CASES[vendor]
    running.join(postfix)
    mail = sent(postfix, fields + MIME + TYPE + COMMON + b"\r\n" + BODY, sinks, sink)
    header = mail.raw.partition(b"\r\n\r\n")[0].lower()
    assert not [name for name in removed if b"\r\n" + name.lower() in b"\r\n" + header]
    assert tracked(body_of(mail.raw)) == expected
    for verify in (verify_dkimpy, verify_opendkim):
        verdicts = verify(mail.raw, running.records)
        assert [each.passed for each in verdicts] == [True], verdicts


def test_log_line_says_what_has_no_counterpart(
    running: Fletching, postfix: Postfix, sinks: Mapping[str, Sink], redis: RedisServer
) -> None:
    running.join(postfix)
    fields = b"X-Mailgun-Deliver-By: tomorrow\r\nX-Mailgun-Tag: welcome\r\n"
    reply = postfix.submit(fields + COMMON + b"\r\nx\r\n", SENDER, [RECIPIENT])
    assert reply.accepted, reply
    line = running.line_of(reply)
    assert 'warning="X-Mailgun-Deliver-By: no counterpart"' in line
    (mail,) = [mail for sink in sinks.values() for mail in sink.mails] or sinks["vmta-a"].wait()
    assert re.search(rb"(?m)^X-Mailgun-Tag: welcome\r$", mail.raw)


def test_untrusted_client_cannot_use_them(
    running: Fletching, postfix: Postfix, sinks: Mapping[str, Sink], redis: RedisServer
) -> None:
    running.join(postfix)
    with postfix.client(source="127.0.0.2") as smtp:
        raw = b"x-virtual-mta: b\r\n" + COMMON + b"\r\nx\r\n"
        send_until_taken(smtp, raw, SENDER, [RECIPIENT])
    (mail,) = sinks["smtp"].wait()
    assert b"x-virtual-mta: b\r\n" in mail.raw
