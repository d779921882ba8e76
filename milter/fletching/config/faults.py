"""What an option names, a file or a socket, and cannot be used: told with the option's line.

Here lives how such a fault comes to the admin. What is wrong with the file of the configuration
itself, `load.py` says; nothing is opened here but that file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fletching.config import nodes, wording
from fletching.config.load import ConfigError, Problem
from fletching.config.nodes import NotYaml, Place


class UnusableError(Exception):
    """What the option at ``place`` names cannot be used; ``message`` says which and why."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(place, message)
        self.place = place
        self.message = message

    @property
    def key(self) -> str:
        """The place as `path.to.key`."""
        return wording.shown(self.place)


@contextmanager
def named_by(*place: str | int, fault: type[Exception]) -> Iterator[None]:
    """What fails so within is what that option names. Raises UnusableError."""
    try:
        yield
    except fault as error:
        raise UnusableError(place, _said(error)) from error


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Raises ConfigError, with the line in that file, for an UnusableError from within."""
    try:
        yield
    except UnusableError as wrong:
        line = _line(path, wrong.place)
        raise ConfigError((Problem(path, line, wrong.key, wrong.message),)) from wrong


def _said(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    return ": ".join(str(part) for part in (error.filename, error.strerror) if part)


def _line(path: Path, place: Place) -> int:
    """That of the option, or of the section that it is missing in; else 0."""
    try:
        lines = nodes.read(path.read_text("utf-8-sig")).lines
    except (OSError, UnicodeDecodeError, NotYaml):
        return 0  # it was another file when it was loaded
    while place and place not in lines:
        place = place[:-1]
    return lines[place] if place else 0
