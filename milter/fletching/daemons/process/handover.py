"""How the first process of a daemon hands an opened configuration to its workers.

A new worker has the value in force by its fork. A running worker gets each later value as a file in
memory, whose descriptor comes over a socket: it gets a complete value or none, however quickly
reloads follow each other, and the first process never waits for it. Workers open none of the files
that the configuration names, so all workers of a daemon have the same value, whatever happens to
the files.

The value is pickled; only these processes see the pickle.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, NoReturn, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from fletching.daemons.process.fork import END_WORKER, RELOAD_WORKER, spawn
from fletching.daemons.process.supervise import Child

V = TypeVar("V")


class Inbox(Generic[V]):
    """Where a worker gets the values that its parent has opened since the fork."""

    def __init__(self, receiver: socket.socket) -> None:
        self._receiver = receiver

    def latest(self) -> V | None:
        """The newest value since the last call; None if there is none."""
        packed = b""
        while (descriptor := self._next_descriptor()) is not None:
            # pread, since all workers share the offset of the file.
            with open(descriptor, "rb") as file:
                packed = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
        if not packed:
            return None
        value: V = pickle.loads(packed)
        return value

    def _next_descriptor(self) -> int | None:
        """The next descriptor; None if there is none, or if the parent is gone."""
        try:
            _, descriptors, _, _ = socket.recv_fds(self._receiver, 1, 1)
        except BlockingIOError:
            return None
        return descriptors[0] if descriptors else None


@dataclass(slots=True, eq=False)
class _Worker:
    """A worker in its parent. ``sender`` is the other end of the `Inbox` of the running process."""

    child: Child
    sender: socket.socket | None = None

    def close(self) -> None:
        if self.sender is not None:
            self.sender.close()
            self.sender = None


class Handover(Generic[V]):
    """The value in force, and the workers that have it. For the first process.

    The value may contain whatever pickle supports, and private keys and read-only mappings.
    """

    def __init__(self, value: V) -> None:
        self.value = value
        self._workers: list[_Worker] = []

    def worker(
        self,
        name: str,
        live: Callable[[V, Inbox[V]], NoReturn],
        *,
        retires: Callable[[], bool] = lambda: False,
        successor: Callable[[], Child] | None = None,
    ) -> Child:
        """A worker, not yet started. ``live`` is what it runs, from its fork to its end."""
        for gone in [each for each in self._workers if each.child.gone]:
            self._workers.remove(gone)
            gone.close()

        def start() -> int:
            sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            # Not with flags: send_fds and recv_fds of Python 3.11 ignore them.
            sender.setblocking(False)
            receiver.setblocking(False)
            worker.close()
            worker.sender = sender

            def begin() -> NoReturn:
                for each in self._workers:
                    each.close()
                _live(live, self.value, Inbox(receiver))

            # The child never returns from spawn.
            with receiver:
                return spawn(begin, dies_by=END_WORKER)

        worker = _Worker(Child(name, start, END_WORKER, RELOAD_WORKER, retires, successor))
        self._workers.append(worker)
        return worker.child

    @contextmanager
    def packed(self, value: V) -> Iterator[Callable[[], None]]:
        """A function that puts a value in force, for future workers and for running ones.

        These apply it at `RELOAD_WORKER`. A worker that cannot be sent the value is ended, and its
        replacement has it. Raises OSError if there is no memory, before anything has changed.
        """
        with open(os.memfd_create("opened", os.MFD_CLOEXEC), "wb") as file:
            _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
            file.flush()
            yield lambda: self._give(value, file.fileno())

    def _give(self, value: V, descriptor: int) -> None:
        self.value = value
        for worker in self._workers:
            if worker.sender is not None and worker.child.pid:
                _send(worker.sender, descriptor, worker.child)


def _send(sender: socket.socket, descriptor: int, child: Child) -> None:
    try:
        socket.send_fds(sender, [b"\0"], [descriptor])
    except OSError:
        child.signal(END_WORKER)


def _live(live: Callable[[V, Inbox[V]], NoReturn], value: V, inbox: Inbox[V]) -> NoReturn:
    """Runs a worker, which ignores the signals that an operator may send to the process group."""
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    live(value, inbox)


class _Pickler(pickle.Pickler):
    """Pickles private keys and read-only mappings, too."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, RSAPrivateKey | Ed25519PrivateKey):
            der = value.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            return _private_key, (der,)
        if isinstance(value, MappingProxyType):
            return _read_only, (dict(value),)
        return NotImplemented


def _private_key(der: bytes) -> object:
    """The key of a pickle. It was checked when the parent read it; to check it again would take the
    worker 30 ms, during which no mail goes on.
    """
    return load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)


def _read_only(mapping: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    """pickle cannot refer to the type itself by name."""
    return MappingProxyType(mapping)
