"""The health of a host with real daemons: `/healthz` and the dashboard."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.processes import free_port, private_directory, wait_until
from sandbox.redis_server import RedisServer
from sandbox.web import ask
from tests.dashboard_client import Browser
from tests.real.fletching import Fletching
from tests.test_dashboard_traces import words

pytestmark = pytest.mark.slow

COURIER = ("-m", "fletching")


@pytest.fixture
def folder() -> Iterator[Path]:
    with private_directory() as path:
        yield path


def health(port: int) -> tuple[int, list[str]]:
    """The answer of `/healthz`: status and lines."""
    found = ask(port, f"http://127.0.0.1:{port}/healthz")
    return found.status, found.body.decode().splitlines()


def test_end_of_a_daemon_is_noticed(redis: RedisServer, folder: Path) -> None:
    port = free_port()
    options = {"metrics": {"listen": f"127.0.0.1:{port}"}}
    with Fletching(folder / "host", redis.url, options) as host:
        assert health(port) == (200, ["ok"]), "what has never run here is not missed"
        courier = host.beside("courier", COURIER)
        log = courier.log
        courier.start(lambda: "started daemon=courier" in log.read_text())
        assert health(port) == (200, ["ok"])
        courier.kill()
        assert health(port) == (503, ["courier: has died"])
        courier.start(lambda: log.read_text().count("started daemon=courier") == 2)
        assert health(port) == (200, ["ok"])
        assert courier.stop() == 0
        assert health(port) == (503, ["courier: is stopped"])
        (host.directory / "state" / "daemons" / "courier").unlink()
        assert health(port) == (200, ["ok"])


def test_dashboard_shows_daemons_and_reports_its_host(redis: RedisServer, folder: Path) -> None:
    redis.client.flushall()
    port = free_port()
    options = {"server_id": "mx1", "web": {"admin_listen": f"127.0.0.1:{port}"}}
    with Fletching(folder / "host", redis.url, options, command="run") as host:
        browser = Browser(port)
        # The first report may be made before the last daemon has begun.
        wait_until("no report", lambda: "mx1 OK works" in words(browser.get("/health").text))
        shown = words(browser.get("/health").text)
        for daemon, state in (("milter", "answers"), ("web", "runs"), ("courier", "runs")):
            assert f"{daemon} OK {state}" in shown
        assert "journal 0 OK" in shown
        host.signal(signal.SIGTERM)
        assert host.wait() == 0
