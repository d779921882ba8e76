"""Which VirtualMTAs are paused: one name a line, in lower case, in `state_dir/paused`.

Here live the file's form, its writing and its watching. The milter looks at it for each mail, so
that a pause needs no reload.
"""

from __future__ import annotations

import os
from pathlib import Path

from fletching import log


def path(state_dir: Path) -> Path:
    return state_dir / "paused"


def read(state_dir: Path) -> frozenset[str]:
    """The names of paused VirtualMTAs; none where there is no file. Raises OSError."""
    try:
        text = path(state_dir).read_text("utf-8", "replace")
    except FileNotFoundError:
        return frozenset()
    return frozenset(line.strip().lower() for line in text.splitlines() if line.strip())


def write(state_dir: Path, names: frozenset[str]) -> None:
    """Writes the whole list, so that a reader sees the old one or the new one. Raises OSError."""
    final = path(state_dir)
    new = final.with_name(f"{final.name}.{os.getpid()}")
    # A VirtualMTA may be paused before the milter has ever run.
    state_dir.mkdir(parents=True, exist_ok=True)
    try:
        with new.open("w", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for name in sorted(map(str.lower, names)))
            file.flush()
            os.fsync(file.fileno())
        new.rename(final)
    finally:
        new.unlink(missing_ok=True)


class Watch:
    """The names as the file has them now; read again only when it has changed."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._path = str(path(state_dir))
        self._seen: tuple[int, ...] | None = None
        self._names: frozenset[str] = frozenset()
        self._told = ""

    def names(self) -> frozenset[str]:
        """Where the file cannot be read, what it said last."""
        try:
            found = self._look()
            if found != self._seen:
                self._names = read(self._state_dir)
                self._seen = found
                self._told = ""
        except OSError as error:
            if str(error) != self._told:
                self._told = str(error)
                log.state_write_failed(self._path, error)
        return self._names

    def _look(self) -> tuple[int, ...]:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return ()
        return status.st_mtime_ns, status.st_ino, status.st_size
