"""`redis: embedded`: a redis-server of our own on a Unix socket, for one host.

Here live its command line, and that a state directory has one server. It ends with the daemon that
started it, and its data are on disk then.
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

from fletching.daemons.process.fork import execute, spawn, unblock_signals
from fletching.daemons.process.listener import LONGEST_PATH
from fletching.daemons.process.supervise import Child
from fletching.store.connection import embedded_socket

_PROGRAM = "redis-server"
_READY_WITHIN = 10.0


class NoRedisError(Exception):
    """The server cannot be started; the message says what to do."""


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
    """Starts the server, as a child to supervise; none if it already runs (`fletching run`)."""
    if answers(state_dir):
        return []
    child = Child("redis", lambda: spawn(lambda: _serve(state_dir)))
    child.begin()
    # Not forever: mail gets an answer without Redis, too.
    end = time.monotonic() + _READY_WITHIN
    while not answers(state_dir) and time.monotonic() < end:
        time.sleep(0.05)
    return [child]


def answers(state_dir: Path) -> bool:
    """Whether a server runs; one that is still loading its data counts."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(os.fspath(embedded_socket(state_dir)))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith((b"+PONG", b"-LOADING"))
        except OSError:
            return False


def _program() -> str:
    found = shutil.which(_PROGRAM)
    if found is None:
        raise NoRedisError("embedded: redis-server is not installed (apt-get install redis-server)")
    return found


def _serve(state_dir: Path) -> NoReturn:
    """Becomes the server, as soon as no other server uses this data."""
    # SIGHUP is for the daemons.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    unblock_signals()
    path = embedded_socket(state_dir)
    # The disk may have been full at the start.
    _make_folder(path.parent)
    # redis-server replaces the socket of a running server, and writes to the same data. The running
    # one holds the lock, since it inherits the descriptor.
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
        # No message number may be assigned twice, even after a crash. Postfix waits for the disk
        # with each mail, too.
        "appendfsync": "always",
        "save": "",
        "daemonize": "no",
        "loglevel": "warning",
        # Campaigns must not be evicted when memory is short: an error is better.
        "maxmemory-policy": "noeviction",
        # Records of bounces are short texts, 64 to a hash; this keeps them in compact form.
        "hash-max-listpack-value": "512",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]
