"""The screenshots of the dashboard's pages about operation: `python -m tests.browser.operation`.

Those of statistics are taken by `pictures.py`. Here all daemons run, so that their health is real;
warnings, other hosts and what is used of limits are invented.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fletching import paused
from fletching.config.load import load
from fletching.numbering import Candidate, Question
from fletching.policy import limits
from fletching.startup import stamp, zone
from fletching.store.campaigns import Campaigns
from fletching.store.connection import Store
from fletching.store.hosts import Hosts, Report
from fletching.store.warned import Example, Warned, WarnedMails

from sandbox.processes import free_port, private_directory, wait_until
from sandbox.redis_server import RedisServer
from tests.browser.chromium import Chromium
from tests.browser.pictures import FOLDER
from tests.browser.test_dashboard import log_in
from tests.dashboard_client import PASSWORD, logged_in
from tests.real.fletching import Fletching
from tests.stores import open_store

TAKEN = (
    ("dashboard-health", "/health", 1100, False),
    ("dashboard-warnings", "/warnings", 1100, False),
    ("dashboard-virtual-mtas", "/virtual-mtas", 1100, True),
)
OPTIONS = {
    "server_id": "mx1.example.com",
    "virtual_mtas": {
        "a": {"transport": "vmta-a", "limits": {"hour": 5000}},
        "b": {"transport": "vmta-b", "fallback": "a"},
        "relay": {"transport": "relay", "relay": "[smtp.example.net]:587"},
    },
}
WARNINGS = (
    ("several recipients share one body: links identify none of them", 1_204, "4fXk2B3mPz9"),
    ("unknown control header", 37, "4fXk2C7QsLz9"),
    ("no DKIM signature: no key for the domain of From", 5, "4fXk2D1xYZz9"),
)


@contextmanager
def host() -> Iterator[int]:
    """The port of the dashboard of a host on which all daemons run."""
    port = free_port()
    with private_directory() as folder, RedisServer() as redis:
        password = folder / "password"
        password.write_text(PASSWORD)
        web = {"admin_listen": f"127.0.0.1:{port}", "admin_password_file": str(password)}
        metrics = {"listen": f"127.0.0.1:{free_port()}"}
        change = {**OPTIONS, "web": web, "metrics": metrics}
        with Fletching(folder / "host", redis.url, change, command="run") as running:
            store = open_store(redis.url)
            invent(running.config_path, store)
            browser = logged_in(port)
            complete = "milter, web, courier"
            wait_until("no report", lambda: complete in browser.get("/health").text)
            yield port


def invent(config_path: Path, store: Store) -> None:
    """Warnings, another host, a pause, and what is used of a limit."""
    config, now = load(config_path), int(time.time())
    found = [
        Warned(kind, mails, Example(kind, queue_id, now, "mx1.example.com", "aaaabbbbcccc"))
        for kind, mails, queue_id in WARNINGS
    ]
    WarnedMails(store).count(found, now)
    errors = ("redis: does not answer",)
    Hosts(store).report(Report("mx2.example.com", now, "0.1.0", ("milter", "web"), errors))
    paused.change(config.state_dir, "b", pause=True)
    mta = config.virtual_mta("a")
    assert mta is not None
    candidate = Candidate("a", limits.periods(mta, stamp(zone(config)).time))
    question = Question(
        *("a1", "a", "1", "", 0, 86400, "a" * 12, (), 86400),
        candidates=(candidate,),
        counted=(("google", 3120),),
    )
    assert Campaigns(store).campaign_of(question)


def take(into: Path) -> None:
    """Takes them."""
    with host() as port, Chromium() as chromium:
        log_in(chromium.open(f"http://127.0.0.1:{port}/login"))
        for name, path, width, dark in TAKEN:
            page = chromium.open(f"http://127.0.0.1:{port}{path}", width, height=300, dark=dark)
            (into / f"{name}.png").write_bytes(page.picture())


if __name__ == "__main__":
    take(FOLDER)
