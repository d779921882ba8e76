"""`redis: embedded`: Debian's redis-server, private to one host, on a Unix socket.

Here live its command line and the care that one state directory has one server. Its data are on
disk when it ends, and it ends with the daemon that started it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import NoReturn

from fletching.daemons.process.fork import execute, hear, spawn
from fletching.daemons.process.listener import LONGEST_PATH
from fletching.daemons.process.supervise import Child
from fletching.store.connection import embedded_socket

_PROGRAM = "redis-server"
_READY_WITHIN = 10.0


class NoRedisError(Exception):
    """There can be no private server; the message says what to do."""


def prepare(state_dir: Path) -> None:
    """Makes the server's folder. Raises NoRedisError, OSError."""
    _program()
    path = embedded_socket(state_dir)
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise NoRedisError(f"embedded: {path} is too long for a Unix socket")
    _make_folder(path.parent)


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)


def begin(state_dir: Path) -> list[Child]:
    """The server as a child to tend, started; none if it runs already, as under a supervisor."""
    if answers(state_dir):
        return []
    child = Child("redis", lambda: spawn(lambda: _serve(state_dir)))
    child.begin()
    # Not for ever: mail can do without for a while.
    end = time.monotonic() + _READY_WITHIN
    while not answers(state_dir) and time.monotonic() < end:
        time.sleep(0.05)
    return [child]


def answers(state_dir: Path) -> bool:
    """Whether a server is there; one that still reads its data is."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(1)
        try:
            asked.connect(os.fspath(embedded_socket(state_dir)))
            asked.sendall(b"PING\r\n")
            return asked.recv(64).startswith((b"+PONG", b"-LOADING"))
        except OSError:
            return False


def _program() -> str:
    found = shutil.which(_PROGRAM)
    if found is None:
        raise NoRedisError("embedded: redis-server is not installed (apt-get install redis-server)")
    return found


def _serve(state_dir: Path) -> NoReturn:
    """Becomes the server, as soon as no other one has these data."""
    # A reload is not for Redis.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    hear()
    path = embedded_socket(state_dir)
    # There may have been no room for it at the start.
    _make_folder(path.parent)
    # redis-server takes away a socket that another one listens on, and writes to its data. The lock
    # is the running server's, since it inherits the descriptor.
    lock = os.open(path.parent / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.set_inheritable(lock, True)
    execute([_program(), *_options(path)])


def _options(path: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": os.fspath(path),
        "unixsocketperm": "600",
        "dir": os.fspath(path.parent),
        "appendonly": "yes",
        # A number that was given must not be given again after a crash. Postfix, too, waits for
        # the disk with each mail.
        "appendfsync": "always",
        "save": "",
        "daemonize": "no",
        "loglevel": "warning",
        # Campaigns may not be thrown away for want of memory: then rather no answer.
        "maxmemory-policy": "noeviction",
        # Records of bounces are short texts, 64 to a hash; this keeps them in compact form.
        "hash-max-listpack-value": "512",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]
