"""Waiting for what Fletching does after its answer: log lines, and clicks that it holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fletching.daemons.milter.afterwards import GATHER

from sandbox.processes import wait_until


def wait_for_rest(log: Callable[[], str]) -> str:
    """The log once it has not grown for longer than lines about mails are gathered."""
    while True:
        text = log()
        time.sleep(3 * GATHER)
        if log() == text:
            return text


def wait_for_held(state_dir: Path) -> None:
    """Wait until no click or open is held any more: each answered one is recorded."""
    held = state_dir / "held"
    wait_until("clicks are held for ever", lambda: not any(held.glob("*.held")))
