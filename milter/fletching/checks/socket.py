"""Checks that Postfix, and nobody else, can connect to the milter socket.

Whether Postfix is configured to use the socket is checked in `postfix.py`.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fletching.checks.access import AccessError, as_user, barrier
from fletching.checks.finding import Finding, error, ok, warning
from fletching.config import values
from fletching.config.model import Config
from fletching.postfix.postconf import Installed

_PATIENCE = 5.0
NOBODY = "-"


def check_listen(config: Config) -> Iterator[Finding]:
    """Warns of a TCP socket that other hosts can reach."""
    place = values.inet_place(config.listen)
    if place is not None and not values.is_of_this_host(f"[{place[0]}]:{place[1]}"):
        yield warning(
            "listen",
            f"{config.listen} is not a loopback address: anyone who can connect can have mail"
            " signed, and crash workers; listen on a Unix socket or 127.0.0.1, or restrict"
            " access to Postfix with a firewall",
        )


def check_running(config: Config) -> Iterator[Finding]:
    """Whether the milter is running, if we can tell. Only a warning: it may be started later."""
    place = values.inet_place(config.listen)
    path = Path(config.listen.removeprefix("unix:"))
    if refused(*place) if place is not None else connect(path) == NOBODY:
        yield _nobody_listens(config, warning)


def check_socket(config: Config, postfix: Installed) -> Iterator[Finding]:
    """Whether the milter is running, whether Postfix's user can connect, and who else can."""
    place = values.inet_place(config.listen)
    if place is not None:
        yield (
            _nobody_listens(config)
            if refused(*place)
            else ok("listen", f"accepts connections at {config.listen}")
        )
        return
    path = Path(os.path.realpath(config.listen.removeprefix("unix:")))
    owner = postfix.parameters["mail_owner"]
    yield from _tried(config, path, owner, _jail(postfix, path))
    yield from _others(path, owner)


def _jail(postfix: Installed, path: Path) -> Path | None:
    """The root directory of a chrooted smtpd(8), if it can see the socket at all."""
    queue = Path(os.path.realpath(postfix.parameters["queue_directory"]))
    chrooted = any(each.chroot for each in postfix.smtp_servers)
    return queue if chrooted and path.is_relative_to(queue) else None


def _tried(config: Config, path: Path, owner: str, jail: Path | None) -> Iterator[Finding]:
    inside = path if jail is None else Path("/") / path.relative_to(jail)
    try:
        barred = as_user(owner, partial(connect, inside), jail)
    except AccessError as trouble:
        untested = f"cannot test whether Postfix's user {owner} can connect: {trouble}"
        yield warning("listen", untested)
        if connect(path) == NOBODY:
            yield _nobody_listens(config)
        return
    if barred is None:
        yield ok("listen", f"Postfix's user {owner} can connect to {config.listen}")
    elif barred == NOBODY:
        yield _nobody_listens(config)
    else:
        where = Path(barred) if jail is None else jail / barred[1:]
        yield error("listen", _locked_out(owner, where))


def connect(path: Path) -> str | None:
    """What prevents a connection: a file or directory, or `NOBODY`. None: connected."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_PATIENCE)
            client.connect(str(path))
    except PermissionError:
        return str(barrier(path))
    except OSError:
        return NOBODY
    return None


def refused(host: str, port: int) -> bool:
    try:
        socket.create_connection((values.connectable(host), port), _PATIENCE).close()
    except OSError:
        return True
    return False


def _nobody_listens(config: Config, level: Callable[[str, str], Finding] = error) -> Finding:
    return level(
        "listen",
        f"nothing accepts connections at {config.listen}, so mail gets 451: start the milter"
        " (systemctl start fletching), or check its log (journalctl -u fletching)",
    )


def _locked_out(owner: str, where: Path) -> str:
    if stat.S_ISDIR(where.stat().st_mode):
        return (
            f"Postfix's user {owner} cannot enter the directory {where}, so mail gets 451:"
            " install deploy/systemd/fletching.tmpfiles, run systemd-tmpfiles --create"
            f" fletching.conf (mode 2750, group {owner}), and restart fletching"
        )
    return (
        f"Postfix's user {owner} cannot connect to {where}, so mail gets 451: its directory"
        f" needs group {owner} and mode 2750, and the service needs UMask=0007; then restart"
        " fletching"
    )


# Other users


def _others(path: Path, owner: str) -> Iterator[Finding]:
    try:
        status = path.stat()
        found = sorted(_users_who_can(path) - {owner, pwd.getpwuid(status.st_uid).pw_name, "root"})
    except (OSError, KeyError):
        return
    if found:
        shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        yield warning(
            "listen",
            f"{path} (mode {stat.S_IMODE(status.st_mode):04o}, group {_group(status.st_gid)})"
            f" is accessible to users other than Postfix's: {shown}; anyone who connects can"
            f" have mail signed: give its directory group {owner} and mode 2750, and the"
            " service UMask=0007",
        )


def _users_who_can(path: Path) -> set[str]:
    """By mode, owner and group of the socket and of each directory above it."""
    way = [(folder.stat(), stat.S_IXOTH) for folder in path.parents]
    way.append((path.stat(), stat.S_IWOTH))
    return {
        entry.pw_name
        for entry in pwd.getpwall()
        if all(_may(status, right, entry) for status, right in way)
    }


def _may(status: os.stat_result, right: int, entry: pwd.struct_passwd) -> bool:
    """Whether a user has a permission, which is given as the bit for others."""
    if entry.pw_uid == status.st_uid:
        return bool(status.st_mode & right << 6)
    if status.st_gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        return bool(status.st_mode & right << 3)
    return bool(status.st_mode & right)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
