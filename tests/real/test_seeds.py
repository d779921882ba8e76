"""Seed copies through a real Postfix: each seed gets one copy, when it is due, whatever dies."""

from __future__ import annotations

import email
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fletching.store.seeds import ClaimedSeed, Seeds, SeedState

from sandbox.postfix import Postfix
from sandbox.processes import Daemon, wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail
from tests.stores import open_store

from .fletching import Fletching, send_until_taken
from .mails import SENDER, mail

pytestmark = pytest.mark.slow

SEEDS = [f"seed{number}@isp{number}.example" for number in range(7)]
COURIER = ("-m", "fletching")


@dataclass(frozen=True)
class Site:
    """A host: Postfix, the milter, and a courier beside it."""

    postfix: Postfix
    fletching: Fletching
    sink: Sink
    redis: RedisServer

    @property
    def seeds(self) -> Seeds:
        return Seeds(open_store(self.redis.unix_url))

    def campaign(self) -> str:
        """The newest campaign of the log."""
        return next(line["campaign"] for line in reversed(self.fletching.mail_lines()))

    def sent(self) -> dict[str, ClaimedSeed]:
        """The seeds of the newest campaign, once all of them have their copies."""
        campaign = self.campaign()

        def all_sent() -> bool:
            found = self.seeds.of_campaign(campaign)
            return [each.state for each in found] == [SeedState.SENT] * len(SEEDS)

        wait_until(f"not every seed got its copy: {self.seeds.of_campaign(campaign)}", all_sent)
        return {each.address: each for each in self.seeds.of_campaign(campaign)}

    def copies(self) -> list[SunkMail]:
        """All mails to seeds that have left."""
        self.postfix.wait_empty()
        return [each for each in self.sink.mails if each.recipients[0] in SEEDS]

    def send(
        self, count: int, *fields: Callable[[float], bytes], meanwhile: Callable[[int], None]
    ) -> None:
        """Sends a campaign; ``fields`` get the percentage that is sent."""
        with self.postfix.client() as smtp:
            for number in range(count):
                made = [field(100 * number / (count - 1)) for field in fields]
                raw = mail(b"X-GreenArrow-MailClass: newsletter", *made)
                send_until_taken(smtp, raw, SENDER, [f"r{number}@gmail.example"])
                meanwhile(number)


def nothing(_: int) -> None:
    """Nothing happens meanwhile."""


def instance(name: str) -> Callable[[float], bytes]:
    return lambda _: f"X-GreenArrow-InstanceID: {name}".encode()


def progress(percent: float) -> bytes:
    return f"X-GreenArrow-SeedProgress: {percent:.2f}".encode()


@pytest.fixture
def site(fresh: Path, directory: Path, running_redis: RedisServer) -> Iterator[Site]:
    names = ("smtp", "relay", "vmta-a", "vmta-b", "vmta-transactional")
    with (
        Sink("seeds") as sink,
        Postfix(fresh, dict.fromkeys(names, sink.port)) as postfix,
        Fletching(
            fresh.with_name(f"{fresh.name}-milter"),
            running_redis.unix_url,
            {
                "seed_lists": {"main": SEEDS},
                "seeds": {"submit": f"127.0.0.1:{postfix.port}"},
                "mail_classes": {"newsletter": {"seed": {"list": "main", "start": 1, "end": 61}}},
            },
        ) as fletching,
    ):
        fletching.join(postfix)
        yield Site(postfix, fletching, sink, running_redis)


@contextmanager
def courier(site: Site) -> Iterator[Daemon]:
    """A courier, which is ended at the end."""
    daemon = site.fletching.beside("courier", COURIER)
    daemon.start(lambda: "started daemon=courier" in daemon.log.read_text())
    try:
        yield daemon
    finally:
        daemon.stop()


def test_each_seed_gets_one_copy_at_its_due_point(site: Site) -> None:
    count = 200
    with courier(site):
        site.send(count, instance("1"), progress, meanwhile=nothing)
        seeds = site.sent()
        copies = site.copies()
    assert Counter(each.recipients for each in copies) == {(seed,): 1 for seed in SEEDS}
    for position, address in enumerate(SEEDS):
        copied = seeds[address].mail
        due = 1 + position * (count - 1) / (len(SEEDS) - 1)
        # Copies take numbers, too.
        assert 0 <= copied - due <= count / 100 + position
    parsed = [email.message_from_bytes(each.raw) for each in copies]
    assert {each["X-CampaignID"] for each in parsed} == {site.campaign()}
    assert {each["To"] for each in parsed} == {"ada@gmail.example"}
    tokens = [site.fletching.token("".join(each["X-Mailer-Info"].split())) for each in parsed]
    assert {token["email"] for token in tokens} == set(SEEDS)
    assert not site.redis.client.keys("*contents*")
