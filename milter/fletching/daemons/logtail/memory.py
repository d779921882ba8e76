"""What the log reader knows between two lines, and after a restart: SQLite in the state directory.

Here live the position in the log, and of each queue id in Postfix's queue that belongs to a message
of ours, which message that is and how its last attempts ended. Everything is kept in one file and
changed in one transaction per batch of lines, so that position and knowledge always fit. A kill
loses nothing; after a power failure both are older together, and the lines are read again. Only one
process may have the file open.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fletching.daemons.intake.journal import START, Position
from fletching.postfix.logline import Attempt

MOST_ARRIVALS = 50_000
"""Queue ids that are remembered of mail that came in last."""

FORGOTTEN_AFTER = 30 * 86400
"""Seconds after which a queue id is forgotten that no line mentions. Postfix keeps a message for
`maximal_queue_lifetime`, five days by default."""

# SQLite keeps 256 KiB of the file in memory: what is looked up is new, and Linux caches the rest.
_TABLES = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA cache_size = -256;
CREATE TABLE IF NOT EXISTS position
    (log TEXT PRIMARY KEY, at TEXT, segment TEXT, offset INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS queue
    (id TEXT PRIMARY KEY, campaign TEXT, number INTEGER, sender TEXT, recipients INTEGER,
     deferrals TEXT, seen INTEGER) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS queue_seen ON queue (seen);
CREATE TABLE IF NOT EXISTS arrivals (number INTEGER PRIMARY KEY, id TEXT);
CREATE INDEX IF NOT EXISTS arrivals_id ON arrivals (id);
"""
_AT_ONCE = 500
_LOCKED = 5.0
"""Seconds until another process must have closed the file."""


@dataclass(frozen=True, slots=True)
class InQueue:
    """A message of ours in Postfix's queue.

    ``recipients``: how many it had at first. ``deferrals``: the last attempt for each recipient
    that was deferred, by a digest of its address. Nothing here has an address that is obscured.
    """

    campaign: str
    number: int
    sender: str
    recipients: int
    deferrals: Mapping[str, Attempt] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Noted:
    """The position in the log, and the end of the events' journal at that time."""

    log: str = ""
    journal: Position = START


class Memory:
    """The file. Raises OSError: if the disk is full, nothing has changed. For one thread."""

    def __init__(self, path: Path, log: str) -> None:
        """``log``: the name of the log; each has a position of its own."""
        self._log = log
        try:
            self._database = sqlite3.connect(path, isolation_level=None, timeout=_LOCKED)
            self._database.executescript(_TABLES)
        except sqlite3.OperationalError as error:
            raise OSError(f"{path}: {error}") from None
        except sqlite3.DatabaseError as error:
            cure = "delete it; the log is then read from its beginning"
            raise OSError(f"{path}: {error}: {cure}") from None
        path.chmod(0o600)

    def noted(self) -> Noted:
        """What was noted last."""
        with _as_oserror():
            found = self._database.execute(
                "SELECT at, segment, offset FROM position WHERE log = ?", [self._log]
            ).fetchone()
        return Noted() if found is None else Noted(found[0], Position(found[1], found[2]))

    def in_queue(self, ids: Collection[str]) -> dict[str, InQueue]:
        """What is known of these queue ids."""
        columns = "id, campaign, number, sender, recipients, deferrals"
        rows = self._select(f"SELECT {columns} FROM queue WHERE id IN", ids)
        return {
            id: InQueue(campaign, number, sender, recipients, _deferrals(saved))
            for id, campaign, number, sender, recipients, saved in rows
        }

    def arrived(self, ids: Collection[str]) -> set[str]:
        """Which of these queue ids this host gave to mail that came in lately."""
        return {row[0] for row in self._select("SELECT id FROM arrivals WHERE id IN", ids)}

    def note(
        self,
        noted: Noted,
        queue: Mapping[str, InQueue | None],
        arrivals: Iterable[str],
        now: int,
    ) -> None:
        """Notes a position and what is known there; None: the queue id is forgotten."""
        kept = [_row(id, known, now) for id, known in queue.items() if known is not None]
        gone = [(id,) for id, known in queue.items() if known is None]
        with _as_oserror(), self._database as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute(
                "REPLACE INTO position VALUES (?, ?, ?, ?)",
                [self._log, noted.log, noted.journal.segment, noted.journal.offset],
            )
            database.executemany("REPLACE INTO queue VALUES (?, ?, ?, ?, ?, ?, ?)", kept)
            database.executemany("DELETE FROM queue WHERE id = ?", gone)
            database.executemany("INSERT INTO arrivals (id) VALUES (?)", [(id,) for id in arrivals])

    def tidy(self, now: int) -> None:
        """Forgets what is too old."""
        with _as_oserror(), self._database as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("DELETE FROM queue WHERE seen < ?", [now - FORGOTTEN_AFTER])
            database.execute(
                "DELETE FROM arrivals WHERE number <= (SELECT max(number) FROM arrivals) - ?",
                [MOST_ARRIVALS],
            )

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def _select(self, query: str, ids: Collection[str]) -> list[tuple[Any, ...]]:
        wanted, rows = list(ids), []
        with _as_oserror():
            for at in range(0, len(wanted), _AT_ONCE):
                some = wanted[at : at + _AT_ONCE]
                marks = ",".join("?" * len(some))
                rows += self._database.execute(f"{query} ({marks})", some).fetchall()
        return rows


def _row(id: str, known: InQueue, now: int) -> tuple[str | int, ...]:
    deferrals = {digest: astuple(attempt) for digest, attempt in known.deferrals.items()}
    saved = json.dumps(deferrals) if deferrals else ""
    return id, known.campaign, known.number, known.sender, known.recipients, saved, now


def _deferrals(saved: str) -> Mapping[str, Attempt]:
    found = json.loads(saved) if saved else {}
    return {digest: Attempt(*values) for digest, values in found.items()}


@contextmanager
def _as_oserror() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(str(error)) from error
