"""Campaigns through a real Postfix: one for each SendID and window, every number once."""

from __future__ import annotations

import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from fletching.metrics.shared_files import of_milter as folder
from fletching.store.campaigns import Campaigns
from fletching.tokens import Keyring
from prometheus_client.mmap_dict import MmapedDict

from sandbox.postfix import Postfix, Reply, send
from sandbox.processes import free_port, wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import FastSink, Sink, SunkMail
from tests.stores import open_store, remembered

from .fletching import Fletching, send_until_taken
from .mails import NEWSLETTER, RECIPIENT, SENDER, mail

pytestmark = pytest.mark.slow

Sinks = Mapping[str, Sink]
Numbers = Sequence[tuple[str, int]]

TO_A = b"X-GreenArrow-MtaID: a"
SPRING = mail(NEWSLETTER, TO_A, b"X-GreenArrow-InstanceID: 7spring")
CONNECTIONS = 20


def send_many(postfix: Postfix, ports: Sequence[int], mails: int) -> list[Reply]:
    """That many mails in 20 sessions at once, by turns at each of the ports; all are taken.

    A mail is sent again where Redis had no answer within its 300 ms, as senders do: on a machine
    that has much else to do, that happens. All the answers come back.
    """

    def session(number: int) -> list[Reply]:
        replies: list[Reply] = []
        with postfix.client(port=ports[number % len(ports)]) as smtp:
            for _ in range(mails // CONNECTIONS):
                replies += send_until_taken(smtp, SPRING, SENDER, [RECIPIENT])
        return replies

    with ThreadPoolExecutor(CONNECTIONS) as sessions:
        return [reply for each in sessions.map(session, range(CONNECTIONS)) for reply in each]


def numbers_in(keys: Keyring, mails: Sequence[bytes]) -> list[tuple[str, int]]:
    """Campaign and number of each mail, as its X-Mailer-Info has them."""
    found = []
    for raw in mails:
        (line,) = (line for line in _unfolded(raw) if line.startswith(b"X-Mailer-Info:"))
        facts = keys.open(b"".join(line.split()[1:]).decode()).facts
        found.append((facts.campaign, facts.number))
    return found


def _unfolded(raw: bytes) -> list[bytes]:
    head = raw.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    return head.replace(b"\n ", b" ").replace(b"\n\t", b" ").split(b"\n")


def logged(fletching: Fletching, replies: Sequence[Reply]) -> list[tuple[str, int]]:
    """Campaign and number of each mail, as its log line has them."""
    lines = {line["queue_id"]: line for line in fletching.mail_lines()}
    mine = [lines[reply.queue_id] for reply in replies if reply.accepted]
    return [(line["campaign"], int(line["number"])) for line in mine]


def each_number_once(found: Numbers, count: int, late: int = 0) -> None:
    """One campaign, and the numbers from 1 to ``count`` in it.

    A number may be left out for each answer that came too ``late`` for its mail.
    """
    assert len({campaign for campaign, _ in found}) == 1, "more than one campaign"
    numbers = {number for _, number in found}
    assert len(found) == len(numbers) == count
    assert numbers <= set(range(1, count + late + 1))


def only_late(said: str) -> None:
    """Whatever was put off, Redis was late: nothing else is taken for an outage."""
    reasons = [line for line in said.splitlines() if line.startswith("redis_unavailable")]
    assert [line for line in reasons if not re.search("no answer within|Timeout", line)] == []
    assert "traceback" not in said


def mails_of_workers(fletching: Fletching) -> list[float]:
    """How many mails each worker has answered."""
    return [
        sum(
            value
            for key, value, *_ in MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]
            if "fletching_mails_total" in key
        )
        for file in sorted(folder(fletching.directory / "state").glob("counter_*.db"))
    ]


@pytest.fixture
def fast_sink(fresh: Path, postfix: Postfix, fletching: Fletching) -> Iterator[FastSink]:
    """Debian's smtp-sink where VirtualMTA a leads."""
    with FastSink("fast", fresh) as sink:
        relay = f"vmta-a/unix/smtp_fallback_relay=[127.0.0.1]:{sink.port}"
        postfix.command("postconf", "-P", relay)
        postfix.restart()
        yield sink
        postfix.wait_empty()


def test_1000_mails_by_20_connections_and_two_workers_are_one_campaign(
    fletching: Fletching, postfix: Postfix, fast_sink: FastSink
) -> None:
    before, logged_before = mails_of_workers(fletching), len(fletching.log())
    replies = send_many(postfix, [postfix.port], 1000)
    only_late(fletching.log()[logged_before:])
    late = len(replies) - 1000
    each_number_once(logged(fletching, replies), 1000, late)
    workers = [now - old for now, old in zip(mails_of_workers(fletching), before, strict=True)]
    assert (sum(workers), len(workers)) == (1000 + late, 2)
    assert all(workers), f"only one worker had mail: {workers}"
    postfix.wait_empty()
    each_number_once(numbers_in(fletching.keys, fast_sink.mails()), 1000, late)


def test_two_daemons_with_one_redis_share_a_campaign(
    fresh: Path, redis: RedisServer, postfix: Postfix, sinks: Sinks
) -> None:
    """Two hosts of a fleet, but for the host."""
    one = Fletching(fresh.with_name(f"{fresh.name}-one"), redis.unix_url)
    other = Fletching(fresh.with_name(f"{fresh.name}-other"), redis.unix_url)
    shutil.copy(one.directory / "link-keys", other.directory / "link-keys")
    port = free_port()
    with one, other:
        one.join(postfix)
        service = f"127.0.0.1:{port}"
        asks = f"-o smtpd_milters=unix:{other.socket}"
        postfix.command("postconf", "-M", f"{service}/inet={service} inet n - n - - smtpd {asks}")
        postfix.restart()
        late = len(send_many(postfix, [postfix.port, port], 200)) - 200
        for each in (one, other):
            only_late(each.log())
            verdicts = Counter(line["verdict"] for line in each.mail_lines())
            assert verdicts["accept"] == 100
        arrived = [each.raw for each in sinks["vmta-a"].wait(200)]
        each_number_once(numbers_in(other.keys, arrived), 200, late)


def test_after_its_window_a_sendid_opens_another_campaign(
    fresh: Path, redis: RedisServer, postfix: Postfix
) -> None:
    found: list[tuple[str, int]] = []
    with Fletching(fresh, redis.unix_url, {"campaign_window": "3s"}) as fletching:
        fletching.join(postfix)

        def another_campaign() -> bool:
            found.extend(logged(fletching, [postfix.submit(SPRING, SENDER, [RECIPIENT])]))
            return found[-1][0] != found[0][0]

        # It counts from the first mail: those that follow would keep it open for ever.
        wait_until("the campaign never ends", another_campaign)
        found.extend(logged(fletching, [postfix.submit(SPRING, SENDER, [RECIPIENT])]))
        postfix.wait_empty()
    *first, opens, joins = found
    each_number_once(first, len(first))
    each_number_once([opens, joins], 2)


@pytest.mark.parametrize("timezone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_without_an_instance_id_it_is_the_date_there(
    fresh: Path, redis: RedisServer, postfix: Postfix, sinks: Sinks, timezone: str
) -> None:
    """The two are 25 hours apart: it is never the same day in both."""

    def today() -> str:
        return datetime.now(ZoneInfo(timezone)).strftime("%y%m%d")

    with Fletching(fresh, redis.unix_url, {"timezone": timezone}) as fletching:
        fletching.join(postfix)
        day = today()
        assert postfix.submit(mail(NEWSLETTER, TO_A), SENDER, [RECIPIENT]).accepted
        (arrived,) = sinks["vmta-a"].wait()
        told = fletching.token(str(arrived.message["X-Mailer-Info"]))
        assert told["instance_id"] in (day, today())
        assert told["sendid"] == f"newsletter{told['instance_id']}"


def test_a_return_path_leads_to_the_bounce_record(
    fletching: Fletching, postfix: Postfix, sinks: Sinks, redis: RedisServer
) -> None:
    raw = mail(
        *(NEWSLETTER, TO_A, b"X-GreenArrow-InstanceID: 7spring", b"X-GreenArrow-ListID: t7"),
        b"X-GreenArrow-Click-Tracking-ID: order 1",
    )
    with postfix.client() as smtp:
        for reader in (RECIPIENT, "bob@yahoo.example"):
            assert send(smtp, raw, SENDER, [reader]).accepted
    campaigns = Campaigns(open_store(redis.unix_url))
    arrived = sinks["vmta-a"].wait(2)
    numbers = []
    for each in arrived:
        campaign, number = _tag(fletching, each)
        numbers.append(number)
        record = remembered(open_store(redis.unix_url), campaign, number)
        said = (record["email"], record["listid"], record["click_tracking_id"])
        assert said == (each.recipients[0], "t7", "order 1")
    whole = campaigns.campaign(_tag(fletching, arrived[0])[0])
    assert whole is not None
    assert (whole["sendid"].lower(), int(whole["number"])) == ("newsletter7spring", max(numbers))


def _tag(fletching: Fletching, arrived: SunkMail) -> tuple[str, int]:
    tag = arrived.sender.partition("@")[0].removeprefix("bounces+")
    # Others change the case of addresses.
    return fletching.keys.open_tag(tag.upper())


def test_when_redis_loses_its_memory_the_campaign_goes_on(
    fletching: Fletching, postfix: Postfix, redis: RedisServer
) -> None:
    before = len(fletching.log())
    replies = send_many(postfix, [postfix.port], 60)
    first = logged(fletching, replies)
    with redis.raw_client() as client:
        client.flushall()
    second = logged(fletching, send_many(postfix, [postfix.port], 60))
    postfix.wait_empty()
    assert first[0][0] in {campaign for campaign, _ in second}
    assert len({*first, *second}) == 120, "a number of a campaign was given twice"
    only_late(fletching.log()[before:])


def test_when_redis_loses_its_memory_amid_mail_no_number_comes_twice(
    fletching: Fletching, postfix: Postfix, redis: RedisServer
) -> None:
    before = len(fletching.log())
    sent = threading.Event()

    def lose() -> None:
        with redis.raw_client() as client:
            while not sent.wait(0.02):
                client.flushall()

    with ThreadPoolExecutor(1) as beside:
        lost = beside.submit(lose)
        try:
            # A campaign may be lost more often than fits into the 300 ms of a mail.
            replies = send_many(postfix, [postfix.port], 200)
        finally:
            sent.set()
        lost.result()
    only_late(fletching.log()[before:])
    found = logged(fletching, replies)
    postfix.wait_empty()
    assert len(set(found)) == 200, "a number of a campaign was given twice"
