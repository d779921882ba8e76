"""The milter's listening socket: opened once, shared by all workers.

Here live the care for the path (nobody else's socket is taken away, and ours appears whole) and for
the descriptor. Who opens is libmilter, which cannot be handed a socket; so it opens where it is
told, and the descriptor is found afterwards.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LONGEST_PATH = 107
"""Octets that sockaddr_un has room for, without the NUL."""


class ListenError(Exception):
    """The socket cannot be opened; the message says why."""


@dataclass(frozen=True, slots=True)
class Listener:
    """An open listening socket. ``path`` None: not a Unix socket."""

    path: Path | None
    inode: int

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
    """Opens `unix:/PATH` or `inet:PORT@HOST`; ``open_at`` opens a socket in libmilter's words."""
    if listen.startswith("unix:"):
        return _open_unix(Path(listen.removeprefix("unix:")), open_at)
    _try_inet(listen)
    _open(listen, open_at)
    return Listener(None, 0)


def _open_unix(path: Path, open_at: Callable[[str], None]) -> Listener:
    _must_be_free(path)
    # Under another name first: the first worker to end would have libmilter remove the path for
    # all, and nobody may connect before the mode is right.
    new = path.with_name(f".{os.getpid()}")
    if len(os.fsencode(new)) > LONGEST_PATH:
        raise ListenError(f"{path}: the path is too long for a Unix socket")
    mask = os.umask(0o117)
    try:
        _try_unix(new)
        _open(f"unix:{new}", open_at)
        inode = new.lstat().st_ino
        new.rename(path)
    except OSError as error:
        raise ListenError(f"{path}: {error.strerror}") from error
    finally:
        os.umask(mask)
        new.unlink(missing_ok=True)
    return Listener(path, inode)


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
    port, _, host = listen.removeprefix("inet:").partition("@")
    with socket.socket(socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, int(port)))
        except OSError as error:
            raise ListenError(f"{listen}: {error.strerror}") from error


def _open(where: str, open_at: Callable[[str], None]) -> None:
    before = set(_listening())
    open_at(where)
    for descriptor in set(_listening()) - before:
        # All workers wait for the same connection and one gets it. The others must find nothing
        # and go on waiting; in accept() itself they would hear no signal.
        os.set_blocking(descriptor, False)
        os.set_inheritable(descriptor, False)


def _listening() -> Iterator[int]:
    """The descriptors of this process that are listening sockets."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as found:
            if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield int(name)
