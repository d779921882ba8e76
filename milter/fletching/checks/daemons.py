"""Checks the files and directories that each daemon opens when it starts, without starting it.

Key files, Redis and the state directory are checked in `all.py`.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from fletching.config.faults import UnusableError
from fletching.config.model import Config
from fletching.config.nodes import Place
from fletching.config.redis_url import parse
from fletching.config.sections import Web
from fletching.daemons.courier.main import orders_of
from fletching.daemons.dashboard.main import password
from fletching.daemons.lmtp.main import opened as opened_lmtp
from fletching.daemons.logtail.main import opened as opened_log
from fletching.daemons.process.presence import needed
from fletching.daemons.process.redis_files import open_redis_files
from fletching.daemons.web.app import opened
from fletching.startup import link_keys, open_setup

OPENS: Mapping[str, Sequence[Callable[[Config], object]]] = {
    "milter": (open_redis_files, open_setup),
    "web": (open_redis_files, opened, password),
    "lmtp": (open_redis_files, opened_lmtp),
    "logtail": (open_redis_files, opened_log),
    "courier": (open_redis_files, orders_of, link_keys),
}
"""For each daemon, the functions that open what it needs at start and reload.

They raise UnusableError.
"""


def opens_of(daemon: str, config: Config) -> Sequence[Callable[[Config], object]]:
    """As `OPENS`; ``run`` means the daemons that `fletching run` would start."""
    if daemon != "run":
        return OPENS[daemon]
    return list(dict.fromkeys(each for name in needed(config) for each in OPENS[name]))


def unusable(config: Config) -> Iterator[UnusableError]:
    """What would keep a daemon from starting."""
    made_at_start = {doubt.key for doubt in _folders_of_service(config)}
    also = [name for name in ("web", "lmtp", "logtail") if name in needed(config)]
    opens = [each for name in ("courier", *also) for each in OPENS[name]]
    for each in dict.fromkeys(opens):
        try:
            each(config)
        except UnusableError as wrong:
            if wrong.place != ("link_keys",) and wrong.key not in made_at_start:
                yield wrong


def doubtful(config: Config) -> Iterator[UnusableError]:
    """What may be intended, or is created with the service: directories, modes of secret files."""
    for place, where in _sockets(config):
        folder = Path(where.removeprefix("unix:")).parent
        if where.startswith("unix:") and not stat.S_ISDIR(_mode(folder)):
            yield UnusableError(
                place, f"{folder}: not a directory; it must exist when the daemon starts"
            )
    yield from _folders_of_service(config)
    for place, file in _secrets(config):
        mode = stat.S_IMODE(_mode(file))
        if mode & (stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP):
            yield UnusableError(place, f"{file}: mode {mode:04o}: should be 0600 or 0640")


def _folders_of_service(config: Config) -> Iterator[UnusableError]:
    """Directories that the courier's unit creates when it first starts (LogsDirectory=)."""
    for number, destination in enumerate(config.events.destinations if config.events else ()):
        folder = destination.file.parent if destination.file is not None else None
        if folder == Path("/var/log/fletching") and not stat.S_ISDIR(_mode(folder)):
            yield UnusableError(
                ("events", "destinations", number, "file"),
                f"{folder}: missing directory: fletching-courier.service creates it when it starts",
            )


def _mode(path: Path) -> int:
    """The mode; 0 if it cannot be read."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _sockets(config: Config) -> Iterator[tuple[Place, str]]:
    yield ("listen",), config.listen
    if "web" in needed(config):
        yield ("web", "listen"), (config.web or Web()).listen
        yield ("web", "admin_listen"), (config.web or Web()).admin_listen
    if config.lmtp is not None:
        yield ("lmtp", "listen"), config.lmtp.listen
    if config.metrics is not None:
        yield ("metrics", "listen"), config.metrics.listen


def _secrets(config: Config) -> Iterator[tuple[Place, Path]]:
    """Secret files other than key files; the modes of those are checked when they are read."""
    for file in parse(config.redis).secret_files:
        yield ("redis",), Path(file)
    if config.web is not None and config.web.admin_password_file is not None:
        yield ("web", "admin_password_file"), config.web.admin_password_file
    for number, destination in enumerate(config.events.destinations if config.events else ()):
        for option in ("secret_file", "auth_file"):
            if (file := getattr(destination, option)) is not None:
                yield ("events", "destinations", number, option), file
