"""`fletching run` and `redis: embedded`: everything from one process, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fletching.config.load import parse
from fletching.daemons.process import embedded_redis
from fletching.daemons.process.presence import needed

from sandbox.processes import processes, wait_until
from tests.milter_daemon import ACCEPT, MilterDaemon, command_line, header
from tests.test_milter_life import gone

pytestmark = pytest.mark.slow

CONFIG = """
default_mail_class: news
mail_classes: {news: {list_id: t100}}
"""
FROM = header("From", "app@example.com")


def whole() -> MilterDaemon:
    """All daemons, with sockets of their own, not yet running."""
    made = MilterDaemon("embedded", CONFIG, command=("run",))
    configure(made, CONFIG)
    return made


def configure(everything: MilterDaemon, config: str) -> None:
    """Another configuration, with the same sockets."""
    sockets = {name: f"unix:{everything.folder}/{name}" for name in ("listen", "admin_listen")}
    everything.configure(f"{config}web: {json.dumps(sockets)}\n")


@pytest.fixture
def everything() -> Iterator[MilterDaemon]:
    with whole() as running:
        wait_until("not ready", lambda: "daemon=supervisor" in "".join(running.lines("started")))
        yield running


def family(running: MilterDaemon) -> dict[str, list[int]]:
    """Its processes by what they are; the milter's first one comes before its workers."""
    found: dict[str, list[int]] = {"redis": [], "milter": []}
    for pid in sorted(processes(running.daemon.pid)):
        words = command_line(pid)
        if "redis-server" in words:
            found["redis"].append(pid)
        elif " milter " in words:
            found["milter"].append(pid)
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_run_serves_and_ends_with_all_its_processes(everything: MilterDaemon) -> None:
    assert everything.mail(FROM).replies == [ACCEPT]
    found = family(everything)
    assert len(found["redis"]) == 1
    assert len(found["milter"]) == 2
    everything.stop()
    assert not everything.socket.exists()
    assert all(gone(pid) for pids in found.values() for pid in pids)
    # Redis was there until the milter was gone.
    log = everything.log()
    assert log.index("stopped daemon=milter") < log.index("ready to exit")
    assert "redis_unavailable" not in log


@pytest.mark.parametrize("who", ["redis", "milter"])
def test_dead_process_is_restarted(everything: MilterDaemon, who: str) -> None:
    everything.mail(FROM)
    (first, *_) = [pid for pid in family(everything)[who] if parent(pid) == everything.daemon.pid]
    os.kill(first, signal.SIGKILL)
    everything.wait_for("child_died")
    # Workers of a killed milter may still answer, until they hear of it.
    wait_until("not replaced", lambda: first not in family(everything)[who] != [])
    wait_until("no socket", everything.socket.exists)

    def accepted() -> bool:
        try:
            return everything.mail(FROM).replies == [ACCEPT]
        except AssertionError:
            return False

    wait_until("no mail", accepted)
    # The campaign is still the same: what Redis knew was on disk.
    lines = [line for line in everything.lines("mail") if "verdict=accept" in line]
    campaigns = {word for line in lines for word in line.split() if word.startswith("campaign=")}
    assert len(lines) >= 2
    assert len(campaigns) == 1


def test_killed_supervisor_leaves_no_process(everything: MilterDaemon) -> None:
    left = everything.children()
    everything.daemon.signal(signal.SIGKILL)
    everything.daemon.wait()
    wait_until("somebody is left", lambda: all(map(gone, left)))


def test_reload_reaches_the_workers(everything: MilterDaemon) -> None:
    configure(everything, CONFIG.replace("t100", "t200"))
    everything.daemon.signal(signal.SIGHUP)
    everything.wait_for("configuration")
    wait_until(
        "still the old one",
        lambda: bool(everything.mail(FROM)) and "list=t200" in everything.lines("mail")[-1],
    )
    assert not everything.lines("child_died")


def test_campaigns_survive_a_restart_of_the_embedded_redis() -> None:
    with MilterDaemon("embedded", CONFIG) as milter:
        milter.mail(FROM)
        milter.stop()
        milter.start()
        milter.mail(FROM)
        numbers = [word for line in milter.lines("mail") for word in line.split()]
        assert [word for word in numbers if word.startswith("number=")] == ["number=1", "number=2"]


def test_two_daemons_share_one_embedded_redis() -> None:
    """Two daemons, each started by itself as under systemd, with the same directory."""
    with MilterDaemon("embedded", CONFIG) as milter:
        second = milter.folder / "second.sock"
        other = milter.folder / "other.yaml"
        other.write_text(milter.path.read_text().replace(str(milter.socket), str(second)))
        command = [sys.executable, "-m", "fletching", "milter", "--config", str(other)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                wait_until("the second one does not start", second.exists)
                milter.mail(FROM)
                servers = [pid for pid in milter.children() if pid not in milter.workers()]
                assert len(servers) == 1
                kin = [pid for pid in _children(process.pid) if "redis" in command_line(pid)]
                assert kin == []
            finally:
                process.terminate()
        assert milter.mail(FROM).replies == [ACCEPT]


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_embedded_redis_is_private(everything: MilterDaemon) -> None:
    folder = everything.state_dir / "redis"
    assert folder.stat().st_mode & 0o777 == 0o700
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(str(folder / "redis.sock"))
        asked.sendall(b"CONFIG GET port\r\n")
        assert asked.recv(100) == b"*2\r\n$4\r\nport\r\n$1\r\n0\r\n"


def test_missing_redis_server_is_reported_with_the_package(tmp_path: Path) -> None:
    milter = MilterDaemon("embedded", CONFIG)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fletching", "run", "--config", str(milter.path)],
            env={**os.environ, "PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.endswith(
            ": redis: embedded: redis-server is not installed (apt-get install redis-server)\n"
        )
    finally:
        milter.__exit__()


def test_invalid_configuration_ends_run() -> None:
    milter = MilterDaemon("embedded", CONFIG)
    milter.configure("verpp: true\n")
    try:
        command = [sys.executable, "-m", "fletching", "run", "--config", str(milter.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith(f"{milter.path}:")
        assert done.stderr.count("\n") == 1
    finally:
        milter.__exit__()


@pytest.mark.parametrize(
    ("options", "daemons"),
    [
        ("", ("milter",)),
        ("link_keys: keys", ("milter", "web", "courier")),
        ("link_keys: keys\npostfix: {log: journal}", ("milter", "web", "logtail", "courier")),
        ("link_keys: keys\npostfix: {}", ("milter", "web", "courier")),
        ("events: {destinations: []}", ("milter",)),
        ("events: {destinations: [{name: a, file: events}]}", ("milter", "courier")),
    ],
)
def test_only_needed_daemons_run(options: str, daemons: tuple[str, ...]) -> None:
    assert needed(parse(options.encode(), Path("fletching.yaml"))) == daemons


def test_daemon_that_cannot_start_ends_run() -> None:
    milter = whole()
    milter.socket.write_text("in the way")
    try:
        command = [sys.executable, "-m", "fletching", "run", "--config", str(milter.path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert "exists and is not a socket" in done.stderr
        assert not embedded_redis.answers(milter.state_dir)
    finally:
        milter.__exit__()
