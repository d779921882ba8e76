"""Added and repaired header fields, through a real Postfix: each once, signed, and recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from sandbox.postfix import Postfix
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail
from sandbox.verifiers import verify_dkimpy, verify_opendkim

from .fletching import Fletching, send_until_taken
from .mails import NEWSLETTER, RECIPIENT, SENDER

pytestmark = pytest.mark.slow

CHANGE = {
    "add_headers": {
        "Feedback-ID": "{campaign}:{mail_class}:{list_id}:shop",
        "CFBL-Address": "fbl@example.com; report=arf",
        "CFBL-Feedback-ID": "{campaign}:{message_number}",
        "References": "{header.X-Other}",
    },
    "mail_classes": {
        "newsletter": {"add_headers": {"List-ID": '"Gr\u00fc\u00dfe" <n.example.com>'}}
    },
}
BARE = b"From: Shop <shop@example.com>\r\nTo: ada@gmail.example\r\nSubject: Offers\r\n"


@dataclass(frozen=True)
class Site:
    postfix: Postfix
    fletching: Fletching
    sink: Sink

    def deliver(self, raw: bytes) -> tuple[SunkMail, str]:
        """A mail as it arrives, and its line in the log."""
        self.sink.clear()
        with self.postfix.client() as smtp:
            reply = send_until_taken(smtp, raw, SENDER, [RECIPIENT])[-1]
        (arrived,) = self.sink.wait()
        return arrived, self.fletching.line_of(reply)


@pytest.fixture(scope="module")
def site(place: Path, running_redis: RedisServer) -> Iterator[Site]:
    names = ("smtp", "relay", "vmta-a", "vmta-b", "vmta-transactional")
    with (
        Sink("all") as sink,
        Fletching(place / "adding", running_redis.unix_url, CHANGE) as fletching,
        Postfix(place / "added", dict.fromkeys(names, sink.port)) as postfix,
    ):
        fletching.join(postfix)
        yield Site(postfix, fletching, sink)


def signed_well(site: Site, arrived: SunkMail) -> bool:
    """Whether dkimpy and OpenDKIM accept the signature."""
    records = site.fletching.records
    verdicts = [*verify_opendkim(arrived.raw, records), *verify_dkimpy(arrived.raw, records)]
    return len(verdicts) == 2 and all(each.passed for each in verdicts)


@pytest.mark.parametrize(
    ("clients", "always", "by_postfix"),
    [
        ("", "no", False),
        ("", "yes", True),
        ("permit_mynetworks", "no", True),
    ],
    ids=["neither", "always_add_missing_headers", "local_header_rewrite_clients"],
)
def test_date_and_message_id_are_there_once(
    site: Site, clients: str, always: str, by_postfix: bool
) -> None:
    site.postfix.set(local_header_rewrite_clients=clients, always_add_missing_headers=always)
    arrived, _ = site.deliver(NEWSLETTER + b"\r\n" + BARE + b"\r\nHello\r\n")
    (date,) = arrived.message.get_all("Date", [])
    (message_id,) = arrived.message.get_all("Message-ID", [])
    assert parsedate_to_datetime(date).tzinfo is not None
    # Postfix's own is of its host name, ours of the From domain.
    assert message_id.endswith("@example.com>") != by_postfix
    assert signed_well(site, arrived)
    life = site.fletching.command("trace", message_id.strip())
    assert "newsletter" in life, "the trace finds the final Message-ID"


def test_added_headers_arrive_as_they_were_signed(site: Site) -> None:
    # Longer than a line may be, without a blank to fold it at.
    long = "x" * 1000
    raw = NEWSLETTER + b"\r\n" + BARE + f"X-Other: {long}\r\n\r\nHello\r\n".encode()
    site.postfix.set(local_header_rewrite_clients="", always_add_missing_headers="no")
    arrived, line = site.deliver(raw)
    campaign = line.partition(" campaign=")[2].partition(" ")[0]
    number = line.partition(" number=")[2].partition(" ")[0]
    message = arrived.message
    assert message["Feedback-ID"] == f"{campaign}:newsletter:t100:shop"
    assert message["CFBL-Address"] == "fbl@example.com; report=arf"
    assert message["CFBL-Feedback-ID"] == f"{campaign}:{number}"
    assert "<n.example.com>" in message["List-ID"]
    assert b"List-ID: =?utf-8?" in arrived.raw
    assert message["References"].replace(" ", "") == long
    assert signed_well(site, arrived)


def test_mail_from_sendmail_is_repaired_once(site: Site) -> None:
    site.sink.clear()
    raw = (NEWSLETTER + b"\r\n" + BARE + b"\r\nHello\r\n").replace(b"\r\n", b"\n")
    site.postfix.sendmail(raw, "-f", SENDER, RECIPIENT)
    (arrived,) = site.sink.wait()
    assert [arrived.header_names.count(name) for name in ("date", "message-id")] == [1, 1]
    assert signed_well(site, arrived)
