"""Workers that retire after their share of mails: the rules, the parts, and the daemon as a whole.

What Postfix and its clients see of it is in `real/test_recycling.py`.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from fletching.config.values import inet_place
from fletching.daemons.milter.recycling import lowest_free, share
from fletching.daemons.process.fork import notify
from fletching.daemons.process.listener import Listener, ListenError, open_listener

from sandbox.processes import free_port, wait_until
from sandbox.redis_server import RedisServer
from tests.milter_daemon import ACCEPT, Conversation, MilterDaemon
from tests.test_milter_life import BEGIN, CONFIG, END, FROM, gone, listen

pytestmark = pytest.mark.slow

# The rules


@pytest.mark.parametrize(
    ("most", "workers", "shares"),
    [
        (100_000, 1, [100_000]),
        (100_000, 2, [100_000, 75_000]),
        (100_000, 4, [100_000, 87_500, 75_000, 62_500]),
        (1000, 3, [1000, 834, 667]),
        (50, 2, [50, 38]),
        (3, 4, [3, 3, 3, 2]),
        (1, 4, [1, 1, 1, 1]),
        (0, 4, [0, 0, 0, 0]),
    ],
)
def test_each_worker_has_a_different_share(most: int, workers: int, shares: list[int]) -> None:
    assert [share(most, worker, workers) for worker in range(workers)] == shares


@pytest.mark.parametrize("workers", [1, 2, 3, 8, 1024])
@pytest.mark.parametrize("most", [1, 2, 7, 1024, 4096, 10**9])
def test_shares_are_more_than_half_and_differ(most: int, workers: int) -> None:
    shares = [share(most, worker, workers) for worker in range(workers)]
    assert all(most / 2 < each <= most for each in shares)
    assert len(set(shares)) == workers or most < 2 * workers


@pytest.mark.parametrize(
    ("taken", "place"),
    [(set(), 0), ({0}, 1), ({0, 1, 2}, 3), ({1, 2}, 0), ({0, 2, 3}, 1), ({5}, 0)],
)
def test_lowest_free_number_is_used(taken: set[int], place: int) -> None:
    assert lowest_free(taken) == place


# The parts


def open_python(where: str) -> None:
    """Opens as libmilter does: the descriptor stays open, and nobody is told of it."""
    families = {"unix": socket.AF_UNIX, "inet": socket.AF_INET, "inet6": socket.AF_INET6}
    opened = socket.socket(families[where.partition(":")[0]])
    opened.bind(inet_place(where) or where.removeprefix("unix:"))
    opened.listen()
    opened.detach()


def connect(listen: str) -> socket.socket:
    if listen.startswith("unix:"):
        made = socket.socket(socket.AF_UNIX)
        made.connect(listen.removeprefix("unix:"))
        return made
    place = inet_place(listen)
    assert place is not None
    return socket.create_connection(place)


@pytest.mark.parametrize("kind", ["unix", "inet", "inet6"])
def test_open_connections_survive_stop_accepting(kind: str, tmp_path: Path) -> None:
    host = {"inet": "127.0.0.1", "inet6": "[::1]"}.get(kind)
    listen = f"{kind}:{free_port()}@{host}" if host else f"unix:{tmp_path}/s"
    listener = open_listener(listen, open_python)
    polled = socket.socket(fileno=listener.descriptor)
    with polled, listener.unreachable, ExitStack() as stack:
        # Another process has the socket, too.
        shared = stack.enter_context(polled.dup())
        first = stack.enter_context(connect(listen))
        kept = stack.enter_context(polled.accept()[0])
        stack.enter_context(connect(listen))
        listener.stop_accepting()
        with pytest.raises(BlockingIOError):
            polled.accept()
        shared.close()
        assert listener.connections() == 1
        first.sendall(b"on")
        assert kept.recv(2) == b"on"
        kept.close()
        assert listener.connections() == 0


def test_other_processes_accept_after_stop_accepting(tmp_path: Path) -> None:
    listener = open_listener(f"unix:{tmp_path}/s", open_python)
    polled = socket.socket(fileno=listener.descriptor)
    with polled, polled.dup() as other, listener.unreachable:
        listener.stop_accepting()
        with connect(f"unix:{tmp_path}/s") as client, other.accept()[0] as accepted:
            client.sendall(b"on")
            assert accepted.recv(2) == b"on"


def test_no_client_can_connect_to_the_unreachable_socket(tmp_path: Path) -> None:
    listener = open_listener(f"unix:{tmp_path}/s", open_python)
    with socket.socket(fileno=listener.descriptor), listener.unreachable as nobody:
        name = nobody.getsockname()
        assert not name.startswith(b"\0" if isinstance(name, bytes) else "\0"), "anybody can"
        with (
            socket.socket(socket.AF_UNIX) as asked,
            pytest.raises((FileNotFoundError, NotADirectoryError)),
        ):
            asked.connect(name)


def test_unreachable_socket_works_in_a_long_folder_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 200)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    listener = open_listener(f"inet:{free_port()}@127.0.0.1", open_python)
    with socket.socket(fileno=listener.descriptor), listener.unreachable:
        assert list(deep.iterdir()) == []


def test_unusable_temporary_folder_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(ListenError, match=r"^a temporary folder: No such file"):
        open_listener(f"unix:{tmp_path}/s", open_python)
    assert list(tmp_path.iterdir()) == []


def test_counting_connections_leaves_no_descriptor_open(tmp_path: Path) -> None:
    listener: Listener = open_listener(f"unix:{tmp_path}/s", open_python)
    with socket.socket(fileno=listener.descriptor), listener.unreachable:
        before = os.listdir("/proc/self/fd")
        for _ in range(3):
            listener.connections()
        assert os.listdir("/proc/self/fd") == before


_BELL = """
import os
from fletching.daemons.process.fork import Bell, Signals, spawn

def ring():
    bell.ring()
    os._exit(0)

signals, bell = Signals(), Bell()
assert not bell.rang()
spawn(ring)
while not bell.rang():
    signals.wait()
print("rang")
"""


def test_bell_wakes_a_waiting_parent() -> None:
    command = [sys.executable, "-c", _BELL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "rang\n"


_NO_GARBAGE = """
import gc, os
from fletching.daemons.process.fork import Signals, spawn

def look():
    kept = [thing for thing in gc.get_objects() if thing is inherited]
    print(gc.get_freeze_count() > 0, kept, flush=True)
    os._exit(0)

signals, inherited = Signals(), [1]
spawn(look)
signals.wait()
print(gc.get_freeze_count())
"""


def test_inherited_objects_are_not_scanned_for_garbage() -> None:
    command = [sys.executable, "-c", _NO_GARBAGE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True []\n0\n"


_NO_PROCESS = """
import os, signal
from fletching.daemons.process.fork import Signals, spawn
from fletching.daemons.process.supervise import Child, Supervisor

def start():
    left.pop()
    if left:
        raise OSError("no more processes")
    os.kill(os.getpid(), signal.SIGTERM)
    return spawn(lambda: os._exit(0))

left, signals = [1, 2, 3], Signals()
first = Child(
    "first",
    lambda: spawn(lambda: os._exit(0)),
    retires=lambda: True,
    successor=lambda: Child("second", start),
)
first.begin()
print(Supervisor(signals, [first]).run().name, left)
"""


_DEAD_BEFORE = """
import os, signal
from fletching.daemons.process.fork import Signals, spawn
from fletching.daemons.process.supervise import Child, Supervisor

def start():
    if not lives.pop():
        os.kill(os.getpid(), signal.SIGTERM)
    return spawn(lambda: os._exit(3))

lives, signals = [False, True], Signals()
child = Child("early", start)
child.begin()
while signal.SIGCHLD not in signals.wait():
    pass
print(Supervisor(signals, [child]).run().name, lives)
"""


def test_child_that_died_before_the_loop_is_replaced_at_once() -> None:
    command = [sys.executable, "-c", _DEAD_BEFORE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "SIGTERM []\n"
    assert done.stderr == 'child_died what=early how="exit 3" restart_in=0.1s\n'


def test_successor_that_cannot_start_is_started_later() -> None:
    command = [sys.executable, "-c", _NO_PROCESS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "SIGTERM []\n"
    assert done.stderr.splitlines() == [
        f'child_died what=second how="no more processes" restart_in={pause}s'
        for pause in ("0.1", "0.2")
    ]


def fill(address: str) -> None:
    """Tells until nothing more goes in."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.connect(address)
        told.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                told.send(b"STATUS=full")


def test_notify_times_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(address)
        fill(address)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        notify("READY=1")
    assert (
        capfd.readouterr().err
        == 'state_write_failed what=NOTIFY_SOCKET error="TimeoutError: timed out"\n'
    )


def test_supervisor_discards_later_notifications() -> None:
    with MilterDaemon("embedded", CONFIG, command=("run",)) as everything:
        wait_until("not ready", lambda: "daemon=supervisor" in "".join(everything.lines("started")))
        environments = [
            Path(f"/proc/{pid}/environ").read_text().split("\0") for pid in everything.children()
        ]
        # "@" stands for the NUL of an abstract address, sd_notify(3).
        address = next(
            "\0" + word.removeprefix("NOTIFY_SOCKET=@")
            for words in environments
            for word in words
            if word.startswith("NOTIFY_SOCKET=@")
        )
        fill(address)

        def has_room() -> bool:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
                told.connect(address)
                told.setblocking(False)
                try:
                    return told.send(b"STATUS=more") > 0
                except BlockingIOError:
                    return False

        wait_until("nobody reads", has_room)


# The daemon


@pytest.fixture
def milter(redis: RedisServer) -> Iterator[MilterDaemon]:
    """One worker, that retires after three mails."""
    with MilterDaemon(f"unix://{redis.socket}", CONFIG + "worker_max_messages: 3\n") as running:
        yield running


def answer(milter: MilterDaemon, mails: int) -> None:
    for _ in range(mails):
        assert milter.mail(FROM).replies == [ACCEPT]


def until_retired(milter: MilterDaemon, count: int) -> str:
    """Mails until that worker retires; its place. One that retires may have some at first."""
    while len(milter.lines("worker_recycled")) < count:
        answer(milter, 1)
    return milter.lines("worker_recycled")[count - 1].split()[1]


def retire_with_open_session(milter: MilterDaemon, *then: str) -> Conversation:
    """The first worker has a session that is amid a mail, and retires meanwhile."""
    talk = milter.talk("conn = open()", *BEGIN, 'gate("here")', *END, *then).reach("here")
    milter.settle()
    answer(milter, 3)
    milter.wait_for("worker_recycled")
    wait_until("no successor", lambda: len(milter.workers()) == 2)
    return talk


def reaped(pid: int) -> bool:
    """Whether its parent knows that it is gone."""
    return not Path(f"/proc/{pid}").exists()


def metrics(milter: MilterDaemon) -> str:
    return (milter.state_dir / "metrics.prom").read_text()


def counted(milter: MilterDaemon) -> float:
    found = re.findall(r"(?m)^fletching_mails_total\{.*\} ([0-9.]+)$", metrics(milter))
    return sum(map(float, found))


def test_worker_that_has_done_its_share_is_replaced_and_ends(milter: MilterDaemon) -> None:
    (first,) = milter.workers()
    answer(milter, 3)
    assert milter.wait_for("worker_recycled") == ["worker_recycled worker=0 mails=3"]
    wait_until("it goes on", lambda: gone(first))
    assert len(milter.workers()) == 1
    answer(milter, 1)
    assert len(milter.lines("worker_recycled")) == 1
    milter.stop()
    assert counted(milter) == 4
    assert not milter.lines("child_died")


def test_session_of_a_retiring_worker_continues(milter: MilterDaemon) -> None:
    (first,) = milter.workers()
    more = (*BEGIN, *END) * 5
    talk = retire_with_open_session(milter, *more, 'gate("last")', "mt.disconnect(conn)")
    talk.go().reach("last")
    assert first in milter.workers()
    # New sessions go to the other one.
    answer(milter, 2)
    talk.go().end()
    assert talk.replies == [ACCEPT] * 6
    wait_until("it goes on", lambda: gone(first))
    assert len(milter.lines("worker_recycled")) == 1
    milter.stop()
    assert counted(milter) == 11
    assert not milter.lines("child_died")


def test_silent_connection_of_a_retiring_worker_is_not_lost(milter: MilterDaemon) -> None:
    """libmilter has accepted it, and tells nobody before it speaks."""
    (first,) = milter.workers()
    script = ('conn = mt.connect("local:" .. SOCKET)', 'gate("silent")')
    client = 'mt.conninfo(conn, "client.example.com", "127.0.0.1")'
    silent = milter.talk(*script, client, *BEGIN, *END).reach("silent")
    answer(milter, 3)
    milter.wait_for("worker_recycled")
    wait_until("no successor", lambda: len(milter.workers()) == 2)
    # A worker without a connection ends meanwhile.
    (second,) = (pid for pid in milter.workers() if pid != first)
    until_retired(milter, 2)
    wait_until("the second does not end", lambda: gone(second))
    assert first in milter.workers()
    assert silent.go().end().replies == [ACCEPT]
    wait_until("it goes on", lambda: gone(first))


def test_counter_file_of_an_ended_worker_is_used_again(milter: MilterDaemon) -> None:
    first = set(milter.workers())
    talk = retire_with_open_session(milter)
    (second,) = set(milter.workers()) - first
    assert until_retired(milter, 2) == "worker=1"
    wait_until("the second does not end", lambda: reaped(second))
    # The second was there when the third began, and is not when the fourth does.
    (third,) = set(milter.workers()) - first
    assert until_retired(milter, 3) == "worker=2"
    wait_until("the third does not end", lambda: reaped(third))
    assert until_retired(milter, 4) == "worker=1"
    talk.go().end()
    wait_until("two are there still", lambda: len(milter.workers()) == 1)
    milter.stop()
    assert counted(milter) == len(milter.lines("mail"))
    assert len(list((milter.state_dir / "metrics").glob("counter_*.db"))) == 3


def test_reload_reaches_retiring_workers(milter: MilterDaemon) -> None:
    talk = retire_with_open_session(milter, 'gate("idle")', *BEGIN, *END).go().reach("idle")
    milter.configure(CONFIG.replace("default_mail_class: news", "default_mail_class: other"))
    milter.daemon.signal(signal.SIGHUP)
    milter.wait_for("configuration")
    milter.settle()
    before = len(milter.lines("mail"))
    assert talk.go().end().replies == [ACCEPT] * 2
    assert "class=other" in milter.lines("mail")[before]


def test_reload_changes_the_share(milter: MilterDaemon) -> None:
    milter.configure(CONFIG + "worker_max_messages: 0\n")
    milter.daemon.signal(signal.SIGHUP)
    milter.wait_for("configuration")
    milter.settle()
    (first,) = milter.workers()
    answer(milter, 5)
    assert milter.workers() == [first]
    # It has done more already than is wanted now.
    milter.configure(CONFIG + "worker_max_messages: 4\n")
    milter.daemon.signal(signal.SIGHUP)
    assert milter.wait_for("worker_recycled") == ["worker_recycled worker=0 mails=5"]
    wait_until("it goes on", lambda: gone(first))
    answer(milter, 1)


def test_sigterm_reaches_retiring_workers(milter: MilterDaemon) -> None:
    children = milter.children()
    talk = retire_with_open_session(milter)
    children += milter.children()
    milter.daemon.signal(signal.SIGTERM)
    wait_until("not said", lambda: bool(milter.lines("draining")))
    assert talk.go().end().replies == [ACCEPT]
    assert milter.daemon.wait() == 0
    assert all(map(gone, children))
    assert not milter.lines("mails_interrupted")
    assert not milter.lines("child_killed")
    assert counted(milter) == 4


def test_killed_retiring_worker_is_not_replaced_again(milter: MilterDaemon) -> None:
    (first,) = milter.workers()
    talk = retire_with_open_session(milter)
    os.kill(first, signal.SIGKILL)
    assert milter.wait_for("child_died") == ['child_died what="worker 0" how=SIGKILL']
    assert ACCEPT not in talk.go().end(ok=False).replies
    answer(milter, 2)
    assert len(milter.workers()) == 1


def test_killed_parent_leaves_no_retiring_worker(milter: MilterDaemon) -> None:
    talk = retire_with_open_session(milter, 'gate("idle")').go().reach("idle")
    left = milter.children()
    milter.daemon.signal(signal.SIGKILL)
    wait_until("somebody is left", lambda: all(map(gone, left)))
    talk.go().end()


def test_recycling_on_tcp(redis: RedisServer) -> None:
    stopped = MilterDaemon(f"unix://{redis.socket}", CONFIG + "worker_max_messages: 3\n")
    port = free_port()
    listen(stopped, f"inet:{port}@127.0.0.1")
    open_session = (
        f'conn = mt.connect("inet:{port}@127.0.0.1")',
        'mt.conninfo(conn, "client.example.com", "127.0.0.1")',
    )
    with stopped as milter:
        (first,) = milter.workers()
        talk = milter.talk(*open_session, *BEGIN, 'gate("here")', *END).reach("here")
        for _ in range(5):
            assert milter.talk(*open_session, *BEGIN, *END).end().replies == [ACCEPT]
        milter.wait_for("worker_recycled")
        wait_until("no successor", lambda: len(milter.workers()) == 2)
        assert first in milter.workers()
        assert talk.go().end().replies == [ACCEPT]
        wait_until("it goes on", lambda: gone(first))


def test_recycling_after_each_mail(redis: RedisServer) -> None:
    """As often as can be: each of two retires after a mail, with several sessions at a time."""
    with MilterDaemon(
        f"unix://{redis.socket}", CONFIG + "worker_max_messages: 1\n", workers=2
    ) as milter:
        script = ("conn = open()", *(BEGIN + END) * 3)
        for _ in range(5):
            talks = [milter.talk(*script) for _ in range(6)]
            assert [talk.end().replies for talk in talks] == [[ACCEPT] * 3] * 6
        wait_until("some do not end", lambda: len(milter.workers()) == 2)
        milter.stop()
        assert counted(milter) == 90
        assert not milter.lines("child_died")
        numbers = re.findall(r" number=(\d+) ", "\n".join(milter.lines("mail")))
        assert len(set(numbers)) == 90
