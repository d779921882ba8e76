"""`fletching lint` on a mail as it arrives behind a real Postfix, with the records of its keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fletching.cli.main import main

from sandbox.name_server import NameServer
from sandbox.postfix import Postfix
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail
from tests.test_cli_lint import SUBMITTED

from .fletching import Fletching
from .mails import RECIPIENT, SENDER

pytestmark = pytest.mark.slow

RAW = SUBMITTED.replace("\n", "\r\n").encode()
ADDRESSES = {"a": {"address": "192.0.2.10"}, "b": {"address": "192.0.2.11"}}


@dataclass(frozen=True)
class Site:
    """A host whose VirtualMTAs have addresses, and the sink that all mail goes to."""

    postfix: Postfix
    fletching: Fletching
    sink: Sink

    def deliver(self, raw: bytes) -> SunkMail:
        """What arrives of a mail."""
        reply = self.postfix.submit(raw, SENDER, [RECIPIENT])
        assert reply.accepted, reply
        (arrived,) = self.sink.wait()
        self.sink.clear()
        return arrived

    def lint(self, mail: Path, *words: str) -> Any:
        """The JSON of the command."""
        config = ["--config", str(self.fletching.config_path)]
        result = CliRunner().invoke(main, ["lint", str(mail), "--json", *words, *config])
        return json.loads(result.stdout)


@pytest.fixture(scope="module")
def site(place: Path, running_redis: RedisServer) -> Iterator[Site]:
    with Sink("all") as sink, Fletching(place / "lint", running_redis.unix_url) as fletching:
        transports = ("smtp", "relay", "vmta-a", "vmta-b", "vmta-transactional")
        with Postfix(place / "postfix", dict.fromkeys(transports, sink.port)) as postfix:
            fletching.join(postfix)
            # Only for lint: Postfix cannot send from addresses that this host does not have.
            fletching.configure({"virtual_mtas": ADDRESSES})
            yield Site(postfix, fletching, sink)


def saved(arrived: SunkMail, folder: Path) -> Path:
    """The mail as a mailbox has it, with the return path on top."""
    path = folder / "arrived.eml"
    path.write_bytes(f"Return-Path: <{arrived.sender}>\r\n".encode() + arrived.raw)
    return path


def test_arrived_mail_is_judged_as_it_is(site: Site, tmp_path: Path) -> None:
    mail = saved(site.deliver(RAW), tmp_path)
    found = site.lint(mail)
    assert (found["judged"], found["findings"]) == ("as it is", [])


def test_lint_before_sending_finds_what_lint_after_it_finds(site: Site, tmp_path: Path) -> None:
    """But for the fields that Postfix adds or changes, which is none here."""
    raw = RAW.replace(b'alt="A coat"', b"").replace(b"https://example.com/coats", b"https://t.co/a")
    raw = raw.replace(b"Subject: ", b"Subject: Re: ")
    submitted = tmp_path / "submitted.eml"
    submitted.write_bytes(raw)
    before = site.lint(submitted)
    after = site.lint(saved(site.deliver(raw), tmp_path))
    assert (before["judged"], after["judged"]) == ("as it would leave", "as it is")
    assert before["findings"] == after["findings"]
    rules = [finding["rule"] for finding in after["findings"]]
    assert rules == ["subject-of-reply", "alt-missing", "link-shortener"]


def test_arrived_mail_is_verified_with_the_records_of_its_keys(site: Site, tmp_path: Path) -> None:
    mail = saved(site.deliver(RAW), tmp_path)
    records = {
        (name, "TXT"): [" ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250))]
        for name, text in site.fletching.records.items()
    }
    records |= {
        ("_dmarc.example.com", "TXT"): ['"v=DMARC1; p=none; rua=mailto:d@example.com"'],
        ("example.com", "TXT"): ['"v=spf1 ip4:192.0.2.0/24 -all"'],
        ("example.com", "MX"): ["10 mx.example.com."],
        ("10.2.0.192.in-addr.arpa", "PTR"): ["a.example.com."],
        ("11.2.0.192.in-addr.arpa", "PTR"): ["b.example.com."],
        ("a.example.com", "A"): ["192.0.2.10"],
        ("b.example.com", "A"): ["192.0.2.11"],
    }
    with NameServer(records) as server:
        at = f"{server.resolver.nameservers[0]}:{server.resolver.port}"
        found = site.lint(mail, "--dns", "--name-server", at)
        # Nobody serves links here.
        assert [each["rule"] for each in found["findings"]] == ["tracking-tls"]
        mail.write_bytes(mail.read_bytes().replace(b"three coats", b"four coats"))
        found = site.lint(mail, "--dns", "--name-server", at)
        rules = {each["rule"] for each in found["findings"]}
    assert {"dkim-invalid", "dkim-not-aligned"} <= rules
