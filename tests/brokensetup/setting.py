"""A working set-up that tests break: Postfix, Redis, all daemons, nginx with TLS, a name server.

Every part can be broken, and is whole again after the `with` block.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fletching.checks.access import check_service_user
from fletching.checks.all import check
from fletching.checks.finding import Finding, Level
from fletching.checks.live import delivery, http, returned
from fletching.checks.live.all import check_live
from fletching.config.load import load

from sandbox.name_server import NameServer, Records
from sandbox.postfix import Postfix
from sandbox.processes import Daemon, answers, free_port, program
from sandbox.redis_server import RedisServer
from tests.real.fletching import Fletching

HOST = "click.example.com"
TRANSPORTS = ("smtp", "relay", "vmta-a")
CONFIG: Mapping[str, Any] = {
    "workers": 1,
    "users": None,
    "mail_classes": {
        "newsletter": {"virtual_mta": "a", "list_id": "t100"},
        "crm": None,
        "transactional": None,
    },
    "virtual_mtas": {
        "a": {"transport": "vmta-a", "helo": "mx.fletching.example"},
        "b": None,
        "bulk": None,
        "transactional": None,
    },
    "feedback_mailbox": "fbl@example.com",
}
NGINX = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  proxy_cache_path {folder}/cache keys_zone=cache:1m;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  large_client_header_buffers 4 32k;
  proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_redirect off;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/{certificate}.pem;
    ssl_certificate_key {folder}/key.key;
    location / {{ {body} }}
  }}
}}
"""


def openssl(*words: str | Path) -> None:
    subprocess.run([program("openssl", "openssl"), *words], check=True, capture_output=True)


@dataclass
class Proxy:
    """nginx before the web service. ``upstream``: the service's port."""

    folder: Path
    upstream: int
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        for name in ("authority", "key"):
            curve = ("ecparam", "-name", "prime256v1", "-genkey", "-noout")
            openssl(*curve, "-out", self.folder / f"{name}.key")
        subject = ("-subj", "/CN=authority", "-days", "9", "-addext", "keyUsage=keyCertSign")
        key = ("-key", self.folder / "authority.key")
        openssl("req", "-x509", "-new", *key, *subject, "-out", self.authority)
        self._certify("good", HOST, 2)
        self._certify("other-name", "other.example.com", 2)
        self._certify("expired", HOST, -1)
        self._daemon = Daemon(
            [program("nginx", "nginx-light"), "-c", self.folder / "conf", "-e", "stderr"],
            self.folder / "log",
        )
        self._write(self.passes, "good")

    def _certify(self, name: str, host: str, days: int) -> None:
        request, extensions = self.folder / "request.pem", self.folder / "extensions"
        extensions.write_text(f"subjectAltName=DNS:{host}\n")
        key = ("-key", self.folder / "key.key")
        openssl("req", "-new", *key, "-subj", f"/CN={host}", "-out", request)
        signed = ("-CA", self.authority, "-CAkey", self.folder / "authority.key")
        openssl(
            *("x509", "-req", "-in", request, *signed, "-CAcreateserial", "-days", str(days)),
            *("-extfile", extensions, "-out", self.folder / f"{name}.pem"),
        )

    @property
    def authority(self) -> Path:
        """The certificate that clients trust."""
        return self.folder / "authority.pem"

    @property
    def passes(self) -> str:
        """The location of a working proxy."""
        return f"proxy_pass http://127.0.0.1:{self.upstream};"

    def _write(self, body: str, certificate: str) -> None:
        text = NGINX.format(folder=self.folder, port=self.port, body=body, certificate=certificate)
        (self.folder / "conf").write_text(text)

    def start(self) -> None:
        self._daemon.start(lambda: answers(self.port))

    def stop(self) -> None:
        self._daemon.stop()

    @contextmanager
    def broken(self, body: str = "", certificate: str = "good") -> Iterator[None]:
        """``body``: of its location; ``certificate``: good, other-name or expired."""
        self.stop()
        self._write(body or self.passes, certificate)
        self.start()
        yield
        self.stop()
        self._write(self.passes, "good")
        self.start()


@dataclass
class BrokenSetup:
    """All parts, running. ``records``: of the DNS; ``user``: the service's, None for no test."""

    postfix: Postfix
    redis: RedisServer
    fletching: Fletching
    proxy: Proxy
    records: dict[tuple[str, str], Sequence[str]]
    user: str | None = None

    def findings(self) -> list[Finding]:
        """What `fletching check --live` finds."""
        config = load(self.fletching.config_path)
        command = ("postconf", "-c", str(self.postfix.config_directory))
        with NameServer(self.records) as names:
            found = check(
                config, dns=True, postfix=True, resolver=names.resolver, postconf_command=command
            )
            if self.user is not None:
                found += check_service_user(config, self.fletching.config_path, self.user)
            found += check_live(config, resolver=names.resolver, postconf_command=command)
        return found

    @contextmanager
    def hung(self, daemon: str) -> Iterator[None]:
        """A daemon that is stopped, not ended."""
        words = [b"fletching", daemon.encode()]
        pids = [
            pid
            for pid in self.fletching.workers
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[2:4] == words
        ]
        assert pids, f"no process of {daemon}"
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def mode(self, path: Path, mode: int) -> Iterator[None]:
        """Another mode of a file or directory."""
        before = path.stat().st_mode
        path.chmod(mode)
        yield
        path.chmod(before)

    @contextmanager
    def postfix_set(self, **parameters: str) -> Iterator[None]:
        """Other parameters in main.cf."""
        main_cf = self.postfix.config_directory / "main.cf"
        before = main_cf.read_text()
        self.postfix.set(**parameters)
        yield
        main_cf.write_text(before)
        self.postfix.restart()

    @contextmanager
    def master(self, *entries: str) -> Iterator[None]:
        """Other entries of master.cf: SERVICE/KIND/PARAMETER=VALUE, or a new service."""
        master_cf = self.postfix.config_directory / "master.cf"
        before = master_cf.read_text()
        for entry in entries:
            if " " in entry:
                master_cf.write_text(f"{master_cf.read_text()}{entry}\n")
            else:
                self.postfix.command("postconf", "-P", entry)
        self.postfix.restart()
        yield
        master_cf.write_text(before)
        self.postfix.restart()

    @contextmanager
    def redis_set(self, **parameters: str) -> Iterator[None]:
        """Other settings of the running Redis."""
        with self.redis.client as client:
            names = {name.replace("_", "-"): value for name, value in parameters.items()}
            before = {name: client.config_get(name)[name] for name in names}
            for name, value in names.items():
                client.config_set(name, value)
            yield
            for name, value in before.items():
                client.config_set(name, value)

    @contextmanager
    def dns(self, **changes: Sequence[str] | None) -> Iterator[None]:
        """Other records: `s1` of the DKIM key, `host` of the tracking host. None: no record."""
        names = {"s1": ("s1._domainkey.example.com", "TXT"), "host": (HOST, "A")}
        before = dict(self.records)
        for key, texts in changes.items():
            del self.records[names[key]]
            if texts is not None:
                self.records[names[key]] = texts
        yield
        self.records.clear()
        self.records.update(before)

    @contextmanager
    def configured(self, **change: Any) -> Iterator[None]:
        """Another configuration, which the daemons in use do not have."""
        before = self.fletching.config_path.read_text()
        self.fletching.configure(merged(self.fletching_config, change))
        yield
        self.fletching.config_path.write_text(before)

    fletching_config: Mapping[str, Any] = field(default_factory=dict)


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(first)
    for name, value in second.items():
        old = both.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            both[name] = merged(old, value)
        else:
            both[name] = value
    return both


def strings(text: str) -> str:
    """The text of a TXT record as in a zone file."""
    return " ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200))


@contextmanager
def running(directory: Path) -> Iterator[BrokenSetup]:
    """Everything works."""
    with ExitStack() as stack:
        postfix = stack.enter_context(
            Postfix(directory / "postfix", {name: free_port() for name in TRANSPORTS})
        )
        redis = stack.enter_context(RedisServer("min-replicas-to-write 0"))
        web = free_port()
        proxy = Proxy(directory / "proxy", web)
        home = directory / "fletching"
        config = merged(
            CONFIG,
            {
                "url_domain": f"https://{HOST}:{proxy.port}",
                "seeds": {"submit": f"127.0.0.1:{postfix.port}"},
                "web": {"listen": f"127.0.0.1:{web}", "trusted_proxies": ["127.0.0.1/32"]},
                "lmtp": {"listen": f"unix:{home}/sockets/lmtp.sock"},
                "postfix": {"log": str(postfix.root / "maillog")},
                "events": {"destinations": [{"name": "all", "file": str(directory / "events")}]},
            },
        )
        fletching = stack.enter_context(Fletching(home, redis.unix_url, config, command="run"))
        fletching.join(postfix)
        postfix.set(relay_domains="example.com", virtual_alias_maps="")
        stack.enter_context(_started(proxy))
        stack.enter_context(_trusting(proxy.authority))
        records: Records = {
            **{(name, "TXT"): [strings(text)] for name, text in fletching.records.items()},
            (HOST, "A"): ["127.0.0.1"],
            ("example.com", "MX"): ["10 mx.example.com."],
        }
        stack.enter_context(_hasty())
        yield BrokenSetup(postfix, redis, fletching, proxy, dict(records), fletching_config=config)


@contextmanager
def _started(proxy: Proxy) -> Iterator[None]:
    proxy.start()
    yield
    proxy.stop()


@contextmanager
def _trusting(authority: Path) -> Iterator[None]:
    """The system's certificates, for this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority))
        yield


@contextmanager
def _hasty() -> Iterator[None]:
    """A broken part need not be waited for as long as a slow one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "PATIENCE", 6.0)
        patch.setattr(returned, "PATIENCE", 3.0)
        patch.setattr(returned, "RECORDED", 6.0)
        patch.setattr(http, "PATIENCE", 3.0)
        yield


# Cases

Breaking = Callable[[BrokenSetup], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Case:
    """A broken set-up. ``breaks`` breaks it within a `with` block. One finding must have this
    level, a place that contains ``place``, a text that contains ``text``, and a cure (in the text
    or beside it) that contains ``cure``."""

    name: str
    breaks: Breaking
    level: Level
    place: str
    text: str
    cure: str

    def assert_found(self, broken: BrokenSetup) -> None:
        """Fails if no finding is the right one."""
        with self.breaks(broken):
            found = broken.findings()
        assert self.is_found(found), "\n".join(
            str(each) for each in found if each.level is not Level.OK
        )

    def is_found(self, findings: Sequence[Finding]) -> bool:
        return any(
            each.level is self.level
            and self.place in each.place
            and self.text in each.text
            and self.cure in f"{each.text} {each.cure}"
            for each in findings
        )
