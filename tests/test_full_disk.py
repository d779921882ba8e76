"""Daemons that start on a full disk, or with a state directory that is for reading only."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml
from fletching.keys.link_keys import new_link_key

from sandbox.disk import Disk
from sandbox.processes import Daemon, DidNotHappenError, free_port, wait_until
from sandbox.redis_server import RedisServer
from tests.test_web import LOCATION, Web, has_all
from tests.waiting import wait_for_held

pytestmark = pytest.mark.slow

needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="a file system is mounted by root")

FULL = {
    "no room for a file": "size=1m,nr_inodes=1",
    "no room in a file": "size=4k,nr_inodes=100",
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "state"
    folder.mkdir()
    disk = Disk(folder)
    yield disk
    disk.unmount()


@needs_mount
@pytest.mark.parametrize("name", FULL)
def test_clicks_are_redirected_on_a_full_disk_and_recorded_later(
    tmp_path: Path, disk: Disk, name: str
) -> None:
    disk.mount(FULL[name])
    disk.fill()
    with RedisServer() as redis:
        web = Web(tmp_path, redis.url, {"workers": 1})
        web.start()
        asked: list[int] = []

        def click() -> None:
            asked.append(len(asked) + 1)
            status, headers, _ = web.ask("GET", f"/click?{web.token(number=asked[-1])}")
            assert (status, headers["location"]) == (302, LOCATION)

        try:
            click()
            wait_until("it is in Redis", partial(has_all, web, asked))
            redis.stop()
            click()
            web.says("events_lost count=1")
            lost = asked.pop()
            disk.change("size=1m,nr_inodes=100")
            asked.append(lost)
            click()
            asked.remove(lost)
            wait_for_held(tmp_path / "state")
            redis.start()
            wait_until("what had room is in Redis", partial(has_all, web, asked))
            assert lost == 2
            assert "child_died" not in web.log()
            assert web.log().count("state_write_failed what=journal") <= 3
            assert web.log().count("state_write_failed what=held") <= 2
        finally:
            web.daemon.stop()


def daemon(folder: Path, redis: RedisServer, name: str) -> Daemon:
    config = {
        "listen": f"inet:{free_port()}@127.0.0.1",
        "redis": redis.url,
        "workers": 1,
        "state_dir": str(folder / "state"),
        "link_keys": str(folder / "link-keys"),
        "url_domain": "https://click.example.com",
        "web": {
            "listen": f"127.0.0.1:{free_port()}",
            "admin_listen": f"127.0.0.1:{free_port()}",
        },
    }
    new_link_key(folder / "link-keys", 1)
    file = folder / "fletching.yaml"
    file.write_text(yaml.safe_dump(config))
    argv: list[str | Path] = [sys.executable, "-m", "fletching", name, "--config", file]
    return Daemon(argv, folder / "log")


READY = {"milter": "milter", "web": "web", "courier": "courier", "run": "supervisor"}


@needs_mount
@pytest.mark.parametrize("full", FULL)
@pytest.mark.parametrize("name", READY)
def test_all_daemons_start_on_a_full_disk(tmp_path: Path, disk: Disk, name: str, full: str) -> None:
    disk.mount(FULL[full])
    disk.fill()
    with RedisServer() as redis:
        running = daemon(tmp_path, redis, name)
        running.start(lambda: f"started daemon={READY[name]}" in running.log.read_text())
        assert running.stop() == 0
    said = running.log.read_text()
    assert "state_write_failed" in said
    assert "child_died" not in said
    assert "traceback" not in said.lower()


@needs_mount
@pytest.mark.parametrize(("name", "starts"), [("milter", True), ("web", False), ("courier", True)])
def test_read_only_state_directory(tmp_path: Path, disk: Disk, name: str, starts: bool) -> None:
    """Whoever needs it says so, and where it is configured."""
    disk.mount("size=1m")
    disk.change("ro")
    with RedisServer() as redis:
        running = daemon(tmp_path, redis, name)
        if starts:
            running.start(lambda: f"started daemon={name}" in running.log.read_text())
            assert running.stop() == 0
        else:
            with pytest.raises(DidNotHappenError, match="ended at once"):
                running.start(lambda: False)
    said = running.log.read_text()
    assert (
        "state_write_failed" in said
        if starts
        else re.search(
            r"(?m)^\S+fletching\.yaml:\d+: state_dir: \S+/journal: Read-only file system$", said
        )
    )
    assert "traceback" not in said.lower()
