"""The reports that this host makes of itself, so that the dashboard of any host lists all of them.

Here lives when a report is made. Where it is kept is in `store/hosts.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from importlib.metadata import version

from fletching import log
from fletching.config.model import Config
from fletching.daemons.health import findings
from fletching.daemons.process import presence
from fletching.daemons.process.log_limit import LogLimit
from fletching.startup import host_name
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.hosts import Hosts, Report

EVERY = 30.0
"""Seconds between two reports."""

LATE = 120
"""Seconds without a report after which something is wrong with a host."""

_LOG_EVERY = 600.0


def report(config: Config, store: Store) -> Report:
    """What there is to say about this host now."""
    running = [
        name
        for name, each in findings.presences(config.state_dir).items()
        if each.state is presence.State.RUNNING
    ]
    found = tuple(findings.errors(config, store))
    return Report(host_name(config), int(time.time()), version("fletching"), tuple(running), found)


def begin(config: Callable[[], Config], store: Store) -> None:
    """Starts the thread that reports. ``config``: the one in force."""
    threading.Thread(target=_run, args=(config, store), name="reports", daemon=True).start()


def _run(config: Callable[[], Config], store: Store) -> None:
    failed = LogLimit(_LOG_EVERY)
    while True:
        try:
            Hosts(store).report(report(config(), store))
        except StoreUnavailable:
            pass  # every other user of Redis logs it
        except Exception as error:  # noqa: BLE001 an edge: the next report may be made
            if failed.is_due():
                log.page_failed("health", error)
        time.sleep(EVERY)
