"""A campaign through two hosts that crash midway: `python -m tests.fleet [COUNT] [server|cluster]`.

Each host has its own Postfix, milter and courier; both share one Redis, or a Redis Cluster. The
campaign goes to a pool with weights 5:3:2 whose last member has a cap of a tenth of the campaign.
At 75 % the second member is paused. Seven seeds are due from 0 to 100 % of it: when the third is
due, one courier is killed, and when the fifth is, one whole host. `tests/real/test_fleet.py` says
what must come of that.
"""

from __future__ import annotations

import re
import shutil
import smtplib
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import redis_cluster
from sandbox.postfix import Postfix
from sandbox.processes import Daemon, private_directory, wait_until
from sandbox.sinks import FastSink
from tests.real.fletching import Fletching, send_until_taken
from tests.real.mails import SENDER

WEIGHTS = {"a": 5, "b": 3, "c": 2}
SEEDS = tuple(f"seed{number}@seeds.example" for number in range(1, 8))
LAST_LINE = b"the end"
SESSIONS = 8
PATIENCE = 300
_PROGRAM = ("-m", "fletching")
_OTHERS = ("smtp", "relay", "vmta-transactional")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail at a sink. ``place``: which mail of the campaign, counted from 0. ``info``: its
    X-Mailer-Info.
    """

    member: str
    recipient: str
    place: int
    info: bytes

    @property
    def is_seed(self) -> bool:
        return self.recipient in SEEDS


class Host:
    """One host of the fleet: Postfix, milter, courier."""

    def __init__(self, folder: Path, redis_url: str, cap: int, sinks: Mapping[str, int]) -> None:
        folder.mkdir()
        self.postfix = Postfix(folder / "postfix", sinks)
        self.fletching = Fletching(folder / "fletching", redis_url, self._change(cap))
        self._courier: Daemon | None = None

    def _change(self, cap: int) -> dict[str, Any]:
        return {
            "workers": 1,
            "timezone": _at_noon(),
            "mail_classes": {"newsletter": {"seed": {"list": "main", "start": 1, "end": 100}}},
            "virtual_mtas": {
                "c": {"transport": "vmta-c", "limits": {"day": cap, "per": "all"}},
                "bulk": {"pool": WEIGHTS},
            },
            "seed_lists": {"main": [*SEEDS]},
            "seeds": {"submit": f"127.0.0.1:{self.postfix.port}"},
        }

    def start(self) -> None:
        self.fletching.start()
        if not self.postfix_is_joined:
            self.postfix.start()
            self.fletching.join(self.postfix)
        else:
            self.postfix.start()
        self.start_courier()

    @property
    def postfix_is_joined(self) -> bool:
        return "milter_header_checks" in (self.postfix.config_directory / "main.cf").read_text()

    def start_courier(self) -> None:
        self._courier = self.fletching.beside("courier", _PROGRAM)
        before = self._courier_starts()
        self._courier.start(lambda: self._courier_starts() > before)

    def _courier_starts(self) -> int:
        log = self.fletching.directory / "courier.log"
        return (
            log.read_text("utf-8", "replace").count("started daemon=courier") if log.exists() else 0
        )

    def kill_courier(self) -> None:
        """By SIGKILL."""
        assert self._courier is not None
        self._courier.kill()

    def kill(self) -> None:
        """Everything on the host, by SIGKILL."""
        self.postfix.kill()
        self.fletching.kill()
        self.kill_courier()

    def stop(self) -> None:
        if self._courier is not None:
            self._courier.stop()
        self.postfix.stop()
        self.fletching.stop()


def _at_noon() -> str:
    """A time zone in which no day ends soon, and with it the cap."""
    ahead = 12 - time.gmtime().tm_hour
    return f"Etc/GMT{-ahead:+d}" if ahead else "UTC"


class Fleet:
    """Two hosts that share Redis and keys, and the sinks where their mail arrives."""

    def __init__(self, folder: Path, redis_url: str, count: int) -> None:
        self.count = count
        self.cap = count // 10
        self.sinks = {name: FastSink(name, folder / f"sink-{name}") for name in (*WEIGHTS, "other")}
        ports = {f"vmta-{name}": self.sinks[name].port for name in WEIGHTS}
        ports |= dict.fromkeys(_OTHERS, self.sinks["other"].port)
        self.hosts = [
            Host(folder / f"host{number}", redis_url, self.cap, ports) for number in (1, 2)
        ]
        first, second = (host.fletching.directory for host in self.hosts)
        shutil.copy(first / "link-keys", second / "link-keys")
        self._lock = threading.Lock()
        self._next = 0
        self.put_off = 0
        """How often a mail got 451, as Redis was late."""

    @contextmanager
    def running(self) -> Iterator[None]:
        with ExitStack() as stack:
            for sink in self.sinks.values():
                stack.enter_context(sink)
            for host in self.hosts:
                stack.callback(host.stop)
                host.start()
            yield

    # Sending

    def send(self, until: int, hosts: Sequence[Host]) -> None:
        """The mails of the campaign up to this one, in several sessions at once."""
        with ThreadPoolExecutor(SESSIONS) as pool:
            list(pool.map(lambda number: self._session(until, hosts, number), range(SESSIONS)))

    def _session(self, until: int, hosts: Sequence[Host], number: int) -> None:
        """As an application sends: a mail whose host does not answer goes to the other host."""
        waiting: int | None = None
        attempt = number
        while (waiting := self._claim(until) if waiting is None else waiting) is not None:
            host = hosts[attempt % len(hosts)]
            try:
                with host.postfix.client() as smtp:
                    while waiting is not None:
                        self._send_one(smtp, waiting)
                        waiting = self._claim(until)
            except (OSError, smtplib.SMTPException):
                attempt += 1
                time.sleep(0.1)

    def _claim(self, until: int) -> int | None:
        with self._lock:
            if self._next >= until:
                return None
            self._next += 1
            return self._next - 1

    def _send_one(self, smtp: smtplib.SMTP, place: int) -> None:
        recipient = f"r{place}@{('gmail.com', 'example.net', 'gmx.de')[place % 3]}"
        progress = 100 * place / (self.count - 1)
        raw = (
            f"X-GreenArrow-MailClass: newsletter\r\nX-GreenArrow-InstanceID: 1fleet\r\n"
            f"X-GreenArrow-SeedProgress: {progress:.4f}\r\nX-Place: {place}\r\n"
            f"From: Shop <shop@example.com>\r\nTo: {recipient}\r\nSubject: Offers\r\n"
            f"Date: Sat, 21 Nov 2026 09:00:00 +0000\r\nMessage-ID: <{place}@example.com>\r\n"
            f"\r\nhttp://shop.example.com/1\r\n{LAST_LINE.decode()}\r\n"
        )
        replies = send_until_taken(smtp, raw.encode(), SENDER, [recipient])
        with self._lock:
            self.put_off += len(replies) - 1

    # Crashes

    def wait_for(self, place: int) -> None:
        """Until so many mails were given out."""
        wait_until(f"mail {place} is never sent", lambda: self._next >= place, PATIENCE)

    def campaign(self) -> None:
        """The whole campaign, with its crashes."""
        one, other = self.hosts
        crashes = threading.Thread(target=self._crash)
        crashes.start()
        self.send(self.count * 3 // 4, self.hosts)
        crashes.join()
        for host in self.hosts:
            host.fletching.command("mta", "pause", "b")
        self.send(self.count, [other, one])

    def _crash(self) -> None:
        one, other = self.hosts
        self.wait_for(self.count * 2 // 6 + 1)
        one.kill_courier()
        self.wait_for(self.count * 45 // 100)
        one.start_courier()
        self.wait_for(self.count * 4 // 6 + 1)
        other.kill()
        self.wait_for(self.count * 72 // 100)
        other.start()

    # Results

    def wait_delivered(self) -> None:
        """Until every seed has a copy and both queues are empty."""
        wait_until("a seed has no copy", self._seeds_have_copies, PATIENCE)
        for host in self.hosts:
            host.postfix.wait_empty()

    def _seeds_have_copies(self) -> bool:
        return {each.recipient for each in self.arrivals() if each.is_seed} == {*SEEDS}

    def arrivals(self) -> list[Arrival]:
        """Each mail that has arrived, once: Postfix delivers again what a kill has interrupted."""
        found = set()
        for member, sink in self.sinks.items():
            for recipient, raw in sink.envelopes():
                place = re.search(rb"(?m)^X-Place: (\d+)", raw)
                info = re.search(rb"(?m)^X-Mailer-Info: ([^\n]*(?:\n[ \t][^\n]*)*)", raw)
                assert place, raw
                assert info, raw
                if raw.rstrip().endswith(LAST_LINE):
                    found.add(Arrival(member, recipient, int(place[1]), info[1]))
        return sorted(found, key=lambda each: each.place)


@contextmanager
def fleet(folder: Path, count: int, shape: str) -> Iterator[Fleet]:
    """A running fleet over Redis in one of `redis_cluster.SHAPES`."""
    with redis_cluster.running(shape) as stores:
        made = Fleet(folder, stores.url, count)
        with made.running():
            yield made


def main(count: int = 10_000, shape: str = "server") -> None:
    from tests.real.test_fleet import judge

    with private_directory() as folder:
        place = Path(tempfile.mkdtemp(dir=folder))
        place.chmod(0o755)
        begun = time.monotonic()
        with fleet(place, count, shape) as running:
            running.campaign()
            running.wait_delivered()
            seconds = time.monotonic() - begun
            arrivals = running.arrivals()
            for line in figures(running, arrivals):
                print(line)
            judge(running, arrivals)
    print(f"all laws hold; {seconds:.0f} s")


def figures(made: Fleet, arrivals: Sequence[Arrival]) -> Iterator[str]:
    """What came of the campaign, in words."""
    mails = [each for each in arrivals if not each.is_seed]
    different = len({each.place for each in mails})
    yield f"{made.count} mails, {len(mails)} arrived, {different} different; 451: {made.put_off}"
    for title, low, high in (
        ("before the cap", 0, made.count * 35 // 100),
        ("with the cap, before the pause", made.count // 2 + made.count // 10, made.count * 3 // 4),
        ("with the cap and the pause", made.count * 3 // 4, made.count),
    ):
        part = Counter(each.member for each in mails if low <= each.place < high)
        shares = ", ".join(f"{name} {100 * part[name] / part.total():.2f} %" for name in WEIGHTS)
        yield f"{title}: {shares}"
    total = Counter(each.member for each in arrivals)
    yield f"in all, with seeds: {dict(total)}; cap of c: {made.cap}"
    for number, seed in enumerate(SEEDS):
        due = 100 * number / (len(SEEDS) - 1)
        at = [100 * each.place / (made.count - 1) for each in arrivals if each.recipient == seed]
        yield f"{seed}: due at {due:.2f} %, sent at {', '.join(f'{each:.2f} %' for each in at)}"


if __name__ == "__main__":
    main(*(int(word) if word.isdecimal() else word for word in sys.argv[1:]))  # type: ignore[arg-type]
