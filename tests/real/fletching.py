"""Fletching itself as a process of its own, with a configuration made from a sensible one.

Here live its start, its signals and its commands. What Postfix has to be told comes from
`fletching postfix`, as an admin would get it.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from smtplib import SMTP
from typing import Any

import yaml
from fletching.config.load import load
from fletching.keys.link_keys import read_link_keys
from fletching.policy.store_question import STORE_UNAVAILABLE
from fletching.postfix.settings import pieces
from fletching.tokens import Keyring

from sandbox.postfix import Postfix, Reply, send
from sandbox.processes import Daemon, Server, processes, wait_until
from tests import commands
from tests.waiting import wait_for_rest

KEYS = Path(__file__).parent.parent / "cases" / "keys"

CONFIG: Mapping[str, Any] = {
    "workers": 2,
    "users": {"crm": {"force_mail_class": "crm"}, "shop": {"mail_class": "newsletter"}},
    "bounce_mailbox": "bounces@example.com",
    "unsubscribe_mailbox": "unsubscribe@example.com",
    "url_domain": "https://click.example.com",
    "mail_classes": {
        "newsletter": {
            "list_id": "t100",
            "virtual_mta": "bulk",
            "track": {"clicks": True, "opens": True},
        },
        "crm": {"list_id": "crm", "virtual_mta": "a"},
        "transactional": {"virtual_mta": "transactional", "list_unsubscribe": False},
    },
    "virtual_mtas": {
        "transactional": {"transport": "vmta-transactional"},
        "a": {"transport": "vmta-a"},
        "b": {"transport": "vmta-b", "fallback": "a"},
        "bulk": {"pool": {"a": 3, "b": 1}},
    },
}
DKIM = (
    {"domain": "example.com", "selector": "s1", "default": True},
    {"domain": "example.com", "selector": "ed", "algorithm": "ed25519"},
)


class Fletching(Server):
    """The milter (or, with ``command="run"``, all daemons) over one configuration file.

    ``change`` is merged into ``CONFIG``, dictionaries deeply; None takes a key out. ``program``
    are Python's arguments, to run it with something changed.
    """

    def __init__(
        self,
        directory: Path,
        redis_url: str,
        change: Mapping[str, Any] | None = None,
        *,
        command: str = "milter",
        program: Sequence[str] = ("-m", "fletching"),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        directory.mkdir()
        self.directory = directory
        self.config_path = directory / "fletching.yaml"
        # Its sockets belong to Postfix's group, as deploy/systemd arranges it.
        sockets = directory / "sockets"
        sockets.mkdir()
        shutil.chown(sockets, group="postfix")
        sockets.chmod(0o2755)
        self.socket = sockets / "milter.sock"
        self._change: Mapping[str, Any] = change or {}
        self._redis_url = redis_url
        self.configure(self._change)
        self._make_keys()
        self._daemon = Daemon(
            [sys.executable, *program, command, "--config", self.config_path],
            directory / "log",
            environment,
        )
        self._ready = f"started daemon={'supervisor' if command == 'run' else command} "

    def configure(self, change: Mapping[str, Any]) -> None:
        """Writes the configuration file anew; a running daemon hears of it by SIGHUP."""
        places = {
            "listen": f"unix:{self.socket}",
            "redis": self._redis_url,
            "state_dir": str(self.directory / "state"),
            "link_keys": str(self.directory / "link-keys"),
            "web": {
                "listen": f"unix:{self.socket.with_name('web.sock')}",
                "admin_listen": f"unix:{self.socket.with_name('dashboard.sock')}",
            },
            "dkim": {
                "keys": [
                    {name: value for name, value in key.items() if name != "algorithm"}
                    | {"file": str(self._key_file(key))}
                    for key in DKIM
                ]
            },
        }
        config = _merged(_merged(CONFIG, places), change)
        self.config_path.write_text(yaml.safe_dump(config, sort_keys=False))

    def _key_file(self, key: Mapping[str, Any]) -> Path:
        return self.directory / f"{key['domain']}.{key['selector']}.pem"

    def _make_keys(self) -> None:
        commands.output(self.config_path, "key", "new")
        # Not new ones: to find the primes takes as long as many mails.
        for key in DKIM:
            shutil.copy(KEYS / f"{key.get('algorithm', 'rsa')}.pem", self._key_file(key))
            self._key_file(key).chmod(0o600)

    @property
    def records(self) -> dict[str, str]:
        """The DNS records of the DKIM keys, for the verifiers."""
        found = {}
        for line in commands.output(self.config_path, "dkim", "record").splitlines():
            name, _, strings = line.partition(" IN TXT ")
            found[name.rstrip(".")] = "".join(strings.split('"')[1::2])
        return found

    # Running

    def beside(self, command: str, program: Sequence[str]) -> Daemon:
        """Another daemon over the same configuration, not yet started."""
        argv: list[str | Path]
        argv = [sys.executable, *program, command, "--config", self.config_path]
        return Daemon(argv, self.directory / f"{command}.log")

    def start(self) -> None:
        """Serve; also again after an end."""
        before = self.log().count(self._ready) if self._daemon.log.exists() else 0
        self._daemon.start(lambda: self.log().count(self._ready) > before)

    def stop(self) -> None:
        """End it in order; it must end by itself, and well."""
        ran = self.running
        status = self._daemon.stop()
        assert status == 0 or not ran, f"ended with {status}:\n{self.log()[-3000:]}"

    def kill(self) -> None:
        """End all its processes at once, as a crash of the machine would."""
        self._daemon.kill()

    def wait(self) -> int:
        """Wait until it has ended by itself; the exit status."""
        return self._daemon.wait()

    def signal(self, number: signal.Signals) -> None:
        """A signal for the first process."""
        self._daemon.signal(number)

    def reload(self) -> str:
        """SIGHUP, and wait until it says what it made of it: ``done`` or ``failed``.

        Its workers hear of a configuration that is right a moment later.
        """
        before = len(self._reloads())
        self.signal(signal.SIGHUP)
        wait_until("no word of a reload", lambda: len(self._reloads()) > before)
        return self._reloads()[-1]

    def _reloads(self) -> list[str]:
        return re.findall(r"(?m)^configuration .*\breload=(\w+)", self.log())

    @property
    def pid(self) -> int:
        """The first process."""
        return self._daemon.pid

    @property
    def running(self) -> bool:
        """Whether the first process lives."""
        return self._daemon.running

    @property
    def workers(self) -> list[int]:
        """All its other processes."""
        return [pid for pid in processes(self.pid) if pid != self.pid]

    def settle(self) -> None:
        """Waits until every worker has been seen asleep three times: all it was sent is read."""
        seen = 0

        def asleep() -> bool:
            nonlocal seen
            stats = [s for pid in self.workers for s in Path(f"/proc/{pid}/task").glob("*/stat")]
            states = [stat.read_text().rpartition(")")[2].split()[0] for stat in stats]
            seen = seen + 1 if all(state == "S" for state in states) else 0
            return seen == 3

        wait_until("the workers do not come to rest", asleep)

    def log(self) -> str:
        """All that it has said."""
        return (self.directory / "log").read_text("utf-8", "replace")

    def settled_log(self) -> str:
        """All that it has to say of the mails that have their answer."""
        return wait_for_rest(self.log)

    def mail_lines(self) -> list[dict[str, str]]:
        """The log's line for each mail, as names and values."""
        lines = [line for line in self.settled_log().splitlines() if line.startswith("mail ")]
        pattern = r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))'
        return [
            {name: quoted or plain for name, quoted, plain in re.findall(pattern, line)}
            for line in lines
        ]

    def line_of(self, reply: Reply) -> str:
        """The log's line for one mail."""
        start = f"mail queue_id={reply.queue_id} "
        wait_until(f"the log has no {start}", lambda: f"\n{start}" in self.log())
        (line,) = (line for line in self.log().splitlines() if line.startswith(start))
        return line

    @property
    def keys(self) -> Keyring:
        """Its link keys, to open many tokens without a process for each."""
        return read_link_keys(self.directory / "link-keys")

    # Commands and Postfix

    def command(self, *words: str, given: bytes = b"") -> str:
        """The output of a command; an error if it fails."""
        return commands.output(self.config_path, *words, given=given)

    def token(self, text: str) -> dict[str, Any]:
        """What `fletching token` says of a token, a URL or a return path."""
        printed = commands.output(self.config_path, "token", text, "--json")
        shown: dict[str, Any] = json.loads(printed)
        return shown

    def join(self, postfix: Postfix) -> None:
        """Gives Postfix what `fletching postfix` prints for this configuration."""
        added = pieces(load(self.config_path))
        postfix.apply(added.main_cf, added.master_cf, added.tables)


def send_until_taken(smtp: SMTP, raw: bytes, sender: str, recipients: Sequence[str]) -> list[Reply]:
    """Sends one mail as an application does: again while Redis is late, on a busy machine.

    Returns every reply; the last one is that of the mail that was taken. Any other refusal fails.
    """
    replies: list[Reply] = []

    def is_taken() -> bool:
        reply = send(smtp, raw, sender, recipients)
        assert reply.accepted or str(STORE_UNAVAILABLE).endswith(reply.text), reply
        replies.append(reply)
        return reply.accepted

    wait_until("a mail is never taken", is_taken)
    return replies


def submit_until_taken(
    postfix: Postfix, raw: bytes, sender: str, recipients: Sequence[str]
) -> Reply:
    """Submits one mail in a session of its own, as `send_until_taken` does."""
    with postfix.client() as smtp:
        return send_until_taken(smtp, raw, sender, recipients)[-1]


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = deepcopy(dict(first))
    for name, value in second.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = _merged(merged[name], value)
        else:
            merged[name] = value
    return merged
