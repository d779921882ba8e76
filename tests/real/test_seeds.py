"""Seed copies through a real Postfix: each seed gets one copy, when it is due, whatever dies."""

from __future__ import annotations

import email
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fletching.config.load import load
from fletching.store.seeds import ClaimedSeed, Seeds, SeedState

from sandbox.postfix import Postfix
from sandbox.processes import Daemon, wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail
from tests.stores import open_store

from .fletching import Fletching, send_until_taken
from .mails import SENDER, mail
from .test_one_recipient import set_up

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

    def send(self, count: int, *fields: Callable[[float], bytes]) -> None:
        """Sends a campaign; ``fields`` get the percentage that is sent."""
        with self.postfix.client() as smtp:
            for number in range(count):
                made = [field(100 * number / (count - 1)) for field in fields]
                raw = mail(b"X-GreenArrow-MailClass: newsletter", *made)
                send_until_taken(smtp, raw, SENDER, [f"r{number}@gmail.example"])


def instance(name: str) -> Callable[[float], bytes]:
    return lambda _: f"X-GreenArrow-InstanceID: {name}".encode()


def progress(percent: float) -> bytes:
    return f"X-GreenArrow-SeedProgress: {percent:.2f}".encode()


@pytest.fixture
def site(fresh: Path, directory: Path, running_redis: RedisServer) -> Iterator[Site]:
    running_redis.reset()
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
        site.send(count, instance("1"), progress)
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


IMPATIENT = (
    "-c",
    "from fletching.cli.main import main\n"
    "from fletching.daemons.courier.seeding import SeedCopies\n"
    "SeedCopies.__init__.__kwdefaults__.update(unanswered=2.0, first_pause=0.5)\n"
    "main()\n",
)
"""A courier that waits less before it repeats an attempt."""


def impatient_courier(site: Site) -> Daemon:
    daemon = site.fletching.beside("courier", IMPATIENT)
    daemon.start(lambda: "started daemon=courier" in daemon.log.read_text())
    return daemon


def test_kills_of_courier_and_milter_double_and_lose_no_copy(site: Site) -> None:
    count, chunk = 160, 8
    daemon = impatient_courier(site)
    try:
        for first in range(0, count, chunk):
            with site.postfix.client() as smtp:
                for number in range(first, first + chunk):
                    fields = (instance("2")(0), progress(100 * number / (count - 1)))
                    raw = mail(b"X-GreenArrow-MailClass: newsletter", *fields)
                    send_until_taken(smtp, raw, SENDER, [f"r{number}@gmail.example"])
            time.sleep((first // chunk % 4) * 0.1)
            if first // chunk % 2:
                daemon.kill()
                daemon = impatient_courier(site)
            if first // chunk % 5 == 2:
                site.fletching.kill()
                site.fletching.start()
        site.sent()
        copies = site.copies()
    finally:
        daemon.stop()
    assert Counter(each.recipients for each in copies) == {(seed,): 1 for seed in SEEDS}


def test_copies_wait_for_a_postfix_that_does_not_answer(site: Site) -> None:
    """Postfix is stopped after the campaign, and a second courier finds what the first one left."""
    with site.postfix.client() as smtp:
        raw = mail(b"X-GreenArrow-MailClass: newsletter", instance("3")(0), progress(100))
        send_until_taken(smtp, raw, SENDER, ["ada@gmail.example"])
    site.postfix.wait_empty()
    campaign = site.campaign()
    wait_until("no seed is claimed", lambda: len(site.seeds.of_campaign(campaign)) == len(SEEDS))
    site.postfix.stop()
    daemon = impatient_courier(site)
    try:
        wait_until(
            "no attempt fails",
            lambda: any(each.reply for each in site.seeds.of_campaign(campaign)),
        )
        site.postfix.start()
        site.sent()
        copies = site.copies()
    finally:
        daemon.stop()
    assert Counter(each.recipients for each in copies) == {(seed,): 1 for seed in SEEDS}


def test_seed_that_postfix_refuses_fails_and_the_others_are_sent(site: Site) -> None:
    site.postfix.set(
        smtpd_recipient_restrictions="check_recipient_access inline:{"
        f"{{{SEEDS[2]}=REJECT no such mailbox}}}}, permit_mynetworks, reject"
    )
    with courier(site), site.postfix.client() as smtp:
        raw = mail(b"X-GreenArrow-MailClass: newsletter", instance("4")(0), progress(100))
        send_until_taken(smtp, raw, SENDER, ["ada@gmail.example"])
        campaign = site.campaign()

        def settled() -> bool:
            found = site.seeds.of_campaign(campaign)
            return len(found) == len(SEEDS) and not any(each.state.is_pending for each in found)

        wait_until("not every seed is settled", settled)
        copies = site.copies()
    found = {each.address: each for each in site.seeds.of_campaign(campaign)}
    assert found[SEEDS[2]].state is SeedState.FAILED
    assert "no such mailbox" in found[SEEDS[2]].reply
    sent = set(SEEDS) - {SEEDS[2]}
    assert {address for each in copies for address in each.recipients} == sent


def test_waiting_copy_of_obscured_mail_leaves_no_address_in_redis(site: Site) -> None:
    """No courier runs, so the content waits."""
    with site.postfix.client() as smtp:
        fields = (instance("5")(0), b"X-GreenArrow-Obscured-Email: customer7", progress(100))
        raw = mail(b"X-GreenArrow-MailClass: newsletter", *fields)
        send_until_taken(smtp, raw, SENDER, ["ada@gmail.example"])
    campaign = site.campaign()
    wait_until("no seed is claimed", lambda: len(site.seeds.of_campaign(campaign)) == len(SEEDS))
    client: Any = site.redis.raw_client()
    read = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"stream": client.xrange,
    }
    stored = {key: str(read[client.type(key)](key)) for key in client.scan_iter()}
    assert any(b"seedcontents" in key for key in stored)
    assert not [key for key, value in stored.items() if "ada@" in value or "ada%40" in value]
    with courier(site):
        site.sent()
        copies = site.copies()
    tokens = [
        site.fletching.token("".join(email.message_from_bytes(each.raw)["X-Mailer-Info"].split()))
        for each in copies
    ]
    assert {token["email"] for token in tokens} == set(SEEDS)
    assert all(token["is_seed"] for token in tokens)


def test_copies_pass_through_the_one_recipient_recipe(site: Site) -> None:
    """Postfix takes mail without the milter, and passes it on to a service that has it."""
    set_up(site.postfix, load(site.fletching.config_path))
    daemon = impatient_courier(site)
    try:
        raw = mail(b"X-GreenArrow-MailClass: newsletter", instance("6")(0), progress(100))
        assert site.postfix.submit(raw, SENDER, ["ada@gmail.example"]).accepted
        wait_until("no mail has left", lambda: len(site.sink.mails) > 0)
        site.sent()
        copies = site.copies()
    finally:
        daemon.stop()
    assert Counter(each.recipients for each in copies) == {(seed,): 1 for seed in SEEDS}
