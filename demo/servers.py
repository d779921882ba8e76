"""The private servers of the demo: Postfix, Redis, mail sinks, a webhook, and Fletching.

This file says what is started, with which configuration and on which ports. The machine's own
Postfix and Redis are not touched. All servers end with the `with` block.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from fletching.config.load import load
from fletching.config.model import Config
from fletching.postfix.settings import pieces

from demo.returns import FEEDBACK
from sandbox.postfix import Postfix
from sandbox.processes import Daemon, free_port, private_directory
from sandbox.sinks import Sink
from sandbox.web import Webhook

SECRET = "shared by the demo and its webhook"
SEEDS = ("seed1@example.net", "seed2@yahoo.zz", "seed3@gmx.zz")
TRANSPORTS = ("smtp", "relay", "vmta-a", "vmta-b")
_CONFIG = {
    "redis": "embedded",
    "workers": 2,
    "bounce_mailbox": "bounces@example.com",
    "unsubscribe_mailbox": "unsubscribe@example.com",
    "url_domain": "https://click.example.com",
    "mail_classes": {
        "newsletter": {
            "list_id": "t100",
            "virtual_mta": "bulk",
            "track": {"clicks": True, "opens": True},
            "seed": {"list": "main", "start": 1, "end": 60},
        },
        "transactional": {"virtual_mta": "a", "list_unsubscribe": False},
    },
    "feedback_mailbox": FEEDBACK,
    "suppress": "refuse",
    "seed_lists": {"main": list(SEEDS)},
    "virtual_mtas": {
        "a": {"transport": "vmta-a"},
        "b": {"transport": "vmta-b", "fallback": "a"},
        "bulk": {"pool": {"a": 3, "b": 1}},
    },
}


@dataclass(frozen=True, slots=True)
class Servers:
    """The running servers and their addresses."""

    directory: Path
    config_path: Path
    config: Config
    postfix: Postfix
    sinks: dict[str, Sink]
    hook: Webhook
    web: int
    """The port of the tracking server."""
    dashboard: str
    """The URL of the dashboard."""
    records: dict[str, str]
    """DNS records of the DKIM keys: name and TXT value."""

    def addresses(self) -> dict[str, str]:
        """Addresses, files and commands to inspect the running servers."""
        return {
            "SMTP, no login needed": f"127.0.0.1:{self.postfix.port}",
            "configuration": str(self.config_path),
            "dashboard": self.dashboard,
            "Postfix": f"postconf -c {self.postfix.config_directory} -n",
            "Redis": f"redis-cli -s {self.config.state_dir}/redis/redis.sock",
            "logs": f"{self.directory}/fletching.log {self.directory}/postfix/maillog",
        } | {f"sink {name}": f"127.0.0.1:{sink.port}" for name, sink in self.sinks.items()}


@contextmanager
def servers() -> Iterator[Servers]:
    """Start all servers, and end them."""
    with private_directory() as directory, ExitStack() as running:
        hook = running.enter_context(Webhook(SECRET))
        web, dashboard = free_port(), free_port()
        sinks = {name: running.enter_context(Sink(name)) for name in TRANSPORTS}
        postfix = Postfix(directory / "postfix", {name: sink.port for name, sink in sinks.items()})
        config_path = _configure(directory, web, dashboard, hook, postfix.port)
        config = load(config_path)
        fletching = Daemon(
            [sys.executable, "-m", "fletching", "run", "--config", config_path],
            directory / "fletching.log",
        )
        running.callback(fletching.stop)
        socket = Path(config.listen.removeprefix("unix:"))
        fletching.start(socket.exists)
        running.enter_context(postfix)
        added = pieces(config)
        postfix.apply(
            added.main_cf,
            added.master_cf,
            added.tables,
        )
        # This host accepts mail for our mailboxes, and for no other address of the domain.
        postfix.set(relay_domains="example.com", relay_recipient_maps="$fletching_recipient_maps")
        address = f"http://127.0.0.1:{dashboard}/"
        records = _records(config_path)
        yield Servers(directory, config_path, config, postfix, sinks, hook, web, address, records)


def fletching(config_path: Path, *words: str) -> str:
    """Run a command of Fletching, and return its output."""
    command = [sys.executable, "-m", "fletching", *words, "--config", str(config_path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _configure(directory: Path, web: int, dashboard: int, hook: Webhook, smtp: int) -> Path:
    dkim = [
        {"domain": "example.com", "selector": "s1", "file": "s1.pem", "default": True},
    ]
    path = directory / "fletching.yaml"
    secret = directory / "hook.secret"
    secret.write_text(f"{SECRET}\n")
    customer = {"name": "customer", "webhook": hook.url, "secret_file": str(secret)}
    sockets = _socket_folder(directory)
    paths = {
        "listen": f"unix:{sockets}/milter.sock",
        "lmtp": {"listen": f"unix:{sockets}/lmtp.sock"},
        "postfix": {"log": str(directory / "postfix" / "maillog")},
        "state_dir": str(directory / "state"),
        "link_keys": str(directory / "link-keys"),
        "web": {"listen": f"127.0.0.1:{web}", "admin_listen": f"127.0.0.1:{dashboard}"},
        "seeds": {"submit": f"127.0.0.1:{smtp}"},
        "events": {"destinations": [customer]},
        "dkim": {"keys": [key | {"file": str(directory / str(key["file"]))} for key in dkim]},
    }
    path.write_text(yaml.safe_dump(_CONFIG | paths, sort_keys=False))
    fletching(path, "key", "new")
    fletching(path, "dkim", "new")
    return path


def _socket_folder(directory: Path) -> Path:
    """A folder whose sockets belong to Postfix's group, as in deploy/systemd."""
    folder = directory / "milter"
    folder.mkdir()
    shutil.chown(folder, group="postfix")
    folder.chmod(0o2755)
    return folder


def _records(config_path: Path) -> dict[str, str]:
    """The DNS records as `fletching dkim record` prints them."""
    found = {}
    for line in fletching(config_path, "dkim", "record").splitlines():
        name, _, strings = line.partition(" IN TXT ")
        found[name.rstrip(".")] = "".join(strings.split('"')[1::2])
    return found
