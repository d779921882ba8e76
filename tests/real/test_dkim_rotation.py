"""A DKIM key is replaced while mail goes on: Postfix, a name server (dnsmasq), both verifiers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fletching.cli.main import main

from sandbox.dnsmasq import Dnsmasq
from sandbox.postfix import Postfix
from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink
from sandbox.verifiers import verify_dkimpy, verify_opendkim

from .fletching import Fletching, send_until_taken
from .mails import NEWSLETTER, RECIPIENT, SENDER, mail

pytestmark = pytest.mark.slow

ED_AND_RSA = b'X-GreenArrow-DKIM: [{"selector": "ed"}, {"selector": "s1"}]'


@dataclass(frozen=True)
class Site:
    """Postfix with the milter, where its mail arrives, and the name server of the verifiers."""

    postfix: Postfix
    fletching: Fletching
    sink: Sink
    dns: Dnsmasq

    def rotate(self, *words: str) -> Result:
        config = ("--config", str(self.fletching.config_path))
        server = ("--name-server", self.dns.address)
        return CliRunner().invoke(main, ["dkim", "rotate", "example.com", *words, *server, *config])

    def deliver(self) -> bytes:
        """A mail that asks for the keys by their first selectors, as it arrives."""
        with self.postfix.client() as smtp:
            send_until_taken(smtp, mail(NEWSLETTER, ED_AND_RSA), SENDER, [RECIPIENT])
        (found,) = self.sink.wait()
        self.sink.clear()
        return found.raw

    def verdicts(self, raw: bytes) -> list[tuple[str, bool]]:
        """Each signature's selector, and whether it verifies now; both verifiers agree."""
        selectors = re.findall(rb"[ \t;]s=([\w.]+);", raw.partition(b"\r\n\r\n")[0])
        names = [f"{each.decode()}._domainkey.example.com" for each in selectors]
        records = {name: text for name in names if (text := self.dns.texts(name))}
        found = verify_dkimpy(raw, records)
        if len(records) == len(names):
            assert verify_opendkim(raw, records) == found
        return [(verdict.selector, verdict.passed) for verdict in found]

    def delivered_by(self, selectors: list[str]) -> bytes:
        """A mail with signatures of these keys: workers hear of a reload a moment later."""
        arrived = b""

        def signed() -> bool:
            nonlocal arrived
            arrived = self.deliver()
            return [name for name, _ in self.verdicts(arrived)] == selectors

        wait_until(f"no mail is signed by {selectors}", signed)
        return arrived


@pytest.fixture
def site(fresh: Path, running_redis: RedisServer) -> Iterator[Site]:
    fresh.mkdir()
    with (
        Sink("smtp") as sink,
        Dnsmasq(fresh) as dns,
        Fletching(fresh / "signing", running_redis.unix_url) as fletching,
    ):
        dns.publish(fletching.records)
        ports = dict.fromkeys(
            ("smtp", "relay", "vmta-a", "vmta-b", "vmta-transactional"), sink.port
        )
        with Postfix(fresh / "postfix", ports) as postfix:
            fletching.join(postfix)
            yield Site(postfix, fletching, sink, dns)


BEFORE, AFTER = ["ed", "s1"], ["ed2", "s2"]


def valid(selectors: list[str]) -> list[tuple[str, bool]]:
    return [(selector, True) for selector in selectors]


def test_rotation_while_mail_is_sent(site: Site) -> None:
    old = site.deliver()
    assert site.verdicts(old) == valid(BEFORE)

    first = site.rotate()
    assert first.exit_code == 0, first.stderr
    assert len(first.stdout.splitlines()) == 2, "a record of each kind of key"
    assert site.fletching.reload() == "done"
    assert site.verdicts(site.deliver()) == valid(BEFORE), "waiting keys do not sign"

    missing = site.rotate()
    assert missing.exit_code == 1
    assert "no DKIM record" in missing.stderr
    records = site.fletching.records
    assert len(records) == 4
    wrong = dict.fromkeys(records, records["s1._domainkey.example.com"])
    site.dns.publish({**wrong, "s1._domainkey.example.com": records["s1._domainkey.example.com"]})
    assert site.rotate().exit_code == 1
    site.dns.publish(records)
    assert site.fletching.reload() == "done"
    assert site.verdicts(site.deliver()) == valid(BEFORE)

    second = site.rotate()
    assert second.exit_code == 0, second.stderr
    assert site.verdicts(site.deliver()) == valid(BEFORE), "nothing changes before the reload"
    assert site.fletching.reload() == "done"
    new = site.delivered_by(AFTER)
    assert site.verdicts(new) == valid(AFTER)
    assert site.verdicts(old) == valid(BEFORE), "mail on its way still verifies"

    for selector in BEFORE:
        site.fletching.command("dkim", "retire", "example.com", selector)
    assert site.fletching.reload() == "done"
    assert site.verdicts(site.deliver()) == valid(AFTER)
    assert site.verdicts(old) == valid(BEFORE), "as long as its record stays"
    site.dns.publish(site.fletching.records)
    assert site.verdicts(old) == [("ed", False), ("s1", False)]
    assert site.verdicts(site.deliver()) == valid(AFTER)
