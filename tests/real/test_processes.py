"""How the servers of these tests start and end: nothing of them may remain."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import processes
from sandbox.postfix import Postfix
from sandbox.redis_server import RedisServer
from sandbox.sasl import Sasl
from sandbox.sinks import FastSink

from .mails import RECIPIENT, SENDER, mail

pytestmark = pytest.mark.slow


class TestEnd:
    """Nothing of a server remains."""

    def test_all_processes_of_all_servers_are_gone(self, directory: Path) -> None:
        started: dict[str, list[int]] = {}
        root = directory / "ending"
        root.mkdir()
        with (
            FastSink("end", root / "sink") as fast,
            RedisServer() as redis,
            Postfix(root / "postfix", {"smtp": fast.port}) as postfix,
            Sasl(root / "dovecot", postfix.sasl_socket, {"crm": "secret"}) as sasl,
        ):  # the login service ends first, while Postfix is still connected to it
            postfix.submit(mail(), SENDER, [RECIPIENT], login=("crm", "secret"))
            postfix.wait_empty()
            for server in (fast, redis, postfix, sasl):
                started[type(server).__name__] = processes.processes(server.pid)
        assert all(started.values())
        assert len(started["Postfix"]) > 5, "Postfix has children"
        assert len(started["Sasl"]) > 1, "Dovecot has children"
        alive = {pid for pids in started.values() for pid in pids if _alive(pid)}
        assert not alive

    def test_all_servers_die_with_their_test_process(self, directory: Path) -> None:
        # A test process of its own, that is killed in the middle of its work.
        script = """\
import os, pathlib, signal, sys
from sandbox.postfix import Postfix
from sandbox.processes import processes
from sandbox.redis_server import RedisServer
from sandbox.sasl import Sasl
from sandbox.sinks import FastSink
root = pathlib.Path(sys.argv[1])
postfix = Postfix(root / "postfix", {"smtp": 9})
login = Sasl(root / "dovecot", postfix.sasl_socket, {"crm": "secret"})
for server in FastSink("orphan", root / "sink"), RedisServer(), login, postfix:
    server.start()
    print(*processes(server.pid), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
        root = directory / "orphans"
        root.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", script, root],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            check=False,
        )
        assert done.returncode == -signal.SIGKILL
        assert len(done.stdout.splitlines()) == 4
        pids = [int(pid) for pid in done.stdout.split()]
        processes.wait_until("they have died", lambda: not any(map(_alive, pids)))

    def test_a_daemon_that_fails_says_its_own_words(self, tmp_path: Path) -> None:
        daemon = processes.Daemon(["ls", "/does/not/exist"], tmp_path / "log")
        with pytest.raises(processes.DidNotHappenError, match=r"cannot access '/does/not/exist'"):
            daemon.start(lambda: False)

    def test_a_missing_program_names_its_package(self) -> None:
        with pytest.raises(processes.MissingProgramError, match="apt-get install postfix-foo"):
            processes.program("no-such-program", "postfix-foo")

    def test_ports_are_not_given_twice(self) -> None:
        ports = [processes.free_port() for _ in range(50)]
        assert len(set(ports)) == 50


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
