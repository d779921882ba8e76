"""Copies for the archive: written by a thread of the worker, after Postfix has its reply.

Here lives what keeps the archive from ever delaying mail: the thread, the bound on what waits for
it, and the timer that deletes old files. The files themselves are in `archive.py`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fletching import archive, log
from fletching.config.model import Config
from fletching.daemons.process.log_limit import LogLimit
from fletching.mail.message import Message
from fletching.outgoing.edits import Discard
from fletching.outgoing.flow import Outcome

MOST_WAITING = 32 * 2**20
"""Bytes of messages that wait for the disk, per worker. What comes then is not archived."""

LOG_EVERY = 600.0
"""Seconds between two log lines about messages that could not be archived."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A message to archive, as it leaves. ``directory``: that of the class."""

    directory: Path
    campaign: str
    number: int
    message: Message

    @property
    def size(self) -> int:
        """Bytes, nearly."""
        headers = sum(len(each.name) + len(each.value) for each in self.message.headers)
        return headers + len(self.message.body)


def copy_of(outcome: Outcome) -> Copy | None:
    """The copy of a mail; None if it is not archived, or not sent."""
    option, facts = outcome.plan.archive, outcome.facts
    is_sent = outcome.refusal is None and Discard() not in outcome.edits
    if option is None or facts is None or not is_sent:
        return None
    return Copy(option.directory, facts.campaign, facts.number, outcome.final)


class ArchiveQueue:
    """Writes copies, and deletes old ones, in a thread of its own.

    ``count(written, lost)`` is told of each message. The thread runs only if a class is archived.
    """

    def __init__(
        self,
        config: Config,
        count: Callable[[int, int], None],
        *,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._state_dir = config.state_dir
        self._count = count
        self._most_waiting = most_waiting
        self._limit = LogLimit(LOG_EVERY)
        self._waiting: deque[Copy] = deque()
        self._size = 0
        self._changed = threading.Condition()
        self._runs = False
        self._keep: dict[Path, int] = {}
        self.take(config)

    def take(self, config: Config) -> None:
        """Puts another configuration in force."""
        classes = (each.archive for each in config.mail_classes.values())
        keep = {each.directory: each.keep for each in classes if each is not None}
        with self._changed:
            self._keep = keep
            if keep and not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="archive", daemon=True).start()
            self._changed.notify_all()

    def add(self, copy: Copy) -> None:
        """Adds a copy; drops it if too much waits already. Never waits for the disk."""
        with self._changed:
            has_room = not self._waiting or self._size + copy.size <= self._most_waiting
            if has_room:
                self._waiting.append(copy)
                self._size += copy.size
                self._changed.notify_all()
        if not has_room:
            self._lost("the disk is too slow")

    def finish(self, seconds: float) -> None:
        """Waits until all is written, or for so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, seconds)

    def _run(self) -> None:
        prune_at = 0.0
        while True:
            with self._changed:
                until_prune = prune_at - time.monotonic() if self._keep else None
                if not self._waiting:
                    self._changed.wait(until_prune)
                copy = self._waiting[0] if self._waiting else None
                keep = dict(self._keep)
            if copy is not None:
                self._write(copy)
                with self._changed:
                    # Only now: until it is written, it takes room in memory.
                    self._waiting.popleft()
                    self._size -= copy.size
                    self._changed.notify_all()
            if time.monotonic() >= prune_at:
                prune_at = time.monotonic() + self._prune(keep)

    def _write(self, copy: Copy) -> None:
        folder = self._state_dir / copy.directory
        try:
            archive.write(folder, copy.campaign, copy.number, bytes(copy.message))
        except OSError as error:
            self._lost(error.strerror or str(error))
        except Exception as error:  # noqa: BLE001 an edge: this mail has its reply
            self._lost(str(error))
        else:
            self._count(1, 0)

    def _lost(self, why: str) -> None:
        self._count(0, 1)
        with self._changed:
            if self._limit.is_due():
                log.not_archived(1 + self._limit.take_skipped(), why)

    def _prune(self, keep: dict[Path, int]) -> float:
        """Deletes old files where that was not done lately; seconds until the next time."""
        for directory, seconds in keep.items():
            folder = self._state_dir / directory
            try:
                if not archive.is_pruned(folder, time.time() - _between(seconds)):
                    archive.prune(folder, seconds, time.time())
            except OSError as error:
                log.state_write_failed("archive", error)
            except Exception as error:  # noqa: BLE001 an edge: tried again at the next time
                log.state_write_failed("archive", error)
        return min(map(_between, keep.values()), default=3600.0)


def _between(keep: int) -> float:
    """Seconds between two deletions in a directory whose files are kept that long."""
    return min(max(keep / 24, 1.0), 3600.0)
