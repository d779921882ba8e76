"""Reports files and sockets that an option names and that cannot be used, with the option's line.

Errors in the configuration file itself are reported by `load.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fletching.config import nodes, wording
from fletching.config.load import ConfigError, Problem
from fletching.config.nodes import NotYaml, Place


class UnusableError(Exception):
    """The file or socket that an option names cannot be used.

    ``place``: the option. ``message``: which file or socket, and why.
    """

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
    """Turns errors of type ``fault`` into UnusableError for that option."""
    try:
        yield
    except fault as error:
        raise UnusableError(place, _reason(error)) from error


@contextmanager
def with_line(path: Path) -> Iterator[None]:
    """Turns an UnusableError into a ConfigError with the option's line in that file."""
    try:
        yield
    except UnusableError as wrong:
        line = _line(path, wrong.place)
        raise ConfigError((Problem(path, line, wrong.key, wrong.message),)) from wrong


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    return ": ".join(str(part) for part in (error.filename, error.strerror) if part)


def _line(path: Path, place: Place) -> int:
    """The line of the option, or of the section that it is missing in; else 0."""
    try:
        lines = nodes.read(path.read_text("utf-8-sig")).lines
    except (OSError, UnicodeDecodeError, NotYaml):
        return 0  # it was another file when it was loaded
    while place and place not in lines:
        place = place[:-1]
    return lines[place] if place else 0
