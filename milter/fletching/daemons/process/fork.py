"""Processes and signals: what each daemon does alike.

Here live the making of a child process, the waiting for signals, a child's word to its parent and
the word to systemd. Nothing here knows what a child is for.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import mmap
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn

from fletching import log

TAKEN = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
"""The signals that a daemon's first process acts on."""

END_WORKER, RELOAD_WORKER = signal.SIGUSR1, signal.SIGUSR2
"""What a first process tells its workers, which are deaf to SIGTERM and SIGHUP."""

_BLOCKED = (*TAKEN, END_WORKER, RELOAD_WORKER)

CRASHED = 70  # EX_SOFTWARE of sysexits.h

_PR_SET_PDEATHSIG = 1

_M_ARENA_MAX, _M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -8, -3, -1
_MALLOC = {_M_ARENA_MAX: 1, _M_MMAP_THRESHOLD: 32 * 2**20, _M_TRIM_THRESHOLD: 64 * 2**20}
"""mallopt(3): glibc takes no greater threshold for mmap(2)."""

_TELLING = 1.0
"""Seconds in which what is told must be taken: mail does not wait for it."""


def spawn(act: Callable[[], NoReturn], dies_by: int = signal.SIGTERM) -> int:
    """Forks a child that acts, and gets ``dies_by`` when its parent dies; its process id.

    Raises OSError where there can be no more processes.

    The child begins with its signals blocked and does with them what it wants: until then, a signal
    for the child must not run the parent's handlers. The parent may have no threads.

    What the parent had is for the child no garbage, ever: to look through all of it again takes the
    collector 50 ms, while a mail waits, and the pages that both have would no longer be one.
    """
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    sys.stderr.flush()
    sys.stdout.flush()
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid:
            hear()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        for number in TAKEN:
            signal.signal(number, signal.SIG_DFL)
        _die_with(parent, dies_by)
        gc.freeze()
        act()
    except BaseException as error:  # noqa: BLE001 a child must never go on as a second parent
        log.crashed("child", error)
    finally:
        os._exit(CRASHED)


def _die_with(parent: int, number: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, number) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        # It died before it could be watched.
        os._exit(0)


def keep_memory() -> None:
    """Has the C library keep what a long mail has taken, for the next one. Before any thread.

    To give it back and take it again, page by page, costs a mail of 10 MB a third of its time. One
    arena for all threads: of Python's, one allocates at a time, and each arena would keep as much.
    """
    libc = ctypes.CDLL(None)
    # Not every C library has it (musl).
    if hasattr(libc, "mallopt"):
        for option, value in _MALLOC.items():
            libc.mallopt(option, value)


def stay_on(cpu: int) -> None:
    """Keeps this process on one CPU, with what its caches hold of it. Before any thread.

    A thread that is woken tends to go where it was woken from, and then has to fetch all that it
    works with from the other CPU.
    """
    # Where that is forbidden, or the CPU is gone, the process goes where it is sent.
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {cpu})


@contextlib.contextmanager
def even_without_room(what: str) -> Iterator[None]:
    """A full disk keeps nothing from its start, as it ends nothing that runs; other faults do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        log.not_kept(what, error)


def execute(command: list[str], environment: Mapping[str, str] | None = None) -> NoReturn:
    """Becomes another program, with nothing blocked. For what `spawn` runs."""
    hear()
    os.execve(command[0], command, {**os.environ, **(environment or {})})


def hear() -> None:
    """Lets the signals in that `spawn` blocked."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)


class Signals:
    """The signals of this process, taken in its main thread; to be made once in each process."""

    def __init__(self, taken: Sequence[int] = TAKEN) -> None:
        self._reader, writer = socket.socketpair()
        self._reader.setblocking(False)
        writer.setblocking(False)
        self._writer = writer
        # Python writes the number of each signal there, in whatever thread the kernel put it.
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in taken:
            signal.signal(number, _noted)
        hear()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._reader, selectors.EVENT_READ)

    def wait(self, seconds: float | None = None) -> frozenset[int]:
        """The signals that came; none if the time is over."""
        if not self._selector.select(seconds):
            return frozenset()
        try:
            return frozenset(self._reader.recv(4096))
        except BlockingIOError:
            return frozenset()

    def wake(self) -> None:
        """From another thread: ends a wait, with no signal."""
        with contextlib.suppress(BlockingIOError):  # full of signals: it is awake
            self._writer.send(b"\0")


class Bell:
    """One thing that a child can tell its parent, once. To be made before the child.

    It is memory that both have, and the signal at which a parent looks after its children; so
    nothing can be lost, and nobody waits.
    """

    def __init__(self) -> None:
        self._parent = os.getpid()
        self._shared = mmap.mmap(-1, 1)

    def ring(self) -> None:
        """The child tells."""
        self._shared[0] = 1
        if os.getppid() == self._parent:
            os.kill(self._parent, signal.SIGCHLD)

    def rang(self) -> bool:
        """Whether the child has told."""
        return self._shared[0] == 1


def _noted(number: int, frame: object) -> None:
    """Nothing: that it came is written to the socket already."""


def notify(state: str) -> None:
    """Tells systemd, or whoever started this daemon so, see sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.settimeout(_TELLING)
        try:
            told.connect(address)
            told.sendall(state.encode())
        except OSError as error:
            log.not_kept("NOTIFY_SOCKET", error)
