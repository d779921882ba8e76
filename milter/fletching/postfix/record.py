"""What `fletching postfix --install` has done to a directory, so that it can be undone.

`fletching-backup/` in Postfix's configuration directory has ``original/``, the files of before the
first install; ``before/``, what ``--remove`` restores, which has the administrator's later changes;
and ``record.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from fletching.postfix.transaction import BACKUP, read

ORIGINAL, BEFORE, RECORD = (f"{BACKUP}/{name}" for name in ("original", "before", "record.json"))


class RecordError(Exception):
    """The record cannot be read. Says what to do."""


@dataclass(frozen=True, slots=True)
class Record:
    """``files``: the digests of main.cf and master.cf after the install. ``services``: those added,
    with their text. ``tables``: the lookup tables created, with their digests."""

    files: Mapping[str, str]
    services: Mapping[str, str]
    tables: Mapping[str, str]

    def content(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode() + b"\n"


def read_record(directory: Path) -> Record | None:
    """None if nothing is installed. Raises RecordError."""
    content = read(directory, RECORD)
    if content is None:
        return None
    try:
        found = json.loads(content)
        parts = [found[name] for name in ("files", "services", "tables")]
        if not all(isinstance(text, str) for part in parts for text in part.values()):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RecordError(
            f"{directory / RECORD} is damaged; {directory / ORIGINAL} has the files of before the"
            " first install: put them back by hand, then remove the directory"
        ) from None
    return Record(*parts)
