"""Child processes and signals, as every daemon uses them.

Here live forking, waiting for signals, the one notice that a child can give its parent, and
sd_notify(3). Nothing here knows what a child is for.
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

HANDLED = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
"""The signals that a daemon's first process acts on."""

END_WORKER, RELOAD_WORKER = signal.SIGUSR1, signal.SIGUSR2
"""The signals by which a first process ends and reloads its workers. Workers ignore SIGTERM and
SIGHUP, which an operator may send to the whole process group."""

_BLOCKED = (*HANDLED, END_WORKER, RELOAD_WORKER)

CRASHED = 70  # EX_SOFTWARE of sysexits.h

_PR_SET_PDEATHSIG = 1

_M_ARENA_MAX, _M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -8, -3, -1
_MALLOC = {_M_ARENA_MAX: 1, _M_MMAP_THRESHOLD: 32 * 2**20, _M_TRIM_THRESHOLD: 64 * 2**20}
"""mallopt(3): glibc takes no greater threshold for mmap(2)."""

_NOTIFY_TIMEOUT = 1.0
"""Seconds that sd_notify may take: mail does not wait for longer."""


def spawn(act: Callable[[], NoReturn], dies_by: int = signal.SIGTERM) -> int:
    """Forks a child that calls ``act``, and returns its process id.

    The kernel sends the child the signal ``dies_by`` when the parent dies. Raises OSError if no
    process can be created. The parent must not have threads.

    The child starts with its signals blocked, and unblocks them when it has its own handlers: until
    then, a signal for the child must not run the parent's.

    Objects of the parent are never garbage to the child: scanning all of them would take the
    collector 50 ms while a mail waits, and would end the sharing of memory pages.
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
            unblock_signals()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
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
        # The parent died before prctl(2) took effect.
        os._exit(0)


def keep_memory() -> None:
    """Makes the C library keep the memory of a large mail for the next one. Call before any thread.

    Returning it and allocating it again, page by page, takes a third of the time of a 10 MB mail.
    One arena for all threads: only one Python thread allocates at a time, and each arena would keep
    as much.
    """
    libc = ctypes.CDLL(None)
    # Some C libraries have no mallopt (musl).
    if hasattr(libc, "mallopt"):
        for option, value in _MALLOC.items():
            libc.mallopt(option, value)


def stay_on(cpu: int) -> None:
    """Pins this process to one CPU, and so to its caches. Call before any thread.

    Otherwise a thread tends to run on the CPU that woke it, and has to fetch its data from the
    other one.
    """
    # If that is forbidden, or the CPU is gone, the scheduler decides.
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {cpu})


@contextlib.contextmanager
def even_without_room(what: str) -> Iterator[None]:
    """Logs a full disk and goes on: a daemon starts on one, just as a running daemon survives it.
    Other errors are raised.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        log.state_write_failed(what, error)


def execute(command: list[str], environment: Mapping[str, str] | None = None) -> NoReturn:
    """Replaces this process by another program, with no signal blocked. For children of `spawn`."""
    unblock_signals()
    os.execve(command[0], command, {**os.environ, **(environment or {})})


def unblock_signals() -> None:
    """Unblocks the signals that `spawn` blocked."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)


class Signals:
    """The signals of this process. Make one in each process, in its main thread."""

    def __init__(self, handled: Sequence[int] = HANDLED) -> None:
        self._reader, writer = socket.socketpair()
        self._reader.setblocking(False)
        writer.setblocking(False)
        self._writer = writer
        # Python writes the number of each signal there, whichever thread the kernel chose.
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in handled:
            signal.signal(number, _ignore)
        unblock_signals()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._reader, selectors.EVENT_READ)

    def wait(self, seconds: float | None = None) -> frozenset[int]:
        """Waits for signals; the ones that came, none after a time-out."""
        if not self._selector.select(seconds):
            return frozenset()
        try:
            return frozenset(self._reader.recv(4096))
        except BlockingIOError:
            return frozenset()

    def wake(self) -> None:
        """Ends a wait without a signal. May be called from another thread."""
        with contextlib.suppress(BlockingIOError):  # full of signals: it is awake anyway
            self._writer.send(b"\0")


class Bell:
    """One notice that a child can give its parent, once. Make it before the child.

    It is a byte of shared memory, and SIGCHLD, at which the parent looks at its children anyway:
    the notice cannot be lost, and neither process waits.
    """

    def __init__(self) -> None:
        self._parent = os.getpid()
        self._shared = mmap.mmap(-1, 1)

    def ring(self) -> None:
        """Gives the notice. For the child."""
        self._shared[0] = 1
        if os.getppid() == self._parent:
            os.kill(self._parent, signal.SIGCHLD)

    def rang(self) -> bool:
        """Whether the child has given it."""
        return self._shared[0] == 1


def _ignore(number: int, frame: object) -> None:
    """Does nothing: Python has already written the signal number to the socket."""


def notify(state: str) -> None:
    """Notifies systemd, or whatever started this daemon with NOTIFY_SOCKET, see sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
        notifier.settimeout(_NOTIFY_TIMEOUT)
        try:
            notifier.connect(address)
            notifier.sendall(state.encode())
        except OSError as error:
            log.state_write_failed("NOTIFY_SOCKET", error)
