"""The setups that are measured: one private Postfix, with one port for each milter.

This file starts each setup and reads what its processes have used. Every milter listens on a Unix
socket and is configured as its documentation says. All mail is delivered to discard(8).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from fletching.config.load import load
from fletching.keys.dkim_keys import dkim_record, new_dkim_key
from fletching.keys.link_keys import new_link_key
from fletching.mail.dkim import SigningKey
from fletching.postfix.settings import pieces

from bench.rule_lists import MIXED, listed
from sandbox.postfix import Postfix
from sandbox.processes import Daemon, free_port, private_directory, processes, program
from sandbox.redis_server import RedisServer

_QUEUES = ("maildrop", "incoming", "active", "deferred")
_CLOCK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Setup:
    """Postfix at ``port``, and the main process of its milter; None without a milter."""

    name: str
    port: int
    daemon: Daemon | None

    def cpu(self) -> float:
        """CPU seconds of the milter's processes, including children that have ended."""
        return sum(_cpu(pid) for pid in self._pids())

    def memory(self) -> int:
        """Memory of the milter's processes in bytes; shared memory is counted once."""
        return sum(_kilobytes(pid, "smaps_rollup", "Pss:") for pid in self._pids()) * 1024

    def peak(self) -> int:
        """Peak memory of the largest of the milter's processes, in bytes."""
        return max(self.peaks().values(), default=0)

    def peaks(self) -> dict[int, int]:
        """Peak memory of each of the milter's processes in bytes, by process id."""
        return {pid: _kilobytes(pid, "status", "VmHWM:") * 1024 for pid in self._pids()}

    def forget_peak(self) -> None:
        """Reset the peak, so that `peak` measures from now on."""
        for pid in self._pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def log(self) -> str:
        """The milter's log."""
        return self.daemon.log.read_text("utf-8", "replace") if self.daemon is not None else ""

    def dkim_record(self) -> str:
        """The TXT record of the key that this setup signs with."""
        assert self.daemon is not None, "this setup does not sign"
        pem = (self.daemon.log.parent / "s1.pem").read_bytes()
        key = load_pem_private_key(pem, None)
        assert isinstance(key, RSAPrivateKey)
        return dkim_record(SigningKey("example.com", "s1", key, default=True))

    def _pids(self) -> list[int]:
        return processes(self.daemon.pid) if self.daemon is not None else []


def _cpu(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, words[11:15])) / _CLOCK


def _kilobytes(pid: int, file: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


@dataclass(frozen=True, slots=True)
class Servers:
    """The running setups by name, and the servers that they share."""

    directory: Path
    setups: Mapping[str, Setup]
    postfix: Postfix
    redis: RedisServer

    def cleanup_cpu(self) -> float:
        """CPU seconds of Postfix's cleanup(8) processes so far."""
        pids = processes(self.postfix.pid)
        return sum(_cpu(p) for p in pids if Path(f"/proc/{p}/comm").read_text() == "cleanup\n")

    def idle(self) -> bool:
        """Whether Postfix's queue is empty."""
        # Without postqueue(1), since a process for each check would be a load of its own.
        folders = (self.postfix.queue_directory / name for name in _QUEUES)
        return not any(file.is_file() for folder in folders for file in folder.rglob("*"))


ALONE, COLLECTS, BLIND, OPENDKIM, DKIMPY, FLETCHING = (
    "Postfix alone",
    "a pymilter that only collects",
    "a pymilter that signs and edits blindly",
    "OpenDKIM, only signing",
    "dkimpy-milter, only signing",
    "Fletching, everything on",
)


STEERED = "Fletching, also with 1,000 rules, 3 dialects and a limited pool"

ALL = (ALONE, COLLECTS, BLIND, OPENDKIM, DKIMPY, FLETCHING)


@contextmanager
def servers(
    names: Collection[str] = ALL, environment: Mapping[str, str] | None = None
) -> Iterator[Servers]:
    """Start these setups and the servers that they need, and end everything.

    ``environment``: additional environment variables of the milters.
    """
    with private_directory() as directory, ExitStack() as running:
        redis = running.enter_context(RedisServer("appendfsync always"))
        daemons: list[Daemon] = []
        running.callback(_stop, daemons)
        setups = {ALONE: Setup(ALONE, free_port(), None)}
        milters = {setups[ALONE].port: ""}
        tables: dict[str, str] = {}
        for name in (name for name in _STARTS if name in names):
            folder = directory / f"milter-{len(daemons)}"
            socket, command = _STARTS[name](_Place.make(folder), redis)
            daemons.append(Daemon(command, folder / "log", environment))
            daemons[-1].start(socket.exists)
            setups[name] = Setup(name, free_port(), daemons[-1])
            milters[setups[name].port] = f"unix:{socket}"
            if name in (FLETCHING, STEERED):
                tables.update(pieces(load(folder / "fletching.yaml")).tables)
        postfix = running.enter_context(Postfix(directory / "postfix", {}))
        checks = _HEADER_CHECKS if tables else ""
        postfix.apply(_MAIN_CF + checks, _master_cf(milters), tables)
        yield Servers(directory, setups, postfix, redis)


def _stop(daemons: list[Daemon]) -> None:
    """Stop all at the same time, since libmilter takes five seconds to end."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(Daemon.stop, daemons))


@dataclass(frozen=True, slots=True)
class _Place:
    """The files of one milter."""

    folder: Path
    socket: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> _Place:
        folder.mkdir()
        # Files created there belong to Postfix's group.
        shutil.chown(folder, group="postfix")
        folder.chmod(0o2775)
        new_dkim_key(folder / "s1.pem", "rsa", 2048)
        return cls(folder, folder / "milter.sock", folder / "s1.pem")

    def configured(self, text: str) -> Path:
        path = self.folder / "fletching.yaml"
        path.write_text(text)
        return path


_Command = list[str | Path]


def _collecting(place: _Place, _: RedisServer) -> tuple[Path, _Command]:
    return place.socket, [sys.executable, "-m", "bench.collecting", place.socket]


def _blind(place: _Place, _: RedisServer) -> tuple[Path, _Command]:
    return place.socket, [sys.executable, "-m", "bench.blind", place.socket, place.key]


def _opendkim(place: _Place, _: RedisServer) -> tuple[Path, _Command]:
    config = place.configured(_OPENDKIM.format(place=place))
    return place.socket, [program("opendkim", "opendkim"), "-f", "-x", config]


def _dkimpy(place: _Place, _: RedisServer) -> tuple[Path, _Command]:
    config = place.configured(_DKIMPY.format(place=place))
    return place.socket, [program("dkimpy-milter", "dkimpy-milter"), config]


def _fletching(place: _Place, redis: RedisServer) -> tuple[Path, _Command]:
    new_link_key(place.folder / "link-keys", 0)
    config = place.configured(_FLETCHING.format(place=place, redis=redis.unix_url))
    return place.socket, [sys.executable, "-m", "fletching", "milter", "--config", config]


def _steered(place: _Place, redis: RedisServer) -> tuple[Path, _Command]:
    new_link_key(place.folder / "link-keys", 0)
    text = _FLETCHING.format(place=place, redis=redis.unix_url)
    for plain, steered in _STEERING.items():
        assert plain in text
        text = text.replace(plain, steered)
    config = place.configured(f"{text}{listed(MIXED)}\n")
    return place.socket, [sys.executable, "-m", "fletching", "milter", "--config", config]


_STARTS = {
    COLLECTS: _collecting,
    BLIND: _blind,
    OPENDKIM: _opendkim,
    DKIMPY: _dkimpy,
    FLETCHING: _fletching,
    STEERED: _steered,
}

_OPENDKIM = """\
Mode s
Domain example.com
Selector s1
KeyFile {place.key}
RequireSafeKeys no
Canonicalization relaxed/relaxed
InternalHosts 127.0.0.1
UMask 007
Socket local:{place.socket}
"""
_DKIMPY = """\
Mode s
Domain example.com
Selector s1
KeyFile {place.key}
Canonicalization relaxed/relaxed
InternalHosts 127.0.0.1
UMask 007
UserID postfix
PidFile {place.folder}/pid
Socket local:{place.socket}
"""
_FLETCHING = """\
listen: unix:{place.socket}
state_dir: {place.folder}/state
max_rewrite_size: 16MiB
redis: {redis}
bounce_mailbox: bounces@example.com
unsubscribe_mailbox: unsubscribe@example.com
url_domain: https://click.example.com
link_keys: {place.folder}/link-keys
mail_classes:
  newsletter: {{list_id: t100, virtual_mta: bulk, track: {{clicks: true, opens: true}}}}
virtual_mtas:
  bulk: {{transport: discard}}
routed_mailers: [discard]
dkim:
  keys: [{{domain: example.com, selector: s1, file: {place.key}, default: true}}]
"""
_STEERING = {
    "virtual_mtas:\n  bulk: {transport: discard}\n": """\
dialects: [mailgun, sendgrid, powermta]
virtual_mtas:
  a: {transport: discard, limits: {hour: 100000000, day: 1000000000}}
  b: {transport: discard, warmup: {since: 2026-01-01, start: 100000000, growth: 1.001,
                                   until: 1000000000}}
  bulk: {pool: {a: 3, b: 1}}
""",
    "mail_classes:\n": "mail_classes:\n  crm: {list_unsubscribe: false}\n",
}
"""What is different in `STEERED`."""

_HEADER_CHECKS = "milter_header_checks = regexp:$config_directory/milter_header_checks\n"
_MAIN_CF = """\
message_size_limit = 30000000
milter_default_action = tempfail
default_transport = discard
"""


def _master_cf(milters: Mapping[int, str]) -> str:
    return "".join(
        f"127.0.0.1:{port} inet n - n - - smtpd -o smtpd_milters={milter}\n"
        for port, milter in milters.items()
    )
