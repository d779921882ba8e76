"""Rules behind a real Postfix: an application that adds no control header is steered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sandbox.postfix import Postfix
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail
from sandbox.verifiers import verify_dkimpy

from .fletching import Fletching, send_until_taken
from .mails import RECIPIENT, SENDER, body_of, mail

pytestmark = pytest.mark.slow

RULES: list[dict[str, Any]] = [
    {
        "name": "billing",
        "when": {"sender": "*@billing.example.com"},
        "set": {"mail_class": "transactional"},
        "last": True,
    },
    {
        "name": "urgent",
        "when": {"header": {"X-Priority": [1, 2]}},
        "set": {"mail_class": "crm", "virtual_mta": "transactional"},
        "last": True,
    },
    {
        "name": "google",
        "when": {"provider": "google"},
        "set": {"mail_class": "newsletter", "virtual_mta": "b", "instance_id": "7{header.X-Run}"},
    },
    {
        "name": "domain",
        "when": {"recipient_domain": "gmx.example"},
        "set": {"mail_class": "newsletter", "virtual_mta": "a"},
    },
    {
        "name": "vip",
        "when": {"recipient_in": "vip.txt"},
        "set": {"mail_class": "crm", "virtual_mta": "b"},
    },
]
LINK = b'<p><a href="http://www.example.org/b">See</a></p>\r\n'
HTML = b"MIME-Version: 1.0\r\nContent-Type: text/html"


@pytest.fixture(scope="module")
def running(place: Path, running_redis: RedisServer) -> Iterator[Fletching]:
    files = place / "rules-files"
    files.mkdir()
    (files / "vip.txt").write_text("ann@aol.example\n")
    rules = [dict(each) for each in RULES]
    rules[-1]["when"] = {"recipient_in": str(files / "vip.txt")}
    change = {
        "rules": rules,
        "providers": {"google": ["gmail.example"]},
        "trusted": {"networks": ["127.0.0.1/32"]},
    }
    with Fletching(place / "rules", running_redis.unix_url, change) as fletching:
        yield fletching


# By rule: a header field, the sender, the recipient, and the sink.
CASES = {
    "billing": (b"X-Mailer: app", "app@billing.example.com", RECIPIENT, "vmta-transactional"),
    "urgent": (b"X-Priority: 1", SENDER, RECIPIENT, "vmta-transactional"),
    "google": (b"X-Run: 42", SENDER, RECIPIENT, "vmta-b"),
    "domain": (b"X-Mailer: app", SENDER, "ben@GMX.example", "vmta-a"),
    "vip": (b"X-Mailer: app", SENDER, "Ann@aol.example", "vmta-b"),
}


def sent(
    postfix: Postfix,
    sinks: Mapping[str, Sink],
    case: tuple[bytes, str, str, str],
    source: str = "127.0.0.1",
) -> SunkMail:
    """The mail as it arrives, at that sink alone."""
    field, sender, recipient, sink = case
    with postfix.client(source=source) as smtp:
        send_until_taken(smtp, mail(field, HTML, body=LINK), sender, [recipient])
    (found,) = sinks[sink].wait()
    assert [name for name, each in sinks.items() if each.mails] == [sink]
    return found


@pytest.mark.parametrize("rule", CASES)
def test_mail_without_control_headers_is_steered(
    running: Fletching, postfix: Postfix, sinks: Mapping[str, Sink], redis: RedisServer, rule: str
) -> None:
    running.join(postfix)
    found = sent(postfix, sinks, CASES[rule])
    assert re.search(rb"(?m)^X-Mailer-Info: ", found.raw)
    tracked = b"click.example.com" in body_of(found.raw).replace(b"=\r\n", b"")
    assert tracked == (rule in ("google", "domain"))
    verdicts = verify_dkimpy(found.raw, running.records)
    assert [each.passed for each in verdicts] == [True], verdicts


def test_campaign_is_named_by_a_header_of_the_application(
    running: Fletching, postfix: Postfix, sinks: Mapping[str, Sink], redis: RedisServer
) -> None:
    running.join(postfix)
    sent(postfix, sinks, CASES["google"])
    assert running.mail_lines()[-1]["sendid"] == "newsletter742"


@pytest.mark.parametrize("rule", CASES)
def test_mail_of_a_stranger_is_not_touched(
    running: Fletching, postfix: Postfix, sinks: Mapping[str, Sink], redis: RedisServer, rule: str
) -> None:
    running.join(postfix)
    found = sent(postfix, sinks, (*CASES[rule][:3], "smtp"), source="127.0.0.2")
    assert body_of(found.raw) == LINK
    assert b"X-Mailer-Info" not in found.raw
    assert b"DKIM-Signature" not in found.raw


def test_mail_that_no_rule_matches_is_not_touched(
    running: Fletching, postfix: Postfix, sinks: Mapping[str, Sink], redis: RedisServer
) -> None:
    running.join(postfix)
    found = sent(postfix, sinks, (b"X-Priority: 3", SENDER, "joe@aol.example", "smtp"))
    assert body_of(found.raw) == LINK
    assert b"X-Mailer-Info" not in found.raw


def test_file_of_recipients_is_read_again_on_sighup(
    running: Fletching,
    place: Path,
    postfix: Postfix,
    sinks: Mapping[str, Sink],
    redis: RedisServer,
) -> None:
    running.join(postfix)
    file = place / "rules-files" / "vip.txt"
    before = file.read_text()
    file.write_text("no address\n")
    assert running.reload() == "failed"
    assert f"recipient_in: {file}: line 1: must be a mail address" in running.log()
    file.write_text("web.example\n")
    assert running.reload() == "done"
    running.settle()
    sent(postfix, sinks, (b"X-Mailer: app", SENDER, "joe@web.example", "vmta-b"))
    file.write_text(before)
    assert running.reload() == "done"
