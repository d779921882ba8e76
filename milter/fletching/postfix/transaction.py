"""Changes several files of a directory together: all of them, or none.

Before the first change, the old contents and a list of the files are written to disk. After a
crash, `recover` puts the old contents back. Each file is replaced by rename(2), so that no other
process ever reads half of it, and keeps its owner, mode, extended attributes and, if it is a
symbolic link, its target.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

BACKUP = "fletching-backup"
"""Below Postfix's configuration directory: the files of before, and what is being changed."""

_UNDO = f"{BACKUP}/undo"
_LIST = f"{_UNDO}/files.json"

Contents = Mapping[str, bytes | None]
"""By path relative to the directory; None: there is no such file."""


class TransactionError(Exception):
    """The files cannot be changed, or not be put back. Says why, and what to do."""


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keeps other processes that do the same waiting outside. Raises TransactionError."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise TransactionError(
            f"another `fletching postfix` is changing {directory}: run this one after it"
        ) from None
    try:
        yield
    finally:
        os.close(handle)


def read(directory: Path, name: str) -> bytes | None:
    """A file's content; None if there is none."""
    try:
        return (directory / name).read_bytes()
    except FileNotFoundError:
        return None


def digest(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()


def begin(directory: Path, changes: Contents) -> None:
    """Saves what the files contain now. After a crash from here on, `recover` puts it back."""
    saved = []
    _make_folders(directory, changes)
    for number, (name, new) in enumerate(changes.items()):
        old = read(directory, name)
        if old is not None:
            write(directory / _UNDO / str(number), old, directory / name)
        saved.append({"name": name, "old": digest(old), "new": digest(new)})
    write(directory / _LIST, json.dumps(saved, indent=1).encode())


def _make_folders(directory: Path, changes: Contents) -> None:
    folders = {Path(name).parent for name in (*changes, _LIST)}
    for folder in sorted({each for name in folders for each in (name, *name.parents)}):
        (directory / folder).mkdir(mode=0o700, exist_ok=True)
        if folder.parts[:1] == (BACKUP,):
            # Only root reads the saved files: master.cf may have passwords.
            (directory / folder).chmod(0o700)


def change(directory: Path, changes: Contents) -> None:
    """Writes the files in their order. Only after `begin`."""
    for name, content in changes.items():
        if content is None:
            (directory / name).unlink(missing_ok=True)
        else:
            write(directory / name, content)


def commit(directory: Path) -> None:
    """From now on, the new contents are those that count."""
    (directory / _LIST).unlink()
    _sync(directory / _UNDO)
    _tidy(directory)


def recover(directory: Path) -> bool:
    """Undoes changes that were begun and not committed. Whether there were any.

    Raises TransactionError if somebody else has changed one of the files since.
    """
    listed = read(directory, _LIST)
    if listed is None:
        _tidy(directory)
        return False
    files = json.loads(listed)
    for each in files:
        now = digest(read(directory, each["name"]))
        if now not in (each["old"], each["new"]):
            raise TransactionError(
                f"{directory / each['name']} was changed after an interrupted run; its content of"
                f" before is in {directory / _UNDO}: put it back where you want it, then remove"
                f" {directory / _UNDO}"
            )
    for number, each in enumerate(files):
        if digest(read(directory, each["name"])) == each["old"]:
            continue  # perhaps a file that cannot be replaced, such as one that is a mount point
        if each["old"] is None:
            (directory / each["name"]).unlink(missing_ok=True)
        else:
            saved = directory / _UNDO / str(number)
            write(directory / each["name"], saved.read_bytes(), saved)
    commit(directory)
    return True


def write(path: Path, content: bytes, like: Path | None = None) -> None:
    """Replaces a file, or creates it with mode 0644. ``like``: where a new file's mode is from.

    Raises TransactionError if the file is a mount point.
    """
    target = Path(os.path.realpath(path))
    source = target if target.exists() else like
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            _copy_rights(source, handle)
            os.fsync(handle)
        Path(temporary).replace(target)
    except OSError as trouble:
        if trouble.errno != errno.EBUSY:
            raise
        raise TransactionError(
            f"{target} is a mount point and cannot be replaced: mount its directory instead, or add"
            " what `fletching postfix` prints by hand"
        ) from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    _sync(target.parent)


def _copy_rights(source: Path | None, handle: int) -> None:
    if source is None:
        os.fchmod(handle, 0o644)
        return
    status = source.stat()
    os.fchown(handle, status.st_uid, status.st_gid)
    os.fchmod(handle, status.st_mode & 0o7777)
    for name in os.listxattr(source):
        with contextlib.suppress(OSError):  # such as a label that the file system sets itself
            os.setxattr(handle, name, os.getxattr(source, name))


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _tidy(directory: Path) -> None:
    """Removes saved contents that nobody needs, and folders that are empty."""
    undo = directory / _UNDO
    for file in undo.iterdir() if undo.is_dir() else ():
        file.unlink()
    backup = directory / BACKUP
    folders = [undo, *(each for each in backup.glob("*") if each.is_dir()), backup]
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty, or not there
            folder.rmdir()
