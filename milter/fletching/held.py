"""Why mails are on hold: a file of this host, since Postfix's queue keeps no reason
(docs/actions.md, "Hold").

The milter adds a line for each mail that a rule holds; `fletching held` reads them. What is in the
queue, only Postfix knows: lines of released and deleted mails stay until the file is replaced.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = "holds"
"""Not `held`, which is the web service's folder of events that wait to be judged."""

LARGEST = 2**20
"""Bytes of the file. Then it becomes the older one of two."""

_MODE = 0o640


@dataclass(frozen=True, slots=True)
class Hold:
    """A mail that was put on hold. ``seconds``: when, in unix time."""

    queue_id: str
    seconds: int
    reason: str


def record(state_dir: Path, holds: Iterable[Hold]) -> None:
    """Adds mails. Raises OSError."""
    lines = "".join(f"{json.dumps([h.queue_id, h.seconds, h.reason])}\n" for h in holds)
    path = state_dir / FILE
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        with open(os.open(path, flags, _MODE), "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(file.fileno(), path):
                continue  # another worker has replaced it
            file.write(lines.encode("ascii"))
            file.flush()
            if os.fstat(file.fileno()).st_size >= LARGEST:
                path.replace(_older(path))
            return


def read(state_dir: Path) -> Mapping[str, Hold]:
    """The mails that were put on hold, by queue id; of one queue id, the newest. Raises OSError."""
    found: dict[str, Hold] = {}
    for path in (_older(state_dir / FILE), state_dir / FILE):
        try:
            text = path.read_text("ascii", "replace")
        except FileNotFoundError:
            continue
        for line in text.splitlines():
            hold = _parsed(line)
            if hold is not None:
                found[hold.queue_id] = hold
    return found


def _parsed(line: str) -> Hold | None:
    """A line; None if it is not one of ours, or was not written completely."""
    try:
        queue_id, seconds, reason = json.loads(line)
        return Hold(str(queue_id), int(seconds), str(reason))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (now.st_dev, now.st_ino) == (opened.st_dev, opened.st_ino)
