"""The milter's listening socket: opened once, shared by all workers.

Here live the care for the path (nobody else's socket is taken away, and ours appears whole) and for
the descriptor, and how a worker leaves the socket to the others. Who opens is libmilter, which
cannot be handed a socket; so it opens where it is told, and the descriptor is found afterwards.
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
"""Octets that sockaddr_un has room for, without the NUL."""


class ListenError(Exception):
    """The socket cannot be opened; the message says why."""


# An accepted connection has the path, or the port, of the socket that it came to.
_Address = tuple[int, str | bytes | int]


@dataclass(frozen=True, slots=True)
class Listener:
    """An open listening socket. ``path`` None: not a Unix socket.

    ``nobody`` is another one, for `leave`, to which nobody can connect.
    """

    path: Path | None
    inode: int
    descriptor: int
    address: _Address
    nobody: socket.socket

    def leave(self) -> None:
        """This process gets no more connections; other processes still do.

        libmilter goes on to ask that descriptor, and finds nothing there.
        """
        os.dup2(self.nobody.fileno(), self.descriptor, inheritable=False)

    def connections(self) -> int:
        """How many connections this process has open, once it has left the socket.

        The kernel knows also of those that libmilter has accepted and not yet told of.
        """
        return sum(_address(found) == self.address for _, found in _sockets())

    def close_path(self) -> None:
        """Takes the path away, so that nobody new comes; not one that is another daemon's by now.

        The socket itself stays open for as long as a worker has it.
        """
        if self.path is None:
            return
        with contextlib.suppress(FileNotFoundError):
            if self.path.lstat().st_ino == self.inode:
                self.path.unlink()


def open_listener(listen: str, open_at: Callable[[str], None]) -> Listener:
    """Opens what `listen` may be; ``open_at`` opens a socket in libmilter's words."""
    nobody = _nobody()
    if listen.startswith("unix:"):
        return _open_unix(Path(listen.removeprefix("unix:")), open_at, nobody)
    _try_inet(listen)
    return Listener(None, 0, *_open(listen, open_at), nobody)


def _open_unix(path: Path, open_at: Callable[[str], None], nobody: socket.socket) -> Listener:
    _must_be_free(path)
    # Under another name first: the first worker to end would have libmilter remove the path for
    # all, and nobody may connect before the mode is right.
    new = path.with_name(f".{os.getpid()}")
    if len(os.fsencode(new)) > LONGEST_PATH:
        raise ListenError(f"{path}: the path is too long for a Unix socket")
    mask = os.umask(0o117)
    try:
        _try_unix(new)
        opened = _open(f"unix:{new}", open_at)
        inode = new.lstat().st_ino
        new.rename(path)
    except OSError as error:
        raise ListenError(f"{path}: {error.strerror}") from error
    finally:
        os.umask(mask)
        new.unlink(missing_ok=True)
    return Listener(path, inode, *opened, nobody)


def _must_be_free(path: Path) -> None:
    """A socket that nobody answers on any more may be replaced, and nothing else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ListenError(f"{path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"{path}: is there already and is not a socket")
    with socket.socket(socket.AF_UNIX) as asked:
        try:
            asked.connect(os.fspath(path))
        except ConnectionRefusedError:
            return
        except OSError as error:
            raise ListenError(f"{path}: {error.strerror}") from error
    raise ListenError(f"{path}: is in use, another daemon answers there")


def _try_unix(path: Path) -> None:
    """Fails as libmilter will, which does not tell why."""
    with socket.socket(socket.AF_UNIX) as tried:
        tried.bind(os.fspath(path))
    path.unlink()


def _try_inet(listen: str) -> None:
    family = socket.AF_INET6 if listen.startswith("inet6:") else socket.AF_INET
    place = values.inet_place(listen) or ()
    with socket.socket(family) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(place)
        except OSError as error:
            raise ListenError(f"{listen}: {error.strerror}") from error


def _open(where: str, open_at: Callable[[str], None]) -> tuple[int, _Address]:
    before = set(_listening())
    open_at(where)
    opened = {number: found for number, found in _listening().items() if number not in before}
    ((descriptor, address),) = opened.items()
    # All workers wait for the same connection and one gets it. The others must find nothing and go
    # on waiting; in accept() itself they would hear no signal.
    os.set_blocking(descriptor, False)
    os.set_inheritable(descriptor, False)
    return descriptor, address


def _nobody() -> socket.socket:
    """Its path is gone before it listens. (An abstract name is open to each user of the host.)"""
    made = socket.socket(socket.AF_UNIX)
    made.setblocking(False)
    try:
        with tempfile.TemporaryDirectory(prefix="fletching-") as folder:
            within = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            # However long the folder's own path is.
            made.bind(f"/proc/self/fd/{within}/nobody")
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
    """Where a socket is bound; the port alone, since one that listens may do so everywhere."""
    name = found.getsockname()
    return found.family, name if found.family == socket.AF_UNIX else name[1]


def _sockets() -> Iterator[tuple[int, socket.socket]]:
    """The sockets of this process by descriptor, each to be used at once."""
    for name in os.listdir("/proc/self/fd"):
        # Others close descriptors meanwhile.
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                with socket.socket(fileno=os.dup(int(name))) as found:
                    yield int(name), found
