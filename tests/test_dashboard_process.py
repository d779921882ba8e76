"""The dashboard as a process of `fletching web`: start, reload, death, end."""

from __future__ import annotations

import base64
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sandbox.processes import free_port, private_directory, wait_until
from sandbox.redis_server import RedisServer
from sandbox.web import Answer, ask
from tests.real.fletching import Fletching

pytestmark = pytest.mark.slow

FIRST, SECOND = "the first password", "the second password"


@pytest.fixture
def folder() -> Iterator[Path]:
    with private_directory() as path:
        yield path


def web(redis: RedisServer, folder: Path, **options: object) -> Fletching:
    """`fletching web` with these options of its section."""
    return Fletching(folder / "web", redis.url, {"web": options}, command="web")


def look(port: int, password: str = "") -> Answer:
    credentials = base64.b64encode(f"me:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}"} if password else {}
    return ask(port, f"http://127.0.0.1:{port}/", headers=headers)


def test_dashboard_starts_and_ends_with_the_web_service(redis: RedisServer, folder: Path) -> None:
    port = free_port()
    with web(redis, folder, admin_listen=f"127.0.0.1:{port}"):
        assert b"No campaigns yet" in look(port).body
        watching = socket.create_connection(("127.0.0.1", port), timeout=30)
        watching.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert watching.recv(100).startswith(b"HTTP/1.1 200 ")
    with closing(watching):
        while watching.recv(1000):
            pass


def test_dashboard_over_a_unix_socket(redis: RedisServer, folder: Path) -> None:
    with web(redis, folder) as running:
        path = running.socket.with_name("dashboard.sock")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    assert not path.exists()


def test_new_password_applies_after_a_reload(redis: RedisServer, folder: Path) -> None:
    file, port = folder / "password", free_port()
    file.write_text(f"{FIRST}\n")
    options = {"admin_listen": f"127.0.0.1:{port}", "admin_password_file": str(file)}
    with web(redis, folder, **options) as running:
        assert [look(port, each).status for each in (FIRST, SECOND, "")] == [200, 401, 401]
        file.write_text("short")
        assert running.reload() == "failed"
        assert "must have at least 12 characters" in running.log()
        assert look(port, FIRST).status == 200
        file.write_text(f"{SECOND}\n")
        assert running.reload() == "done"
        wait_until("the first password still counts", lambda: look(port, FIRST).status == 401)
        assert look(port, SECOND).status == 200


def test_reload_never_removes_the_password_of_an_open_listener(
    redis: RedisServer, folder: Path
) -> None:
    """Where it listens now needs a password; what is configured after a restart would not."""
    file, port = folder / "password", free_port()
    file.write_text(f"{FIRST}\n")
    options = {"admin_listen": f"127.0.0.1:{port}", "admin_password_file": str(file)}
    with web(redis, folder, **options) as running:
        running.configure({"web": {"admin_listen": f"127.0.0.1:{free_port()}"}})
        assert running.reload() == "done"
        assert "web.admin_listen" in running.log()
        kill(running)
        assert [look(port, each).status for each in ("", FIRST)] == [401, 200]


def test_new_password_survives_the_death_of_the_worker(redis: RedisServer, folder: Path) -> None:
    file, port = folder / "password", free_port()
    file.write_text(f"{FIRST}\n")
    options = {"admin_listen": f"127.0.0.1:{port}", "admin_password_file": str(file)}
    with web(redis, folder, **options) as running:
        file.write_text(f"{SECOND}\n")
        assert running.reload() == "done"
        kill(running)
        assert [look(port, each).status for each in (FIRST, SECOND)] == [401, 200]


def kill(running: Fletching) -> None:
    """Kills all processes but the first; they begin again."""
    for pid in running.workers:
        subprocess.run(["kill", f"-{signal.SIGKILL:d}", str(pid)], check=True)
    wait_until(
        "it does not come back", lambda: "child_died what=dashboard how=SIGKILL" in running.log()
    )


def test_dead_dashboard_is_replaced(redis: RedisServer, folder: Path) -> None:
    port = free_port()
    with web(redis, folder, admin_listen=f"127.0.0.1:{port}") as running:
        assert look(port).status == 200
        kill(running)
        # Its socket is the parent's: whoever comes meanwhile waits.
        assert look(port).status == 200


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read"), ("short", "must have at least 12 characters")]
)
def test_unusable_password_file_prevents_the_start(
    redis: RedisServer, folder: Path, content: str | None, said: str
) -> None:
    file = folder / "password"
    if content is not None:
        file.write_text(content)
    refused = web(redis, folder, admin_password_file=str(file))
    command = [sys.executable, "-m", "fletching", "web", "--config", str(refused.config_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    place = rf"{re.escape(str(refused.config_path))}:\d+: web\.admin_password_file"
    assert re.match(rf"{place}: {re.escape(str(file))}: {said}", done.stderr)
