"""Secret files: their access rights, and how they are read, created and replaced.

No error message contains a word of what a file holds. What a file is for is not known here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

KeyPath = str | os.PathLike[str]

_MODE = 0o640

_FORBIDDEN = (
    (stat.S_IROTH, "readable by others"),
    (stat.S_IWOTH, "writable by others"),
    (stat.S_IXOTH, "executable by others"),
    (stat.S_IWGRP, "writable by the group"),
    (stat.S_IXGRP, "executable by the group"),
)


class KeyFileError(Exception):
    """A secret file cannot be used. Says path, line if any, what is wrong and what is allowed."""


def read(path: KeyPath) -> bytes:
    """The content of a secret file. Raises KeyFileError if others can read or change it."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise KeyFileError(f"{path}: not a regular file")
            for right, fault in _FORBIDDEN:
                if mode & right:
                    mode_text = f"mode {stat.S_IMODE(mode):04o}: {fault}"
                    raise KeyFileError(f"{path}: {mode_text}; must be 0600 or 0640")
            return file.read()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None


def _without_waiting(path: str, flags: int) -> int:
    # Opening a FIFO would otherwise block until somebody writes to it.
    return os.open(path, flags | os.O_NONBLOCK)


def create(path: KeyPath, data: bytes, like: KeyPath | None = None) -> None:
    """Writes a new file with mode 0640, or with owner and mode of the file ``like``.

    Raises KeyFileError, also if the file exists.
    """
    try:
        with open(path, "xb", opener=_for_the_owner) as file:
            try:
                file.write(data)
                file.flush()
                if like is None:
                    os.fchmod(file.fileno(), _MODE)
                else:
                    _take_over_rights(Path(like), file.fileno())
                os.fsync(file.fileno())
            except OSError:
                os.unlink(path)
                raise
    except FileExistsError:
        raise KeyFileError(f"{path}: already exists, and is not overwritten") from None
    except FileNotFoundError:
        raise _no_folder(path) from None
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None


def _no_folder(path: KeyPath) -> KeyFileError:
    return KeyFileError(f"{path}: directory {Path(path).parent} does not exist")


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def locked(path: KeyPath) -> Iterator[tuple[Path, int]]:
    """The file behind all symbolic links, and its directory, locked against other writers.

    The lock is on the directory: the file itself is replaced, and may not exist yet.
    """
    try:
        target = Path(os.path.realpath(path))
        try:
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            raise _no_folder(target) from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield target, folder
        finally:
            os.close(folder)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None


def replace(target: Path, folder: int, data: bytes, like: KeyPath | None = None) -> None:
    """Replaces the file atomically, and keeps its owner and mode.

    ``like``: a file with the owner and mode of a new one.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(descriptor, "wb") as file:
            known = like is None or target.exists()
            _take_over_rights(target if known else Path(like or target), descriptor)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, target)
        os.fsync(folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _take_over_rights(target: Path, descriptor: int) -> None:
    if not target.exists():
        # Root creates keys in a directory of the daemon's group, so that the daemon can read them.
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, -1, target.parent.stat().st_gid)
        os.fchmod(descriptor, _MODE)
        return
    old, new = target.stat(), os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
