"""`metrics.listen`: /metrics and /healthz of a running milter, its reloads and its death."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fletching.checks.finding import Level
from fletching.checks.metrics import check_metrics
from fletching.config.load import parse
from fletching.config.model import Config
from fletching.daemons.health import findings as health
from fletching.store import keys

from sandbox.processes import free_port, private_directory, wait_until
from sandbox.redis_cluster import SHAPES, running
from sandbox.redis_server import RedisServer
from sandbox.web import Answer, ask
from tests.milter_daemon import ACCEPT, MilterDaemon, header
from tests.test_milter_life import BEGIN, CONFIG, END, FROM, gone, refused
from tests.waiting import wait_for_rest

pytestmark = pytest.mark.slow

DESTINATION = """
events: {destinations: [{name: crm, file: %s/events.jsonl}]}
"""


def get(port: int, path: str, method: str = "GET") -> Answer:
    return ask(port, f"http://127.0.0.1:{port}{path}", method)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def thread_states(pid: int) -> set[str]:
    """The states of a process's threads, as proc(5) has them."""
    stats = [each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/stat")]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


def with_metrics(port: int) -> str:
    return f"{CONFIG}metrics: {{listen: '127.0.0.1:{port}'}}\n"


def accepted(text: bytes) -> float:
    """Messages of class news that were accepted."""
    pattern = rb'(?m)^fletching_mails_total\{mail_class="news",verdict="accept"\} (\S+)$'
    found = re.search(pattern, text)
    return float(found[1]) if found else 0.0


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def milter(redis: RedisServer, port: int) -> Iterator[MilterDaemon]:
    with MilterDaemon(f"unix://{redis.socket}", with_metrics(port)) as running:
        yield running


def process(milter: MilterDaemon, port: int) -> int:
    """The process that serves the port: the one worker that has uvicorn."""
    get(port, "/metrics")
    (found,) = [
        pid for pid in milter.workers() if "httptools" in Path(f"/proc/{pid}/maps").read_text()
    ]
    return found


def test_metrics_count_while_mail_flows(milter: MilterDaemon, port: int) -> None:
    open_mail = milter.talk("conn = open()", *BEGIN, 'gate("here")', *END).reach("here")
    milter.mail(FROM)
    wait_until("not counted", lambda: accepted(get(port, "/metrics").body) == 1)
    assert open_mail.go().end().replies == [ACCEPT]
    wait_until("not counted", lambda: accepted(get(port, "/metrics").body) == 2)
    answer = get(port, "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert get(port, "/healthz").body == b"ok\n"


def test_metrics_of_other_daemons_are_included(milter: MilterDaemon, port: int) -> None:
    (milter.state_dir / "courier.prom").write_text("fletching_bad_addresses_total 7.0\n")
    text = get(port, "/metrics").body
    assert b"\nfletching_bad_addresses_total 7.0\n" in b"\n" + text
    assert b'\nfletching_metrics_updated_seconds{daemon="courier"} ' in text
    assert b'daemon="lmtp"' not in text


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/metrics/", "GET", 404),
        ("/../etc/passwd", "GET", 404),
        ("/metrics", "POST", 405),
        ("/healthz", "DELETE", 405),
        ("/metrics?name=x", "GET", 200),
        ("/healthz", "HEAD", 200),
    ],
)
def test_other_requests(
    milter: MilterDaemon, port: int, path: str, method: str, status: int
) -> None:
    assert get(port, path, method).status == status


def test_health_fails_while_redis_is_stopped(port: int) -> None:
    with (
        RedisServer() as redis,
        MilterDaemon(f"unix://{redis.socket}", with_metrics(port)) as milter,
    ):
        assert get(port, "/healthz").status == 200
        redis.stop()
        answer = get(port, "/healthz")
        assert (answer.status, answer.body) == (503, b"redis: does not answer\n")
        assert get(port, "/metrics").status == 200
        redis.start()
        wait_until("not healthy again", lambda: get(port, "/healthz").status == 200)
        redis.pause()
        assert get(port, "/healthz").body == b"redis: does not answer\n"
        redis.resume()
        wait_until("not healthy again", lambda: get(port, "/healthz").status == 200)
        assert milter.mail(FROM).replies == [ACCEPT]


def test_health_fails_while_the_milter_does_not_answer(milter: MilterDaemon, port: int) -> None:
    """Its socket still accepts: the first process has it."""
    (worker,) = [pid for pid in milter.workers() if pid != process(milter, port)]
    os.kill(worker, signal.SIGSTOP)
    try:
        # Its threads stop one after the other, each when it is next scheduled.
        wait_until("not stopped", lambda: thread_states(worker) == {"T"})
        answer = get(port, "/healthz")
        assert (answer.status, answer.body) == (503, b"milter: does not answer\n")
    finally:
        os.kill(worker, signal.SIGCONT)
    wait_until("not healthy again", lambda: get(port, "/healthz").status == 200)


def test_health_fails_with_a_full_journal(milter: MilterDaemon, port: int) -> None:
    journal = milter.state_dir / "journal" / "0"
    journal.mkdir(parents=True)
    segment = journal / "0000000000000001-000000000000.recent"
    with segment.open("wb") as file:
        file.truncate(health.LARGEST_JOURNAL - 1)
    assert get(port, "/healthz").status == 200
    with segment.open("wb") as file:
        file.truncate(health.LARGEST_JOURNAL)
    answer = get(port, "/healthz")
    assert answer.status == 503
    assert answer.body == b"journal 0: 384 of 512 MiB are used\n"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("age", [health.OLDEST_WAITING - 600, health.OLDEST_WAITING + 600])
def test_health_fails_with_an_old_backlog(age: int, shape: str, port: int) -> None:
    """No courier runs here."""
    with private_directory() as folder, running(shape) as store:
        config = with_metrics(port) + DESTINATION % folder
        with MilterDaemon(store.url, config):
            assert get(port, "/healthz").status == 200
            id = f"{int((time.time() - age) * 1000)}-0"
            store.look.xadd(keys.EVENTS, {"event": "{}"}, id=id)
            answer = get(port, "/healthz")
    if age < health.OLDEST_WAITING:
        assert answer.status == 200
    else:
        assert answer.status == 503
        assert answer.body.startswith(b"destination crm: an event has been waiting for 4")


def test_killed_worker_keeps_its_counts(milter: MilterDaemon, port: int) -> None:
    milter.mail(FROM)
    wait_until("not counted", lambda: accepted(get(port, "/metrics").body) == 1)
    server = process(milter, port)
    (worker,) = [pid for pid in milter.workers() if pid != server]
    os.kill(worker, signal.SIGKILL)
    wait_until("no new worker", lambda: len(set(milter.workers()) - {server, worker}) == 1)
    assert milter.mail(FROM).replies == [ACCEPT]
    wait_until("not counted", lambda: accepted(get(port, "/metrics").body) == 2)


def test_killed_metrics_server_is_replaced_while_mail_flows(
    milter: MilterDaemon, port: int
) -> None:
    get(port, "/metrics")
    open_mail = milter.talk("conn = open()", *BEGIN, 'gate("here")', *END).reach("here")
    os.kill(process(milter, port), signal.SIGKILL)
    milter.wait_for("child_died")
    assert milter.lines("child_died")[0].startswith("child_died what=metrics how=SIGKILL")
    assert open_mail.go().end().replies == [ACCEPT]
    # Its socket is the parent's: whoever comes meanwhile waits.
    assert get(port, "/healthz").status == 200


def test_reload_keeps_the_listener(milter: MilterDaemon, port: int) -> None:
    first = process(milter, port)
    milter.configure(with_metrics(port) + DESTINATION % milter.folder)
    milter.daemon.signal(signal.SIGHUP)
    assert "restart_for" not in milter.wait_for("configuration")[0]
    assert get(port, "/healthz").status == 200
    assert process(milter, port) == first


@pytest.mark.parametrize("removed", [False, True], ids=["changed", "removed"])
def test_changed_listener_needs_a_restart(milter: MilterDaemon, port: int, removed: bool) -> None:
    other = free_port()
    milter.configure(CONFIG if removed else with_metrics(other))
    milter.daemon.signal(signal.SIGHUP)
    wait_until("no reload", lambda: "reload=done" in milter.log())
    assert "restart_for=metrics.listen" in milter.log()
    assert get(port, "/healthz").status == 200
    assert not listens(other)
    milter.stop()
    assert not listens(port)
    milter.start()
    assert milter.mail(FROM).replies == [ACCEPT]
    assert listens(other) != removed
    assert not listens(port)


def test_added_listener_needs_a_restart(redis: RedisServer, port: int) -> None:
    with MilterDaemon(f"unix://{redis.socket}", CONFIG) as milter:
        milter.configure(with_metrics(port))
        milter.daemon.signal(signal.SIGHUP)
        wait_until("no reload", lambda: "reload=done" in milter.log())
        assert "restart_for=metrics.listen" in milter.log()
        assert not listens(port)
        assert len(milter.workers()) == 1


def test_used_port_is_reported_at_start(milter: MilterDaemon, redis: RedisServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        second = MilterDaemon(f"unix://{redis.socket}", with_metrics(port))
        message = refused(second)
    assert re.fullmatch(
        rf"{second.path}:\d+: metrics\.listen: 127\.0\.0\.1:{port}: Address already in use\n",
        message,
    )


def test_listener_on_a_unix_socket(redis: RedisServer) -> None:
    with private_directory() as folder:
        path = folder / "metrics.sock"
        config = f"{CONFIG}metrics: {{listen: 'unix:{path}'}}\n"
        with MilterDaemon(f"unix://{redis.socket}", config):
            assert path.stat().st_mode & 0o777 == 0o660
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30)
                client.connect(str(path))
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        assert not path.exists()


def test_mail_class_cannot_add_a_line(milter: MilterDaemon, port: int) -> None:
    milter.mail(FROM, header("X-GreenArrow-MailClass", 'x"} 1\nfletching_up 1'))
    wait_until("not counted", lambda: b"fletching_mails_total" in get(port, "/metrics").body)
    assert b"\nfletching_up" not in get(port, "/metrics").body


def test_run_exports_all_its_daemons(redis: RedisServer, port: int) -> None:
    everything = MilterDaemon(f"unix://{redis.socket}", CONFIG, command=("run",))
    sockets = {name: f"unix:{everything.folder}/{name}" for name in ("listen", "admin_listen")}
    lmtp = {"listen": f"unix:{everything.folder}/lmtp"}
    more = f"web: {json.dumps(sockets)}\nlmtp: {json.dumps(lmtp)}\n"
    everything.configure(with_metrics(port) + more)
    with everything:
        everything.mail(FROM)

        def is_complete() -> bool:
            text = get(port, "/metrics").body
            return accepted(text) == 1 and all(
                b'daemon="%s"' % name in text for name in (b"courier", b"lmtp")
            )

        wait_until("a daemon is missing", is_complete)
        assert get(port, "/healthz").status == 200


def test_killed_parent_leaves_no_metrics_server(milter: MilterDaemon, port: int) -> None:
    left = milter.children()
    assert len(left) == 2
    get(port, "/healthz")
    milter.daemon.signal(signal.SIGKILL)
    milter.daemon.wait()
    wait_until("somebody is left", lambda: all(map(gone, left)))
    milter.start()
    assert get(port, "/healthz").status == 200


def test_open_connection_does_not_prevent_the_end(milter: MilterDaemon, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        assert milter.daemon.stop() == 0
        assert not milter.lines("child_killed")
        while client.recv(1000):
            pass


def test_health_check_leaves_no_line_in_the_log(milter: MilterDaemon, port: int) -> None:
    milter.mail(FROM)
    before = wait_for_rest(milter.log)
    for _ in range(10):
        assert get(port, "/healthz").status == 200
    assert wait_for_rest(milter.log) == before


# fletching check


def checked(listen: str) -> list[tuple[Level, str]]:
    config = parse(f"metrics: {{listen: '{listen}'}}\n".encode(), Path("fletching.yaml"))
    return [(each.level, each.text) for each in check_metrics(config)]


def test_check_accepts_the_running_server(milter: MilterDaemon, port: int) -> None:
    get(port, "/metrics")
    for listen in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert checked(listen) == [(Level.OK, f"the milter answers at {listen}")]


def test_check_warns_if_nothing_listens(port: int) -> None:
    ((level, text),) = checked(f"127.0.0.1:{port}")
    assert level is Level.WARNING
    assert text.startswith(f"nothing accepts connections at 127.0.0.1:{port}")


def test_check_finds_another_program() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(100)
                client.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        ((level, text),) = checked(f"127.0.0.1:{port}")
        thread.join()
    assert level is Level.ERROR
    assert text.startswith(f"another program answers at 127.0.0.1:{port}")


def test_check_warns_of_an_address_that_others_reach(port: int) -> None:
    (level, text), _ = checked(f"0.0.0.0:{port}")
    assert level is Level.WARNING
    assert "is not a loopback address" in text


def test_check_without_metrics_finds_nothing() -> None:
    assert list(check_metrics(Config())) == []
