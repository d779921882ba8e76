"""Waiting for what Fletching does after its answer: log lines, and clicks that it holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fletching.daemons.milter.afterwards import GATHER

from sandbox.processes import wait_until

HASTY_WEB = (
    "-c",
    """
import sys
from pathlib import Path
from fletching.daemons.dashboard.main import DashboardService
from fletching.daemons.process import lifecycle
from fletching.daemons.web.main import TrackingService

services = [TrackingService(hold=0.0), DashboardService()]
sys.exit(lifecycle.serve("web", Path(sys.argv[-1]), services))
""",
)
"""Python's arguments for a `fletching web` that records clicks and opens at the next turn.

For tests that want to see what is recorded, and no burst.
"""


def wait_for_rest(
    log: Callable[[], str], is_all: Callable[[str], bool] = lambda text: False
) -> str:
    """The log once it has not grown for longer than lines about mails are gathered, or is all."""
    text, still = log(), time.monotonic()
    while not is_all(text) and time.monotonic() < still + 3 * GATHER:
        time.sleep(0.01)
        if (now := log()) != text:
            text, still = now, time.monotonic()
    return text


def wait_for_held(state_dir: Path) -> None:
    """Wait until no click or open is held any more: each answered one is recorded."""
    held = state_dir / "held"
    wait_until("clicks are held for ever", lambda: not any(held.glob("*.held")))
