"""The daemons as an admin runs them: start, listeners, workers, load, and what is left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from sandbox.postfix import Postfix, Reply, send
from sandbox.processes import answers, free_port, processes, wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink
from sandbox.verifiers import verify_opendkim

from .fletching import Fletching
from .mails import MIME, NEWSLETTER, RECIPIENT, SENDER, body_of, links, mail

pytestmark = pytest.mark.slow

Sinks = Mapping[str, Sink]

TO_A = b"X-GreenArrow-MtaID: a"
OFFER = mail(NEWSLETTER, TO_A, b"X-GreenArrow-InstanceID: 7spring")


def submit(postfix: Postfix, raw: bytes = OFFER) -> Reply:
    return postfix.submit(raw, SENDER, [RECIPIENT])


def number_of(fletching: Fletching, reply: Reply) -> tuple[str, int]:
    found = re.search(r"campaign=(\w+) number=(\d+)", fletching.line_of(reply))
    assert found is not None, fletching.line_of(reply)
    return found[1], int(found[2])


def family(fletching: Fletching) -> dict[str, list[int]]:
    """Its processes by what they are; the milter's first one comes before its workers."""
    found: dict[str, list[int]] = {"run": [], "milter": [], "redis-server": []}
    for pid in sorted(processes(fletching.pid)):
        with suppress(FileNotFoundError, ProcessLookupError):
            words = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            for name, pids in found.items():
                if f" {name} " in words or f"/{name} " in words:
                    pids.append(pid)
    return found


class TestRun:
    """`fletching run` with `redis: embedded`: one command, and nothing else is needed."""

    @pytest.fixture
    def everything(self, fresh: Path, postfix: Postfix) -> Iterator[Fletching]:
        with Fletching(fresh, "embedded", command="run") as fletching:
            fletching.join(postfix)
            yield fletching

    def test_it_serves_and_leaves_nobody(
        self, everything: Fletching, postfix: Postfix, sinks: Sinks
    ) -> None:
        replies = [submit(postfix) for _ in range(2)]
        assert [number_of(everything, reply)[1] for reply in replies] == [1, 2]
        sinks["vmta-a"].wait(2)
        assert {name: len(pids) for name, pids in family(everything).items()} == {
            "run": 1,
            "milter": 3,
            "redis-server": 1,
        }
        everything.stop()  # an error, where a process is left
        assert processes(everything.pid) == []
        assert not everything.socket.exists()
        assert not (everything.directory / "state" / "redis" / "redis.sock").exists()

    def test_a_campaign_goes_on_after_a_restart(
        self, everything: Fletching, postfix: Postfix
    ) -> None:
        campaign, number = number_of(everything, submit(postfix))
        everything.stop()
        everything.start()
        assert number_of(everything, submit(postfix)) == (campaign, number + 1)

    def test_sighup_reaches_the_milter(self, everything: Fletching, postfix: Postfix) -> None:
        before = family(everything)
        everything.configure({"default_mail_class": "newsletter"})
        assert everything.reload() == "done"
        wait_until(
            "the old configuration is in force",
            lambda: "class=newsletter" in everything.line_of(submit(postfix, mail())),
        )
        everything.config_path.write_text("verpp: true\n")
        assert everything.reload() == "failed"
        assert "class=newsletter" in everything.line_of(submit(postfix, mail()))
        assert family(everything) == before, "a process was replaced"

    @pytest.mark.parametrize("who", ["milter", "redis-server"])
    def test_what_crashes_is_started_again(
        self, everything: Fletching, postfix: Postfix, who: str
    ) -> None:
        first = number_of(everything, submit(postfix))
        before = family(everything)
        os.kill(before[who][0], signal.SIGKILL)

        def replaced() -> bool:
            now = family(everything)
            return all(
                len(now[name]) == len(pids) and (name != who or not {*now[name]} & {*pids})
                for name, pids in before.items()
            )

        wait_until(f"{before} is not whole again", replaced)
        replies: list[Reply] = []

        def taken() -> bool:
            replies.append(submit(postfix))
            return replies[-1].accepted

        wait_until("mail is refused for ever", taken)
        assert {reply.code for reply in replies[:-1]} <= {451}
        campaign, number = number_of(everything, replies[-1])
        assert campaign == first[0], "the campaign is forgotten"
        assert number > first[1], "a number comes twice"


class TestNotify:
    @pytest.mark.parametrize("command", ["milter", "run"])
    def test_it_is_ready_when_it_says_so(
        self, directory: Path, redis: RedisServer, command: str
    ) -> None:
        folder = directory / f"notify-{command}"
        address = directory / f"notify-{command}.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(os.fspath(address))
            told.settimeout(30)
            told_at = {"NOTIFY_SOCKET": os.fspath(address)}
            daemon = Fletching(folder, redis.unix_url, command=command, environment=told_at)
            with daemon:
                assert told.recv(100) == b"READY=1"
                with socket.socket(socket.AF_UNIX) as asked:
                    asked.connect(os.fspath(daemon.socket))
            assert told.recv(100) == b"STOPPING=1"
            told.setblocking(False)
            with pytest.raises(BlockingIOError):
                told.recv(100)


def test_it_listens_on_ipv6_where_postfix_speaks_it(
    directory: Path, redis: RedisServer, postfix: Postfix, sinks: Sinks
) -> None:
    port = free_port()
    change = {"listen": f"inet6:{port}@[::1]"}
    with Fletching(directory / "inet6", redis.unix_url, change) as fletching:
        fletching.join(postfix)
        assert f"inet:[::1]:{port}" in postfix.postconf("-hx", "smtpd_milters")
        assert submit(postfix).code == 451, "inet_protocols is ipv4"
        postfix.set(inet_protocols="all")
        assert submit(postfix).accepted
        sinks["vmta-a"].wait()


def test_it_listens_on_tcp(
    directory: Path, redis: RedisServer, postfix: Postfix, sinks: Sinks
) -> None:
    port = free_port()
    change = {"listen": f"inet:{port}@127.0.0.1"}
    with Fletching(directory / "inet", redis.unix_url, change) as fletching:
        fletching.join(postfix)
        assert f"inet:127.0.0.1:{port}" in postfix.postconf("-hx", "smtpd_milters")
        assert submit(postfix).accepted
        sinks["vmta-a"].wait()
    assert not answers(port), "somebody still listens"
    assert submit(postfix).code == 451
    with fletching:  # at once, at the same port
        assert submit(postfix).accepted


CPUS = sorted(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("workers", "where"),
    [
        # With a single CPU they are all the same.
        pytest.param("auto", [[cpu] for cpu in CPUS], id="each on a CPU of its own"),
        pytest.param(1, [CPUS], id="fewer than CPUs"),
        pytest.param(len(CPUS) + 1, [CPUS] * (len(CPUS) + 1), id="more of them than CPUs"),
    ],
)
def test_as_many_workers_as_wanted(
    directory: Path,
    redis: RedisServer,
    postfix: Postfix,
    workers: int | str,
    where: list[list[int]],
) -> None:
    def they_are_there() -> bool:
        with suppress(ProcessLookupError):
            return sorted(sorted(os.sched_getaffinity(pid)) for pid in fletching.workers) == where
        return False

    change = {"workers": workers}
    with Fletching(directory / f"workers-{workers}", redis.unix_url, change) as fletching:
        fletching.join(postfix)
        assert submit(postfix).accepted
        wait_until("the workers are not where they belong", they_are_there)
        lost = fletching.workers[0]
        os.kill(lost, signal.SIGKILL)
        wait_until("the lost one goes on", lambda: lost not in fletching.workers)
        wait_until("no other worker took its place", they_are_there)
        assert submit(postfix).accepted


def submit_as(postfix: Postfix, address: str) -> Reply:
    """XCLIENT has Postfix tell the milter any client."""
    postfix.set(
        smtpd_authorized_xclient_hosts="127.0.0.1",
        smtpd_relay_restrictions="check_client_access static:ok, reject_unauth_destination",
        inet_protocols="all",
    )
    with postfix.client() as smtp:
        assert smtp.docmd("XCLIENT", f"ADDR={address} NAME=[UNAVAILABLE]")[0] == 220
        smtp.ehlo()
        return send(smtp, OFFER, SENDER, [RECIPIENT])


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("127.0.0.1", True),
        ("IPV6:::1", True),
        ("IPV6:2001:db8::1", False),
        ("IPV6:::ffff:192.0.2.1", False),
        ("192.0.2.1", False),
    ],
)
def test_clients_of_any_kind(
    fletching: Fletching, postfix: Postfix, sinks: Sinks, address: str, trusted: bool
) -> None:
    reply = submit_as(postfix, address)
    assert reply.accepted, reply
    postfix.wait_empty()
    (arrived,) = (each for sink in sinks.values() for each in sink.mails)
    assert ("x-mailer-info" in arrived.header_names) == trusted
    assert ("class=newsletter" in fletching.line_of(reply)) == trusted


def test_a_client_without_an_address_has_to_try_again(
    fletching: Fletching, postfix: Postfix, sinks: Sinks
) -> None:
    """libmilter hangs up on it, before we hear of it; only XCLIENT makes such clients."""
    workers = fletching.workers
    assert submit_as(postfix, "[UNAVAILABLE]").code == 451
    assert postfix.queue() == ()
    assert not any(sink.mails for sink in sinks.values())
    assert fletching.workers == workers


def test_50_sessions_at_once(fletching: Fletching, postfix: Postfix, sinks: Sinks) -> None:
    """All are amid their mail before the first one ends, and the end is the same moment for all."""
    # Of a campaign of its own: the milter remembers those of other tests, and their numbers.
    raw = mail(NEWSLETTER, TO_A, b"X-GreenArrow-InstanceID: 50sessions")
    head, blank, body = raw.partition(b"\r\n\r\n")
    with ExitStack() as stack:
        sessions = [stack.enter_context(postfix.client()) for _ in range(50)]
        for smtp in sessions:
            smtp.mail(SENDER)
            smtp.rcpt(RECIPIENT)
            assert smtp.docmd("DATA")[0] == 354
            smtp.send(head + blank)
        for smtp in sessions:
            smtp.send(body + b".\r\n")
        replies = [
            Reply(code, text.decode()) for code, text in (smtp.getreply() for smtp in sessions)
        ]
    assert {reply.code for reply in replies} == {250}
    numbers = [number_of(fletching, reply) for reply in replies]
    assert sorted(number for _, number in numbers) == list(range(1, 51))
    sinks["vmta-a"].wait(50)


def test_a_large_body_comes_and_goes_whole(
    fletching: Fletching, postfix: Postfix, sinks: Sinks
) -> None:
    """Many chunks of 65535 octets on both ways, with a link in each line."""
    line = '<p>{0:05d} <a href="https://shop.example/{0}">' + "text " * 120 + "</a></p>\r\n"
    body = "".join(line.format(number) for number in range(2000)).encode()
    raw = mail(NEWSLETTER, TO_A, MIME + b"Content-Type: text/html", body=body)
    assert submit(postfix, raw).accepted
    (arrived,) = sinks["vmta-a"].wait()
    *clicks, _pixel = links(arrived)
    opened = [fletching.keys.open(link.partition("?")[2]).destination for link in clicks]
    assert opened == [f"https://shop.example/{number}" for number in range(2000)]
    back = re.sub(rb"<img [^>]*>\r\n", b"", body_of(arrived.raw))
    back = re.sub(rb'"https://click[^"]*"', b'"%s"', back)
    assert back == re.sub(rb'"https://[^"]*"', b'"%s"', body)
    (verdict,) = verify_opendkim(arrived.raw, fletching.records)
    assert verdict.passed


# To be run in place of `fletching`: it tells at the end of each connection what is alive.
_COUNTS = """
import sys
import milter as libmilter
from fletching.cli.main import main
from fletching.daemons.milter.mail import Mail
from fletching.daemons.milter.callbacks import Connection

alive = {Mail: set(), Connection: set()}

def counted(kind):
    begin = kind.__init__
    def made(self, *words, **named):
        alive[kind].add(id(self))
        begin(self, *words, **named)
    kind.__init__ = made
    kind.__del__ = lambda self: alive[kind].discard(id(self))

def close(self):
    answer = plain(self)
    made, gone = libmilter.getdiag()
    told = f"closed mails={len(alive[Mail])} connections={len(alive[Connection])}"
    print(told, f"contexts={made - gone}", file=sys.stderr, flush=True)
    return answer

counted(Mail)
counted(Connection)
plain, Connection.close = Connection.close, close
main()
"""


def test_2000_mails_leave_nothing_in_memory(
    directory: Path, redis: RedisServer, postfix: Postfix
) -> None:
    change = {"workers": 1, "mail_classes": {"quiet": {}}}
    counting = Fletching(directory / "memory", redis.unix_url, change, program=("-c", _COUNTS))
    raw = mail(b"X-GreenArrow-MailClass: quiet", b"X-GreenArrow-InstanceID: 7spring")
    resident: list[str] = []

    def session(_: int) -> list[str]:
        with postfix.client() as smtp:
            replies = [send(smtp, raw, SENDER, [RECIPIENT]) for _ in range(100)]
        return [reply.text for reply in replies if not reply.accepted]

    def alone() -> bool:
        """Whether the connection of a last mail says, at its end, that only it is alive."""
        assert submit(postfix, raw).accepted
        said = re.findall(r"(?m)^closed (.*)$", counting.log())
        return said[-1:] == ["mails=0 connections=1 contexts=1"]

    with counting, ThreadPoolExecutor(10) as clients:
        counting.join(postfix)
        postfix.set(default_transport="discard:")
        for _ in range(2):
            refused = [text for each in clients.map(session, range(10)) for text in each]
            assert refused == []
            wait_until(f"it is never alone: {counting.log()[-500:]}", alone)
            (worker,) = counting.workers
            status = Path(f"/proc/{worker}/status").read_text()
            resident += re.findall(r"VmRSS:\s*(\d+)", status)
        print(f"\nresident kB after 1000 and 2000 mails: {' '.join(resident)}")
        postfix.wait_empty()
