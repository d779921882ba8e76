"""Mail to suppressed recipients, through a real Postfix: who gets it, and who does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from fletching.store.suppression import Suppression

from sandbox.postfix import Postfix
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail
from tests.stores import open_store

from .fletching import Fletching
from .mails import NEWSLETTER, RECIPIENT, SENDER, mail

pytestmark = pytest.mark.slow

LIST = "t100"
GONE, OTHER = "gone@gmail.example", "bob@yahoo.example"
TAGGED = "tagged+x@gmail.example"
AGGREGATE = b"X-GreenArrow-MailClass: counted"
QUOTED = '"two words"@gmail.example'
MANY = [f"r{number}@gmail.example" for number in range(900)]


@dataclass(frozen=True)
class Site:
    postfix: Postfix
    fletching: Fletching
    sink: Sink

    def arrived(self) -> list[SunkMail]:
        """All mails that have left since the last time."""
        self.postfix.wait_empty()
        found = list(self.sink.mails)
        self.sink.clear()
        return found

    def recipients(self) -> set[str]:
        return {address for each in self.arrived() for address in each.recipients}


@pytest.fixture(scope="module")
def site(directory: Path, running_redis: RedisServer) -> Iterator[Site]:
    change = {
        "suppress": "refuse",
        "mail_classes": {"counted": {"list_id": LIST, "privacy": "aggregate"}},
    }
    names = ("smtp", "relay", "vmta-a", "vmta-b", "vmta-transactional")
    with (
        Sink("all") as sink,
        Fletching(directory / "suppressed", running_redis.unix_url, change) as fletching,
        Postfix(directory / "suppressing", dict.fromkeys(names, sink.port)) as postfix,
    ):
        fletching.join(postfix)
        postfix.set(
            virtual_alias_domains="team.example",
            virtual_alias_maps=f"inline:{{ {{all@team.example={RECIPIENT}, {OTHER}}} }}",
        )
        yield Site(postfix, fletching, sink)


@pytest.fixture(autouse=True)
def _suppressed(site: Site, running_redis: RedisServer) -> None:
    lists = Suppression(open_store(running_redis.unix_url))
    for address in (GONE, QUOTED, "all@team.example", TAGGED, *MANY[::2]):
        lists.add(LIST, address, "unsubscribed", 1000)


@pytest.mark.parametrize(
    ("to", "gets"),
    [
        ([RECIPIENT, GONE, OTHER], [RECIPIENT, OTHER]),
        ([GONE.upper(), RECIPIENT, OTHER], [RECIPIENT, OTHER]),
        ([QUOTED, RECIPIENT, OTHER], [RECIPIENT, OTHER]),
        (
            [TAGGED, "tagged@gmail.example", OTHER],
            ["tagged@gmail.example", OTHER],
        ),
        ([GONE, GONE, RECIPIENT, RECIPIENT, OTHER], [RECIPIENT, OTHER]),
        # The alias is suppressed, so what it stands for gets nothing by it.
        (["all@team.example", "carol@aol.example"], ["carol@aol.example"]),
        (["all@team.example", RECIPIENT], [RECIPIENT]),
        ([RECIPIENT, OTHER], [RECIPIENT, OTHER]),
    ],
    ids=["one", "case", "quoted", "extension", "twice", "alias", "alias of another", "nobody"],
)
def test_suppressed_recipients_get_nothing_and_the_others_the_mail(
    site: Site, to: Sequence[str], gets: Sequence[str]
) -> None:
    reply = site.postfix.submit(mail(NEWSLETTER), SENDER, to)
    assert reply.accepted, reply
    assert site.recipients() == {*gets}
    removed = len({*to} & {GONE, GONE.upper(), QUOTED, "all@team.example", TAGGED})
    warning = f'warning="suppressed recipients removed: {removed}"'
    assert (warning in site.fletching.line_of(reply)) == bool(removed)


def test_mail_is_rejected_if_all_recipients_are_suppressed(site: Site) -> None:
    reply = site.postfix.submit(mail(NEWSLETTER), SENDER, [GONE, QUOTED])
    assert (reply.code, reply.text[:5]) == (550, "5.7.1"), reply
    assert site.recipients() == set()


def test_recipients_of_mail_from_sendmail_are_removed(site: Site) -> None:
    site.postfix.sendmail(mail(NEWSLETTER).replace(b"\r\n", b"\n"), "-f", SENDER, RECIPIENT, GONE)
    assert site.recipients() == {RECIPIENT}


def test_aggregate_class_removes_recipients_and_names_none(
    site: Site, running_redis: RedisServer
) -> None:
    reply = site.postfix.submit(mail(AGGREGATE), SENDER, [RECIPIENT, GONE])
    assert reply.accepted, reply
    (arrived,) = site.arrived()
    assert arrived.recipients == (RECIPIENT,)
    line = site.fletching.line_of(reply)
    assert "suppressed recipients removed: 1" in line
    assert RECIPIENT not in line
    assert GONE not in line
    assert site.postfix.submit(mail(AGGREGATE), SENDER, [GONE]).code == 550


def test_half_of_many_recipients_are_removed(site: Site) -> None:
    reply = site.postfix.submit(mail(NEWSLETTER), SENDER, MANY)
    assert reply.accepted, reply
    assert site.recipients() == {*MANY[1::2]}
