"""The servers of a soak: one host with all daemons, Postfix, Redis, a mail sink and a webhook.

`fletching run` runs the daemons; this file restarts it, as a service manager does, and says which
process is which.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from fletching.config.load import load
from fletching.keys.dkim_keys import dkim_record, new_dkim_key, read_dkim_key
from fletching.keys.link_keys import new_link_key, read_link_keys
from fletching.postfix.settings import pieces
from fletching.tokens import Keyring

from bench.soak.hook import Hook
from bench.soak.orders import FEEDBACK, LISTS, URL_HOST
from sandbox.disk import Disk
from sandbox.postfix import Postfix
from sandbox.processes import Daemon, free_port, private_directory, processes, wait_until
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink

TRANSPORTS = ("vmta-bulk", "vmta-receipts")
_SECRET = "a secret of sixteen characters or more"
_EVENT_TYPES = (
    *("engine_click", "engine_open", "engine_unsub", "scomp", "bounce_all", "bounce_bad_address"),
    *("delivery_attempt", "message_prepared"),
)
_DISK = "size=128m"
_STARTED = 120.0
"""Seconds for all daemons to start: the machine may be busy, and the daemons before them end."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process of Fletching. ``kind``: its daemon, and whether it is a child of the daemon."""

    pid: int
    daemon: str
    is_child: bool

    @property
    def kind(self) -> str:
        """Its name in tables."""
        return f"{self.daemon} child" if self.is_child else self.daemon


@dataclass(frozen=True, slots=True)
class Site:
    """The running servers."""

    directory: Path
    postfix: Postfix
    redis: RedisServer
    sink: Sink
    hook: Hook
    disk: Disk
    web: int
    dashboard: int
    metrics: int
    daemon: Daemon

    @property
    def config_path(self) -> Path:
        """The configuration file."""
        return self.directory / "fletching.yaml"

    @property
    def events_file(self) -> Path:
        """The file that one destination writes."""
        return self.directory / "events" / "events.jsonl"

    @property
    def unreadable(self) -> Path:
        """Where mails are kept that make no event."""
        return self.disk.folder / "unreadable"

    # Fletching

    def start(self) -> None:
        """Start all daemons, also after a crash."""
        before = self.log().count(_READY)
        self.daemon.start(lambda: True)
        wait_until("Fletching does not start", lambda: self.log().count(_READY) > before, _STARTED)

    def log(self) -> str:
        """The log of all daemons."""
        path = self.daemon.log
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def processes(self) -> list[Process]:
        """The supervisor, the daemons and their children, except those that end just now."""
        supervisor = self.daemon.pid
        found = []
        for pid in processes(supervisor):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if b"fletching" not in words:
                continue
            name = words[words.index(b"fletching") + 1].decode()
            if name == "run" and pid != supervisor:  # a daemon, before it becomes another program
                continue
            is_child = pid != supervisor and int(stat[1]) != supervisor
            found.append(Process(pid, "supervisor" if name == "run" else name, is_child))
        return found

    def configuration(self, **change: Any) -> str:
        """The configuration file's text; ``change``: other values at the top level."""
        return yaml.safe_dump(self._options() | change, sort_keys=False)

    def write_configuration(self, text: str) -> None:
        """Replace the configuration file at once, as editors and tools do."""
        new = self.config_path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.config_path)

    def _options(self) -> dict[str, Any]:
        sockets, directory = self.directory / "sockets", self.directory
        track = {"clicks": True, "opens": True, "text": True}
        classes: dict[str, dict[str, Any]] = {
            name: {"list_id": list_id, "virtual_mta": "bulk", "track": track}
            for name, list_id in LISTS.items()
        }
        classes["receipt"] |= {"virtual_mta": "receipts", "list_unsubscribe": False}
        key = {"domain": "example.com", "selector": "s1", "file": str(directory / "s1.pem")}
        types = list(_EVENT_TYPES)
        return {
            "listen": f"unix:{sockets}/milter.sock",
            "workers": 2,
            "redis": self.redis.unix_url,
            "state_dir": str(self.disk.folder),
            "bounce_mailbox": "bounces@example.com",
            "unsubscribe_mailbox": "unsubscribe@example.com",
            "feedback_mailbox": FEEDBACK,
            "url_domain": f"https://{URL_HOST}",
            "link_keys": str(directory / "link-keys"),
            "mail_classes": classes,
            "virtual_mtas": {"bulk": {"transport": "vmta-bulk"}}
            | {"receipts": {"transport": "vmta-receipts"}},
            "dkim": {"keys": [key | {"default": True}]},
            "web": {
                "listen": f"127.0.0.1:{self.web}",
                "admin_listen": f"127.0.0.1:{self.dashboard}",
            },
            "metrics": {"listen": f"127.0.0.1:{self.metrics}"},
            "lmtp": {"listen": f"unix:{sockets}/lmtp.sock"},
            "postfix": {"log": str(self.postfix.root / "maillog")},
            "events": {
                "destinations": [
                    {
                        "name": "hook",
                        "webhook": self.hook.url,
                        "secret_file": str(directory / "hook.secret"),
                        "types": types,
                    },
                    {"name": "file", "file": str(self.events_file), "types": types},
                ]
            },
        }

    # What is judged at the end

    @property
    def keys(self) -> Keyring:
        """The link keys."""
        return read_link_keys(self.directory / "link-keys")

    @property
    def records(self) -> Mapping[str, str]:
        """The DNS record of the DKIM key."""
        key = read_dkim_key("example.com", "s1", self.directory / "s1.pem", True)
        return {"s1._domainkey.example.com": dkim_record(key)}

    def command(self, *words: str) -> str:
        """The output of a command. Raises CalledProcessError."""
        command = [sys.executable, "-m", "fletching", *words, "--config", str(self.config_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def file_ids(self) -> dict[str, int]:
        """How often each event is in the file of events, in the order of the first times."""
        found: dict[str, int] = {}
        folder = self.events_file.parent
        for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
            for line in path.read_text().splitlines():
                id = str(json.loads(line)["event_unique_id"])
                found[id] = found.get(id, 0) + 1
        return found

    def postfix_log(self) -> Iterator[str]:
        """All lines of Postfix's log, the rotated ones too."""
        for path in self.postfix.root.glob("maillog*"):
            raw = path.read_bytes()
            text = gzip.decompress(raw) if path.suffix == ".gz" else raw
            yield from text.decode("utf-8", "replace").splitlines()


_READY = "started daemon=supervisor "


@contextmanager
def running() -> Iterator[Site]:
    """Start all servers, and end them. Raises MissingProgramError."""
    with private_directory() as directory, ExitStack() as stack:
        for name in ("sockets", "state", "events"):
            (directory / name).mkdir()
        # Files created there belong to Postfix's group, as in deploy/systemd.
        shutil.chown(directory / "sockets", group="postfix")
        (directory / "sockets").chmod(0o2755)
        new_link_key(directory / "link-keys", 0)
        new_dkim_key(directory / "s1.pem", "rsa", 2048)
        (directory / "hook.secret").write_text(f"{_SECRET}\n")
        (directory / "hook.secret").chmod(0o600)
        disk = Disk(directory / "state")
        disk.mount(_DISK)
        stack.callback(disk.unmount)
        sink = stack.enter_context(Sink("recipient"))
        ends = dict.fromkeys(("smtp", "relay", *TRANSPORTS), sink.port)
        site = Site(
            directory=directory,
            postfix=Postfix(directory / "postfix", ends),
            redis=stack.enter_context(RedisServer("appendfsync everysec")),
            sink=sink,
            hook=stack.enter_context(Hook(_SECRET)),
            disk=disk,
            web=free_port(),
            dashboard=free_port(),
            metrics=free_port(),
            daemon=_daemon(directory),
        )
        site.write_configuration(site.configuration())
        stack.enter_context(site.postfix)
        added = pieces(load(site.config_path))
        site.postfix.apply(added.main_cf, added.master_cf, added.tables)
        # Short queue ids come again within seconds, and the judge knows mails by them.
        site.postfix.set(
            relay_domains="example.com", transport_retry_time="1s", enable_long_queue_ids="yes"
        )
        stack.callback(site.daemon.stop)
        site.start()
        yield site


def _daemon(directory: Path) -> Daemon:
    argv = [sys.executable, "-m", "fletching", "run", "--config", str(directory / "fletching.yaml")]
    return Daemon(argv, directory / "log")
