"""A private systemd-journald in a namespace of its own; that of the machine is not touched."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from sandbox.processes import Daemon, MissingProgramError, Server

_PROGRAM = Path("/usr/lib/systemd/systemd-journald")


class Journald(Server):
    """A journal, and the socket on which syslog(3) would write to it. For root."""

    def __init__(self, directory: Path) -> None:
        if not _PROGRAM.exists():
            raise MissingProgramError(f"{_PROGRAM} is missing: apt-get install systemd")
        self.namespace = f"fletching{os.getpid()}"
        self._sockets = Path(f"/run/systemd/journal.{self.namespace}")
        self._daemon = Daemon([_PROGRAM, self.namespace], directory / "journald.log")

    def start(self) -> None:
        """Serve."""
        self._daemon.start((self._sockets / "dev-log").exists)

    def stop(self) -> None:
        """End it, and delete its journal."""
        self._daemon.stop()
        machine = Path("/etc/machine-id").read_text().strip()
        for folder in ("/run/log/journal", "/var/log/journal"):
            shutil.rmtree(Path(folder, f"{machine}.{self.namespace}"), ignore_errors=True)
        shutil.rmtree(self._sockets, ignore_errors=True)

    def write(self, text: bytes, facility: int = 2) -> None:
        """An entry, as syslog(3) sends it: ``text`` is `PROGRAM[PID]: MESSAGE`."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(self._sockets / "dev-log"))
            sender.send(b"<%d>Nov 30 15:54:50 %s" % (facility * 8 + 6, text))

    def wait(self) -> None:
        """Until everything that was written can be read."""
        subprocess.run(["journalctl", f"--namespace={self.namespace}", "--sync"], check=True)
