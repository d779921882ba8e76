"""A Postfix configuration directory to look at with Postfix's own commands. No daemon reads it."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fletching.postfix.text import Pieces

from sandbox.processes import program

_DEBIAN = Path("/usr/share/postfix/master.cf.dist")
_SUBMISSION = """\
submission inet n       -       y       -       -       smtpd
  -o syslog_name=postfix/submission
  -o smtpd_sasl_auth_enable=yes
"""


class PostfixFiles:
    """main.cf and master.cf as Debian installs them, with a submission service."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        assert _DEBIAN.exists(), f"{_DEBIAN} is missing: apt-get install postfix"
        self.main_cf = directory / "main.cf"
        self.master_cf = directory / "master.cf"
        self.main_cf.write_text("compatibility_level = 3.6\nrecipient_delimiter = +\n")
        self.master_cf.write_text(_DEBIAN.read_text() + _SUBMISSION)

    @property
    def postconf(self) -> tuple[str, ...]:
        """postconf(1) for this directory."""
        return (program("postconf", "postfix"), "-c", str(self.directory))

    def add(self, pieces: Pieces) -> None:
        """As an admin does it: append to the two files, put the tables beside them."""
        for file, text in ((self.main_cf, pieces.main_cf), (self.master_cf, pieces.master_cf)):
            with file.open("a") as end:
                end.write(text)
        for name, text in pieces.tables.items():
            (self.directory / name).write_text(text)

    def set(self, *assignments: str) -> None:
        """main.cf parameters."""
        self.ask("postconf", "-e", *assignments)

    def ask(self, command: str, *arguments: str) -> str:
        """What a command of Postfix says about this directory; a warning is an error."""
        argv = [program(command, "postfix"), "-c", str(self.directory), *arguments]
        self.let_rest()
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), f"{argv}: {done.stderr}"
        return done.stdout

    def let_rest(self) -> None:
        """Make the files look old: Postfix waits until those just written have come to rest."""
        for file in self.directory.iterdir():
            os.utime(file, (1e9, 1e9))

    def shell(self, commands: Sequence[str]) -> None:
        """Printed postconf commands, as an admin pastes them."""
        for command in commands:
            name, *arguments = shlex.split(command)
            assert name == "postconf"
            self.ask(name, *arguments)

    def look_up(self, table: str, key: str) -> str:
        """What a table of this directory has for a key; empty for nothing."""
        kind, name = table.split(":")
        argv = [program("postmap", "postfix"), "-q", key, f"{kind}:{self.directory / name}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.stderr == "", f"{argv}: {done.stderr}"
        return done.stdout.strip()

    @property
    def services(self) -> str:
        """master.cf as Postfix reads it: services, and their -o settings."""
        return self.ask("postconf", "-M") + self.ask("postconf", "-P")
