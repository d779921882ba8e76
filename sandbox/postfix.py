"""A private Postfix, as Debian ships it, with its own configuration, queue and log.

The machine's own Postfix is not touched: every command gets the absolute path of our configuration.
How mail reaches the sinks is told in ``postfix_config``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import smtplib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox import postfix_config
from sandbox.processes import PATIENCE, Daemon, Server, free_port, processes, program, wait_until
from sandbox.sinks import find_leaks

_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Reply:
    """The last reply of an SMTP transaction: to the end of DATA, or to what was refused before."""

    code: int
    text: str

    @property
    def accepted(self) -> bool:
        """Whether Postfix took the mail."""
        return self.code == 250

    @property
    def queue_id(self) -> str:
        """The queue id Postfix gave; an error for a mail it did not take."""
        found = re.search(r"queued as (\w+)", self.text)
        assert found is not None, f"not accepted: {self.code} {self.text}"
        return found[1]


@dataclass(frozen=True, slots=True)
class Queued:
    """A mail in the queue, as postqueue(1) tells it."""

    queue: str
    queue_id: str
    sender: str
    recipients: tuple[str, ...]


class Postfix(Server):
    """A Postfix instance whose transports lead to sinks.

    ``sinks`` has a port per delivery agent: ``smtp`` (all mail that nobody routes), ``relay`` and
    any other transport names. ``port`` is open to loopback clients, ``sasl_port`` only to logins.
    With ``chroot`` the daemons are in their jail as in Debian's master.cf, else only smtp(8).
    """

    def __init__(
        self,
        root: Path,
        sinks: Mapping[str, int],
        *,
        chroot: bool = False,
    ) -> None:
        self.root = root
        self.config_directory = root / "config"
        self.queue_directory = root / "queue"
        self.port = free_port()
        self.sasl_port = free_port()
        self.sasl_socket = self.queue_directory / "sasl" / "auth"
        self._sinks = dict(sinks)
        self._base = {
            "main.cf": postfix_config.main_cf(root),
            "master.cf": postfix_config.master_cf(
                self.port, self.sasl_port, sinks, chroot=chroot, sasl_path="sasl/auth"
            ),
            "aliases": postfix_config.aliases(root / "mailboxes"),
        }
        self._make_directories()
        # The same master(8) that "postfix start" runs, in the foreground to be ours to end.
        self._daemon = Daemon(
            [self._postconf_default("daemon_directory") + "/master", "-s"],
            root / "master.log",
            {"MAIL_CONFIG": str(self.config_directory)},
        )

    def _make_directories(self) -> None:
        for name in ("config", "queue", "queue/etc", "queue/sasl", "data", "mailboxes"):
            directory = self.root / name
            directory.mkdir(parents=True)
            directory.chmod(0o755)
        shutil.chown(self.root / "data", "postfix")
        # postsuper(1) logs as this user where postlogd(8) does not answer.
        (self.root / "maillog").touch()
        shutil.chown(self.root / "maillog", "postfix")
        for name, text in postfix_config.JAIL.items():
            (self.queue_directory / name).write_text(text)
        self._make_mailboxes()
        self._write_base()

    def socket_folder(self) -> Path:
        """The directory of Fletching's sockets, made as deploy/systemd/fletching.tmpfiles does."""
        folder = self.queue_directory / "fletching"
        folder.mkdir(exist_ok=True)
        shutil.chown(folder, group="postfix")
        folder.chmod(0o2750)
        return folder

    def _make_mailboxes(self) -> None:
        # local(8) delivers to a file named by an alias as nobody, so nobody owns the Maildirs.
        for name in ("local", "virtual"):
            shutil.rmtree(self.root / "mailboxes" / name, ignore_errors=True)
            for part in ("", "tmp", "new", "cur"):
                directory = self.root / "mailboxes" / name / part
                directory.mkdir(mode=0o700)
                os.chown(directory, _NOBODY, _NOBODY)

    def _write_base(self) -> None:
        for old in self.config_directory.iterdir():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        for name, text in self._base.items():
            (self.config_directory / name).write_text(text)

    @staticmethod
    def _postconf_default(name: str) -> str:
        command = [program("postconf", "postfix"), "-dh", name]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    # Running

    @property
    def pid(self) -> int:
        """The process id of master(8); all Postfix processes are in its session."""
        return self._daemon.pid

    def start(self) -> None:
        """Make the queue's directories, check, and run."""
        self.command("postfix", "check")
        self._run_master()

    def _run_master(self) -> None:
        self._age_configuration()
        self._daemon.start(self._greets)

    def _greets(self) -> bool:
        # master(8) listens at its ports one by one, and runs smtpd(8) when all are open.
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=PATIENCE):
                return True
        except ConnectionRefusedError:
            return False

    def restart(self) -> None:
        """End all processes and start them anew; SMTP sessions are cut.

        This is how configuration changes here: smtpd(8) lingers for a second after a reload.
        """
        self._daemon.stop()
        self._run_master()

    def stop(self) -> None:
        """End all processes; the queue stays."""
        self._daemon.stop()

    def kill(self) -> None:
        """End all processes at once, as a crash of the machine would; the queue stays."""
        self._daemon.kill()

    def reload(self) -> None:
        """Read the configuration again, and wait until no process has the old one."""
        old = set(processes(self.pid)) - {self.pid}
        self.command("postfix", "reload")
        wait_until("Postfix has not reloaded", lambda: not old & set(processes(self.pid)))

    def command(self, name: str, *arguments: str, given: bytes = b"") -> str:
        """Run one of Postfix's commands on this instance; an error if it fails."""
        self._age_configuration()
        argv = [program(name, "postfix"), "-c", str(self.config_directory), *arguments]
        return self._run(argv, given)

    def _run(self, argv: Sequence[str], given: bytes) -> str:
        environment = {**os.environ, "MAIL_CONFIG": str(self.config_directory)}
        done = subprocess.run(argv, input=given, capture_output=True, env=environment, check=False)
        # latin-1: postcat shows the octets of a mail, and none may be lost.
        errors = done.stderr.decode("latin-1")
        assert done.returncode == 0, f"{argv}: exit {done.returncode}: {errors}{self.log()[-3000:]}"
        return done.stdout.decode("latin-1")

    def _age_configuration(self) -> None:
        # Postfix waits up to two seconds until a file it reads has "cooled down".
        for file in self.config_directory.iterdir():
            os.utime(file, (0, 0))

    def log(self) -> str:
        """All that Postfix has logged."""
        return (self.root / "maillog").read_text("utf-8", "replace")

    def wait_log(self, text: str) -> None:
        """Wait for a text in the log; postlogd(8) writes after the fact."""
        wait_until(f"the log does not say {text}", lambda: text in self.log())

    # Configuration

    def apply(
        self, main_cf: str = "", master_cf: str = "", files: Mapping[str, str] | None = None
    ) -> None:
        """Add pieces of configuration as an admin would paste them, and restart.

        ``files`` are put beside main.cf. A service of ours that ``master_cf`` defines anew is
        taken out first. Then each transport is led to its sink (``postfix_config``).
        """
        for name, text in (files or {}).items():
            (self.config_directory / Path(name).name).write_text(text)
        for service in re.findall(r"(?m)^(\w\S*)\s+(?:unix|inet)\s", master_cf):
            if self.postconf("-M", f"{service}/unix"):
                self.command("postconf", "-MX", f"{service}/unix")
        self._append("main.cf", main_cf)
        self._append("master.cf", master_cf)
        self.lead_to_sinks()

    def lead_to_sinks(self) -> None:
        """Lead each transport to its sink (``postfix_config``), and restart."""
        for transport, port in self._sinks.items():
            self.command("postconf", "-F", f"{transport}/unix/chroot=y")
            relay = f"{transport}/unix/smtp_fallback_relay=[127.0.0.1]:{port}"
            self.command("postconf", "-P", relay)
        self.restart()

    def _append(self, name: str, text: str) -> None:
        with (self.config_directory / name).open("a") as file:
            file.write(f"{text.rstrip()}\n")

    def set(self, **parameters: str) -> None:
        """Change main.cf parameters and restart."""
        settings = [f"{name}={value}" for name, value in parameters.items()]
        self.command("postconf", "-e", *settings)
        self.restart()

    def postconf(self, *arguments: str) -> str:
        """What postconf(1) says about this instance."""
        return self.command("postconf", *arguments).strip()

    def reset(self) -> None:
        """Back to the configuration of the start, with an empty queue and empty mailboxes."""
        self.command("postsuper", "-d", "ALL")
        self._make_mailboxes()
        now = {
            file.name: "" if file.is_dir() else file.read_text("utf-8", "surrogateescape")
            for file in self.config_directory.iterdir()
        }
        if now != self._base:
            self._write_base()
            self.restart()

    # Giving mail to Postfix

    @contextmanager
    def client(
        self,
        *,
        login: tuple[str, str] | None = None,
        source: str = "127.0.0.1",
        port: int | None = None,
    ) -> Iterator[smtplib.SMTP]:
        """One SMTP session; with a login on the port that wants one, else at ``port``."""
        port = port or (self.port if login is None else self.sasl_port)
        with smtplib.SMTP(
            "127.0.0.1", port, "client.example", timeout=60, source_address=(source, 0)
        ) as smtp:
            smtp.ehlo()
            if login is not None:
                smtp.login(*login)
            yield smtp

    def submit(
        self,
        raw: bytes,
        sender: str,
        recipients: Sequence[str],
        *,
        login: tuple[str, str] | None = None,
        source: str = "127.0.0.1",
        options: Sequence[str] = (),
    ) -> Reply:
        """Send one mail, byte for byte, in a session of its own."""
        with self.client(login=login, source=source) as smtp:
            return send(smtp, raw, sender, recipients, options=options)

    def sendmail(self, raw: bytes, *arguments: str) -> None:
        """Submit through sendmail(1), which wants LF line ends, as an application would."""
        self._run([program("sendmail", "postfix"), *arguments], raw)

    # The queue

    def queue(self) -> tuple[Queued, ...]:
        """What is in the queue."""
        return tuple(
            Queued(
                entry["queue_name"],
                entry["queue_id"],
                entry["sender"],
                tuple(recipient["address"] for recipient in entry["recipients"]),
            )
            for entry in map(json.loads, self.command("postqueue", "-j").splitlines())
        )

    def wait_empty(self) -> None:
        """Wait until every mail has been delivered."""
        wait_until("the queue is not empty", lambda: not self.queue())

    def wait_idle(self) -> None:
        """Wait until nothing is on its way; deferred and held mail may remain."""
        on_the_way = {"maildrop", "incoming", "active"}
        wait_until(
            "mail is still on its way",
            lambda: not any(mail.queue in on_the_way for mail in self.queue()),
        )

    def postcat(self, queue_id: str, *arguments: str) -> str:
        """A queue file as postcat(1) shows it."""
        return self.command("postcat", *arguments, "-q", queue_id)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """All mail that comes in within this block waits in the hold queue, to be looked at.

        Postfix's own Received field stands on every mail, so a header check on it holds all.
        """
        before = self.postconf("-h", "header_checks")
        self.set(header_checks=f"regexp:{{{{/^Received:/ HOLD}}}} {before}")
        try:
            yield
        finally:
            self._daemon.stop()
            self.command("postconf", "-e", f"header_checks={before}")
            self.command("postsuper", "-H", "ALL")
            self._run_master()
            self.command("postqueue", "-f")

    # Mail delivered on this host

    def mailbox(self, name: str) -> tuple[bytes, ...]:
        """Mail in a Maildir: ``local`` (local(8)) or ``virtual`` (virtual(8))."""
        files = sorted((self.root / "mailboxes" / name / "new").iterdir())
        return tuple(file.read_bytes() for file in files)

    def find_leaks(self) -> None:
        """Look at all delivered mail of this host for headers that must not leave."""
        for name in ("local", "virtual"):
            for raw in self.mailbox(name):
                find_leaks(raw, f"mailbox {name}")


def send(
    smtp: smtplib.SMTP,
    raw: bytes,
    sender: str,
    recipients: Sequence[str],
    *,
    options: Sequence[str] = (),
) -> Reply:
    """Send one mail in an open session; ``options`` are MAIL FROM parameters.

    smtplib doubles leading dots and ends the last line, and changes nothing else.
    """
    code, text = smtp.mail(sender, options)
    for recipient in recipients:
        if code == 250:
            code, text = smtp.rcpt(recipient)
    if code == 250:
        try:
            code, text = smtp.data(raw)
        except smtplib.SMTPDataError as refused:  # instead of the 354
            code, text = refused.smtp_code, _octets(refused.smtp_error)
    if code != 250:
        with suppress(smtplib.SMTPServerDisconnected):  # a 421 is Postfix's last word
            smtp.rset()
    return Reply(code, text.decode("utf-8", "replace"))


def _octets(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
