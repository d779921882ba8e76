"""A progress bar on stderr while a file is read, if stderr is a terminal."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

_STEP = 1 << 16
"""Bytes between two updates of the bar."""


@contextmanager
def of_file(lines: BinaryIO) -> Iterator[Iterable[bytes]]:
    """The lines of a file, with a bar that follows them."""
    if not sys.stderr.isatty():
        yield lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=_size(lines))

        def watched() -> Iterator[bytes]:
            waiting = 0
            for line in lines:
                yield line
                waiting += len(line)
                if waiting >= _STEP:
                    bar.advance(task, waiting)
                    waiting = 0
            bar.advance(task, waiting)

        yield watched()


def _size(lines: BinaryIO) -> int | None:
    """The size of the input in bytes, if known."""
    try:
        about = os.fstat(lines.fileno())
    except OSError:
        return None
    return about.st_size if stat.S_ISREG(about.st_mode) else None
