"""Checks file access as the service's user, in a child process that root switches to that user.

The content of the files is checked elsewhere.
"""

from __future__ import annotations

import errno
import grp
import json
import os
import pwd
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fletching.checks.finding import Finding, error, warning
from fletching.config.model import Config
from fletching.config.redis_url import parse
from fletching.config.sections import DkimKey
from fletching.keys.dkim_rotation import rotation, rotation_file
from fletching.keys.secret_file import KeyFileError

_UNIT, _USER = "fletching.service", "fletching"


class AccessError(Exception):
    """Access cannot be tested as that user. Says why."""


def as_user(user: str, question: Callable[[], str | None], jail: Path | None = None) -> str | None:
    """Runs ``question`` as a user with all of its groups, like a Postfix daemon.

    Requires root, unless we are that user. ``question`` must not import anything, since that user
    may not be able to read Python's modules. ``jail``: a directory to chroot(2) to, and to start
    in. Raises AccessError.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise AccessError(f"no user {user} on this host") from None
    if os.geteuid() not in (0, entry.pw_uid):
        raise AccessError(f"only root can test as {user}: run `fletching check` as root")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                _become(entry, jail)
            os.write(writer, json.dumps(question()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        output = answer.read()
    os.waitpid(child, 0)
    if not output:
        raise AccessError(f"could not switch to user {user}")
    found: str | None = json.loads(output)
    return found


def _become(entry: pwd.struct_passwd, jail: Path | None) -> None:
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    if jail is not None:
        os.chroot(jail)
        os.chdir("/")
    os.setgroups(groups)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def barrier(path: Path) -> Path:
    """What blocks access to a path: the first directory we cannot enter, else the file."""
    for folder in reversed(path.parents):
        if not os.access(folder, os.X_OK):
            return folder
    return path


# Files of the service


def service_user() -> str | None:
    """The user that runs the milter: that of the systemd unit, else `fletching` if it exists."""
    argv = ("systemctl", "show", "--property=User", "--value", _UNIT)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
        user = done.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        user = ""
    if user:
        return user
    return _USER if any(entry.pw_name == _USER for entry in pwd.getpwall()) else None


@dataclass(frozen=True, slots=True)
class _Needed:
    place: str
    path: Path
    writes: bool = False


def check_service_user(config: Config, config_path: Path, user: str) -> Iterator[Finding]:
    """A finding for each file or directory that the service cannot use, although root can."""
    for each in _needed(config, config_path):
        question = _writes if each.writes else _reads
        try:
            blocked = as_user(user, partial(question, each.path))
        except AccessError as trouble:
            yield warning(
                "user",
                f"cannot test whether {user}, the service's user, can use its files: {trouble}",
            )
            return
        if blocked is not None:
            yield error(each.place, _cure(each, Path(blocked), user))


def _needed(config: Config, config_path: Path) -> Iterator[_Needed]:
    yield _Needed("configuration", config_path.absolute())
    if config.link_keys is not None:
        yield _Needed("link_keys", config.link_keys)
    for file in parse(config.redis).files:
        yield _Needed("redis", Path(file))
    for key in config.dkim.keys:
        for path in _files_of(key):
            yield _Needed(f"dkim.keys {key.selector} of {key.domain}", path)
    if config.web is not None:
        for option in ("admin_password_file", "templates", "app_links"):
            path = getattr(config.web, option)
            if path is not None:
                yield _Needed(f"web.{option}", path)
    yield _Needed("state_dir", config.state_dir, writes=True)
    for number, destination in enumerate(config.events.destinations if config.events else ()):
        place = f"events.destinations[{number}]"
        for option in ("secret_file", "auth_file"):
            if (path := getattr(destination, option)) is not None:
                yield _Needed(f"{place}.{option}", path)
        if destination.file is not None:
            yield _Needed(f"{place}.file", destination.file.parent, writes=True)


def _files_of(entry: DkimKey) -> list[Path]:
    """The files of a key and of those that replaced it. What is wrong in them is said elsewhere."""
    try:
        files = [row.file for row in rotation(entry) if row.is_live]
    except KeyFileError:
        files = [entry.file]
    list_of_keys = rotation_file(entry)
    return [*files, list_of_keys] if list_of_keys.exists() else files


def _reads(path: Path) -> str | None:
    """What blocks reading. Permissions only: missing files are reported elsewhere."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except PermissionError:
        return str(barrier(path))
    except OSError:
        return None
    return None


def _writes(folder: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as wrong:
        return str(barrier(folder)) if wrong.errno in (errno.EACCES, errno.EPERM) else None


def _cure(needed: _Needed, blocked: Path, user: str) -> str:
    if needed.writes:
        cure = f"chown {user} {needed.path}" if blocked == needed.path else f"chmod o+x {blocked}"
        return f"{needed.path}: {user}, the service's user, cannot write there: {cure}"
    group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    if blocked.is_dir():
        why = f"cannot enter the directory {blocked}"
        cure = f"chgrp {group} {blocked}; chmod g+rx {blocked}; or move it to /etc/fletching"
    else:
        why, cure = "cannot read it", f"chgrp {group} {blocked}; chmod 640 {blocked}"
    return f"{needed.path}: {user}, the service's user, {why}: {cure}"
