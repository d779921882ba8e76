"""Workers that are replaced, in order or by force, while mail goes through them."""

from __future__ import annotations

import os
import random
import re
import signal
import smtplib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sandbox.postfix import Postfix, Reply, send
from sandbox.processes import processes, wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import FastSink, Sink

from .fletching import Fletching, send_until_taken
from .mails import NEWSLETTER, RECIPIENT, SENDER, mail
from .test_campaign import each_number_once, numbers_in, only_late

pytestmark = pytest.mark.slow

Sinks = Mapping[str, Sink]

TO_A = b"X-GreenArrow-MtaID: a"
SPRING = mail(NEWSLETTER, TO_A, b"X-GreenArrow-InstanceID: 7spring")
HEAD, BLANK, BODY = SPRING.partition(b"\r\n\r\n")


@pytest.fixture
def fast_sink(fresh: Path, postfix: Postfix) -> Iterator[FastSink]:
    """Debian's smtp-sink; `lead_to` has VirtualMTA a lead there."""
    with FastSink("fast", fresh.with_name(f"{fresh.name}-sink")) as sink:
        yield sink
        postfix.wait_empty()


@pytest.fixture
def begin(fresh: Path, redis: RedisServer, postfix: Postfix) -> Iterator[Callable[..., Fletching]]:
    """Starts a milter of this test alone, before Postfix, with these options."""
    begun: list[Fletching] = []

    def begin(**options: Any) -> Fletching:
        begun.append(Fletching(fresh, redis.unix_url, options))
        begun[0].start()
        begun[0].join(postfix)
        return begun[0]

    yield begin
    for each in begun:
        each.stop()


def lead_to(postfix: Postfix, sink: FastSink) -> None:
    relay = f"vmta-a/unix/smtp_fallback_relay=[127.0.0.1]:{sink.port}"
    postfix.command("postconf", "-P", relay)
    postfix.restart()


def counted(fletching: Fletching) -> float:
    """Mails, as the milter summed them up at its end."""
    metrics = (fletching.directory / "state" / "metrics.prom").read_text()
    found = re.findall(r"(?m)^fletching_mails_total\{.*\} ([0-9.]+)$", metrics)
    return sum(map(float, found))


def retired(fletching: Fletching) -> list[int]:
    """How many mails each one that retired had answered."""
    return [
        int(n) for n in re.findall(r"(?m)^worker_recycled worker=\d+ mails=(\d+)$", fletching.log())
    ]


def test_no_mail_is_lost_or_delayed_by_it(
    begin: Callable[..., Fletching], postfix: Postfix, fast_sink: FastSink
) -> None:
    """800 sessions of one mail, and meanwhile four of 200: only a late Redis delays one."""
    fletching = begin(workers=2, worker_max_messages=50)
    lead_to(postfix, fast_sink)
    first = fletching.workers

    def sessions(count: int, mails: int) -> list[Reply]:
        replies: list[Reply] = []
        for _ in range(count):
            with postfix.client() as smtp:
                for _ in range(mails):
                    replies += send_until_taken(smtp, SPRING, SENDER, [RECIPIENT])
        return replies

    with ThreadPoolExecutor(14) as clients:
        short = [clients.submit(sessions, 80, 1) for _ in range(10)]
        long = [clients.submit(sessions, 1, 200) for _ in range(4)]
        late = sum(len(each.result()) for each in (*short, *long)) - 1600
    only_late(fletching.log())
    wait_until("some that retired do not end", lambda: len(fletching.workers) == 2)
    assert not {*first} & {*fletching.workers}, "a process is never replaced"
    answered = retired(fletching)
    assert len(answered) > 10
    # A few more: those that were answered before the worker looked.
    assert min(answered) >= 38
    postfix.wait_empty()
    fletching.stop()
    assert counted(fletching) == 1600 + late
    verdicts = Counter(line["verdict"] for line in fletching.mail_lines())
    assert verdicts == Counter(accept=1600, tempfail=late)
    assert "child_died" not in fletching.log()
    each_number_once(numbers_in(fletching.keys, fast_sink.mails()), 1600, late)


class _Client:
    """An application that has each of its mails taken once: what is not taken is sent again.

    Only a 250 to the end of the mail says that it is taken. Postfix says 4xx where it lost the
    milter, and after that does so in the whole session; so another session is begun.
    """

    def __init__(self, postfix: Postfix, session: int) -> None:
        self._postfix = postfix
        self._session = session
        self.refusals: list[Reply] = []
        self.lost = 0
        self.taken = 0

    def send(self, ids: list[str]) -> None:
        left = ids[::-1]
        while left:
            with suppress(smtplib.SMTPServerDisconnected), self._postfix.client() as smtp:
                for _ in range(min(self._session, len(left))):
                    if not self._is_taken(smtp, left[-1]):
                        break
                    left.pop()

    def _is_taken(self, smtp: smtplib.SMTP, message_id: str) -> bool:
        raw = SPRING.replace(b"<1@example.com>", f"<{message_id}>".encode())
        try:
            reply = send(smtp, raw, SENDER, [RECIPIENT])
        except smtplib.SMTPServerDisconnected:
            self.lost += 1
            return False
        if reply.accepted:
            self.taken += 1
        else:
            self.refusals.append(reply)
        return reply.accepted


MAILS, CLIENTS, KILLS = 5000, 10, 12


def test_5000_mails_while_workers_are_killed_and_retire(
    begin: Callable[..., Fletching], postfix: Postfix, fast_sink: FastSink
) -> None:
    """All arrive, none twice, whatever moment a worker dies in."""
    fletching = begin(workers=3, worker_max_messages=400)
    lead_to(postfix, fast_sink)
    clients = [_Client(postfix, session=25) for _ in range(CLIENTS)]
    ids = [f"{number}.spring@example.com" for number in range(MAILS)]
    chance = random.Random(5000)
    over = threading.Event()

    def kill() -> None:
        for step in range(1, KILLS + 1):
            soon = chance.randrange(-200, 200) + step * MAILS // (KILLS + 1)
            while sum(client.taken for client in clients) < soon and not over.wait(0.01):
                pass
            with suppress(ProcessLookupError):
                os.kill(chance.choice(fletching.workers), signal.SIGKILL)

    with ThreadPoolExecutor(CLIENTS + 1) as threads:
        killing = threads.submit(kill)
        try:
            shares = [ids[start::CLIENTS] for start in range(CLIENTS)]
            for _ in threads.map(_Client.send, clients, shares):
                pass
        finally:
            over.set()
        killing.result()
    postfix.wait_empty()
    refusals = [reply for client in clients for reply in client.refusals]
    lost = sum(client.lost for client in clients)
    died = len(re.findall(r"(?m)^child_died .*SIGKILL", fletching.log()))
    print(f"\n{died} killed, {len(retired(fletching))} retired, {len(refusals)} answers 4xx")
    assert {reply.code for reply in refusals} <= {451, 421}
    assert lost == 0, "Postfix hung up: nobody knows what became of those mails"
    assert died > KILLS // 2
    assert retired(fletching)
    arrived = fast_sink.mails()
    found = Counter(re.findall(r"(?m)^Message-ID: <([^>]*)>$", b"\n".join(arrived).decode()))
    assert found == Counter(ids)
    numbers = numbers_in(fletching.keys, arrived)
    assert len(set(numbers)) == MAILS, "a number of the campaign was given twice"
    assert len({campaign for campaign, _ in numbers}) == 1


class TestEnd:
    """SIGTERM while the first of the workers retires: it still has a session."""

    @pytest.fixture
    def own(self, begin: Callable[..., Fletching]) -> Fletching:
        return begin(workers=1, worker_max_messages=3)

    def retire(self, own: Fletching, postfix: Postfix) -> None:
        (first,) = own.workers
        for _ in range(3):
            assert postfix.submit(SPRING, SENDER, [RECIPIENT]).accepted
        wait_until("it does not retire", lambda: bool(retired(own)))
        wait_until("no other one", lambda: len(own.workers) == 2)
        assert first in own.workers

    def test_the_mail_in_hand_is_finished(self, own: Fletching, postfix: Postfix) -> None:
        with postfix.client() as smtp:
            smtp.mail(SENDER)
            smtp.rcpt(RECIPIENT)
            assert smtp.docmd("DATA")[0] == 354
            smtp.send(HEAD + BLANK)
            # Postfix does not wait for the milter's word about MAIL: make sure it has it.
            own.settle()
            self.retire(own, postfix)
            own.signal(signal.SIGTERM)
            wait_until("no mail is in hand", lambda: "draining mails=1" in own.log())
            assert own.running
            smtp.send(BODY + b".\r\n")
            assert smtp.getreply()[0] == 250
            assert own.wait() == 0
        assert processes(own.pid) == []
        assert "mails_interrupted" not in own.log()
        assert "child_killed" not in own.log()
        assert counted(own) == 4

    def test_an_idle_session_does_not_keep_it(self, own: Fletching, postfix: Postfix) -> None:
        with postfix.client() as smtp:
            assert send(smtp, SPRING, SENDER, [RECIPIENT]).accepted
            self.retire(own, postfix)
            assert send(smtp, SPRING, SENDER, [RECIPIENT]).accepted
            own.stop()
            assert processes(own.pid) == []
            assert send(smtp, SPRING, SENDER, [RECIPIENT]).code == 451
        assert "draining" not in own.log()
        assert "child_killed" not in own.log()
