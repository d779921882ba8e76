"""Clicks per second of the tracking service, compared with the minimum cost of a redirect.

The load is wrk with one thread and 50 connections on this machine, with 10,000 different tokens in
turn. It loads `fletching web`, nginx with a plain `return 302`, and a bare application under
uvicorn and granian, with and without a Redis entry per click (`bare.py`); granian is skipped if it
is not installed. All servers run at the same time and are loaded in turns, so that whatever slows
the machine down slows all of them.

After each run, Fletching's answers are compared with Redis: every answered click must be in the
stream and in the campaigns' counters. Only the requests that are open when wrk ends, one per
connection, may be there in addition.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib import metadata
from pathlib import Path

import redis
import yaml
from fletching.keys.link_keys import new_link_key, read_link_keys
from fletching.numbering import campaign_id
from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.statistics import Statistics
from fletching.tokens import Facts, Kind
from rich.table import Table

from bench import bare
from bench.course import Effort, Tell
from bench.figures import middle
from sandbox.processes import (
    Daemon,
    answers,
    free_port,
    private_directory,
    processes,
    program,
)
from sandbox.redis_server import RedisServer
from sandbox.web import AGENT

CONNECTIONS, PROCESSES = 50, 2
TOKENS, CAMPAIGNS, LINKS = 10_000, 5, 40
ALWAYS, EVERYSEC = "fletching web", "fletching web, fsync everysec"
_SECONDS, _SECONDS_QUICK, _WARM_UP = 8, 1, 2
_STILL = 1.0
"""Seconds without a new entry, after which the requests that wrk left open are there."""
_HELD = 20.0
"""Seconds until all answered clicks must be there; they wait a few seconds to be judged."""
_CLOCK = os.sysconf("SC_CLK_TCK")

_NGINX = """\
daemon off;
worker_processes {processes};
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 302 https://shop.example/; }}
  }}
}}
"""

_WRK = """\
local requests, at = {}, 0
for line in io.lines(os.getenv("TARGETS")) do
  requests[#requests + 1] = "GET " .. line .. " HTTP/1.1\\r\\nHost: click.example.com\\r\\n" ..
    "User-Agent: %s\\r\\nAccept: text/html,*/*;q=0.8\\r\\n" ..
    "Accept-Language: en-US,en;q=0.5\\r\\n\\r\\n"
end
function request()
  at = at %% #requests + 1
  return requests[at]
end
function done(summary, latency)
  local e = summary.errors
  io.stderr:write(string.format(
    '{"requests": %%d, "us": %%d, "failed": %%d, "p50": %%d, "p99": %%d, "max": %%d}',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
"""


class LostClicksError(Exception):
    """The recorded clicks differ from the answered ones, so the speed means nothing."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that wrk loads. ``stream``: the Redis stream of its clicks; empty for none."""

    name: str
    port: int
    daemon: Daemon
    stream: str = ""
    fsync: str = "always"

    def cpu(self) -> float:
        """CPU seconds of its processes."""
        return sum(map(_cpu, processes(self.daemon.pid)))


@dataclass(frozen=True, slots=True)
class Run:
    """The result of one run of wrk, and CPU times in seconds."""

    peer: str
    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    server_cpu: float
    redis_cpu: float
    wrk_cpu: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


Results = Sequence[Run]


@dataclass(frozen=True, slots=True)
class Servers:
    """The running servers, and the environment of wrk."""

    store: RedisServer
    peers: Sequence[Peer]
    script: Path
    environment: Mapping[str, str]
    target: str


def measure(effort: Effort, tell: Tell) -> Results:
    """Start all servers and load them in turns."""
    seconds = _SECONDS_QUICK if effort.quick else _SECONDS
    found: list[Run] = []
    with servers() as running:
        for peer in running.peers:
            tell(f"warming up {peer.name}", 0)
            _redirects(peer, running.target)
            run_once(running, peer, min(seconds, _WARM_UP))
        for number in range(effort.rounds):
            for place, peer in enumerate(running.peers):
                done = (number + place / len(running.peers)) / effort.rounds
                tell(f"round {number + 1} of {effort.rounds}, {peer.name}", done)
                found.append(run_once(running, peer, seconds))
    return found


@contextmanager
def servers() -> Iterator[Servers]:
    """Start all servers, each on a port of its own."""
    with private_directory() as folder, RedisServer() as store, ExitStack() as running:
        new_link_key(folder / "link-keys", 1)
        targets = folder / "targets"
        targets.write_text("".join(f"{line}\n" for line in _targets(folder / "link-keys")))
        script = folder / "wrk.lua"
        script.write_text(_WRK % AGENT)
        peers = tuple(_peers(folder, store, running))
        first = targets.read_text().partition("\n")[0]
        yield Servers(store, peers, script, {**os.environ, "TARGETS": str(targets)}, first)


def run_once(running: Servers, peer: Peer, seconds: int) -> Run:
    """One run of wrk, starting with an empty Redis."""
    with running.store.raw_client() as client:
        # Without this key, the journal would write the clicks of all runs to Redis again.
        client.delete(*{*client.keys(), b"-"} - {keys.JOURNALS.encode()})
        client.config_set("appendfsync", peer.fsync)
        _campaigns_there(client)
        before = peer.cpu(), _cpu(running.store.pid), _children()
        result = _wrk(running, peer, seconds)
        after = peer.cpu(), _cpu(running.store.pid), _children()
        if result["failed"]:
            raise LostClicksError(f"{peer.name}: {result['failed']:.0f} requests failed")
        _check(running, client, peer, int(result["requests"]))
    return Run(
        *(peer.name, int(result["requests"]), result["us"] / 1e6),
        *(result[name] / 1000 for name in ("p50", "p99", "max")),
        *(late - early for early, late in zip(before, after, strict=True)),
    )


def _wrk(running: Servers, peer: Peer, seconds: int) -> dict[str, float]:
    done = subprocess.run(
        [
            program("wrk", "wrk"),
            *("-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", running.script),
            f"http://127.0.0.1:{peer.port}/",
        ],
        env=running.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, float] = json.loads(done.stderr)
    return result


def _check(running: Servers, client: redis.Redis, peer: Peer, answered: int) -> None:
    """Raise LostClicksError if the clicks in Redis differ from those answered."""
    if not peer.stream:
        return
    recorded = _settled(client, peer.stream, answered)
    # When wrk ends, each connection has a click open, which is recorded later, perhaps during the
    # next run.
    if not answered <= recorded <= answered + 2 * CONNECTIONS:
        raise LostClicksError(f"{peer.name}: {answered} answered, {recorded} recorded")
    if peer.stream != keys.EVENTS:
        return
    campaigns = Statistics(Store(running.store.unix_url, Path()), lambda _: frozenset()).campaigns()
    counted = sum((each.clicks or 0) + (each.bot_clicks or 0) for each in campaigns)
    if counted != recorded:
        raise LostClicksError(f"{peer.name}: {recorded} recorded, {counted} counted")


def _settled(client: redis.Redis, stream: str, answered: int) -> int:
    """The length of a stream, once it no longer grows."""
    deadline = time.monotonic() + _HELD
    before, now = -1, int(client.xlen(stream))
    while now != before or (now < answered and time.monotonic() < deadline):
        time.sleep(_STILL)
        before, now = now, int(client.xlen(stream))
    return now


def _redirects(peer: Peer, target: str) -> None:
    """Check that the server redirects."""
    connection = HTTPConnection("127.0.0.1", peer.port, timeout=30)
    connection.request("GET", target, headers={"user-agent": AGENT})
    status = connection.getresponse().status
    connection.close()
    assert status == 302, f"{peer.name} answers {status}"


def _targets(keys_file: Path) -> Iterator[str]:
    """One click link for each of 10,000 messages of five campaigns."""
    keys = read_link_keys(keys_file)
    for number in range(TOKENS):
        facts = Facts(
            campaign=_campaign(number % CAMPAIGNS),
            number=number // CAMPAIGNS + 1,
            mail_class="Newsletter",
            instance_id="20250101",
            listid=f"T{number % CAMPAIGNS}",
            click_tracking_id=f"user{number}|9",
            email=f"reader{number}@example.org",
            mtaid="bulk",
            sent=1_700_000_000,
        )
        url = f"https://shop.example/product/{number % LINKS}?utm_source=newsletter&utm_medium=mail"
        yield f"/click?qs={keys.seal(Kind.CLICK_HTML, facts, url)}"


def _campaign(number: int) -> str:
    return campaign_id(1_700_000_000 + number, bytes(4))


def _campaigns_there(client: redis.Redis) -> None:
    """Create the campaigns as the milter does; statistics show only existing campaigns."""
    for number in range(CAMPAIGNS):
        name = _campaign(number)
        client.zadd(keys.CAMPAIGNS, {name: 1_700_000_000 + number})
        key = keys.campaign(name)
        client.hset(key, mapping={"sendid": "newsletter20250101", "mail_class": "Newsletter"})
        client.expire(key, 86400)


def _peers(folder: Path, store: RedisServer, running: ExitStack) -> Iterator[Peer]:
    yield _peer("nginx, return 302", _nginx(folder), running)
    for name, application, stream in (
        ("bare", "bench.bare:answer", ""),
        ("bare, XADD", "bench.bare:record", bare.STREAM),
    ):
        yield _peer(f"uvicorn, {name}", _uvicorn(folder, store, application), running, stream)
        if importlib.util.find_spec("granian") is not None:
            yield _peer(f"granian, {name}", _granian(folder, store, application), running, stream)
    ours = _peer(ALWAYS, _fletching(folder, store), running, keys.EVENTS)
    yield ours
    yield Peer(EVERYSEC, ours.port, ours.daemon, keys.EVENTS, "everysec")


Made = tuple[int, Daemon]


def _peer(name: str, made: Made, running: ExitStack, stream: str = "") -> Peer:
    port, daemon = made
    daemon.start(lambda: answers(port))
    running.callback(daemon.stop)
    return Peer(name, port, daemon, stream)


def _nginx(folder: Path) -> Made:
    port, path = free_port(), folder / "nginx.conf"
    path.write_text(_NGINX.format(processes=PROCESSES, folder=folder, port=port))
    nginx = program("nginx", "nginx-light")
    argv: list[str | Path] = [nginx, "-c", path, "-p", folder, "-e", "stderr"]
    return port, Daemon(argv, folder / "nginx.log")


def _uvicorn(folder: Path, store: RedisServer, application: str) -> Made:
    port = free_port()
    argv: list[str | Path] = [
        *(sys.executable, "-m", "uvicorn", application),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", str(PROCESSES)),
        *("--no-access-log", "--log-level", "warning", "--loop", "uvloop", "--http", "httptools"),
        *("--lifespan", "off", "--no-server-header", "--no-date-header", "--no-proxy-headers"),
    ]
    return port, Daemon(argv, folder / "uvicorn.log", {bare.REDIS_SOCKET: str(store.socket)})


def _granian(folder: Path, store: RedisServer, application: str) -> Made:
    port = free_port()
    argv: list[str | Path] = [
        *(sys.executable, "-m", "granian", application, "--interface", "asginl"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", str(PROCESSES)),
        *("--no-access-log", "--log-level", "warning", "--loop", "uvloop", "--no-ws"),
    ]
    return port, Daemon(argv, folder / "granian.log", {bare.REDIS_SOCKET: str(store.socket)})


def _fletching(folder: Path, store: RedisServer) -> Made:
    port, path = free_port(), folder / "fletching.yaml"
    config = {
        "redis": store.unix_url,
        "workers": PROCESSES,
        "state_dir": str(folder / "state"),
        "link_keys": str(folder / "link-keys"),
        "server_id": "bench",
        "web": {"listen": f"127.0.0.1:{port}", "admin_listen": f"127.0.0.1:{free_port()}"},
    }
    path.write_text(yaml.safe_dump(config))
    argv: list[str | Path] = [sys.executable, "-m", "fletching", "web", "--config", path]
    return port, Daemon(argv, folder / "web.log")


def _cpu(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, words[11:15])) / _CLOCK


def _children() -> float:
    """CPU seconds of ended child processes, which is wrk."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def figures(results: Results) -> dict[str, object]:
    """For JSON, with units in the names."""
    return {
        "connections": CONNECTIONS,
        "server_processes": PROCESSES,
        "tokens": TOKENS,
        "campaigns": CAMPAIGNS,
        "versions": _versions(),
        "redis": "Unix socket, appendonly yes, appendfsync always unless the name says otherwise",
        "servers": {name: _figures(runs) for name, runs in _by_peer(results).items()},
    }


def _versions() -> dict[str, str]:
    result = subprocess.run(
        [program("nginx", "nginx-light"), "-v"], capture_output=True, text=True, check=True
    )
    found = {"nginx": result.stderr.strip().rpartition("/")[2]}
    for package in ("uvicorn", "uvloop", "httptools", "granian"):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _by_peer(results: Results) -> dict[str, list[Run]]:
    names = dict.fromkeys(run.peer for run in results)
    return {name: [run for run in results if run.peer == name] for name in names}


def _figures(runs: Sequence[Run]) -> dict[str, object]:
    return {
        "requests_per_run": [run.requests for run in runs],
        "requests_per_second": [round(run.per_second) for run in runs],
        "median_requests_per_second": round(middle([run.per_second for run in runs])),
        "p50_ms": round(middle([run.p50_ms for run in runs]), 2),
        "p99_ms": round(middle([run.p99_ms for run in runs]), 2),
        "max_ms": round(max(run.max_ms for run in runs), 2),
        "server_cpu_seconds_per_second": round(middle([r.server_cpu / r.seconds for r in runs]), 3),
        "redis_cpu_seconds_per_second": round(middle([r.redis_cpu / r.seconds for r in runs]), 3),
        "wrk_cpu_seconds_per_second": round(middle([r.wrk_cpu / r.seconds for r in runs]), 3),
    }


def tables(results: Results) -> Iterator[Table]:
    """One table. CPU is in processors: 1.00 is one processor, always busy."""
    rounds = len(next(iter(_by_peer(results).values())))
    title = f"clicks: {CONNECTIONS} connections, {PROCESSES} processes, {rounds} rounds"
    table = Table("server", title=title, title_justify="left")
    for name in ("requests/s", "p50 ms", "p99 ms", "max ms"):
        table.add_column(name, justify="right")
    for name in ("CPU server", "CPU Redis", "CPU wrk"):
        table.add_column(name, justify="right")
    for name, runs in _by_peer(results).items():
        table.add_row(name, *_columns(runs))
    yield table


def _columns(runs: Sequence[Run]) -> Iterator[str]:
    rates = [run.per_second for run in runs]
    yield f"{middle(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})"
    yield f"{middle([run.p50_ms for run in runs]):.1f}"
    yield f"{middle([run.p99_ms for run in runs]):.1f}"
    yield f"{max(run.max_ms for run in runs):.1f}"
    for used in ("server_cpu", "redis_cpu", "wrk_cpu"):
        yield f"{middle([getattr(run, used) / run.seconds for run in runs]):.2f}"
