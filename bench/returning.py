"""What comes back: lines of Postfix's log through `fletching logtail`, and returned mails through
`fletching lmtp`.

The log has a campaign's mails, and as many mails of others. All of it is there when the daemon
starts, so it reads as fast as it can. The returned mails are bounces as Postfix makes them, each of
another message; eight clients send them, each the next one when it has the answer to the last, by
which the event is on the disk. After each run, the campaign's counters must have everything.

The budgets are CPU time: that of all processes of the daemon, including kernel time, and for the
log what Python needs to start. Redis is shown apart. The daemons also wait for it and for the disk;
the time that this takes is shown, too.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from fletching.keys.link_keys import new_link_key
from fletching.numbering import Question, campaign_id
from fletching.store.campaigns import Campaigns
from fletching.store.connection import Limits, Store
from fletching.store.counts import Campaign
from fletching.store.statistics import Statistics
from fletching.tokens import Keyring
from rich.table import Table

from bench import budgets
from bench.budgets import Budget
from bench.course import Effort, Tell
from bench.figures import middle
from sandbox.lmtp import LmtpClient
from sandbox.processes import Daemon, private_directory, processes, wait_until
from sandbox.redis_server import RedisServer

LINES_A_SECOND, MAILS_A_SECOND = 10_000.0, 300.0
MAILS, BOUNCES = 20_000, 3_000
"""Mails of the campaign in the log, and others have as many; returned mails."""
_QUICK_PART = 20
_ROUNDS = 3
_CLIENTS = 8
_LINES_A_MAIL = 6
_PATIENCE = 600.0
_CLOCK = os.sysconf("SC_CLK_TCK")
_IDS = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
_TIME = "2026-11-30T15:54:50.123456+00:00"
_RELAY = "relay=mx.example.org[192.0.2.25]:25, delay=0.53, delays=0.01/0.02/0.4/0.1"
_REFUSED_EVERY, _DEFERRED_EVERY = 20, 10
_LOG, _MAIL = "lines of Postfix's log, half of them ours", "returned mails"


class LostError(Exception):
    """The counters differ from what was sent, so the speed means nothing."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run over the whole log, or over all returned mails. Times in seconds."""

    what: str
    count: int
    seconds: float
    cpu: float
    redis_cpu: float

    @property
    def microseconds(self) -> float:
        """CPU time for each."""
        return 1e6 * self.cpu / self.count


Results = Sequence[Run]


@dataclass(frozen=True, slots=True)
class Site:
    """A Redis with a campaign, and a folder with the configuration of a daemon."""

    folder: Path
    redis: RedisServer
    store: Store
    keys: Keyring
    campaign: str

    @property
    def socket(self) -> Path:
        return self.folder / "lmtp.sock"

    @property
    def log(self) -> Path:
        return self.folder / "mail.log"

    def daemon(self, name: str) -> Daemon:
        config = self.folder / "fletching.yaml"
        settings = {
            "redis": self.redis.unix_url,
            "state_dir": str(self.folder / "state"),
            "link_keys": str(self.folder / "link-keys"),
            "postfix": {"log": str(self.log)},
            "lmtp": {"listen": f"unix:{self.socket}"},
            "mail_classes": {"News": {}},
        }
        config.write_text(yaml.safe_dump(settings))
        argv = [sys.executable, "-m", "fletching", name, "--config", str(config)]
        return Daemon(argv, self.folder / "log")

    def is_started(self) -> bool:
        return "started daemon=" in (self.folder / "log").read_text()

    def return_path(self, number: int) -> str:
        return f"bounces+{self.keys.tag(self.campaign, number)}@example.com"

    def found(self) -> Campaign:
        statistics = Statistics(self.store, lambda _: frozenset({"deliveries", "bounces"}))
        found = statistics.campaign(self.campaign)
        assert found is not None
        return found


def measure(effort: Effort, tell: Tell) -> Results:
    """Start a private Redis and a daemon for each run."""
    part = _QUICK_PART if effort.quick else 1
    rounds = 1 if effort.quick else _ROUNDS
    runs = []
    for number in range(rounds):
        tell(f"{2 * MAILS // part * _LINES_A_MAIL:,} lines of the log", number / rounds)
        with _site(MAILS // part) as site:
            runs.append(_read_log(site, MAILS // part))
        tell(f"{BOUNCES // part:,} returned mails", (number + 0.5) / rounds)
        with _site(BOUNCES // part) as site:
            runs.append(_receive(site, BOUNCES // part))
    return runs


@contextmanager
def _site(mails: int) -> Iterator[Site]:
    with private_directory() as folder, RedisServer() as redis:
        keys = Keyring((new_link_key(folder / "link-keys", 0),))
        store = Store(redis.unix_url, folder, Limits(answer=10.0, socket=9.0))
        yield Site(folder, redis, store, keys, _numbered(store, mails))


def _read_log(site: Site, mails: int) -> Run:
    with site.log.open("w") as log:
        lines = 0
        for line in _lines(site, mails):
            log.write(f"{line}\n")
            lines += 1
    daemon = site.daemon("logtail")
    before, began = _cpu(site.redis.pid), time.monotonic()
    daemon.start(site.is_started)
    try:
        refused = mails // _REFUSED_EVERY
        deferred = mails // _DEFERRED_EVERY - refused
        wanted = mails - refused - deferred, refused, deferred
        _wait(lambda found: (found.delivered, found.bounces_hard, found.deferred), site, wanted)
        seconds = time.monotonic() - began
        used = sum(map(_cpu, processes(daemon.pid)))
        return Run(_LOG, lines, seconds, used, _cpu(site.redis.pid) - before)
    finally:
        daemon.stop()


def _receive(site: Site, mails: int) -> Run:
    daemon = site.daemon("lmtp")
    daemon.start(site.is_started)
    try:
        numbers = deque(range(1, mails + 1))
        # What it needs to start is not part of a mail.
        started, before = sum(map(_cpu, processes(daemon.pid))), _cpu(site.redis.pid)
        began = time.monotonic()
        with ThreadPoolExecutor(_CLIENTS) as clients:
            for client in [clients.submit(_send, site, numbers) for _ in range(_CLIENTS)]:
                client.result()
        seconds = time.monotonic() - began
        _wait(lambda found: (found.bounces_hard,), site, (mails,))
        used = sum(map(_cpu, processes(daemon.pid))) - started
        return Run(_MAIL, mails, seconds, used, _cpu(site.redis.pid) - before)
    finally:
        daemon.stop()


def _send(site: Site, numbers: deque[int]) -> None:
    with LmtpClient(str(site.socket)) as client:
        client.say(b"LHLO mx1.example.com")
        while numbers:
            with suppress(IndexError):
                number = numbers.popleft()
                (reply,) = client.deliver("", [site.return_path(number)], _bounce(site, number))
                if not reply.startswith(b"250"):
                    raise LostError(reply.decode())


def _bounce(site: Site, number: int) -> bytes:
    """As the Postfix of a forwarding host makes it, with the header of the message."""
    to = f"r{number}@example.org"
    return (
        "Received: from mx.example.org (mx.example.org [192.0.2.25])\r\n"
        "\tby mx1.example.com (Postfix) with ESMTPS id 4jdT9k6NrWzCXPl\r\n"
        f"\tfor <{site.return_path(number)}>; Mon, 30 Nov 2026 15:54:50 +0000 (UTC)\r\n"
        "Date: Mon, 30 Nov 2026 15:54:50 +0000 (UTC)\r\n"
        "From: MAILER-DAEMON@mx.example.org (Mail Delivery System)\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\n"
        f"To: {site.return_path(number)}\r\nAuto-Submitted: auto-replied\r\n"
        f"MIME-Version: 1.0\r\nMessage-Id: <{number}.4jdT9k6NrWzCXPl@mx.example.org>\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        "--b\r\nContent-Description: Notification\r\nContent-Type: text/plain\r\n\r\n"
        "This is the mail system at host mx.example.org.\r\n\r\n"
        "I'm sorry to have to inform you that your message could not\r\n"
        "be delivered to one or more recipients. It's attached below.\r\n\r\n"
        f"<{to}>: host 192.0.2.26 said: 550 5.1.1 <{to}>: User unknown\r\n\r\n"
        "--b\r\nContent-Description: Delivery report\r\n"
        "Content-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.example.org\r\nX-Postfix-Queue-ID: 4jdT9k6B0zzCXPc\r\n"
        "Arrival-Date: Mon, 30 Nov 2026 15:54:49 +0000 (UTC)\r\n\r\n"
        f"Final-Recipient: rfc822; {to}\r\nOriginal-Recipient: rfc822;{to}\r\n"
        "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; 192.0.2.26\r\n"
        f"Diagnostic-Code: smtp; 550 5.1.1 <{to}>: User unknown\r\n\r\n"
        "--b\r\nContent-Description: Undelivered Message Headers\r\n"
        "Content-Type: text/rfc822-headers\r\n\r\n"
        f"Return-Path: <{site.return_path(number)}>\r\n{_HEADER}To: {to}\r\n\r\n--b--\r\n"
    ).encode()


_HEADER = "".join(
    f"{name}: {value}\r\n"
    for name, value in {
        "DKIM-Signature": "v=1; a=rsa-sha256; d=example.com; s=s1;\r\n\tb=" + 300 * "x",
        "From": "Shop <shop@example.com>",
        "Subject": "Offers",
        "List-Unsubscribe": "<https://click.example.com/unsub?" + 300 * "x" + ">",
        "X-Mailer-Info": "\r\n ".join(4 * [72 * "x"]),
    }.items()
)


def _numbered(store: Store, mails: int) -> str:
    """A campaign whose mails have their numbers, as the milter gives them."""
    campaigns = Campaigns(store)
    now = int(time.time())
    candidate = campaign_id(now, os.urandom(4))
    for number in range(1, mails + 1):
        remember = (("listid", "t100"), ("email", f"r{number}@example.org"), ("mtaid", "a"))
        question = Question(
            *("News1", "News", "1", "", now, 86400, candidate), remember, bounce_memory=86400
        )
        numbered = campaigns.campaign_of(question)
        assert numbered is not None
        assert numbered.number == number
    return candidate


def _lines(site: Site, mails: int) -> Iterator[str]:
    for number in range(1, mails + 1):
        yield from _mail(2 * number, site.return_path(number), f"r{number}@example.org", number)
        yield from _mail(2 * number + 1, "someone@example.net", "other@example.org", 1)


def _mail(place: int, sender: str, to: str, number: int) -> Iterator[str]:
    digits = ""
    while len(digits) < 9:
        place, digit = divmod(place, len(_IDS))
        digits = _IDS[digit] + digits
    queue_id = f"{digits}zCXPc"

    def line(program: str, text: str) -> str:
        return f"{_TIME} mx1 postfix/{program}[12345]: {queue_id}: {text}"

    yield line("smtpd", "client=app.example.com[192.0.2.1], sasl_method=PLAIN, sasl_username=shop")
    yield line("cleanup", f"message-id=<{queue_id}@app.example.com>")
    yield line("qmgr", f"from=<{sender}>, size=23456, nrcpt=1 (queue active)")
    said = f"to=<{to}>, {_RELAY}"
    if number % _REFUSED_EVERY == 0:
        words = f"550 5.1.1 <{to}>: Recipient address rejected: User unknown"
        where = "host mx.example.org[192.0.2.25] said"
        state = f"bounced ({where}: {words} (in reply to RCPT TO command))"
        yield line("vmta-a/smtp", f"{said}, dsn=5.1.1, status={state}")
    elif number % _DEFERRED_EVERY == 0:
        state = "deferred (host mx.example.org[192.0.2.25] said: 451 4.7.1 try again later)"
        yield line("vmta-a/smtp", f"{said}, dsn=4.7.1, status={state}")
        yield line("qmgr", f"from=<{sender}>, size=23456, nrcpt=1 (queue active)")
        return
    else:
        reply = f"250 2.0.0 OK  1795000000 {queue_id}-si123pfb.45 - gsmtp"
        yield line("vmta-a/smtp", f"{said}, dsn=2.0.0, status=sent ({reply})")
    yield line("qmgr", "removed")
    yield line("smtpd", "disconnect from app.example.com[192.0.2.1] ehlo=1 mail=1 rcpt=1 data=1")


def _wait(
    counted: Callable[[Campaign], tuple[int | None, ...]], site: Site, wanted: tuple[int, ...]
) -> None:
    """Until the counters have all of them."""

    def has_all() -> bool:
        found = counted(site.found())
        if any((each or 0) > most for each, most in zip(found, wanted, strict=True)):
            raise LostError(f"counted {found} of {wanted}")
        time.sleep(0.1)
        return found == wanted

    wait_until(f"not counted: {wanted}", has_all, _PATIENCE)


def _cpu(pid: int) -> float:
    """CPU seconds of a process, including kernel time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK


def _bars(runs: Results) -> tuple[Budget, ...]:
    limits = {_LOG: LINES_A_SECOND, _MAIL: MAILS_A_SECOND}
    return tuple(
        _bar(what, limit, [r for r in runs if r.what == what]) for what, limit in limits.items()
    )


def _bar(what: str, limit: float, runs: Results) -> Budget:
    used = middle([run.microseconds for run in runs])
    redis = middle([1e6 * run.redis_cpu / run.count for run in runs])
    speed = middle([run.count / run.seconds for run in runs])
    detail = (
        f"{1e6 / used:,.0f} per second of one processor; Redis {redis:.0f} us;"
        f" here {speed:,.0f} per second"
    )
    return Budget(f"CPU time: {what}", "us", 1e6 / limit, used, detail)


def figures(runs: Results) -> dict[str, object]:
    """For JSON, with units in the names."""
    return {
        "runs": [
            {
                "what": run.what,
                "count": run.count,
                "seconds": round(run.seconds, 2),
                "cpu_us_each": round(run.microseconds, 1),
                "redis_cpu_us_each": round(1e6 * run.redis_cpu / run.count, 1),
            }
            for run in runs
        ],
        "budgets": budgets.figures(_bars(runs)),
    }


def tables(runs: Results) -> Iterator[Table]:
    """The tables to print."""
    yield from budgets.tables(_bars(runs))
