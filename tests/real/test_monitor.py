"""Monitor behind a real Postfix: from a campaign to mailboxes, command and dashboard."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fletching.store.placements import Placements
from fletching.store.seeds import Seeds, SeedState

from sandbox.dovecot import Dovecot
from sandbox.postfix import Postfix
from sandbox.processes import free_port, wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink
from sandbox.web import ask
from tests.stores import open_store

from .fletching import Fletching, send_until_taken
from .mails import SENDER, mail

pytestmark = pytest.mark.slow

PASSWORD = "secret of the seeds"
USERS = ("inbox", "spam", "gone")
SEEDS = [f"{user}@seeds.example" for user in USERS]
PROGRAM = ("-m", "fletching")


def test_copies_are_found_where_they_arrived(
    fresh: Path, running_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("smtp", "relay", "vmta-a", "vmta-b", "vmta-transactional")
    port = free_port()
    with (
        Sink("seeds") as sink,
        Dovecot(fresh.with_name(f"{fresh.name}-imap"), dict.fromkeys(USERS, PASSWORD)) as dovecot,
        Postfix(fresh, dict.fromkeys(names, sink.port)) as postfix,
    ):
        monkeypatch.setenv("SSL_CERT_FILE", str(dovecot.certificates.authority))
        change: dict[str, Any] = {
            "seed_lists": {"main": SEEDS},
            "seeds": {"submit": f"127.0.0.1:{postfix.port}"},
            "mail_classes": {"newsletter": {"seed": {"list": "main", "start": 1, "end": 3}}},
            "web": {"admin_listen": f"127.0.0.1:{port}"},
        }
        where = fresh.with_name(f"{fresh.name}-milter")
        with Fletching(where, running_redis.unix_url, change) as fletching:
            fletching.join(postfix)
            campaign = send_campaign(fletching, postfix, running_redis)
            for sunk in sink.mails:
                user = sunk.recipients[0].partition("@")[0]
                if user in ("inbox", "spam"):
                    folder = "INBOX" if user == "inbox" else "Junk"
                    dovecot.put(user, sunk.raw, time.time(), folder)

            fletching.configure(change | {"seed_lists": {"main": with_imap(dovecot, fresh)}})
            found = Placements(open_store(running_redis.unix_url))
            courier = fletching.beside("courier", PROGRAM)
            courier.start(lambda: "started daemon=courier" in courier.log.read_text())
            wait_until("no placement", lambda: len(found.of_campaign(campaign)) == len(SEEDS))
            courier.stop()
            assert [found.of_campaign(campaign)[seed].where for seed in SEEDS] == [
                *("inbox", "spam", "")
            ]

            told = json.loads(fletching.command("monitor", campaign, "--json"))["seeds"]
            assert {row["seed"]: row["placement"] for row in told} == dict(
                zip(SEEDS, ("inbox", "spam", "waiting"), strict=True)
            )
            web = fletching.beside("web", PROGRAM)
            web.start(lambda: "started daemon=web" in web.log.read_text())
            page = ask(port, f"http://127.0.0.1:{port}/campaign/{campaign}").body.decode()
            web.stop()
            assert "Where seed copies arrived" in page
            assert "spam folder" in page
            assert "<small>Junk</small>" in page


def send_campaign(fletching: Fletching, postfix: Postfix, redis: RedisServer) -> str:
    """Sends a campaign of ten messages; its id, once Postfix has sent all copies."""
    courier = fletching.beside("courier", PROGRAM)
    courier.start(lambda: "started daemon=courier" in courier.log.read_text())
    with postfix.client() as smtp:
        for number in range(10):
            raw = mail(b"X-GreenArrow-MailClass: newsletter")
            send_until_taken(smtp, raw, SENDER, [f"r{number}@gmail.example"])
    campaign = fletching.mail_lines()[0]["campaign"]
    seeds = Seeds(open_store(redis.unix_url))

    def all_sent() -> bool:
        states = [seed.state for seed in seeds.of_campaign(campaign)]
        return states == [SeedState.SENT] * len(SEEDS)

    wait_until("not every seed got its copy", all_sent)
    postfix.wait_empty()
    courier.stop()
    courier.log.unlink()
    return campaign


def with_imap(dovecot: Dovecot, folder: Path) -> list[Mapping[str, str]]:
    password = folder.with_name(f"{folder.name}-password")
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    return [
        {
            "address": seed,
            "imap": f"imaps://localhost:{dovecot.port}",
            "login": seed.partition("@")[0],
            "password_file": str(password),
        }
        for seed in SEEDS
    ]
