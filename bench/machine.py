"""The machine that the figures were made on: its load, versions of programs, and the commit.

What cannot be found out is "unknown": a figure without a version is better than no figure.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.backends.openssl import backend

from sandbox.processes import MissingProgramError, program

_ROOT = Path(__file__).parent.parent
_UNKNOWN = "unknown"


def described() -> dict[str, object]:
    """A description of this machine, for the report."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu_model": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "versions": dict(_versions()),
        "git_commit": _said("git", "git", "-C", _ROOT, "rev-parse", "HEAD"),
        "git_changed_files": len(_lines("git", "git", "-C", _ROOT, "status", "--porcelain")),
        "load_average_1min": os.getloadavg()[0],
    }


class Clocks(NamedTuple):
    """CPU time of all processors since boot, in ticks, and the stolen part of it."""

    all: int
    stolen: int

    @classmethod
    def of(cls, line: str) -> Clocks:
        """The first line of /proc/stat (proc(5)): user, nice, system, idle, iowait, irq, softirq,
        steal, and guests, whose time is in the first two.
        """
        ticks = [*map(int, line.split()[1:9])]
        return cls(sum(ticks), ticks[7])

    @classmethod
    def read(cls) -> Clocks:
        """Read the current values."""
        return cls.of(Path("/proc/stat").read_text().splitlines()[0])


def stolen(since: Clocks, now: Clocks) -> float:
    """The percentage of the CPU time that the virtual machine's host gave to others meanwhile."""
    return 100 * (now.stolen - since.stolen) / max(now.all - since.all, 1)


def _cpu_model() -> str:
    found = re.search(r"(?m)^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _versions() -> Mapping[str, str]:
    return {
        "postfix": _said("postfix", "postconf", "-dh", "mail_version"),
        "redis": _found(r"v=(\S+)", _said("redis-server", "redis-server", "--version")),
        "opendkim": _found(r"v(\S+)", _said("opendkim", "opendkim", "-V")),
        "dkimpy-milter": _package("dkimpy-milter"),
        "libmilter": _package("libmilter1.0.1"),
        "python": platform.python_version(),
        # Two versions, since the speed of RSA depends on the OpenSSL of each program.
        "openssl": backend.openssl_version_text(),
        "openssl_of_opendkim": _found(
            r"Compiled with (.*)", "\n".join(_lines("opendkim", "opendkim", "-V"))
        ),
    }


def _package(name: str) -> str:
    return _said("dpkg", "dpkg-query", "--show", "--showformat=${Version}", name)


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else _UNKNOWN


def _said(package: str, *command: str | Path) -> str:
    """The first line of a program's output."""
    return next(iter(_lines(package, *command)), _UNKNOWN)


def _lines(package: str, *command: str | Path) -> Sequence[str]:
    try:
        argv = [program(str(command[0]), package), *command[1:]]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
    except (MissingProgramError, subprocess.CalledProcessError):
        return []
    return done.stdout.splitlines()
