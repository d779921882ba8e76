"""Programs of the machine, free ports, and daemons that are started and ended by process id.

Here lives what every server of this package needs to run privately. Nothing here knows mail.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from types import TracebackType
from typing import Self

PATIENCE = 30.0
"""Seconds until waiting for something that must come is given up; never a measure of speed."""

ON_DISK = "/var/tmp"
_SHM = Path("/dev/shm")
_ROOM = 4 << 30
"""Bytes that must be free in memory: several test processes keep some hundred MB each."""

_reserved: set[int] = set()


class MissingProgramError(Exception):
    """A program of the test set is not installed. The tests fail then; they are never skipped."""


class DidNotHappenError(Exception):
    """What was waited for did not come."""


def program(name: str, package: str) -> str:
    """The path of a program, or an error that names the Debian package to install."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        raise MissingProgramError(f"{name} is missing: apt-get install {package}")
    return path


def free_port() -> int:
    """A loopback port for a server that cannot take port 0.

    The ports lie below the kernel's ephemeral range, so no outgoing connection takes one between
    now and the server's start. A lock on its octet of a file, held until this process ends, keeps
    other test processes off the number.
    """
    for number in random.sample(range(20000, 32000), 1000):
        if number in _reserved:
            continue
        with suppress(OSError), socket.socket() as probe:
            fcntl.lockf(_ports(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            _reserved.add(number)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", number))
            return number
    raise DidNotHappenError("no free port between 20000 and 32000")


@lru_cache
def _ports() -> int:
    """The file that all test processes of this host lock; closing it would give up every port."""
    return os.open("/tmp/fletching-test-ports", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def wait_until(what: str, happened: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait for a condition; ``what`` is said when it never comes."""
    end = time.monotonic() + patience
    while not happened():
        if time.monotonic() > end:
            raise DidNotHappenError(what)
        time.sleep(0.01)


def processes(of_session: int) -> list[int]:
    """Process ids of a session (the daemon started it, so all its children are in it).

    Zombies are dead: where process 1 does not reap, they stay for ever.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        state, _parent, _group, session = stat.rpartition(")")[2].split()[:4]
        if int(session) == of_session and state not in "ZX":
            found.append(int(entry.name))
    return found


def answers(port: int) -> bool:
    """Whether something listens at a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def in_memory() -> str:
    """Where files are that no crash of the machine need leave: in memory, if it has room.

    On a busy disk, even a write(2) may take longer than the 300 ms that a mail waits for Redis.
    """
    has_room = _SHM.is_dir() and shutil.disk_usage(_SHM).free > _ROOM
    return str(_SHM) if has_room else ON_DISK


@contextmanager
def private_directory(place: str = ON_DISK) -> Iterator[Path]:
    """A directory for one test process.

    Not pytest's tmp_path: that lies under a directory of mode 0700, and Postfix, OpenDKIM and
    smtp-sink, which give up root, could not reach their files there.
    """
    path = Path(tempfile.mkdtemp(prefix="fletching-test-", dir=place))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


class Daemon:
    """A program that runs in the foreground, as leader of its own session.

    A guard kills its process group when the test process dies, however that dies, so that nothing
    stays behind. (The kernel's "signal me when my parent dies" would not do: it is forgotten by
    programs that change their user, as most servers do.)
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.argv = [str(word) for word in argv]
        self.log = log
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The daemon's process id, also after its end."""
        assert self._process is not None, f"{self.argv[0]} was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the daemon's first process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, ready: Callable[[], bool]) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        self._watch()

        def ready_or_dead() -> bool:
            return not self.running or ready()

        try:
            wait_until(f"{self.argv[0]} is not ready", ready_or_dead)
            if not self.running:
                raise DidNotHappenError(f"{self.argv[0]} ended at once")
        except DidNotHappenError as failure:
            self.kill()
            raise DidNotHappenError(
                f"{failure}:\n{self.log.read_text('utf-8', 'replace')}"
            ) from None

    def _watch(self) -> None:
        self._unwatch()
        # The pipe ends when the last process that holds it, which is this one, is gone.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", 'read _; kill -s KILL -- "-$1"', "guard", str(self.pid)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _unwatch(self) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def signal(self, number: Signals) -> None:
        """Send a signal to the daemon's first process."""
        os.kill(self.pid, number)

    def signal_all(self, number: Signals) -> None:
        """Send a signal to each of the daemon's processes."""
        for pid in processes(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait(self) -> int:
        """Wait for the end; the exit status, negative for a signal."""
        assert self._process is not None
        return self._process.wait(PATIENCE)

    def stop(self) -> int:
        """End it by SIGTERM, and see that it and all its children are gone."""
        if self._process is None:
            return 0
        if self.running:
            self.signal(SIGTERM)
        try:
            status = self.wait()
            wait_until(f"{self.argv[0]} left children", lambda: not processes(self.pid))
        except (subprocess.TimeoutExpired, DidNotHappenError):
            left = processes(self.pid)
            self.kill()
            raise DidNotHappenError(f"{self.argv[0]} did not end by SIGTERM: {left}") from None
        self._unwatch()
        return status

    def kill(self) -> None:
        """End it and all its children by SIGKILL, as a crash would."""
        if self._process is None:
            return
        self.signal_all(SIGKILL)
        self._process.wait(PATIENCE)
        self._unwatch()


class Server:
    """Something that runs while its ``with`` block does."""

    def start(self) -> None:
        """Start, and be ready for use on return."""
        raise NotImplementedError

    def stop(self) -> None:
        """End, leaving no process behind."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
