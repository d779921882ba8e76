"""All that the daemons open while they work is allowed by their AppArmor profiles.

strace(1) records `fletching run`, with a Redis of its own, from its start to its end. Each daemon
is compared with its own profile, and all of them with that of `fletching-run`. Nothing is confined:
the kernel of the test machine need not have AppArmor.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.postfix import Postfix
from sandbox.processes import free_port, program, wait_until
from sandbox.returned_mails import bounce
from sandbox.sinks import Sink
from sandbox.web import ask
from tests.apparmor_rules import Access, accesses, children, read_profile

from .fletching import Fletching, submit_until_taken
from .mails import MIME, NEWSLETTER, RECIPIENT, SENDER, links, mail

pytestmark = pytest.mark.slow

DAEMONS = ("milter", "web", "lmtp", "logtail", "courier")
TYPES = ("engine_click", "bounce_all", "delivery_attempt")
REPOSITORY = Path(__file__).parent.parent.parent

# -D: the daemon stays the child of the test; strace follows it, and ends with it. -B: no compiled
# files, which an installed Fletching could not write either.
TRACE = """
import os, sys
trace = "trace=%file,bind,connect,flock,execve,clone,clone3,fork,vfork"
options = ["-D", "-ff", "-y", "-s", "4096", "-e", trace, "-e", "signal=none", "-o", sys.argv[2]]
program = [sys.executable, "-B", "-m", "fletching", *sys.argv[3:]]
os.execv(sys.argv[1], [sys.argv[1], *options, *program])
"""


@dataclass(frozen=True, slots=True)
class Traced:
    """What each daemon, and the supervisor as `run`, did with files as an installed Fletching."""

    by_daemon: Mapping[str, frozenset[Access]]

    @property
    def all(self) -> frozenset[Access]:
        return frozenset().union(*self.by_daemon.values())


def work(site: Fletching, web: int, postfix: Postfix, sink: Sink) -> None:
    """A mail with a link, its click, and its bounce; a reload."""
    body = b'<p><a href="https://shop.example/">Offer</a></p>\r\n'
    fields = (
        NEWSLETTER,
        MIME + b"Content-Type: text/html; charset=utf-8",
        b"X-GreenArrow-MtaID: a",
    )
    submit_until_taken(postfix, mail(*fields, body=body), SENDER, [RECIPIENT])
    (arrived,) = sink.wait(1)
    assert ask(web, links(arrived)[0]).status == 302
    back = bounce(
        RECIPIENT, arrived.raw.partition(b"\r\n\r\n")[0].decode(), "5.1.1", "550 5.1.1 no"
    )
    submit_until_taken(postfix, back.encode(), "", [arrived.sender])
    assert site.reload() == "done"
    events = site.directory / "events" / "all.jsonl"
    wait_until("not all events", lambda: all(each in events.read_text() for each in TYPES), 120)


@pytest.fixture(scope="module")
def traced(place: Path, running_postfix: Postfix, running_sinks: Mapping[str, Sink]) -> Traced:
    traces, fresh, web = place / "traces", place / "site", free_port()
    traces.mkdir()
    maillog = running_postfix.root / "maillog"
    change = {
        "redis": "embedded",
        "web": {"listen": f"127.0.0.1:{web}", "admin_listen": f"127.0.0.1:{free_port()}"},
        "lmtp": {"listen": f"unix:{fresh}/sockets/lmtp.sock"},
        "postfix": {"log": str(maillog)},
        "metrics": {"listen": f"127.0.0.1:{free_port()}"},
        "events": {
            "destinations": [
                {"name": "all", "file": str(fresh / "events/all.jsonl"), "types": list(TYPES)}
            ]
        },
    }
    argv = ("-c", TRACE, program("strace", "strace"), f"{traces}/t")
    site = Fletching(fresh, "embedded", change, command="run", program=argv)
    (fresh / "events").mkdir()
    (fresh / "events/all.jsonl").touch()
    sink = running_sinks["vmta-a"]
    sink.clear()
    try:
        with site:
            site.join(running_postfix)
            running_postfix.set(relay_domains="example.com")
            work(site, web, running_postfix, sink)
            first = site.pid
        wait_until("strace does not end", lambda: not _is_written(traces))
    finally:
        running_postfix.wait_idle()
        running_postfix.reset()
    return Traced(_by_daemon(traces, first, _Installed(fresh, maillog)))


def _is_written(traces: Path) -> bool:
    """Whether a process has one of the files open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if link.readlink().is_relative_to(traces):
                return True
        except OSError:
            continue
    return False


class _Installed:
    """Paths of the test as an installed Fletching has them."""

    def __init__(self, site: Path, maillog: Path) -> None:
        self._places = (
            (f"{site}/state", "/var/lib/fletching"),
            (f"{site}/sockets", "/run/fletching"),
            (f"{site}/events", "/var/log/fletching"),
            (f"{site}/log", "/dev/null"),
            (f"{site}", "/etc/fletching"),
            (f"{maillog.resolve()}", "/var/log/mail.log"),
            (f"{maillog.resolve().parent}/", "/var/log/"),
            (f"{REPOSITORY}", "/opt/fletching"),
            (sys.prefix, "/opt/fletching/.venv"),
            (sys.base_prefix, "/usr"),
        )

    def path(self, path: str) -> str:
        for here, there in self._places:
            if path.startswith(here):
                return there + path.removeprefix(here)
        return path


def _by_daemon(traces: Path, first: int, installed: _Installed) -> dict[str, frozenset[Access]]:
    found: dict[str, set[Access]] = {name: set() for name in ("run", *DAEMONS)}
    waiting = [(first, "run")]
    while waiting:
        pid, daemon = waiting.pop()
        text = (traces / f"t.{pid}").read_text(errors="replace")
        called = re.search(r'(?m)^execve\(.*"-m", "fletching", "(\w+)"', text)
        daemon = called[1] if called else daemon
        found[daemon] |= {
            Access(installed.path(each.path), each.permissions)
            for each in accesses(iter(text.splitlines()))
        }
        waiting += [(child, daemon) for child in children(text)]
    return {name: frozenset(each) for name, each in found.items()}


def lacking(profile: str, done: frozenset[Access]) -> Iterator[str]:
    rules = read_profile(profile)
    for access in sorted(done, key=lambda each: each.path):
        if missing := rules.lacks(access.path, access.permissions):
            yield f"{access.path} {missing}"


@pytest.mark.parametrize("daemon", DAEMONS)
def test_profile_allows_all_that_its_daemon_opens(daemon: str, traced: Traced) -> None:
    # `run` started the daemon with the same Python.
    done = {each for each in traced.by_daemon[daemon] if "x" not in each.permissions}
    assert len(done) > 100
    assert list(lacking(f"fletching-{daemon}", frozenset(done))) == []


def test_profile_of_run_allows_all_that_any_daemon_opens(traced: Traced) -> None:
    assert list(lacking("fletching-run", traced.all)) == []


def test_trace_has_what_the_daemons_are_for(traced: Traced) -> None:
    """Otherwise the other tests would compare nothing."""

    def did(daemon: str, path: str, permission: str) -> bool:
        return any(
            re.fullmatch(path, each.path) and permission in each.permissions
            for each in traced.by_daemon[daemon]
        )

    assert did("milter", "/etc/fletching/.*pem", "r")
    assert did("milter", "/run/fletching/.*", "w")
    assert did("web", "/var/lib/fletching/journal/.*", "w")
    assert did("lmtp", "/run/fletching/.*", "w")
    assert did("logtail", "/var/log/mail.log", "r")
    assert did("courier", "/var/log/fletching/all.jsonl", "w")
    assert did("run", ".*/redis-(server|check-rdb)", "x")
    assert did("run", "/var/lib/fletching/redis/lock", "k")


def test_only_the_milter_opens_dkim_keys(traced: Traced) -> None:
    """So that the units of the others can hide them."""
    for daemon in DAEMONS:
        keys = {each for each in traced.by_daemon[daemon] if each.path.endswith(".pem")}
        keys = {each for each in keys if each.path.startswith("/etc/fletching/")}
        assert bool(keys) is (daemon == "milter"), daemon


@pytest.mark.parametrize(
    ("profile", "path", "permissions", "lacks"),
    [
        ("fletching-web", "/etc/fletching/link-keys", "r", ""),
        ("fletching-web", "/etc/fletching/fletching.yaml", "w", "w"),
        ("fletching-web", "/etc/fletching/dkim/example.com.s1.pem", "r", "r"),
        ("fletching-milter", "/etc/fletching/dkim/example.com.s1.pem", "r", ""),
        ("fletching-web", "/var/lib/fletching/unreadable/1.eml", "r", "r"),
        ("fletching-lmtp", "/var/lib/fletching/unreadable/1.eml", "rw", ""),
        ("fletching-web", "/bin/sh", "x", "x"),
        ("fletching-web", "/usr/bin/dash", "x", "x"),
        ("fletching-web", "/usr/bin/python3.11", "x", "x"),
        ("fletching-run", "/usr/bin/python3.11", "x", ""),
        ("fletching-logtail", "/usr/bin/journalctl", "x", ""),
        ("fletching-web", "/var/log/mail.log", "r", "r"),
        ("fletching-web", "/etc/shadow", "r", "r"),
        ("fletching-run", "/var/spool/postfix/active/A", "r", "r"),
        ("fletching-run", "/opt/fletching/milter/fletching/log.py", "w", "w"),
        ("fletching-run", "/root/.ssh/id_rsa", "r", "r"),
    ],
    ids=lambda value: value.rpartition("/")[2] if "/" in value else value or "allowed",
)
def test_profile_allows_only_what_its_daemon_needs(
    profile: str, path: str, permissions: str, lacks: str
) -> None:
    assert read_profile(profile).lacks(path, permissions) == lacks
