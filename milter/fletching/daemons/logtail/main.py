"""The log reader in its first process, and the life of its worker.

Here live the start, the reload and the end. There is one worker, since the lines of a log have an
order. What it does with them is in `reader.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fletching.config.faults import UnusableError, named_by
from fletching.config.model import Config
from fletching.config.sections import Bounces, Events
from fletching.daemons.intake.journal import Journal
from fletching.daemons.intake.once import Once, recorded
from fletching.daemons.intake.recorder import Recorder
from fletching.daemons.logtail.deliveries import WalkSettings
from fletching.daemons.logtail.lines import Source
from fletching.daemons.logtail.log_file import LogFile
from fletching.daemons.logtail.memory import Memory
from fletching.daemons.logtail.reader import Reader, Settings, Targets
from fletching.daemons.logtail.systemd_journal import SystemdJournal
from fletching.daemons.process.fork import END_WORKER, RELOAD_WORKER, even_without_room
from fletching.daemons.process.handover import Handover, Inbox
from fletching.daemons.process.lifecycle import Service
from fletching.daemons.process.supervise import Child
from fletching.metrics.log_lines import LogLines
from fletching.returning.rules import compiled
from fletching.startup import host_name, link_keys, providers
from fletching.store.bounce_claims import BounceClaims
from fletching.store.bounce_records import BounceRecords
from fletching.store.connection import Store
from fletching.store.events import EventLog
from fletching.tokens import Keyring

MEMORY = "logtail.db"
"""The file of the position, in `state_dir`."""

MOST_REPEATED = 20_000
"""Events that may be repeated after a kill: those of the lines in hand."""

_DAY = 86400


@dataclass(frozen=True, slots=True)
class Opened:
    """What a reload changes."""

    config: Config
    keys: Keyring

    def settings(self) -> Settings:
        """In the form that the worker uses."""
        config = self.config
        walk = WalkSettings(self.keys, host_name(config), compiled(config.bounces.rules))
        return Settings(walk, config.bounce_memory)


def opened(config: Config) -> Opened:
    """Reads what the configuration names. Raises UnusableError."""
    log = log_of(config)
    keys = link_keys(config, without="no line can be attributed")
    with named_by("postfix", "log", fault=OSError):
        check_readable(log)
    return Opened(config, keys)


def log_of(config: Config) -> str:
    """The log to read. Raises UnusableError if none is configured."""
    if config.postfix is None or config.postfix.log is None:
        raise UnusableError(("postfix", "log"), "not set: which log is to be read?")
    return str(config.postfix.log)


def check_readable(log: str) -> None:
    """Raises OSError with the cure. A log that does not exist yet will be read from its start."""
    if log == "journal":
        return
    with suppress(FileNotFoundError):
        try:
            with open(log, "rb"):
                pass
        except PermissionError:
            raise OSError(
                f"{log}: permission denied: its group (adm in Debian) must be one of the service's"
            ) from None


class LogtailService(Service[Opened]):
    """The worker that reads `postfix.log`."""

    at_start_only = ("redis", "state_dir", "postfix", "trace_memory")

    _config: Config

    def open(self, config: Config) -> Opened:
        return opened(config)

    def listen(self, config: Config) -> None:
        self._config = config
        with named_by("state_dir", fault=OSError), even_without_room("journal"):
            _journal(config).close()

    def begin(self, config: Config, opened: Handover[Opened]) -> list[Child]:
        return [opened.worker("logtail", self._live)]

    def facts(self) -> list[tuple[str, object]]:
        return [("log", log_of(self._config))]

    def _live(self, value: Opened, inbox: Inbox[Opened]) -> NoReturn:
        asyncio.run(_work(self._config, value, inbox))
        os._exit(0)


async def _work(config: Config, value: Opened, inbox: Inbox[Opened]) -> None:
    store = Store(config.redis, config.state_dir)
    log = log_of(config)
    memory = Memory(config.state_dir / MEMORY, log)
    noted = memory.noted()
    known = recorded(_journals(config), noted.journal)
    current = value

    def thresholds(mail_class: str) -> Bounces:
        return current.config.bounces_of(mail_class)

    table = providers(config)
    events = EventLog(
        store, _left_out(current), config.trace_memory, thresholds, providers=lambda: table
    )
    recorder = Recorder(events, lambda: _journal(config), repeatable=True)
    targets = Targets(
        Once(recorder, known, MOST_REPEATED), recorder, BounceRecords(store), BounceClaims(store)
    )
    source = _source(log, noted.log, config)
    counts = LogLines(config.state_dir)
    reader = Reader(source, memory, targets, current.settings(), counts)

    def reload() -> None:
        nonlocal current, table
        current = inbox.latest() or current
        table = providers(current.config)
        reader.settings = current.settings()
        events.left_out = _left_out(current)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(END_WORKER, reader.end)
    loop.add_signal_handler(RELOAD_WORKER, reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (END_WORKER, RELOAD_WORKER))
    await reader.run()
    source.close()
    recorder.close()
    memory.close()


def _left_out(opened: Opened) -> frozenset[str]:
    return (opened.config.events or Events()).unlisted


def _source(log: str, position: str, config: Config) -> Source:
    if log == "journal":
        # Of older messages nothing is known any more.
        return SystemdJournal(position, 1 + config.bounce_memory // _DAY)
    return LogFile(Path(log), position)


def _journals(config: Config) -> Path:
    return config.state_dir / "journal" / "logtail"


def _journal(config: Config) -> Journal:
    kept = (config.events or Events()).keep
    return Journal(_journals(config), kept)
