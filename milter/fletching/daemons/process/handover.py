"""How the first process of a daemon gives its workers what it opened: configuration, keys, pages.

A worker has the value in force from its fork. One that runs already gets each later value as a
file in memory, whose descriptor comes over a socket; so it gets a whole value or none, however many
reloads follow each other, and the first process never waits for it. No worker opens a file that the
configuration names: whatever happens to the files, all workers of a daemon have the same value.

The value goes as a pickle, which only these processes ever see.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
from collections.abc import Callable
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
    """Where a worker finds what its parent has opened since the worker began."""

    def __init__(self, receiver: socket.socket) -> None:
        self._receiver = receiver

    def latest(self) -> V | None:
        """The newest value that has come since the last call; None where none has."""
        packed = b""
        while descriptor := self._next_descriptor():
            # All workers share the file's offset: it stays where it is.
            with open(descriptor, "rb") as file:
                packed = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
        if not packed:
            return None
        value: V = pickle.loads(packed)
        return value

    def _next_descriptor(self) -> int:
        """0 where there is none, or where the parent is gone."""
        try:
            _, descriptors, _, _ = socket.recv_fds(self._receiver, 1, 1)
        except BlockingIOError:
            return 0
        return descriptors[0] if descriptors else 0


@dataclass(slots=True, eq=False)
class _Worker:
    """A worker as its parent sees it. ``sender`` leads to the `Inbox` of the process that runs."""

    child: Child
    sender: socket.socket | None = None


class Handover(Generic[V]):
    """The value in force, and the workers that have it. For the first process.

    ``value`` may have anything in it that pickle knows, private keys and read-only mappings.
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
        """A worker that does not run yet. ``live`` is its life, from its fork to its end."""
        self._workers = [worker for worker in self._workers if not worker.child.gone]

        def start() -> int:
            sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            # Not by flags: recv_fds and send_fds of Python 3.11 leave them out.
            sender.setblocking(False)
            receiver.setblocking(False)
            # What is spawned does not come back here.
            with receiver:
                pid = spawn(lambda: _live(live, self.value, Inbox(receiver)), dies_by=END_WORKER)
            if worker.sender is not None:
                worker.sender.close()
            worker.sender = sender
            return pid

        worker = _Worker(Child(name, start, END_WORKER, RELOAD_WORKER, retires, successor))
        self._workers.append(worker)
        return worker.child

    def give(self, value: V) -> None:
        """Puts a value in force: for workers to come, and for those that run.

        They take it at `RELOAD_WORKER`. One that cannot be given it is ended, and whoever takes its
        place has it. Raises OSError where there is no room for it; then all stays as it was.
        """
        if not self._workers:
            self.value = value
            return
        descriptor = os.memfd_create("opened", os.MFD_CLOEXEC)
        with open(descriptor, "wb") as file:
            _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
            file.flush()
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
    """A worker obeys its parent only, by signals that no operator sends to a process group."""
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    live(value, inbox)


class _Pickler(pickle.Pickler):
    """Knows two things more than pickle does: private keys, and mappings that are read-only."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, RSAPrivateKey | Ed25519PrivateKey):
            der = value.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            return load_der_private_key, (der, None)
        if isinstance(value, MappingProxyType):
            return _read_only, (dict(value),)
        return NotImplemented


def _read_only(mapping: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    """pickle finds no name for the type itself."""
    return MappingProxyType(mapping)
