"""The hosts and their Postfix: real daemons, each host with its own files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from fletching.config.load import load
from fletching.keys.link_keys import new_link_key
from fletching.postfix.settings import pieces

from bench.drills.judge import Kept
from bench.drills.network import LOOPBACK, Site
from sandbox.postfix import Postfix
from sandbox.processes import Daemon, free_port, private_directory, wait_until
from sandbox.sinks import Sink

HOSTS = 2
_TRANSPORT = "vmta-bulk"
_PATIENCE = 60.0


class Host:
    """The milter and the web service of one host, at one site."""

    def __init__(self, number: int, directory: Path, sockets: Path, keys: Path) -> None:
        self._site = LOOPBACK
        self._sockets, self._keys, self._number = sockets, keys, number
        self._directory = directory
        self._daemons: dict[str, Daemon] = {}

    @property
    def milter(self) -> Path:
        """The milter's socket."""
        return self._sockets / f"milter-{self._number}.sock"

    @property
    def web(self) -> Path:
        """The web service's socket."""
        return self._sockets / f"web-{self._number}.sock"

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self._directory / "fletching.yaml"

    def configure(self, redis_url: str, site: Site) -> None:
        """Configure the host anew, with an empty state directory."""
        self._site = site
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir()
        self._daemons = {name: self._daemon(name) for name in ("milter", "web")}
        text = yaml.safe_dump(
            {
                "listen": f"unix:{self.milter}",
                "redis": redis_url,
                "state_dir": str(self._directory / "state"),
                "workers": 2,
                "server_id": f"host{self._number}",
                "bounce_mailbox": "bounces@example.com",
                "unsubscribe_mailbox": "unsubscribe@example.com",
                "url_domain": "https://click.example.com",
                "link_keys": str(self._keys),
                "mail_classes": {
                    "newsletter": {
                        "list_id": "t100",
                        "virtual_mta": "bulk",
                        "track": {"clicks": True},
                    }
                },
                "virtual_mtas": {"bulk": {"transport": _TRANSPORT}},
                "web": {
                    "listen": f"unix:{self.web}",
                    "admin_listen": f"unix:{self._sockets}/dashboard-{self._number}.sock",
                },
            },
            sort_keys=False,
        )
        self.config.write_text(text)

    def start(self) -> None:
        """Start both daemons."""
        self.milter.unlink(missing_ok=True)
        self._daemons["milter"].start(self.milter.exists)
        self.start_web()

    def start_web(self) -> None:
        """Start the web service, also after `kill_web`."""
        self.web.unlink(missing_ok=True)
        self._daemons["web"].start(self.web.exists)

    def _daemon(self, name: str) -> Daemon:
        words = [*self._site.enter, sys.executable, "-m", "fletching", name]
        return Daemon([*words, "--config", str(self.config)], self._directory / f"{name}.log")

    def kill_web(self) -> None:
        """Kill the web service."""
        self._daemons["web"].kill()

    def stop(self) -> None:
        """Stop both daemons."""
        for daemon in self._daemons.values():
            daemon.stop()

    def logs(self) -> dict[str, str]:
        """The daemons' logs, by file name."""
        files = [daemon.log for daemon in self._daemons.values()]
        return {f"host{self._number}-{file.name}": file.read_text("utf-8") for file in files}

    def kept(self) -> Kept:
        """What its commands show of Redis. Raises `CommandError`."""
        events = [json.loads(line) for line in self._shown("events").splitlines()]
        campaigns = json.loads(self._shown("stats", "--json"))["campaigns"]
        listed = json.loads(self._shown("suppression", "list", "--json"))["suppression"]
        return Kept(events, campaigns, frozenset(str(row["address"]) for row in listed))

    def _shown(self, *words: str) -> str:
        command = [*self._site.enter, sys.executable, "-m", "fletching", *words]
        done = subprocess.run(
            [*command, "--config", str(self.config)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CommandError(f"{words[0]}: exit {done.returncode}: {done.stderr}")
        return done.stdout


class CommandError(Exception):
    """A command failed, perhaps because Redis is still recovering."""


@dataclass(frozen=True, slots=True)
class Servers:
    """What all drills share: Postfix with a port for each host, and the mail sink."""

    directory: Path
    postfix: Postfix
    sink: Sink
    ports: tuple[int, ...]
    hosts: tuple[Host, ...]
    keys: Path

    @contextmanager
    def fleet(self, redis_url: str, sites: Sequence[Site]) -> Iterator[tuple[Host, ...]]:
        """Start the hosts with empty state, each at its site."""
        self.sink.clear()
        for host, site in zip(self.hosts, sites, strict=True):
            host.configure(redis_url, site)
        with ThreadPoolExecutor() as pool:
            try:
                list(pool.map(Host.start, self.hosts))
                yield self.hosts
            finally:
                list(pool.map(Host.stop, self.hosts))

    def drain(self) -> None:
        """Wait until Postfix has delivered everything."""
        wait_until("Postfix's queue does not empty", lambda: not self.postfix.queue(), _PATIENCE)


@contextmanager
def servers() -> Iterator[Servers]:
    """Start Postfix and the sink, and end them."""
    with private_directory() as directory, ExitStack() as running:
        keys = directory / "link-keys"
        new_link_key(keys, 0)
        sockets = directory / "sockets"
        sockets.mkdir()
        # Files created there belong to Postfix's group, as in deploy/systemd.
        shutil.chown(sockets, group="postfix")
        sockets.chmod(0o2755)
        hosts = tuple(Host(n, directory / f"host-{n}", sockets, keys) for n in range(HOSTS))
        hosts[0].configure("redis://127.0.0.1", LOOPBACK)
        sink = running.enter_context(Sink("recipient"))
        ends = {"smtp": sink.port, _TRANSPORT: sink.port}
        postfix = running.enter_context(Postfix(directory / "postfix", ends))
        ports = tuple(free_port() for _ in hosts)
        added = pieces(load(hosts[0].config))
        postfix.apply(added.main_cf, added.master_cf + _smtpd(ports, hosts), added.tables)
        yield Servers(directory, postfix, sink, ports, hosts, keys)


def _smtpd(ports: Sequence[int], hosts: Sequence[Host]) -> str:
    return "".join(
        f"127.0.0.1:{port} inet n - n - - smtpd -o smtpd_milters=unix:{host.milter}\n"
        for port, host in zip(ports, hosts, strict=True)
    )
