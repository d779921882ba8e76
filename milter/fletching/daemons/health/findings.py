"""Whether Fletching works on this host: its daemons, Redis, the journals, what waits, the disk.

Each check makes one finding. `/healthz` reports those that are errors, the dashboard all of them.
Their texts contain nothing from outside but the names of destinations: whoever can reach the port
of `/healthz` reads them.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fletching import held
from fletching.config.model import Config
from fletching.daemons.health import milter_socket
from fletching.daemons.intake import journal
from fletching.daemons.process import presence
from fletching.daemons.process.presence import Presence, State
from fletching.metrics.export import journal_sizes
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.durability import Durability, durability
from fletching.store.events import EventLog

LARGEST_JOURNAL = journal.LARGEST * 3 // 4
"""Bytes of one journal. Events that Redis has take about half of `LARGEST` at most, so the others
are waiting; at `LARGEST`, events are only in Redis, or lost."""

OLDEST_IN_JOURNAL = 60
"""Seconds that an event may wait in a journal for Redis."""

OLDEST_WAITING = 3600
"""Seconds that an event may wait for a destination."""

MOST_UNREAD = 256 * 2**20
"""Bytes of Postfix's log that may be unread."""

LONGEST_SILENCE = 60
"""Seconds without a sign of life after which a daemon hangs."""

LEAST_FREE, LITTLE_FREE = 64 * 2**20, 2**30
"""Bytes free on the disk of `state_dir`: less is an error, or a warning."""

_MEMORY_SHARE = 0.9
"""Share of Redis' `maxmemory` from which on there is a warning."""

_DAY = 86400
_UNREAD = re.compile(r"(?m)^fletching_log_behind_bytes ([0-9.e+]+)$")


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ``about``: what was checked; ``text``: what was found."""

    about: str
    level: Level
    text: str

    @property
    def line(self) -> str:
        return f"{self.about}: {self.text}"


def findings(config: Config, store: Store) -> Iterator[Finding]:
    """The result of each check. Takes some seconds at most.

    ``config``: its `listen`, `redis` and `state_dir` are those of the running milter.
    """
    there = presences(config.state_dir)
    is_here = "milter" in there or "milter" not in presence.needed(config)
    if milter_socket.milter_answers(config.listen):
        yield Finding("milter", Level.OK, "answers")
    elif is_here:
        yield Finding("milter", Level.ERROR, "does not answer")
    for daemon, found in there.items():
        if daemon != "milter":
            yield of_daemon(daemon, found, daemon in presence.needed(config))
    for daemon in presence.needed(config):
        if daemon not in there:
            yield Finding(daemon, Level.WARNING, "has never run on this host")
    yield from _of_journals(config.state_dir)
    yield from _of_redis(config, store)
    yield from _of_log(config)
    yield from _of_holds(config.state_dir)
    yield from _of_disk(config.state_dir)


def errors(config: Config, store: Store) -> list[str]:
    """One line for each thing that does not work."""
    return [each.line for each in findings(config, store) if each.level is Level.ERROR]


def of_daemon(daemon: str, found: Presence, is_needed: bool) -> Finding:
    """Whether a daemon runs that has run on this host."""
    silence = time.time() - found.seen
    if found.state is State.DIED:
        return Finding(daemon, Level.ERROR, "has died")
    if found.state is State.STOPPED:
        return Finding(daemon, Level.ERROR if is_needed else Level.OK, "is stopped")
    if silence > LONGEST_SILENCE:
        return Finding(daemon, Level.ERROR, f"hangs: no sign of life for {silence:.0f} seconds")
    return Finding(daemon, Level.OK, "runs")


def presences(state_dir: Path) -> Mapping[str, Presence]:
    """The daemons that run, or have run, on this host; none if the files cannot be read."""
    try:
        return presence.read(state_dir)
    except OSError:
        return {}


def _of_journals(state_dir: Path) -> Iterator[Finding]:
    for name, size in journal_sizes(state_dir):
        about, most = f"journal {name}", journal.LARGEST // 2**20
        if size >= LARGEST_JOURNAL:
            yield Finding(about, Level.ERROR, f"{size // 2**20} of {most} MiB are used")
            continue
        since = None
        with suppress(OSError):
            since = journal.waiting_since(state_dir / "journal" / name)
        waiting = time.time() - since if since is not None else 0.0
        if waiting > OLDEST_IN_JOURNAL:
            text = f"an event has been waiting for Redis for {waiting:.0f} seconds"
            yield Finding(about, Level.ERROR, text)
        elif name != ".":
            text = f"{size // 2**20} of {most} MiB are used; nothing waits for Redis"
            yield Finding(about, Level.OK, text)


def _of_redis(config: Config, store: Store) -> Iterator[Finding]:
    try:
        began = time.monotonic()
        store.ping()
        milliseconds = (time.monotonic() - began) * 1000
        yield Finding("redis", Level.OK, f"answers within {milliseconds:.1f} ms")
        for each in durability(store, with_snapshots=False):
            yield _of_server(each)
        yield from _backlogs(config, store)
    except StoreUnavailable:
        yield Finding("redis", Level.ERROR, "does not answer")


def _of_server(server: Durability) -> Finding:
    """Role, persistence and memory of a Redis."""
    about = f"redis {server.node}" if server.node else "redis server"
    memory = f"{server.memory / 2**20:.0f} MiB of memory"
    if server.memory_limit:
        memory += f", at most {server.memory_limit / 2**20:.0f} MiB"
    if server.replica:
        return Finding(about, Level.ERROR, "is a replica, which accepts no writes")
    if server.failed:
        return Finding(about, Level.ERROR, f"cannot save its data: {', '.join(server.failed)}")
    if server.memory_limit and server.memory > _MEMORY_SHARE * server.memory_limit:
        return Finding(about, Level.WARNING, f"primary, {memory}")
    kept = "append-only file" if server.append_only else "no append-only file"
    level = Level.OK if server.append_only else Level.WARNING
    return Finding(about, level, f"primary, {server.replicas} replicas, {kept}, {memory}")


def _backlogs(config: Config, store: Store) -> Iterator[Finding]:
    events = EventLog(store)
    for each in config.events.destinations if config.events else ():
        oldest = events.progress(each.name).oldest
        waiting = time.time() - oldest / 1000 if oldest else 0.0
        about = f"destination {each.name}"
        text = f"an event has been waiting for {waiting:.0f} seconds" if oldest else "nothing waits"
        yield Finding(about, Level.ERROR if waiting > OLDEST_WAITING else Level.OK, text)


def _of_log(config: Config) -> Iterator[Finding]:
    """How far the log reader is."""
    if config.postfix is None or config.postfix.log is None:
        return
    with suppress(OSError, ValueError):
        found = _UNREAD.search((config.state_dir / "logtail.prom").read_text("utf-8"))
        unread = float(found[1]) if found else 0.0
        level = Level.ERROR if unread > MOST_UNREAD else Level.OK
        yield Finding("postfix log", level, f"{unread / 2**20:.0f} MiB are not read yet")


def _of_holds(state_dir: Path) -> Iterator[Finding]:
    """What rules of ours put on hold. What is still there, only Postfix knows."""
    with suppress(OSError):
        since = time.time() - _DAY
        recent = sum(each.seconds >= since for each in held.read(state_dir).values())
        yield Finding("held mail", Level.OK, f"{recent} mails put on hold in the last 24 hours")


def _of_disk(state_dir: Path) -> Iterator[Finding]:
    with suppress(OSError):
        status = os.statvfs(state_dir)
        free = status.f_bavail * status.f_frsize
        level = Level.OK
        if free < LITTLE_FREE:
            level = Level.ERROR if free < LEAST_FREE else Level.WARNING
        yield Finding("disk of state_dir", level, f"{free / 2**20:,.0f} MiB are free")
