"""What fails, and what a client, Postfix and the recipient see of it (docs/failure.md).

Everything is hurt for real: processes are killed, stopped and told to end while Postfix talks to
them. Where a moment has to be met, the one that hurts stands in that moment: a Redis that kills
when it is asked, a milter that kills itself behind an edit.
"""

from __future__ import annotations

import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sandbox.postfix import Postfix, Reply, send
from sandbox.processes import processes, wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink

from .fletching import Fletching
from .mails import COMMON, MIME, NEWSLETTER, RECIPIENT, SENDER, TRANSACTIONAL, links, mail
from .odd_mails import ODD

pytestmark = pytest.mark.slow

Sinks = Mapping[str, Sink]

TO_A = b"X-GreenArrow-MtaID: a"
HTML = b'<p><a href="https://shop.example/">x</a> ##unsubscribetag##</p>\r\n'
OFFER = mail(NEWSLETTER, TO_A, MIME + b"Content-Type: text/html", body=HTML)
# All that is wanted of the milter once more, for the edits: fields go, come and change.
FULL = mail(
    *(NEWSLETTER, TO_A, b"X-GreenArrow-InstanceID: 7spring", b"X-GreenArrow-Unknown: x"),
    MIME + b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit",
    body="<p>Grüße</p>\r\n".encode() + HTML,
)


def submit(postfix: Postfix, raw: bytes = OFFER) -> Reply:
    return postfix.submit(raw, SENDER, [RECIPIENT])


def must_try_again(reply: Reply) -> None:
    """4xx: the application keeps the mail."""
    assert reply.code // 100 == 4, reply


def nothing_left(postfix: Postfix, sinks: Sinks) -> None:
    """No mail is in the queue, and none has arrived."""
    assert postfix.queue() == ()
    assert {name: len(sink.mails) for name, sink in sinks.items() if sink.mails} == {}


def number_of(fletching: Fletching, reply: Reply) -> tuple[str, int]:
    found = re.search(r"campaign=(\w+) number=(\d+)", fletching.line_of(reply))
    assert found is not None, fletching.line_of(reply)
    return found[1], int(found[2])


@pytest.fixture
def own(fresh: Path, redis: RedisServer, postfix: Postfix) -> Iterator[Fletching]:
    """A milter of this test alone, before Postfix."""
    with Fletching(fresh, redis.unix_url) as fletching:
        fletching.join(postfix)
        yield fletching


class TestRedis:
    def test_killed_amid_a_campaign(
        self, fletching: Fletching, postfix: Postfix, sinks: Sinks, redis: RedisServer
    ) -> None:
        # Of a campaign of its own: the milter remembers those of other tests, and their numbers.
        own = mail(NEWSLETTER, TO_A, b"X-GreenArrow-InstanceID: 1killed")
        before = [submit(postfix, own) for _ in range(2)]
        redis.kill()
        for _ in range(3):
            away = submit(postfix, own)
            assert (away.code, away.text[:5]) == (451, "4.3.0"), away
        redis.start()
        back = time.monotonic()
        wait_until("mail is refused for ever", lambda: submit(postfix, own).accepted)
        print(f"\nRedis is back: mail is taken after {time.monotonic() - back:.3f} s")
        after = submit(postfix, own)
        postfix.wait_empty()
        assert len(sinks["vmta-a"].mails) == 4, "mail that was answered 451 has arrived"
        numbers = [number_of(fletching, reply) for reply in (*before, after)]
        assert numbers == [(numbers[0][0], number) for number in (1, 2, 4)]

    def test_hanging(self, fletching: Fletching, postfix: Postfix, redis: RedisServer) -> None:
        assert submit(postfix).accepted
        redis.pause()
        hangs = [submit(postfix) for _ in range(3)]
        assert {(reply.code, reply.text[:5]) for reply in hangs} == {(451, "4.3.0")}
        redis.resume()
        wait_until("mail is refused for ever", lambda: submit(postfix).accepted)

    def test_mail_without_a_campaign_does_not_need_it(
        self, fletching: Fletching, postfix: Postfix, sinks: Sinks, redis: RedisServer
    ) -> None:
        redis.kill()
        assert submit(postfix, mail()).accepted
        (arrived,) = sinks["smtp"].wait()
        assert arrived.below_received == mail()

    def test_untracked(
        self, directory: Path, postfix: Postfix, sinks: Sinks, redis: RedisServer
    ) -> None:
        change = {"on_store_failure": "untracked"}
        unsubscribe = b'<a href="##unsubscribetag##https://shop.example/bye">Bye</a>\r\n'
        raw = mail(NEWSLETTER, TO_A, MIME + b"Content-Type: text/html", body=HTML + unsubscribe)
        with Fletching(directory / "untracked", redis.unix_url, change) as fletching:
            fletching.join(postfix)
            redis.kill()
            reply = submit(postfix, raw)
            assert reply.accepted, reply
            (arrived,) = sinks["vmta-a"].wait()
            assert b'href="https://shop.example/"' in arrived.raw, "a click link without campaign"
            (link,) = links(arrived)
            told = fletching.token(link)
            assert (told["kind"], told["click_url"]) == ("unsub", "https://shop.example/bye")
            field = re.search(r"<(https:[^>]*)>", str(arrived.message["List-Unsubscribe"]))
            assert field is not None, "no List-Unsubscribe"
            assert fletching.token(field[1])["email"] == RECIPIENT
            assert "untracked=store" in fletching.line_of(reply)
            redis.start()
            wait_until(
                "it never tracks again",
                lambda: "untracked=" not in fletching.line_of(submit(postfix, raw)),
            )
            untracked = sum("untracked" in line for line in fletching.mail_lines())
        counted = (directory / "untracked" / "state" / "metrics.prom").read_text()
        assert f"fletching_untracked_total {untracked}.0\n" in counted


@contextmanager
def _redis_that(acts: Callable[[], None], path: Path) -> Iterator[str]:
    """Something at a Redis URL that acts when it is first asked, and never answers."""
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as kept:
        listener.bind(os.fspath(path))
        listener.listen()

        def serve() -> None:
            asked = kept.enter_context(listener.accept()[0])
            asked.recv(1)
            acts()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"unix://{path}"
        thread.join(30)
        assert not thread.is_alive(), "it was never asked"


# To be run in place of `fletching`: it dies with all its processes as soon as Postfix has been sent
# a request of the kind that is in the environment.
_DIES_BEHIND = """
import os, signal
import Milter
from fletching.cli.main import main

name = os.environ["DIES_BEHIND"]
plain = getattr(Milter.Base, name)

def dying(self, *words):
    plain(self, *words)
    os.killpg(os.getpgrp(), signal.SIGKILL)

setattr(Milter.Base, name, dying)
main()
"""


class TestKilled:
    """SIGKILL, at whatever moment: Postfix says 4xx, and nothing half-done leaves."""

    def test_while_it_asks_redis(
        self, directory: Path, redis: RedisServer, postfix: Postfix, sinks: Sinks
    ) -> None:
        milter: list[Fletching] = []
        with _redis_that(lambda: milter[0].kill(), directory / "deadly.sock") as url:
            with Fletching(directory / "asking", url) as fletching:
                milter.append(fletching)
                fletching.join(postfix)
                must_try_again(submit(postfix))
                wait_until("it lives", lambda: not fletching.running)
            nothing_left(postfix, sinks)
            fletching.configure({"redis": redis.unix_url})
            with fletching:
                assert submit(postfix).accepted
                sinks["vmta-a"].wait()

    @pytest.mark.parametrize("edit", ["addheader", "chgheader", "chgfrom", "replacebody"])
    def test_amid_its_edits(
        self, directory: Path, redis: RedisServer, postfix: Postfix, sinks: Sinks, edit: str
    ) -> None:
        changed = Fletching(
            directory / f"dies-{edit}",
            redis.unix_url,
            program=("-c", _DIES_BEHIND),
            environment={"DIES_BEHIND": edit},
        )
        with changed:
            changed.join(postfix)

            def is_dead() -> bool:
                """Where Redis was too slow, the mail got no edits, and has to come again."""
                must_try_again(submit(postfix, FULL))
                return not processes(changed.pid)

            wait_until("it lives", is_dead)
        accepted = [line for line in changed.mail_lines() if line["verdict"] == "accept"]
        assert not accepted, "it was killed too late"
        nothing_left(postfix, sinks)

    def test_again_and_again_while_mail_comes(
        self, own: Fletching, postfix: Postfix, sinks: Sinks
    ) -> None:
        """Every mail that was taken arrives whole, and no other."""
        over = threading.Event()

        def insist(number: int) -> int:
            taken = 0
            while not over.is_set():
                taken += submit(postfix).accepted
            return taken

        with ThreadPoolExecutor(4) as clients:
            sending = [clients.submit(insist, number) for number in range(4)]
            try:
                for _ in range(4):
                    _ten_more(own)
                    own.kill()
                    own.start()
            finally:
                over.set()
            taken = sum(each.result() for each in sending)
        for arrived in sinks["vmta-a"].wait(taken):
            kinds = [own.keys.open(link.partition("?")[2]).kind.name for link in links(arrived)]
            assert kinds == ["CLICK_HTML", "OPEN"], "a half-edited mail"
            assert {"x-mailer-info", "dkim-signature"} <= set(arrived.header_names)
            assert arrived.sender.startswith("bounces+")
        assert submit(postfix).accepted

    def test_one_worker_is_replaced_and_the_others_go_on(
        self, own: Fletching, postfix: Postfix
    ) -> None:
        first = own.workers
        idle = {pid: _connections(pid) for pid in first}
        with ExitStack() as stack:
            sessions: list[smtplib.SMTP] = []

            def both_have_some() -> bool:
                sessions.append(stack.enter_context(postfix.client()))
                return len(sessions) > 60 or all(_connections(pid) > idle[pid] for pid in first)

            wait_until("one worker has all sessions", both_have_some)
            killed = first[0]
            hit = _connections(killed) - idle[killed]
            assert 0 < hit < len(sessions), "one worker has all sessions"
            os.kill(killed, signal.SIGKILL)
            wait_until("no new worker", lambda: len(own.workers) == 2 and killed not in own.workers)
            replies = [send(smtp, OFFER, SENDER, [RECIPIENT]) for smtp in sessions]
            codes = sorted(reply.code for reply in replies)
            assert codes == [250] * (len(sessions) - hit) + [451] * hit
        assert submit(postfix).accepted
        assert re.search(r"(?m)^child_died what=.*SIGKILL", own.log())
        assert first[1] in own.workers


def _ten_more(fletching: Fletching) -> None:
    before = fletching.log().count("\nmail ")
    wait_until("no mail comes", lambda: fletching.log().count("\nmail ") > before + 10)


def _connections(pid: int) -> int:
    """How many sockets a process has open."""
    folder = Path(f"/proc/{pid}/fd")
    return sum(os.readlink(entry).startswith("socket:") for entry in folder.iterdir())


class TestAway:
    def test_without_a_milter_mail_is_not_taken(
        self, own: Fletching, postfix: Postfix, sinks: Sinks
    ) -> None:
        own.stop()
        assert postfix.postconf("-h", "milter_default_action") == "tempfail"
        for raw in (OFFER, mail()):
            assert submit(postfix, raw).code == 451
        nothing_left(postfix, sinks)
        own.start()
        assert submit(postfix).accepted

    def test_a_session_that_lost_it_has_to_begin_again(
        self, own: Fletching, postfix: Postfix
    ) -> None:
        """As Postfix 3.7 has it; deploy/postfix/README.md tells applications."""
        with postfix.client() as smtp:
            assert send(smtp, OFFER, SENDER, [RECIPIENT]).accepted
            own.kill()
            own.start()
            codes = [send(smtp, OFFER, SENDER, [RECIPIENT]).code for _ in range(3)]
            assert codes == [451] * 3
            assert submit(postfix).accepted, "another session"
            assert send(smtp, OFFER, SENDER, [RECIPIENT]).code == 451


class TestEnd:
    def test_the_mail_in_hand_is_finished(
        self, own: Fletching, postfix: Postfix, sinks: Sinks
    ) -> None:
        head, blank, body = OFFER.partition(b"\r\n\r\n")
        with postfix.client() as smtp:
            smtp.mail(SENDER)
            smtp.rcpt(RECIPIENT)
            assert smtp.docmd("DATA")[0] == 354
            smtp.send(head + blank)
            # Postfix does not wait for the milter's word about MAIL: make sure it has it.
            own.settle()
            own.signal(signal.SIGTERM)
            wait_until("the path is still there", lambda: not own.socket.exists())
            wait_until("no mail is in hand", lambda: "draining mails=1" in own.log())
            assert own.running
            smtp.send(body + b".\r\n")
            assert smtp.getreply()[0] == 250
            assert own.wait() == 0
            assert processes(own.pid) == []
            (arrived,) = sinks["vmta-a"].wait()
            assert len(links(arrived)) == 2
            # Of the next mail there is nobody to ask.
            assert send(smtp, OFFER, SENDER, [RECIPIENT]).code == 451
        assert "mails_interrupted" not in own.log()

    def test_a_mail_that_does_not_end_is_cut_off(self, own: Fletching, postfix: Postfix) -> None:
        with postfix.client() as smtp:
            smtp.mail(SENDER)
            smtp.rcpt(RECIPIENT)
            assert smtp.docmd("DATA")[0] == 354
            # As above: make sure the milter has MAIL.
            own.settle()
            began = time.monotonic()
            own.stop()
            print(f"\nended {time.monotonic() - began:.1f} s after SIGTERM")
            assert "mails_interrupted mails=1" in own.log()
            smtp.send(OFFER + b".\r\n")
            assert smtp.getreply()[0] == 451
        assert not own.socket.exists()

    def test_idle_sessions_do_not_keep_it(self, own: Fletching, postfix: Postfix) -> None:
        with postfix.client() as smtp:
            assert send(smtp, OFFER, SENDER, [RECIPIENT]).accepted
            own.stop()
            assert processes(own.pid) == []
            assert "draining" not in own.log(), "a mail that was answered is still in hand"


class TestReload:
    def test_a_broken_file_changes_nothing(self, own: Fletching, postfix: Postfix) -> None:
        right = own.config_path.read_text()
        own.config_path.write_text(f"verpp: true\n{right}mail_clases: {{}}\n")
        assert own.reload() == "failed"
        last = 1 + right.count("\n") + 1
        for problem in (f"{own.config_path}:1: verpp: ", f"{own.config_path}:{last}: mail_clases"):
            assert f'reload=failed problem="{problem}' in own.log()
        reply = submit(postfix)
        assert "class=newsletter" in own.line_of(reply)

    def test_a_right_file_is_taken(self, own: Fletching, postfix: Postfix) -> None:
        own.configure({"default_mail_class": "transactional"})
        assert own.reload() == "done"
        wait_until(
            "the old configuration is in force",
            lambda: "class=transactional" in own.line_of(submit(postfix, mail())),
        )
        postfix.wait_idle()

    def test_no_mail_is_lost_by_it(self, own: Fletching, postfix: Postfix, sinks: Sinks) -> None:
        def send_ten(_: int) -> list[int]:
            with postfix.client() as smtp:
                return [send(smtp, OFFER, SENDER, [RECIPIENT]).code for _ in range(10)]

        with ThreadPoolExecutor(10) as clients:
            sending = [clients.submit(send_ten, number) for number in range(10)]
            for _ in range(5):
                assert own.reload() == "done"
            codes = [code for each in sending for code in each.result()]
        assert codes == [250] * 100
        sinks["vmta-a"].wait(100)


class TestStart:
    """What is wrong keeps it from starting: status 2 and a line that says where."""

    def refused(self, stopped: Fletching) -> str:
        argv = [sys.executable, "-m", "fletching", "milter", "--config", str(stopped.config_path)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    @pytest.fixture
    def stopped(self, fresh: Path, redis: RedisServer) -> Fletching:
        return Fletching(fresh, redis.unix_url)

    def test_a_broken_configuration(self, stopped: Fletching) -> None:
        stopped.config_path.write_text("verpp: true\n" + stopped.config_path.read_text())
        assert self.refused(stopped).startswith(f"{stopped.config_path}:1: verpp: ")

    def test_a_key_file_that_is_not_there(self, stopped: Fletching) -> None:
        file = stopped.directory / "example.com.s1.pem"
        file.unlink()
        assert str(file) in self.refused(stopped)

    @pytest.mark.parametrize("name", ["link-keys", "example.com.s1.pem"])
    def test_a_key_file_that_others_can_read(self, stopped: Fletching, name: str) -> None:
        file = stopped.directory / name
        file.chmod(0o644)
        said = self.refused(stopped)
        assert str(file) in said
        assert "must be 0600 or 0640" in said

    def test_a_socket_that_is_another_daemon_s(
        self, fletching: Fletching, postfix: Postfix, stopped: Fletching
    ) -> None:
        stopped.configure({"listen": f"unix:{fletching.socket}"})
        said = f"listen: {fletching.socket}: is in use by another daemon\n"
        assert self.refused(stopped).endswith(said)
        assert submit(postfix).accepted, "the first one has lost its socket"

    def test_the_socket_of_a_dead_daemon_is_in_nobody_s_way(
        self, stopped: Fletching, postfix: Postfix
    ) -> None:
        stopped.start()
        stopped.kill()
        assert stopped.socket.exists()
        with stopped:
            stopped.join(postfix)
            assert submit(postfix).accepted


# To be run in place of `fletching`: pieces of mail that say so make a callback fail.
_FAILS = """
from fletching.cli.main import main
from fletching.daemons.milter import callbacks as milter
from fletching.daemons.milter.mail import Mail

add_header, address, body = Mail.add_header, milter.address_of, milter.Connection.body

def fail(*words):
    raise RuntimeError("injected")

class Chunks(list):
    def append(self, chunk):
        fail() if b"fail in the body" in chunk else super().append(chunk)

def made(self, *words, **named):
    plain(self, *words, **named)
    self.chunks = Chunks()

plain, Mail.__init__ = Mail.__init__, made
Mail.add_header = lambda self, *field: fail() if field[0] == "X-Fail" else add_header(self, *field)
milter.address_of = lambda path: fail() if path.startswith("<fail@") else address(path)
main()
"""


@pytest.fixture(scope="module")
def failing(place: Path, running_redis: RedisServer) -> Iterator[Fletching]:
    change = {"workers": 1}
    program = ("-c", _FAILS)
    url = running_redis.unix_url
    with Fletching(place / "failing", url, change, program=program) as fletching:
        yield fletching


class TestCallback:
    """Postfix does not wait for the answers of most callbacks: failures are told at the end."""

    @pytest.mark.parametrize(
        ("raw", "sender", "reader"),
        [
            (mail(NEWSLETTER, b"X-Fail: x"), SENDER, RECIPIENT),
            (mail(NEWSLETTER, body=b"fail in the body\r\n"), SENDER, RECIPIENT),
            (mail(NEWSLETTER), SENDER, "fail@gmail.example"),
            (mail(NEWSLETTER), "fail@example.com", RECIPIENT),
            (mail(b"X-Fail: x"), SENDER, RECIPIENT),
        ],
        ids=["header", "body", "recipient", "sender", "no class"],
    )
    def test_that_fails(
        self,
        failing: Fletching,
        redis: RedisServer,
        postfix: Postfix,
        sinks: Sinks,
        raw: bytes,
        sender: str,
        reader: str,
    ) -> None:
        failing.join(postfix)
        with postfix.client() as smtp:
            assert send(smtp, OFFER, SENDER, [RECIPIENT]).accepted
            sinks["vmta-a"].wait()
            reply = send(smtp, raw, sender, [reader])
            assert (reply.code, reply.text[:5]) == (451, "4.3.0"), reply
            assert failing.running
            after = send(smtp, OFFER, SENDER, [RECIPIENT])
            assert after.accepted, "the next mail in the session"
        arrived = sinks["vmta-a"].wait(2)[1]
        assert len(links(arrived)) == 2, "the next mail is not whole"
        postfix.wait_empty()
        assert sum(len(sink.mails) for sink in sinks.values()) == 2, "the failed mail has left"
        failed = [line for line in failing.log().splitlines() if line.startswith("mail_failed ")]
        assert re.match(r"mail_failed queue_id=\w{6,} ", failed[-1]), failed[-1]


MULTIPART = MIME + b"Content-Type: multipart/mixed; boundary=b0"
PART = b"--b0\r\nContent-Type: text/html\r\n\r\n<a href=http://a.example/>a</a>\r\n"
NESTED = b"".join(
    b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (depth, depth + 1)
    for depth in range(1000)
)
HOSTILE = {
    **ODD,
    "10,000 parts": mail(MULTIPART, body=PART * 10_000 + b"--b0--\r\n"),
    "10,000 empty parts": mail(MULTIPART, body=b"--b0\r\n" * 10_000),
    "1000 deep": mail(MULTIPART, body=NESTED + b"--b1000\r\n\r\nx\r\n"),
    "1000 deep messages": mail(
        MIME + b"Content-Type: message/rfc822",
        body=b"Content-Type: message/rfc822\r\n\r\n" * 1000 + b"x\r\n",
    ),
    "1 MB line": mail(body=b"y" * 1_000_000 + b"\r\n"),
    "1 MB line of HTML": mail(MIME + b"Content-Type: text/html", body=HTML[:-2] * 15_000 + b"\r\n"),
    "1 MB of open tags": mail(MIME + b"Content-Type: text/html", body=b"<a href=" * 125_000),
    "1 MB of quotes": mail(MIME + b"Content-Type: text/html", body=b"<a href='\"" * 100_000),
    "1 MB of brackets": mail(body=b"http://a.example/" + b"(" * 1_000_000 + b"\r\n"),
    "1 MB of blanks": mail(body=b"x" + b" " * 1_000_000 + b"\r\n\r\n"),
    "1 MB of empty lines": mail(body=b"\r\n" * 500_000),
    "60 kB of commas in To": COMMON.replace(b"To: ", b"To: " + b"," * 59_000) + b"\r\nx\r\n",
    "60 kB control header": mail(b"X-GreenArrow-DKIM: " + b"[" * 59_000),
    "control headers with octets": mail(
        *(b"X-GreenArrow-InstanceID: \xff\x01\x1b", b"X-GreenArrow-MtaID: \x00"),
        b"X-GreenArrow-: \xe9",
    ),
    "wrong base64": mail(
        MIME + b"Content-Type: text/html\r\nContent-Transfer-Encoding: base64",
        body=b"=====\xff!!" * 100,
    ),
    "wrong quoted-printable": mail(
        MIME + b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable",
        body=b'=\r\n=ZZ=4\r\n<a href=3D"http://a.example/=\r\n' * 100,
    ),
    "unknown charset": mail(MIME + b"Content-Type: text/html; charset=x-\xff", body=HTML),
    "UTF-16": mail(MIME + b"Content-Type: text/html; charset=utf-16", body=HTML),
    "UTF-7": mail(MIME + b"Content-Type: text/html; charset=utf-7", body=b"+\xff+AGE" + HTML),
    "boundary of 60 kB": mail(
        MIME + b'Content-Type: multipart/mixed; boundary="' + b"b" * 59_000 + b'"', body=PART
    ),
}


@pytest.mark.parametrize("mail_class", [NEWSLETTER, TRANSACTIONAL, b"X-None: x"])
def test_hostile_mail_passes(fletching: Fletching, postfix: Postfix, mail_class: bytes) -> None:
    """Accepted in one session, by workers that all live on; Postfix itself may refuse."""
    workers = fletching.workers
    before = len(fletching.log())
    refused = {}
    with postfix.client() as smtp:
        for name, raw in HOSTILE.items():
            began = time.monotonic()
            reply = send(smtp, mail_class + b"\r\n" + TO_A + b"\r\n" + raw, SENDER, [RECIPIENT])
            seconds = time.monotonic() - began
            if seconds > 0.5:
                print(f"\n{name}: {seconds:.2f} s")
            if not reply.accepted:
                refused[name] = reply
    assert refused == {}
    said = fletching.log()[before:]
    assert "mail_failed" not in said, said
    assert fletching.workers == workers, "a worker has died"
    postfix.wait_empty()
