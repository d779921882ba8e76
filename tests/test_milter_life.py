"""The milter's processes: start, reload, death, end, and Redis going away meanwhile."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fletching.daemons.process.fork import stay_on

from sandbox.processes import free_port, wait_until
from sandbox.redis_server import RedisServer
from tests.milter_daemon import ACCEPT, REPLY, MilterDaemon, body, header

pytestmark = pytest.mark.slow

CONFIG = """
default_mail_class: news
mail_classes:
  news: {list_id: t100}
  other: {list_id: other}
"""
FROM = header("From", "app@example.com")
BEGIN = ("begin(conn)", "rcpt(conn)", FROM)
END = (body(b"Hello.\r\n"), "finish(conn)")


@pytest.fixture
def milter(redis: RedisServer) -> Iterator[MilterDaemon]:
    with MilterDaemon(f"unix://{redis.socket}", CONFIG) as running:
        yield running


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


# Start


def refused(milter: MilterDaemon, *environment: str) -> str:
    """What a start says that does not come about."""
    command = [sys.executable, "-m", "fletching", "milter", "--config", str(milter.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def at(milter: MilterDaemon, option: str) -> str:
    """How a message about an option begins: file, line, key."""
    lines = milter.path.read_text().splitlines()
    (line,) = (n for n, text in enumerate(lines, 1) if text.startswith(f"{option}:"))
    return f"{milter.path}:{line}: {option}: "


@pytest.fixture
def stopped(redis: RedisServer) -> Iterator[MilterDaemon]:
    milter = MilterDaemon(f"unix://{redis.socket}", CONFIG)
    try:
        yield milter
    finally:
        shutil.rmtree(milter.folder, ignore_errors=True)


def test_invalid_configuration_is_reported_line_by_line(stopped: MilterDaemon) -> None:
    stopped.configure("verpp: true\nmail_classes: {n1: {}}\n")
    lines = refused(stopped).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{stopped.path}:") for line in lines)


def test_missing_key_file_is_reported(stopped: MilterDaemon) -> None:
    (stopped.folder / "link-keys").unlink()
    keys = stopped.folder / "link-keys"
    assert refused(stopped) == f"{at(stopped, 'link_keys')}{keys}: No such file or directory\n"


def test_unusable_state_directory_is_reported(stopped: MilterDaemon) -> None:
    stopped.state_dir.write_text("in the way")
    said = refused(stopped)
    assert said.startswith(at(stopped, "state_dir"))
    assert str(stopped.state_dir) in said


def test_socket_of_a_dead_daemon_is_replaced(stopped: MilterDaemon) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stopped.socket))
        dead.listen()
    with stopped:
        assert stopped.mail(FROM).replies == [ACCEPT]


def test_socket_of_a_running_daemon_is_not_replaced(stopped: MilterDaemon) -> None:
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(stopped.socket))
        living.listen()
        said = refused(stopped)
        place = at(stopped, "listen")
        assert said == f"{place}{stopped.socket}: is in use by another daemon\n"
        with socket.socket(socket.AF_UNIX) as still:
            still.connect(str(stopped.socket))


def test_second_daemon_with_the_same_configuration_does_not_start(milter: MilterDaemon) -> None:
    milter.mail(FROM)
    assert "is in use" in refused(milter)
    assert milter.mail(FROM).replies == [ACCEPT]
    # The first one's counters are still there.
    milter.stop()
    metrics = (milter.state_dir / "metrics.prom").read_text()
    assert 'fletching_mails_total{mail_class="news",verdict="accept"} 2.0' in metrics


def test_file_at_the_socket_path_is_not_replaced(stopped: MilterDaemon) -> None:
    stopped.socket.write_text("precious")
    place = at(stopped, "listen")
    assert refused(stopped) == f"{place}{stopped.socket}: exists and is not a socket\n"
    assert stopped.socket.read_text() == "precious"


def test_missing_folder_of_the_socket_is_reported(stopped: MilterDaemon) -> None:
    nowhere = stopped.folder / "not" / "there.sock"
    text = stopped.path.read_text()
    stopped.path.write_text(text.replace(str(stopped.socket), str(nowhere)))
    assert refused(stopped) == f"{at(stopped, 'listen')}{nowhere}: No such file or directory\n"


def test_socket_has_mode_0660_and_leaves_no_other_file(milter: MilterDaemon) -> None:
    assert milter.socket.stat().st_mode & 0o777 == 0o660
    sockets = [path for path in milter.folder.iterdir() if path.is_socket()]
    assert sockets == [milter.socket]


def listen(milter: MilterDaemon, where: str) -> None:
    text = milter.path.read_text()
    milter.path.write_text(text.replace(f"unix:{milter.socket}", f"'{where}'"))


def test_milter_listens_on_tcp(stopped: MilterDaemon) -> None:
    where = f"inet:{free_port()}@127.0.0.1"
    listen(stopped, where)
    with stopped:
        conn = f'conn = mt.connect("{where}")'
        client = 'mt.conninfo(conn, "client.example.com", "127.0.0.1")'
        assert stopped.talk(conn, client, *BEGIN, *END).end().replies == [ACCEPT]
        place = at(stopped, "listen")
        assert refused(stopped) == f"{place}{where}: Address already in use\n"


def test_milter_listens_on_ipv6(stopped: MilterDaemon) -> None:
    """Spoken by hand: miltertest knows no IPv6."""
    port = free_port()
    listen(stopped, f"inet6:{port}@[::1]")
    with stopped, socket.create_connection(("::1", port)) as conn:
        options = struct.pack("!cIII", b"O", 6, 0x1FF, 0x1FFFFF)
        conn.sendall(struct.pack("!I", len(options)) + options)
        assert conn.recv(100)[4:9] == struct.pack("!cI", b"O", 6)


def test_readiness_is_notified_when_mail_is_accepted(stopped: MilterDaemon) -> None:
    told = stopped.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(told))
        listening.settimeout(60)
        os.environ["NOTIFY_SOCKET"] = str(told)
        try:
            stopped.daemon = type(stopped.daemon)(
                stopped.daemon.argv, stopped.folder / "log", {"NOTIFY_SOCKET": str(told)}
            )
            stopped.start()
        finally:
            del os.environ["NOTIFY_SOCKET"]
        assert listening.recv(100) == b"READY=1"
        assert stopped.mail(FROM).replies == [ACCEPT]
        stopped.stop()
        assert listening.recv(100) == b"STOPPING=1"


# Workers


def test_all_workers_accept_mail(redis: RedisServer) -> None:
    with MilterDaemon(f"unix://{redis.socket}", CONFIG, workers=3) as milter:
        assert len(milter.workers()) == 3
        # Sessions at the same time: one worker gets some, never all of so many.
        talks = [milter.talk("conn = open()", *BEGIN, 'gate("all")', *END) for _ in range(40)]
        for talk in talks:
            talk.reach("all")
        for talk in talks:
            talk.go()
        assert [talk.end().replies for talk in talks] == [[ACCEPT]] * 40
        milter.stop()
        numbers = re.findall(r" number=(\d+) ", "\n".join(milter.lines("mail")))
        assert len(set(numbers)) == 40
        assert 'verdict="accept"} 40.0' in (milter.state_dir / "metrics.prom").read_text()


def test_killed_worker_is_replaced_and_its_mail_not_accepted(milter: MilterDaemon) -> None:
    milter.mail(FROM)
    (first,) = milter.workers()
    talk = milter.talk("conn = open()", *BEGIN, 'gate("here")', *END).reach("here")
    milter.settle()
    milter.wait_for("mail")
    os.kill(first, signal.SIGKILL)
    wait_until("no new worker", lambda: milter.workers() not in ([], [first]))
    assert ACCEPT not in talk.go().end(ok=False).replies
    assert milter.mail(FROM).replies == [ACCEPT]
    assert "how=SIGKILL" in milter.lines("child_died")[0]
    milter.stop()
    # The new one counted on where the dead one was.
    metrics = (milter.state_dir / "metrics.prom").read_text()
    assert 'fletching_mails_total{mail_class="news",verdict="accept"} 2.0' in metrics
    assert len(list((milter.state_dir / "metrics").glob("counter_*.db"))) == 1


def packet(command: bytes, content: bytes = b"") -> bytes:
    """What an MTA sends to a milter."""
    return struct.pack("!I", 1 + len(content)) + command + content


def survives_odd_macros(where: Path, odd: int) -> bool:
    """So many strings as macros of MAIL, where an even number is meant: whether the worker still
    answers the end of the mail."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as peer, suppress(ConnectionError):
        peer.connect(str(where))
        peer.sendall(packet(b"O", struct.pack("!III", 6, 0x1FF, 0x1FFFFF)))
        peer.sendall(packet(b"C", b"host\x004" + struct.pack("!H", 25) + b"192.0.2.1\0"))
        peer.sendall(packet(b"D", b"M" + b"odd\0" * odd) + packet(b"M", b"<a@example.com>\0"))
        peer.sendall(packet(b"D", b"E" + b"odd\0" * odd) + packet(b"E") + packet(b"Q"))
        while more := peer.recv(4096):
            answer += more
    return answer[-1:] == b"a"  # SMFIR_ACCEPT


def test_session_that_ends_amid_the_edits_is_one_line_of_the_log(redis: RedisServer) -> None:
    config = CONFIG.replace("t100}", "t100, track: {opens: true}}")
    with (
        MilterDaemon(f"unix://{redis.socket}", config) as milter,
        socket.socket(socket.AF_UNIX) as peer,
    ):
        peer.connect(str(milter.socket))
        peer.sendall(packet(b"O", struct.pack("!III", 6, 0x1FF, 0x1FFFFF)))
        peer.sendall(packet(b"C", b"host\x004" + struct.pack("!H", 25) + b"127.0.0.1\0"))
        peer.sendall(packet(b"M", b"<app@example.com>\0") + packet(b"R", b"<a@example.org>\0"))
        peer.sendall(packet(b"L", b"From\0app@example.com\0"))
        peer.sendall(packet(b"L", b"Content-Type\0text/html\0"))
        for _ in range(100):
            peer.sendall(packet(b"B", b"x" * 78 + b"\r\n") * 400)
        peer.sendall(packet(b"D", b"Ei\x004Lost\0") + packet(b"E"))
        # Nobody reads the new body, which is larger than what a socket holds.
        milter.settle()
        peer.close()
        (line,) = milter.wait_for("session_lost")
    assert "queue_id=4Lost verdict=tempfail client=127.0.0.1 error=" in line
    assert "traceback" not in milter.log()


def test_worker_crashed_by_a_peer_is_replaced(redis: RedisServer) -> None:
    """A macro without a value makes libmilter read behind the end of its list."""
    with MilterDaemon(f"unix://{redis.socket}", CONFIG, workers=3) as milter:
        before = milter.workers()
        # What stands behind the list is not ours to choose: it takes a few lengths to hit.
        for odd in range(1, 100, 2):
            if not survives_odd_macros(milter.socket, odd):
                time.sleep(0.5)  # Its parent tells of its death, if it died.
            if milter.lines("child_died"):
                break
        wait_until("a worker is missing", lambda: len(milter.workers()) == 3)
        assert len({*before} - {*milter.workers()}) == len(milter.lines("child_died")) <= 1
        assert milter.mail(FROM).replies == [ACCEPT]


def test_worker_ignores_signals_of_the_process_group(milter: MilterDaemon) -> None:
    """libmilter would stop at these, whatever is in hand."""
    (worker,) = milter.workers()
    talk = milter.talk("conn = open()", *BEGIN, 'gate("here")', *END).reach("here")
    milter.settle()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        os.kill(worker, number)
    milter.mail(FROM)
    assert talk.go().end().replies == [ACCEPT]
    assert milter.workers() == [worker]


def test_worker_runs_without_its_cpu() -> None:
    """As where it is forbidden: a sandbox answers with an error of the system, too."""
    before = os.sched_getaffinity(0)
    stay_on(100_000)
    assert os.sched_getaffinity(0) == before


def test_killed_parent_leaves_no_worker(redis: RedisServer) -> None:
    with MilterDaemon("embedded", CONFIG, workers=2) as milter:
        left = milter.children()
        assert len(left) == 3
        milter.daemon.signal(signal.SIGKILL)
        milter.daemon.wait()
        wait_until("somebody is left", lambda: all(map(gone, left)))
        # What it left on disk is in nobody's way.
        milter.start()
        wait_until("no mail is accepted", lambda: milter.mail(FROM).replies == [ACCEPT])


# The end


def test_sigterm_waits_for_the_open_mail(milter: MilterDaemon) -> None:
    children = milter.children()
    talk = milter.talk("conn = open()", *BEGIN, 'gate("here")', *END).reach("here")
    milter.settle()
    milter.daemon.signal(signal.SIGTERM)
    wait_until("the path is still there", lambda: not milter.socket.exists())
    assert talk.go().end().replies == [ACCEPT]
    assert milter.daemon.wait() == 0
    assert all(map(gone, children))
    assert len(milter.lines("mail")) == 1
    assert not milter.lines("mails_interrupted")


def test_mail_that_begins_after_sigterm_gets_421(milter: MilterDaemon) -> None:
    idle = milter.talk("conn = open()", 'gate("idle")', *BEGIN, *END).reach("idle")
    in_hand = milter.talk("conn = open()", *BEGIN, 'gate("here")', *END).reach("here")
    milter.settle()
    milter.daemon.signal(signal.SIGTERM)
    wait_until("the path is still there", lambda: not milter.socket.exists())
    wait_until("not said", lambda: bool(milter.lines("draining")))
    assert idle.go().end().replies == [REPLY]
    assert in_hand.go().end().replies == [ACCEPT]
    assert milter.daemon.wait() == 0
    assert len(milter.lines("mail")) == 1


def test_mail_that_never_ends_is_interrupted_at_a_stop(milter: MilterDaemon) -> None:
    talk = milter.talk("conn = open()", *BEGIN, 'gate("here")', *END).reach("here")
    milter.settle()
    assert milter.daemon.stop() == 0
    assert ACCEPT not in talk.go().end(ok=False).replies
    assert milter.lines("mails_interrupted") == ["mails_interrupted mails=1"]


def test_sigint_ends_the_milter(milter: MilterDaemon) -> None:
    milter.mail(FROM)
    milter.daemon.signal_all(signal.SIGINT)
    assert milter.daemon.wait() == 0
    assert not milter.socket.exists()


def test_path_taken_over_by_another_daemon_is_not_removed(milter: MilterDaemon) -> None:
    milter.socket.unlink()
    milter.socket.write_text("another's")
    milter.stop()
    assert milter.socket.read_text() == "another's"


# Reload


def test_reload_applies_to_mails_that_begin_after_it(milter: MilterDaemon) -> None:
    talk = milter.talk("conn = open()", *BEGIN, 'gate("here")', *END, *BEGIN, *END).reach("here")
    milter.settle()
    milter.configure(CONFIG.replace("default_mail_class: news", "default_mail_class: other"))
    milter.daemon.signal(signal.SIGHUP)
    milter.wait_for("configuration")
    wait_until(
        "the worker goes on with the old one",
        lambda: bool(milter.mail(FROM)) and "class=other" in milter.lines("mail")[-1],
    )
    count = len(milter.lines("mail"))
    assert talk.go().end().replies == [ACCEPT, ACCEPT]
    assert "class=news" in milter.lines("mail")[count]
    assert "class=other" in milter.lines("mail")[count + 1]


def test_reload_with_a_broken_configuration_changes_nothing(milter: MilterDaemon) -> None:
    milter.configure("verpp: true\nmail_classes: {n1: {}}\n")
    milter.daemon.signal(signal.SIGHUP)
    lines = milter.wait_for("configuration", 2)
    assert all("reload=failed" in line and str(milter.path) in line for line in lines)
    milter.mail(FROM)
    milter.wait_for("mail")
    # A worker that begins now has the good one, too.
    os.kill(milter.workers()[0], signal.SIGKILL)
    milter.wait_for("child_died")
    wait_until("no new worker", lambda: bool(milter.workers()))
    milter.mail(FROM)
    assert ["class=news" in line for line in milter.wait_for("mail", 2)] == [True, True]
    milter.configure(CONFIG)
    milter.daemon.signal(signal.SIGHUP)
    assert "reload=done" in milter.wait_for("configuration", 3)[2]


def test_options_that_need_a_restart_are_logged(milter: MilterDaemon) -> None:
    text = milter.path.read_text()
    milter.path.write_text(text.replace("workers: 1", "workers: 2"))
    milter.daemon.signal(signal.SIGHUP)
    assert "restart_for=workers" in milter.wait_for("configuration", 2)[0]


def test_many_reloads_under_load_lose_no_mail(redis: RedisServer) -> None:
    with MilterDaemon(f"unix://{redis.socket}", CONFIG, workers=2) as milter:
        over = threading.Event()

        def reload() -> None:
            while not over.wait(0.02):
                milter.daemon.signal_all(signal.SIGHUP)

        storm = threading.Thread(target=reload)
        storm.start()
        try:
            script = ("conn = open()", *(BEGIN + END) * 50)
            talks = [milter.talk(*script) for _ in range(4)]
            assert [talk.end().replies for talk in talks] == [[ACCEPT] * 50] * 4
        finally:
            over.set()
            storm.join()
        assert not milter.lines("child_died")


# Redis


def test_mail_is_deferred_while_redis_is_down() -> None:
    with RedisServer() as own, MilterDaemon(f"unix://{own.socket}", CONFIG) as milter:
        milter.mail(FROM)
        own.stop()
        assert [milter.mail(FROM).replies for _ in range(3)] == [[REPLY]] * 3
        own.start()
        wait_until("never back", lambda: milter.mail(FROM).replies == [ACCEPT])
        assert len(milter.lines("redis_unavailable")) == len(milter.lines("redis_available")) == 1
        tempfails = [line for line in milter.lines("mail") if "verdict=tempfail" in line]
        assert len(tempfails) >= 3
        assert all('reply="451 4.3.0' in line for line in tempfails)


def test_mail_is_untracked_without_redis_if_configured() -> None:
    config = CONFIG + "on_store_failure: untracked\n"
    with MilterDaemon("unix:///nonexistent/redis.sock", config) as milter:
        assert milter.mail(FROM).replies == [ACCEPT]
        assert "untracked=store" in milter.lines("mail")[0]
        milter.stop()
        assert "fletching_untracked_total 1.0" in (milter.state_dir / "metrics.prom").read_text()


def test_metrics_count_warnings_by_kind(milter: MilterDaemon) -> None:
    for name in ("X-GreenArrow-Invented", "X-GreenArrow-Other", "X-GreenArrow-InstanceID"):
        milter.mail(FROM, header(name, "not right"))
    milter.stop()
    metrics = (milter.state_dir / "metrics.prom").read_text()
    assert 'fletching_warnings_total{warning="unknown control header"} 2.0' in metrics
    assert 'fletching_warnings_total{warning="X-GreenArrow-InstanceID"} 1.0' in metrics
    assert "Invented" not in metrics
    assert "fletching_end_of_message_seconds_count 3.0" in metrics
