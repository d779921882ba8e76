"""Which daemons run on this host: a file for each in `state_dir/daemons`.

The first process of a daemon locks its file as long as it lives (fcntl(2), F_SETLK; the kernel ends
the lock however the process ends), and touches it every few seconds. So a reader can tell apart a
daemon that runs, one that hangs, one that was stopped and one that has died. What follows from that
is decided in `daemons/health/`.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

from fletching import log
from fletching.config.model import Config

DAEMONS = ("milter", "web", "lmtp", "logtail", "courier")

BEAT = 10.0
"""Seconds between two signs of life, at most."""

_FOLDER = "daemons"
_MODE = 0o640
_LARGEST = 4096

# struct flock of fcntl(2), as C aligns it: type, whence, start, length, process id.
_LOCK = "hhqqi0q"


class State(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    DIED = "died"


@dataclass(frozen=True, slots=True)
class Presence:
    """A daemon that runs, or has run, on this host. ``since``: when it began; ``seen``: its last
    sign of life; both in unix seconds.
    """

    state: State
    since: int
    seen: int
    version: str


def needed(config: Config) -> tuple[str, ...]:
    """The daemons that have work: without link keys there are no tracked links.

    The courier runs if there can be events: it also removes old ones.
    """
    idle = set() if config.link_keys else {"web", "lmtp", "logtail"}
    if config.lmtp is None:
        idle.add("lmtp")
    if config.postfix is None or config.postfix.log is None:
        idle.add("logtail")
    if "web" in idle and not (config.events and config.events.destinations):
        idle.add("courier")
    return tuple(name for name in DAEMONS if name not in idle)


class Mark:
    """The file of a daemon that runs. No method raises OSError: no mail depends on it."""

    def __init__(self, state_dir: Path, daemon: str) -> None:
        self._path = state_dir / _FOLDER / daemon
        self._file = -1
        self._since = int(time.time())
        try:
            self._path.parent.mkdir(exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(self._path, flags, _MODE)
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write(is_stopped=False)
        except OSError as error:
            log.state_write_failed(str(self._path), error)

    def beat(self) -> None:
        """Gives a sign of life."""
        with suppress(OSError):
            os.utime(self._file)

    def end(self) -> None:
        """Notes that the daemon was stopped."""
        with suppress(OSError):
            self._write(is_stopped=True)

    def _write(self, *, is_stopped: bool) -> None:
        facts = {"since": self._since, "version": version("fletching"), "stopped": is_stopped}
        content = json.dumps(facts).encode("ascii")
        os.pwrite(self._file, content, 0)
        os.ftruncate(self._file, len(content))


def read(state_dir: Path) -> Mapping[str, Presence]:
    """The daemons that run, or have run, on this host, by name. Raises OSError."""
    found = {}
    for daemon in DAEMONS:
        with suppress(FileNotFoundError):
            found[daemon] = _read(state_dir / _FOLDER / daemon)
    return found


def _read(path: Path) -> Presence:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        is_locked = _is_locked(file.fileno())
        facts = _facts(file.read(_LARGEST))
    if is_locked:
        state = State.RUNNING
    else:
        state = State.STOPPED if facts.get("stopped") is True else State.DIED
    since = facts.get("since")
    return Presence(
        state,
        since if isinstance(since, int) else int(status.st_mtime),
        int(status.st_mtime),
        str(facts.get("version", "")),
    )


def _facts(content: bytes) -> Mapping[str, object]:
    """What the file says; nothing if it was not written completely."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_locked(descriptor: int) -> bool:
    """Whether another process has a lock. Unlike trying to lock, this disturbs nobody."""
    question = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, question)
    kind: int = struct.unpack(_LOCK, answer)[0]
    return kind != fcntl.F_UNLCK
