"""Listening sockets: opened once, shared by all workers.

Here live the handling of the path (no other daemon's socket is replaced, and ours appears with the
right mode) and of the descriptor, and how a worker stops accepting. libmilter opens its socket
itself and cannot be given one, so the descriptor is found afterwards.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fletching.config import values

LONGEST_PATH = 107
"""Bytes of a path in sockaddr_un, without the NUL."""


class ListenError(Exception):
    """The socket cannot be opened; the message says why."""


# An accepted connection has the path or the port of the listening socket.
_Address = tuple[int, str | bytes | int]


@dataclass(frozen=True, slots=True)
class Listener:
    """An open listening socket. ``path`` is None unless it is a Unix socket.

    ``unreachable`` is another listening socket, for `stop_accepting`, to which no client can
    connect.
    """

    path: Path | None
    inode: int
    descriptor: int
    address: _Address
    unreachable: socket.socket

    def stop_accepting(self) -> None:
        """This process accepts no more connections; other processes still do.

        libmilter goes on to poll the descriptor, and finds no connection.
        """
        os.dup2(self.unreachable.fileno(), self.descriptor, inheritable=False)

    def connections(self) -> int:
        """How many connections are open in this process, once it has stopped accepting.

        The kernel also counts those that libmilter has accepted but not yet reported.
        """
        return sum(_address(found) == self.address for _, found in _sockets())

    def close_path(self) -> None:
        """Removes the path, so that no new client connects, unless it belongs to another daemon by
        now.

        The socket itself stays open as long as a worker has it.
        """
        if self.path is None:
            return
        with contextlib.suppress(FileNotFoundError):
            if self.path.lstat().st_ino == self.inode:
                self.path.unlink()


def open_listener(listen: str, open_at: Callable[[str], None]) -> Listener:
    """Opens a socket at `listen`; ``open_at`` gets it in libmilter's notation."""
    unreachable = _unreachable()
    if listen.startswith("unix:"):
        return _open_unix(Path(listen.removeprefix("unix:")), open_at, unreachable)
    _check_inet(listen)
    return Listener(None, 0, *_open(listen, open_at), unreachable)


def _open_unix(path: Path, open_at: Callable[[str], None], unreachable: socket.socket) -> Listener:
    _must_be_free(path)
    # Under another name first: libmilter would remove the path when the first worker ends, and no
    # client may connect before the mode is right.
    new = path.with_name(f".{os.getpid()}")
    if len(os.fsencode(new)) > LONGEST_PATH:
        raise ListenError(f"{path}: the path is too long for a Unix socket")
    mask = os.umask(0o117)
    try:
        _check_unix(new)
        opened = _open(f"unix:{new}", open_at)
        inode = new.lstat().st_ino
        new.rename(path)
    except OSError as error:
        raise ListenError(f"{path}: {error.strerror}") from error
    finally:
        os.umask(mask)
        new.unlink(missing_ok=True)
    return Listener(path, inode, *opened, unreachable)


def _must_be_free(path: Path) -> None:
    """Only a socket that no process listens on may be replaced."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ListenError(f"{path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"{path}: exists and is not a socket")
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(os.fspath(path))
        except ConnectionRefusedError:
            return
        except OSError as error:
            raise ListenError(f"{path}: {error.strerror}") from error
    raise ListenError(f"{path}: is in use by another daemon")


def _check_unix(path: Path) -> None:
    """Fails where libmilter would, which does not report the reason."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(os.fspath(path))
    path.unlink()


def _check_inet(listen: str) -> None:
    family = socket.AF_INET6 if listen.startswith("inet6:") else socket.AF_INET
    address = values.inet_place(listen) or ()
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise ListenError(f"{listen}: {error.strerror}") from error


def _open(where: str, open_at: Callable[[str], None]) -> tuple[int, _Address]:
    before = set(_listening())
    open_at(where)
    opened = {number: found for number, found in _listening().items() if number not in before}
    ((descriptor, address),) = opened.items()
    # All workers wake up for a connection and one gets it. The others must go on waiting, and not
    # block in accept().
    os.set_blocking(descriptor, False)
    os.set_inheritable(descriptor, False)
    return descriptor, address


def _unreachable() -> socket.socket:
    """A socket whose path is removed before it listens. (Every user can connect to an abstract
    name.)
    """
    made = socket.socket(socket.AF_UNIX)
    made.setblocking(False)
    try:
        with tempfile.TemporaryDirectory(prefix="fletching-") as folder:
            within = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            # Works with a folder path of any length.
            made.bind(f"/proc/self/fd/{within}/unreachable")
            os.close(within)
    except OSError as error:
        raise ListenError(f"a temporary folder: {error.strerror}") from error
    made.listen()
    return made


def _listening() -> dict[int, _Address]:
    """The listening sockets of this process."""
    return {
        number: _address(found)
        for number, found in _sockets()
        if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    }


def _address(found: socket.socket) -> _Address:
    """The address of a socket; only the port, since it may listen on all addresses."""
    name = found.getsockname()
    return found.family, name if found.family == socket.AF_UNIX else name[1]


def _sockets() -> Iterator[tuple[int, socket.socket]]:
    """The sockets of this process by descriptor; use each before the next."""
    for name in os.listdir("/proc/self/fd"):
        # Other threads may close descriptors meanwhile.
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                with socket.socket(fileno=os.dup(int(name))) as found:
                    yield int(name), found
