"""Relays and limits of VirtualMTAs behind a real Postfix, with two hosts of a fleet at once."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sandbox.postfix import Postfix, Reply, send
from sandbox.processes import free_port, wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink

from .fletching import Fletching, send_until_taken
from .mails import NEWSLETTER, RECIPIENT, SENDER, mail

pytestmark = pytest.mark.slow

Relays = Mapping[str, Sink]
Sinks = Mapping[str, Sink]
CAP = 25


@pytest.fixture
def relays() -> Iterator[Relays]:
    """Two servers that take all mail."""
    with Sink("near") as near, Sink("far") as far:
        yield {"near": near, "far": far}


def site(relays: Relays, **more: Any) -> dict[str, Any]:
    """Both relays use one transport; a pool of them is the VirtualMTA of the newsletter."""
    near, far = (f"[127.0.0.1]:{each.port}" for each in relays.values())
    mtas: dict[str, Any] = {
        "near": {"transport": "vmta-a", "relay": near},
        "far": {"transport": "vmta-a", "relay": far},
        "bulk": {"pool": {"a": None, "b": None, "near": 3, "far": 1}},
    }
    for name, options in more.items():
        mtas[name] = {**mtas.get(name, {}), **options}
    return {"virtual_mtas": mtas}


def submit_many(postfix: Postfix, count: int) -> list[Reply]:
    with postfix.client() as smtp:
        return [send(smtp, mail(NEWSLETTER), SENDER, [RECIPIENT]) for _ in range(count)]


@pytest.mark.parametrize("route_by", ["header", "sender"])
def test_mail_goes_to_the_relay_of_its_virtual_mta(
    fresh: Path, redis: RedisServer, postfix: Postfix, sinks: Sinks, relays: Relays, route_by: str
) -> None:
    with Fletching(fresh, redis.unix_url, {"route_by": route_by, **site(relays)}) as fletching:
        fletching.join(postfix)
        with postfix.client() as smtp:
            for name in ("near", "far", "far"):
                raw = mail(NEWSLETTER, f"X-GreenArrow-MtaID: {name}".encode())
                send_until_taken(smtp, raw, SENDER, [RECIPIENT])
        (arrived,) = relays["near"].wait(1)
        relays["far"].wait(2)
        assert not any("route" in name.lower() for name in arrived.header_names)
        assert fletching.token(str(arrived.message["X-Mailer-Info"]))["mtaid"] == "near"
    postfix.wait_empty()
    assert not any(sink.mails for sink in sinks.values())


@pytest.mark.parametrize("address", ["[::1]", "[IPv6:::1]"])
@pytest.mark.parametrize("route_by", ["header", "sender"])
def test_relay_may_have_an_ipv6_address(
    fresh: Path, redis: RedisServer, postfix: Postfix, route_by: str, address: str
) -> None:
    with Sink("ipv6", ipv6=True) as sink:
        relay = {"transport": "vmta-a", "relay": f"{address}:{sink.port}"}
        more = {"route_by": route_by, "virtual_mtas": {"near": relay}}
        with Fletching(fresh, redis.unix_url, more) as fletching:
            fletching.join(postfix)
            postfix.set(inet_protocols="all")
            raw = mail(NEWSLETTER, b"X-GreenArrow-MtaID: near")
            with postfix.client() as smtp:
                send_until_taken(smtp, raw, SENDER, [RECIPIENT])
            sink.wait(1)
        postfix.wait_empty()


def test_mail_over_the_limit_goes_to_the_next_member_then_is_put_off(
    fresh: Path, redis: RedisServer, postfix: Postfix, relays: Relays
) -> None:
    limits = {"limits": {"hour": CAP, "day": CAP, "per": "all"}}
    with Fletching(fresh, redis.unix_url, site(relays, near=limits, far=limits)) as fletching:
        fletching.join(postfix)
        replies = submit_many(postfix, 2 * CAP + 10)
        accepted = [each for each in replies if each.accepted]
        put_off = [each for each in replies if each.code == 451 and each.text.startswith("4.7.1")]
        late = len(replies) - len(accepted) - len(put_off)
        assert len(accepted) >= 2 * CAP - late
        assert "the VirtualMTA is over its limit, try again later" in put_off[0].text
        postfix.wait_empty()
        arrived = {name: len(sink.mails) for name, sink in relays.items()}
        assert sum(arrived.values()) == len(accepted)
        assert max(arrived.values()) <= CAP


def test_mail_over_the_limit_may_use_the_default_transport(
    fresh: Path, redis: RedisServer, postfix: Postfix, sinks: Sinks, relays: Relays
) -> None:
    limits = {"limits": {"hour": 2}, "over_limit": "default_transport"}
    change = site(relays, near=limits, far=limits)
    with Fletching(fresh, redis.unix_url, change) as fletching:
        fletching.join(postfix)
        with postfix.client() as smtp:
            for _ in range(6):
                replies = send_until_taken(smtp, mail(NEWSLETTER), SENDER, [RECIPIENT])
        postfix.wait_empty()
        assert len(relays["near"].mails) <= 2
        assert len(relays["far"].mails) <= 2
        assert len(sinks["smtp"].mails) >= 2
        line = fletching.line_of(replies[-1])
        assert 'warning="not routed: every VirtualMTA is over its limit"' in line


def test_two_hosts_share_a_limit_and_a_paused_member_is_skipped(
    fresh: Path, redis: RedisServer, postfix: Postfix, sinks: Sinks, relays: Relays
) -> None:
    change = site(relays, near={"limits": {"hour": CAP}}, bulk={"fallback": "transactional"})
    one = Fletching(fresh.with_name(f"{fresh.name}-one"), redis.unix_url, change)
    other = Fletching(fresh.with_name(f"{fresh.name}-other"), redis.unix_url, change)
    shutil.copy(one.directory / "link-keys", other.directory / "link-keys")
    port = free_port()
    with one, other:
        one.join(postfix)
        service = f"127.0.0.1:{port}"
        asks = f"-o smtpd_milters=unix:{other.socket}"
        postfix.command("postconf", "-M", f"{service}/inet={service} inet n - n - - smtpd {asks}")
        postfix.restart()

        def session(number: int) -> int:
            late = 0
            with postfix.client(port=(postfix.port, port)[number % 2]) as smtp:
                for _ in range(20):
                    late += len(send_until_taken(smtp, mail(NEWSLETTER), SENDER, [RECIPIENT])) - 1
            return late

        def send_from_all(sessions: int) -> int:
            with ThreadPoolExecutor(sessions) as clients:
                return sum(clients.map(session, range(sessions)))

        late = send_from_all(8)
        wait_until("mails are left", lambda: arrived(relays) == 160)
        near = len(relays["near"].mails)
        assert CAP - late <= near <= CAP
        for host in (one, other):
            host.command("mta", "pause", "far")
        send_from_all(2)
        sinks["vmta-transactional"].wait(40 - (len(relays["near"].mails) - near))
        assert len(relays["near"].mails) <= CAP
        assert len(relays["far"].mails) == 160 - near
    postfix.wait_empty()


def arrived(relays: Relays) -> int:
    return sum(len(sink.mails) for sink in relays.values())


def test_pool_skips_a_member_whose_address_has_vanished(
    fresh: Path, redis: RedisServer, postfix: Postfix, relays: Relays
) -> None:
    change = site(relays, near={"address": "127.0.0.9"}, far={"address": "192.0.2.77"})
    with Fletching(fresh, redis.unix_url, change) as fletching:
        fletching.join(postfix)
        with postfix.client() as smtp:
            for _ in range(8):
                send_until_taken(smtp, mail(NEWSLETTER), SENDER, [RECIPIENT])
        relays["near"].wait(8)
        assert not relays["far"].mails
        assert "address_vanished virtual_mta=far address=192.0.2.77\n" in fletching.log()
        rows = json.loads(fletching.command("mta", "list", "--json"))["virtual_mtas"]
        assert [row["name"] for row in rows if row["vanished"]] == ["far"]
    postfix.wait_empty()


def test_names_of_log_lines_are_those_of_the_virtual_mta(
    fresh: Path, redis: RedisServer, postfix: Postfix, relays: Relays
) -> None:
    with Fletching(fresh, redis.unix_url, site(relays)) as fletching:
        fletching.join(postfix)
        with postfix.client() as smtp:
            replies = send_until_taken(smtp, mail(NEWSLETTER), SENDER, [RECIPIENT])
        assert re.search(r" mta=(near|far) transport=vmta-a ", fletching.line_of(replies[-1]))
    postfix.wait_empty()
