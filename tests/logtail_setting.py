"""The log reader as a process, the log that it reads, and the events that it makes."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from fletching.keys.link_keys import new_link_key
from fletching.numbering import Question
from fletching.store.campaigns import Campaigns
from fletching.store.connection import StoreUnavailable
from fletching.store.events import EventLog
from fletching.tokens import Keyring

from sandbox.processes import Daemon, Server, processes, wait_until
from sandbox.redis_server import RedisServer
from tests.log_lines import CAMPAIGN, Mail
from tests.stores import open_store

TYPES = ["delivery_attempt", "bounce_all"]


class Logtail(Server):
    """The daemon over a Redis, and a log that is empty at first."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self.redis, self.log, self.state_dir = redis, folder / "mail.log", folder / "state"
        self._said = folder / "log"
        self.log.touch()
        self.keys = Keyring((new_link_key(folder / "link-keys", 0),))
        self._written = 0
        self.config_path = folder / "fletching.yaml"
        self.configure({})
        argv = [sys.executable, "-m", "fletching", "logtail", "--config", str(self.config_path)]
        self.daemon = Daemon(argv, self._said)
        self._events = EventLog(open_store(redis.unix_url))

    def configure(self, more: dict[str, Any]) -> None:
        folder = self.config_path.parent
        destination = {"name": "f", "file": str(folder / "out"), "types": TYPES}
        config: dict[str, Any] = {
            "redis": self.redis.unix_url,
            "state_dir": str(self.state_dir),
            "link_keys": str(folder / "link-keys"),
            "postfix": {"log": str(self.log)},
            "mail_classes": {"News": {}},
            "events": {"destinations": [destination]},
        }
        self.config_path.write_text(yaml.safe_dump(config | more))

    def start(self) -> None:
        before = self.said().count("started daemon=logtail ")
        self.daemon.start(lambda: self.said().count("started daemon=logtail ") > before)

    def stop(self) -> None:
        self.daemon.stop()

    def kill_worker(self) -> None:
        """Another worker takes its place."""
        for pid in processes(self.daemon.pid):
            if pid != self.daemon.pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def said(self) -> str:
        """Its own log."""
        return self._said.read_text() if self._said.exists() else ""

    def send(self, count: int) -> list[Mail]:
        """Messages that the milter has numbered, as they come into Postfix's queue."""
        campaigns = Campaigns(open_store(self.redis.unix_url))
        mails = []
        for place in range(count):
            number, to = place + 1, f"r{place + 1}@example.org"
            question = Question(
                sendid="News1",
                mail_class="News",
                instance_id="1",
                monitor="",
                now=1_795_000_000,
                window=86400,
                candidate=CAMPAIGN,
                remember=(("listid", "t100"), ("email", to), ("mtaid", "a")),
                bounce_memory=86400,
            )
            numbered = campaigns.campaign_of(question)
            assert numbered is not None
            assert (numbered.campaign, numbered.number) == (CAMPAIGN, number)
            mails.append(Mail(f"{number:06d}zCXPc", number, to=to, keys=self.keys))
        return mails

    def write(self, *lines: str, path: Path | None = None) -> None:
        """Appends to the log."""
        with (path or self.log).open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def events(self) -> list[dict[str, Any]]:
        """What is in the stream, in order; nothing while Redis is away."""
        with suppress(StoreUnavailable):
            return [json.loads(event) for _, event in self._events.read("0", 1_000_000)]
        return []

    def wait(self, count: int, patience: float = 60) -> list[dict[str, Any]]:
        """The events, when there are so many."""
        wait_until(f"not {count} events", lambda: len(self.events()) >= count, patience)
        return self.events()


def outcomes(events: Sequence[dict[str, Any]]) -> list[tuple[int, str, str]]:
    """Number, type and status of each event, sorted."""
    return sorted(
        (each["message_number"], each["event_type"], each.get("status", "")) for each in events
    )
