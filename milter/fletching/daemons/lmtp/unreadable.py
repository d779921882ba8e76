"""Returned mail that nothing could be made of, kept on disk for the operator.

Here live the files, one for each mail and recipient; what is in them is in `returning/kept.py`.
Mails come from anybody: the oldest ones are deleted when there are too many.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

from fletching.returning.kept import KeptMail, packed

FOLDER = "unreadable"
"""In `state_dir`."""

MOST, LARGEST = 10_000, 512 * 2**20
"""Files, and bytes of all of them."""


class Unreadable:
    """The kept mails of this host. For one thread at a time; its methods raise OSError."""

    def __init__(self, folder: Path, most: int = MOST, largest: int = LARGEST) -> None:
        self._folder, self._most, self._largest = folder, most, largest
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = [(entry.stat(), entry.name) for entry in os.scandir(folder) if entry.is_file()]
        found.sort(key=lambda each: each[0].st_mtime_ns)
        self._sizes = OrderedDict((name, stat.st_size) for stat, name in found)

    def keep(self, name: str, mail: KeptMail) -> int:
        """Keeps a mail, which is on the disk when it returns. How many were deleted for it.

        A mail that is kept already, under that name, is replaced.
        """
        data = packed(mail)
        deleted = self._make_room(name, len(data))
        part = self._folder / f".{name}.part"
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with open(file, "wb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            part.rename(self._folder / name)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        self._sync()
        self._sizes[name] = len(data)
        self._sizes.move_to_end(name)
        return deleted

    def _make_room(self, name: str, size: int) -> int:
        self._sizes.pop(name, None)
        deleted = 0
        while self._sizes and (
            len(self._sizes) >= self._most or sum(self._sizes.values()) + size > self._largest
        ):
            oldest, _ = self._sizes.popitem(last=False)
            # The operator may have removed it.
            (self._folder / oldest).unlink(missing_ok=True)
            deleted += 1
        return deleted

    def _sync(self) -> None:
        opened = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
