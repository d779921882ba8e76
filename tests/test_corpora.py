"""Mails and newsletters that no one here wrote, carried the whole way: the laws hold for all."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

from fletching.mail import mime, seven_bit
from fletching.mail.message import Message, parse
from fletching.outgoing.edits import replay
from fletching.outgoing.flow import Outcome
from fletching.policy.setup import Setup
from fletching.tokens import Kind, found_in

from tests.cases import for_every
from tests.corpora import cpython_mails, foundation_emails
from tests.dkim_judges import ED25519, RSA, dkimpy_says, on_the_wire
from tests.rewriting import entity, read
from tests.setting import KEYRING, SITE, carried, setup

CONTROL = b"""\
X-GreenArrow-MailClass: newsletter\r
X-GreenArrow-InstanceID: 100525\r
X-GreenArrow-Click-Tracking-ID: corpus\r
X-GreenArrow-DKIM: [{"domain": "example.com", "selector": "s1"},\r
 {"domain": "example.com", "selector": "e1"}]\r
"""
USUAL = b"""\
From: Shop <news@example.com>\r
To: reader@example.org\r
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r
MIME-Version: 1.0\r
"""
ENCODINGS = "7bit", "8bit", "quoted-printable", "base64"
TRACKING = re.compile(rb"https://click\.example\.com/(?:click|open|unsub)\?[A-Za-z0-9_-]+")
PIXEL = re.compile(rb'<img src="https://click\.example\.com/open\?[^>]*>')


@cache
def opened() -> Setup:
    site = SITE.replace("opens: true", "opens: true, text: true")
    site += "preserve_visible_urls: false\n"
    return replace(setup(site), dkim_keys=(RSA, ED25519))


def cpython_mail(path: Path) -> bytes:
    """One of CPython's mails with a sender, whose field is what DKIM signs first of all."""
    raw = path.read_bytes()
    raw = raw.partition(b"\n")[2] if raw.startswith(b"From ") else raw
    return raw if re.search(rb"(?mi)^from:", bytes(parse(raw))) else b"From: a@example.com\n" + raw


def newsletter(path: Path, encoding: str) -> bytes:
    """A mail around a page: a text beside it, and a picture behind."""
    page = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    text = "Grüße https://x.example/?a=1 und tschüß\r\n".encode()
    parts = (
        entity("text/plain", text, encoding),
        entity("text/html", page, encoding),
        entity("image/png", bytes(range(256)) * 9, "base64"),
    )
    body = b"".join(b"--=_b\r\n" + part + b"\r\n" for part in parts)
    return USUAL + b'Content-Type: multipart/mixed; boundary="=_b"\r\n\r\n' + body + b"--=_b--\r\n"


@cache
def mails() -> dict[str, bytes]:
    """All of them, by name."""
    theirs = {path.name: cpython_mail(path) for path in cpython_mails()}
    pages = foundation_emails()
    return theirs | {
        f"{number}-{path.name}-{encoding}": newsletter(path, encoding)
        for number, path in enumerate(pages)
        for encoding in ENCODINGS
    }


def mails_by_name() -> list[str]:
    return [*mails()]


@cache
def journey(name: str) -> tuple[Message, Outcome]:
    """A mail with a class, as it came and as it left."""
    message = parse(CONTROL + mails()[name])
    return message, carried(message, opened=opened())


each_mail = for_every(mails_by_name)


@each_mail
def test_law_1_the_edits_make_the_final_mail(name: str) -> None:
    message, outcome = journey(name)
    assert outcome.refusal is None
    assert replay(message, outcome.edits) == outcome.final


@each_mail
def test_law_2_no_class_and_no_control_headers_mean_no_edits(name: str) -> None:
    message = parse(mails()[name])
    outcome = carried(message, opened=opened())
    assert outcome.edits == ()
    assert outcome.final == message


@each_mail
def test_no_control_header_leaves(name: str) -> None:
    final = journey(name)[1].final
    assert not [header for header in final.headers if header.key.startswith(b"x-greenarrow")]
    assert not final.has(b"x-fletching-route")
    assert final.has(b"x-mailer-info")


@each_mail
def test_every_signature_verifies(name: str) -> None:
    final = journey(name)[1].final
    ours = [header for header in final.headers[:2] if b"d=example.com;" in header.value]
    assert len(ours) == 2
    for index in range(2):
        assert dkimpy_says(on_the_wire(final), index)


@each_mail
def test_every_signed_mail_is_seven_bit(name: str) -> None:
    final = journey(name)[1].final
    protected = any(part.protected_by for part in mime.parts(final))
    assert seven_bit.is_seven_bit(final) or protected
    for header in final.headers:
        lines = (header.name + b":" + header.value).split(b"\r\n")
        assert max(map(len, lines)) <= 998


@each_mail
def test_content_that_is_not_tracked_is_the_same(name: str) -> None:
    message, outcome = journey(name)
    before, after = read(message), read(outcome.final)
    assert [kind for kind, _ in before] == [kind for kind, _ in after]
    for (kind, old), (_, new) in zip(before, after, strict=True):
        if kind in ("text/html", "text/plain"):
            assert as_it_came(new).fullmatch(old)
        else:
            assert new == old


@each_mail
def test_tracking_urls_have_the_destinations_of_the_mail(name: str) -> None:
    message, outcome = journey(name)
    before = b"\n".join(content for _, content in read(message))
    found = [token for _, content in read(outcome.final) for token in TRACKING.findall(content)]
    read_before = html.unescape(before.decode("utf-8", "replace"))
    for url in found:
        token = KEYRING.open(found_in(url.decode()))
        assert token.facts == outcome.facts
        assert token.destination in read_before
        assert (token.kind is Kind.OPEN) == (token.destination == "")
    if name.endswith(ENCODINGS):
        kinds = [KEYRING.open(found_in(url.decode())).kind for url in found]
        assert kinds.count(Kind.OPEN) == 1
        assert kinds.count(Kind.CLICK_TEXT) == 1


def as_it_came(content: bytes) -> re.Pattern[bytes]:
    """What a content can only have been before it was tracked."""
    pieces: list[bytes] = []
    at = 0
    content = PIXEL.sub(b"", content)
    for url in TRACKING.finditer(content):
        destination = KEYRING.open(found_in(url[0].decode())).destination.encode()
        written = re.escape(destination).replace(rb"\&", rb"&(?:amp;)?")
        pieces += (re.escape(content[at : url.start()]), written)
        at = url.end()
    return re.compile(b"".join([*pieces, re.escape(content[at:])]))
