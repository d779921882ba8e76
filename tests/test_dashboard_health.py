"""The health of this host and of the fleet, on the dashboard."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import html5lib  # type: ignore[import-untyped]
import pytest
from fletching.daemons.dashboard.health import summary
from fletching.daemons.health import reporting
from fletching.daemons.health.findings import Finding, Level
from fletching.daemons.process.presence import Mark
from fletching.store import keys
from fletching.store.hosts import FORGOTTEN, Hosts, Report

from sandbox.processes import free_port
from sandbox.redis_server import RedisServer
from tests.dashboard_client import Browser
from tests.dashboard_numbers import Numbers, served
from tests.setting import config
from tests.stores import open_store, shared_store
from tests.test_dashboard_traces import words

pytestmark = pytest.mark.slow

SITE = "server_id: mx1\nlisten: unix:/nowhere/milter.sock\nstate_dir: %s\n"


@pytest.fixture
def store(redis: RedisServer) -> Hosts:
    redis.client.flushall()
    return Hosts(open_store(redis.url))


def page(port: int) -> str:
    found = Browser(port).get("/health")
    assert found.status == 200
    html5lib.HTMLParser(strict=True).parse(found.text)
    return words(found.text)


def test_daemons_and_checks_of_this_host(redis: RedisServer, store: Hosts, tmp_path: Path) -> None:
    mark = Mark(tmp_path, "milter")
    with served(Numbers(), redis=redis.url, site=SITE % tmp_path) as port:
        shown = page(port)
        mark.end()
    assert "Health of mx1" in shown
    assert "milter Error does not answer" in shown
    assert "redis OK answers within" in shown
    assert "redis server OK primary, 0 replicas, append-only file, " in shown
    assert "held mail OK 0 mails put on hold in the last 24 hours" in shown
    assert "disk of state_dir" in shown


def test_daemon_that_died_is_an_error(redis: RedisServer, store: Hosts, tmp_path: Path) -> None:
    (tmp_path / "daemons").mkdir()
    facts = {"since": 1_790_000_000, "version": "0.1.0", "stopped": False}
    (tmp_path / "daemons" / "courier").write_text(json.dumps(facts))
    with served(Numbers(), redis=redis.url, site=SITE % tmp_path) as port:
        shown = page(port)
    assert re.search(r"courier Error has died 2026-09-21 14:13 0\.1\.0 \d+ seconds ago", shown), (
        shown
    )
    assert "error" in shown.split("As of")[0]


def test_page_works_without_redis(tmp_path: Path) -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    with served(Numbers(), redis=away, site=SITE % tmp_path) as port:
        shown = page(port)
    assert "redis Error does not answer" in shown
    assert "The other hosts are not known: Redis does not answer." in shown


def test_all_hosts_are_listed(redis: RedisServer, store: Hosts, tmp_path: Path) -> None:
    now = int(time.time())
    store.report(Report("mx2", now, "0.1.0", ("milter", "web"), ()))
    store.report(Report("mx3", now - reporting.LATE - 60, "0.1.0", (), ()))
    store.report(Report("<b>", now, "0.2.0", ("milter",), ("redis: does not answer", "disk: full")))
    store.report(Report("old", now - FORGOTTEN - 1, "", (), ()))
    redis.client.hset(keys.HOSTS, "bad", "[")
    with served(Numbers(), redis=redis.url, site=SITE % tmp_path) as port:
        shown = page(port)
    assert "mx2 OK works" in shown
    assert "0.1.0 milter, web" in shown
    assert "mx3 Error has not reported since" in shown
    assert "<b> Error redis: does not answer; disk: full" in shown
    assert sorted(redis.client.hkeys(keys.HOSTS)) == ["<b>", "mx2", "mx3"]


def test_report_of_a_new_host_has_forgotten_ones_deleted(redis: RedisServer, store: Hosts) -> None:
    now = int(time.time())
    redis.client.hset(keys.HOSTS, "bad", "[")
    store.report(Report("container-1", now, "0.1.0", (), ()))
    assert redis.client.hkeys(keys.HOSTS) == ["container-1"]
    store.report(Report("container-1", now - FORGOTTEN - 1, "0.1.0", (), ()))
    store.report(Report("container-2", now, "0.1.0", (), ()))
    assert redis.client.hkeys(keys.HOSTS) == ["container-2"]


def test_host_reports_itself(redis: RedisServer, store: Hosts, tmp_path: Path) -> None:
    mark = Mark(tmp_path, "web")
    site = config(SITE % tmp_path)
    store.report(reporting.report(site, shared_store(redis.url)))
    mark.end()
    (found,) = store.reports()
    # The lock is of this process, which does not see it as another one's.
    assert (found.host, found.version != "", abs(found.seconds - time.time()) < 60) == (
        *("mx1", True, True),
    )


@pytest.mark.parametrize(
    ("levels", "level", "text"),
    [
        ([], Level.OK, "everything works"),
        ([Level.OK, Level.WARNING], Level.WARNING, "1 warning"),
        ([Level.ERROR, Level.WARNING, Level.ERROR], Level.ERROR, "2 errors, 1 warning"),
    ],
)
def test_summary_is_the_worst_finding(levels: list[Level], level: Level, text: str) -> None:
    found = summary([Finding("x", each, "y") for each in levels])
    assert (found.level, found.texts) == (level, (text,))
