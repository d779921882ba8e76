"""What the tests of stats, events and suppression share: counted campaigns, a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fletching import events
from fletching.events import Event
from fletching.numbering import Question
from fletching.store.campaigns import Campaigns
from fletching.store.sent import Sent

from sandbox.redis_server import RedisServer
from tests.courier_setting import event
from tests.host import Host
from tests.sending import send
from tests.stores import open_store

AWAY = "redis://127.0.0.1:1/0"
OPENED = 1_789_999_200
"""2026-09-21 14:00 UTC; the events of `courier_setting` are of the same hour."""

NEW, OLD = "bbbbbbbb", "aaaaaaaa"
DESTINATIONS = """
events:
  destinations:
    - {name: crm, webhook: "https://crm.example.com/hook"}
    - {name: log, file: /var/log/fletching/events.jsonl}
"""
KEYS = [
    "campaign", "sendid", "mail_class", "sent", "opens", "unique_opens", "clicks", "unique_clicks",
    "bot_clicks", "bot_opens", "unsubscribes", "complaints", "bounces_hard", "bounces_soft",
    "delivered", "seeds", "privacy_opens", "confirmed_opens", "deferred", "bounces_other",
    "blocked", "opened", "subject", "listid",
]  # fmt: skip
STEERING = "\x1b[31m\x9b2J\r\n\x07[bold]\u202e"
"""Escape sequences, and markup of rich."""


def sent(redis: RedisServer, folder: Path, count: int, **more: Any) -> None:
    """Messages that Postfix took."""
    asked: dict[str, Any] = {
        "sendid": "news20260921",
        "mail_class": "news",
        "instance_id": "20260921",
        "monitor": "",
        "now": OPENED,
        "window": 21 * 86400,
        "candidate": NEW,
        "remember": (),
        "bounce_memory": 0,
        "listid": "T100",
    }
    campaigns = Campaigns(open_store(redis.url))
    send(campaigns, Sent(open_store(redis.url)), Question(**asked | more), "a", count)


def of(campaign: str, number: int, type: str = events.CLICK, **more: Any) -> Event:
    """An event of a campaign's message."""
    told = event(number, type, **more)
    return replace(told, facts=replace(told.facts, campaign=campaign))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def harmless(text: str) -> bool:
    return all(c.isprintable() for c in text.replace("\n", ""))


def in_terminal(host: Host, *words: str, columns: int = 80) -> str:
    """What a command shows in a terminal."""
    ours, its = pty.openpty()
    started = subprocess.Popen(
        [sys.executable, "-m", "fletching", *words, "--config", str(host.config)],
        env={**os.environ, "COLUMNS": str(columns), "TERM": "dumb", "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:
        pass  # how Linux says that nobody has the terminal any more
    os.close(ours)
    assert started.wait() == 0, shown
    return shown.decode().replace("\r\n", "\n")


def started(host: Host, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fletching", *words, "--config", str(host.config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A suite in the background ignores SIGINT, and so would what it starts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
