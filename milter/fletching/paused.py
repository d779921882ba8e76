"""The file of paused VirtualMTAs, `state_dir/paused`: one name per line, in lower case.

The milter checks it for each message, so that a pause needs no reload.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from fletching import log


def path(state_dir: Path) -> Path:
    return state_dir / "paused"


def read(state_dir: Path) -> frozenset[str]:
    """The names of paused VirtualMTAs; none if there is no file. Raises OSError."""
    try:
        text = path(state_dir).read_text("utf-8", "replace")
    except FileNotFoundError:
        return frozenset()
    return frozenset(line.strip().lower() for line in text.splitlines() if line.strip())


def write(state_dir: Path, names: frozenset[str]) -> None:
    """Replaces the list atomically. Raises OSError."""
    final = path(state_dir)
    new = final.with_name(f"{final.name}.{os.getpid()}")
    # A VirtualMTA can be paused before the milter has ever run.
    state_dir.mkdir(parents=True, exist_ok=True)
    try:
        new.unlink(missing_ok=True)
        # Root may write here, where the service's user could have put a link.
        with new.open("x", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for name in sorted(map(str.lower, names)))
            file.flush()
            os.fsync(file.fileno())
        new.rename(final)
    finally:
        new.unlink(missing_ok=True)


def change(state_dir: Path, name: str, *, pause: bool) -> None:
    """Pauses or resumes a VirtualMTA. Changes of other processes are not lost. Raises OSError."""
    state_dir.mkdir(parents=True, exist_ok=True)
    folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        before = read(state_dir)
        after = before | {name.lower()} if pause else before - {name.lower()}
        if after != before:
            write(state_dir, after)
    finally:
        os.close(folder)


class Watch:
    """The current names; the file is read again only after it has changed."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._path = str(path(state_dir))
        self._seen: tuple[int, ...] | None = None
        self._names: frozenset[str] = frozenset()
        self._logged = ""

    def names(self) -> frozenset[str]:
        """The current names; those read last if the file cannot be read."""
        try:
            found = self._status()
            if found != self._seen:
                self._names = read(self._state_dir)
                self._seen = found
                self._logged = ""
        except OSError as error:
            if str(error) != self._logged:
                self._logged = str(error)
                log.state_write_failed(self._path, error)
        return self._names

    def _status(self) -> tuple[int, ...]:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return ()
        return status.st_mtime_ns, status.st_ino, status.st_size
