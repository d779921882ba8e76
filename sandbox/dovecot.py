"""A private IMAP server: Dovecot with Maildir mailboxes and a certificate of its own authority.

Mails are put into mailboxes as files, with the time of their arrival.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

from sandbox.processes import Daemon, Server, answers, free_port, program
from sandbox.redis_tls import certificates

_IMAP = Path("/usr/lib/dovecot/imap")

USER = "nobody"


class Dovecot(Server):
    """Users with passwords, on an IMAPS port and a port without TLS.

    ``special_use``: the folder of each user that the server marks as spam folder, and creates.
    """

    def __init__(
        self, directory: Path, users: Mapping[str, str], special_use: str = "Junk"
    ) -> None:
        if not _IMAP.exists():
            program("dovecot-imapd", "dovecot-imapd")
        directory.mkdir()
        directory.chmod(0o755)
        self._mail = directory / "mail"
        self._mail.mkdir()
        shutil.chown(self._mail, USER)
        self._special_use = special_use
        self._count = 0
        self.port, self.plain_port = free_port(), free_port()
        self.certificates = certificates(directory)
        passwords = directory / "passwords"
        passwords.write_text("".join(f"{u}:{{PLAIN}}{p}\n" for u, p in users.items()))
        passwords.chmod(0o644)
        config = directory / "dovecot.conf"
        config.write_text(self._configuration(directory, passwords))
        self._log = directory / "log"
        self._daemon = Daemon(
            [program("dovecot", "dovecot-core"), "-F", "-c", config], directory / "output"
        )

    def _configuration(self, directory: Path, passwords: Path) -> str:
        keys = self.certificates
        return f"""\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{keys.server}
ssl_key = <{keys.server_key}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
login_trusted_networks = 127.0.0.0/8
mail_location = maildir:{self._mail}/%u:LAYOUT=fs
first_valid_uid = 1
default_login_user = {USER}
default_internal_user = {USER}
passdb {{
  driver = passwd-file
  args = {passwords}
}}
userdb {{
  driver = static
  args = uid={USER} gid=nogroup home={self._mail}/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox "{self._special_use}" {{
    special_use = \\Junk
    auto = create
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {self.plain_port}
  }}
  inet_listener imaps {{
    port = {self.port}
    ssl = yes
  }}
  chroot =
}}
"""

    def start(self) -> None:
        """Start, and wait for both ports."""
        self._daemon.start(lambda: answers(self.port) and answers(self.plain_port))

    def stop(self) -> None:
        """End all its processes."""
        self._daemon.signal_all(signal.SIGTERM)
        self._daemon.stop()

    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text() if self._log.exists() else ""

    def put(self, user: str, mail: bytes, arrived: float, folder: str = "INBOX") -> Path:
        """Puts a mail into a folder, which is created if need be; the file."""
        maildir = self._mail / user
        if folder != "INBOX":
            maildir /= folder
        for part in ("tmp", "cur", "new"):
            self._make(maildir / part)
        self._count += 1
        file = maildir / "new" / f"{int(arrived)}.{self._count}.host"
        file.write_bytes(re.sub(rb"\r?\n", b"\n", mail))
        os.utime(file, (arrived, arrived))
        shutil.chown(file, USER, "nogroup")
        return file

    def _make(self, folder: Path) -> None:
        if not folder.exists():
            self._make(folder.parent)
            folder.mkdir()
            shutil.chown(folder, USER, "nogroup")

    def empty(self, user: str) -> None:
        """Deletes all of a user's mail and folders."""
        shutil.rmtree(self._mail / user, ignore_errors=True)

    def files(self, user: str) -> set[str]:
        """The files of a user's mails, whose names have the flags."""
        root = self._mail / user
        return {str(path.relative_to(root)) for path in root.rglob("*.host*")}
