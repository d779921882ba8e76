"""SMTP AUTH for the private Postfix: Dovecot's auth service, with a password file."""

from __future__ import annotations

import signal
import stat
from collections.abc import Mapping
from pathlib import Path

from sandbox.processes import Daemon, Server, program


class Sasl(Server):
    """Dovecot with nothing but its auth service, on a socket where Postfix looks for it."""

    def __init__(self, directory: Path, socket: Path, users: Mapping[str, str]) -> None:
        directory.mkdir()
        directory.chmod(0o755)
        self._socket = socket
        passwords = directory / "passwords"
        passwords.write_text("".join(f"{u}:{{PLAIN}}{p}\n" for u, p in users.items()))
        config = directory / "dovecot.conf"
        config.write_text(self._configuration(directory, passwords, socket))
        # Postfix's user speaks to the socket, Dovecot's reads the passwords.
        passwords.chmod(0o644)
        self._daemon = Daemon(
            [program("dovecot", "dovecot-core"), "-F", "-c", config], directory / "output"
        )

    @staticmethod
    def _configuration(directory: Path, passwords: Path, socket: Path) -> str:
        return f"""\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = {passwords}
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener {socket} {{
    mode = 0666
  }}
}}
"""

    @property
    def pid(self) -> int:
        """The process id of Dovecot's master."""
        return self._daemon.pid

    def start(self) -> None:
        """Start, and wait for the socket."""
        self._daemon.start(lambda: self._socket.exists() and _is_socket(self._socket))

    def stop(self) -> None:
        """End all its processes; the auth process would wait for Postfix to hang up."""
        self._daemon.signal_all(signal.SIGTERM)
        self._daemon.stop()


def _is_socket(path: Path) -> bool:
    return stat.S_ISSOCK(path.stat().st_mode)
