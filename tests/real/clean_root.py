"""A fresh Debian 12 with systemd, in which an administrator's commands are run for real.

debootstrap makes it, systemd-nspawn boots it with a network of its own that leads nowhere: what
listens in there, on whatever port, is out of everybody's way. Packages are installed before the
boot, with the machine's network and without starting a service. Nothing here knows Fletching.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGRTMIN

from sandbox.processes import Daemon, Server, program, wait_until

_SIGPOWEROFF = SIGRTMIN + 14
"""What systemd as process 1 takes for the order to power off without ending services first
(systemd(1), SIGNALS): the root is thrown away."""

_KEPT = Path(__file__).parent.parent.parent / "build" / "debian"
"""The file system as debootstrap makes it, for the next run: a minute's work otherwise."""

_PATIENCE = 600
"""Seconds for one command: pip compiles, and other tests may run beside it."""

_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


class CommandError(Exception):
    """A command failed; says which, and all that it printed."""


class CleanRoot(Server):
    """``addresses``: what its loopback interface has besides 127.0.0.1."""

    def __init__(self, addresses: Sequence[str]) -> None:
        # Below a folder that others may enter: the root's users must get to their files.
        self.path = Path(tempfile.mkdtemp(prefix="fletching-root-", dir="/var/tmp"))
        self.path.chmod(0o755)
        self._addresses = addresses
        self._system = Daemon(self._nspawn("--boot", "--private-network"), self._log("boot"))
        self._servers: list[Daemon] = []

    def _log(self, name: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{name}.log")

    def _nspawn(self, *options: str) -> list[str]:
        # --register, --keep-unit: the machine that runs the tests need not have systemd.
        nspawn = program("systemd-nspawn", "systemd-container")
        return [nspawn, "--quiet", "--register=no", "--keep-unit", f"-D{self.path}", *options]

    def start(self) -> None:
        """Make the file system. `boot` starts what is in it."""
        program("nsenter", "util-linux")
        try:
            packed = packed_release()
            _run(["tar", "--numeric-owner", "-C", str(self.path), "-xpf", str(packed)])
            (self.path / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
            (self.path / "usr/sbin/policy-rc.d").chmod(0o755)
            self._yes_to_apt()
            self.install("apt-get update && apt-get install systemd-sysv dbus ca-certificates")
        except BaseException:
            self.stop()
            raise

    def _yes_to_apt(self) -> None:
        # Nothing here has to survive a crash of the machine.
        (self.path / "etc/dpkg/dpkg.cfg.d/99tests").write_text("force-unsafe-io\n")
        (self.path / "etc/apt/apt.conf.d/99tests").write_text(
            'APT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\n'
            'Acquire::Check-Valid-Until "false";\nDpkg::Use-Pty "false";\n'
        )

    def install(self, line: str, environment: Mapping[str, str] | None = None) -> str:
        """Run a line of shell before the boot, with the machine's network; what it printed."""
        settings = {
            "DEBIAN_FRONTEND": "noninteractive",
            **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
            **(environment or {}),
        }
        options = [f"--setenv={name}={value}" for name, value in settings.items()]
        if Path(_CERTIFICATES).exists():
            # The machine's package index may have a certificate of its own.
            options.append(f"--bind-ro={_CERTIFICATES}:/run/certificates.crt")
            options.append("--setenv=PIP_CERT=/run/certificates.crt")
        shell = ["/bin/sh", "-ec", line]
        return _run(self._nspawn("--pipe", "--resolv-conf=copy-host", *options, *shell))

    def boot(self) -> None:
        """Start systemd."""
        (self.path / "usr/sbin/policy-rc.d").unlink()
        (self.path / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
        self._system.start(lambda: self._leader() is not None)
        ip = program("ip", "iproute2")
        self.beside([ip, "link", "set", "lo", "up"])
        for address in self._addresses:
            self.beside([ip, "address", "add", f"{address}/32", "dev", "lo"])
        wait_until("systemd is up", self._up, _PATIENCE)

    def name_server(self, zone: Sequence[str]) -> None:
        """Answer its questions. ``zone``: dnsmasq(8) options, without their dashes."""
        alone = ("keep-in-foreground", "conf-file=/dev/null", "pid-file=", "user=root")
        known = ("no-resolv", "no-hosts", "listen-address=127.0.0.1", "bind-interfaces")
        words = [f"--{word}" for word in (*alone, *known, *zone)]
        self.serve_beside([program("dnsmasq", "dnsmasq-base"), *words], port=53)

    def _up(self) -> bool:
        done = self._inside("systemctl is-system-running")
        return done.stdout.strip() in ("running", "degraded")

    def _leader(self) -> int | None:
        """The process id, on this machine, of the root's process 1."""
        children = Path(f"/proc/{self._system.pid}/task/{self._system.pid}/children")
        for child in children.read_text().split():
            if re.search(r"(?m)^NSpid:.*\s1$", Path(f"/proc/{child}/status").read_text()):
                return int(child)
        return None

    def run(self, line: str, folder: str = "/root") -> str:
        """Run a line of shell as root in the booted system; what it printed.

        Raises CommandError.
        """
        done = self._inside(line, folder)
        if done.returncode:
            raise CommandError(f"{line}: exit {done.returncode}\n{done.stdout}")
        return done.stdout

    def status(self, line: str, folder: str = "/root") -> tuple[int, str]:
        """As `run`, for what may fail."""
        done = self._inside(line, folder)
        return done.returncode, done.stdout

    def _inside(self, line: str, folder: str = "/root") -> subprocess.CompletedProcess[str]:
        argv = ["nsenter", f"--target={self._leader()}", "--all", f"--wdns={folder}"]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment = ["/usr/bin/env", "-i", path, "HOME=/root", "LANG=C.UTF-8", "TERM=dumb"]
        return _done([*argv, *environment, "/bin/bash", "-ec", line])

    def beside(self, argv: Sequence[str]) -> str:
        """Run a program of this machine in the root's network."""
        return _run(["nsenter", f"--target={self._leader()}", "--net", *argv])

    def serve_beside(self, argv: Sequence[str], port: int, address: str = "127.0.0.1") -> None:
        """Start a server of this machine in the root's network."""
        here = ["nsenter", f"--target={self._leader()}", "--net"]
        server = Daemon([*here, *argv], self._log(f"port-{port}"))
        probe = f"exec 3<>/dev/tcp/{address}/{port}"
        server.start(lambda: _done([*here, "/bin/bash", "-c", probe]).returncode == 0)
        self._servers.append(server)

    def stop(self) -> None:
        """End everything in it, and remove it."""
        for server in self._servers:
            server.stop()
        self._power_off()
        shutil.rmtree(self.path)
        for log in self.path.parent.glob(f"{self.path.name}.*.log"):
            log.unlink()

    def _power_off(self) -> None:
        if not self._system.running:
            return
        if (leader := self._leader()) is not None:
            os.kill(leader, _SIGPOWEROFF)
            with suppress(subprocess.TimeoutExpired):
                self._system.wait()
        self._system.kill()


def packed_release() -> Path:
    """The file system as debootstrap makes it, as a tar file."""
    suite, address = _release()
    kept = _KEPT / f"{suite}.tar"
    if not kept.exists():
        _KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir="/var/tmp") as root:
            strap = [program("debootstrap", "debootstrap"), "--variant=minbase", suite]
            # It is the root directory of the users in there, too.
            Path(root).chmod(0o755)
            _run([*strap, root, address])
            packed = kept.with_suffix(f".{os.getpid()}")
            _run(["tar", "--numeric-owner", "-C", root, "-cf", str(packed), "."])
        packed.rename(kept)
    return kept


def _release() -> tuple[str, str]:
    """This machine's own release, and from where it has its packages."""
    fields = _run(["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)"]).splitlines()
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    address = next(line.split()[1] for line in fields if line.split()[0] == suite)
    return suite, address


def _done(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_PATIENCE,
        check=False,
    )


def _run(argv: Sequence[str]) -> str:
    done = _done(argv)
    if done.returncode:
        raise CommandError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout
