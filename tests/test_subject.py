"""What of a message's Subject is stored with the campaign that it opens."""

from __future__ import annotations

import base64

import pytest
from fletching.mail.envelope import Envelope
from fletching.mail.message import parse
from fletching.policy.plan import Plan
from fletching.policy.subject import LONGEST

from tests.setting import RECIPIENT, SITE, envelope, plan

AGGREGATE = SITE.replace("list_id: t100,", "list_id: t100, privacy: aggregate,")
ASTRONAUT = "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{ROCKET}"
OBSCURED = b"X-GreenArrow-Obscured-Email: user-7\r\n"


def planned(
    subject: bytes, more: bytes = b"", site: str = SITE, around: Envelope | None = None
) -> Plan:
    """The Plan of a mail with this Subject field, folded or not."""
    classified = b"X-GreenArrow-MailClass: newsletter\r\nFrom: news@example.com\r\n"
    return plan(parse(classified + subject + more + b"\r\nHello.\r\n"), around, site)


def word(text: str, charset: str = "utf-8") -> bytes:
    return f"=?{charset}?B?{base64.b64encode(text.encode(charset)).decode()}?=".encode()


@pytest.mark.parametrize(
    ("field", "stored"),
    [
        pytest.param(b" Spring sale", "Spring sale", id="ASCII"),
        pytest.param(b" Spring\r\n\t sale ", "Spring sale", id="folded"),
        pytest.param(b" " + word("Frühling"), "Frühling", id="encoded word"),
        pytest.param(b" " + word("Grüße ") + b"\r\n " + word("an alle"), "Grüße an alle", id="two"),
        pytest.param(b" " + word("Øst", "iso-8859-1"), "Øst", id="other charset"),
        pytest.param("Größe".encode(), "Größe", id="raw UTF-8"),
        pytest.param(b" a\xff\x00\x1b[31mb", "a\N{REPLACEMENT CHARACTER} [31mb", id="control"),
        pytest.param(b" " + word("a\r\nBcc: x\u2028b"), "a Bcc: x b", id="line ends in a word"),
        pytest.param(b" " + word(ASTRONAUT), ASTRONAUT, id="emoji with a joiner"),
        pytest.param(b"", "", id="empty"),
    ],
)
def test_subject_is_stored_as_one_line_of_text(field: bytes, stored: str) -> None:
    assert planned(b"Subject:" + field + b"\r\n").subject == stored


def test_mail_without_a_subject() -> None:
    assert planned(b"").subject == ""


@pytest.mark.parametrize(
    "text",
    [b"x" * 60_000, b"x " * 30_000, b"\r\n ".join([word("\N{ROCKET}" * 11)] * 1000)],
    ids=["one word", "many words", "encoded words"],
)
def test_long_subject_is_cut(text: bytes) -> None:
    found = planned(b"Subject: " + text + b"\r\n").subject
    assert LONGEST - 2 < len(found) <= LONGEST
    assert found.endswith("\N{HORIZONTAL ELLIPSIS}")
    assert "=?" not in found


def test_recipients_address_is_replaced() -> None:
    around = envelope(RECIPIENT, f"my.{RECIPIENT}")
    field = f"Subject: {RECIPIENT.upper()}, your offers, my.{RECIPIENT}\r\n".encode()
    dots = "\N{HORIZONTAL ELLIPSIS}"
    for more in (b"", OBSCURED):
        assert planned(field, more, around=around).subject == f"{dots}, your offers, {dots}"


def test_aggregate_class_keeps_no_subject() -> None:
    assert planned(b"Subject: Hello Joe\r\n", site=AGGREGATE).subject == ""
