"""The files of deploy/nginx and deploy/caddy, in Debian's nginx and Caddy before `fletching web`.

Only what would not run privately is replaced: ports, the certificate, the service's address.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fletching.returning.hits import PIXEL
from fletching.store.events import EventLog
from fletching.tokens import Facts, Kind

from sandbox.processes import Daemon, answers, free_port, program
from sandbox.redis_server import RedisServer
from sandbox.web import Answer, ask
from tests.stores import open_store
from tests.waiting import HASTY_WEB, wait_for_held

from .fletching import Fletching

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
HOST = "click.example.com"
PROXIED_CLIENT = "127.0.0.2"
"""The browser connects from here, and the proxy, to Fletching, from 127.0.0.1."""
URL = "https://shop.example/ü;v=1?q=%26%2F+%20&x=1&y=2#top"
LOCATION = "https://shop.example/%C3%BC;v=1?q=%26%2F+%20&x=1&y=2#top"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

DEBIANS_NGINX = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 768; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  gzip on;
  include {folder}/fletching.conf;
  server {{
    listen 127.0.0.1:{plain} default_server;
    server_name _;
    root /nonexistent;
  }}
}}
"""
"""As in Debian's own nginx.conf, ours comes first, and yet another site is the port's default."""

CADDYS_OPTIONS = """\
{{
	admin off
	http_port {plain}
	https_port {tls}
	default_bind 127.0.0.1
}}
"""


# Servers


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy runs, and what it stands before."""

    folder: Path
    plain: int
    tls: int
    upstream: int

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"

    def certify(self) -> None:
        """Makes a certificate for the host that nobody but the tests believes."""
        argv = [program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-nodes"]
        argv += ["-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2", "-subj", f"/CN={HOST}"]
        argv += ["-addext", f"subjectAltName=DNS:{HOST}"]
        argv += ["-keyout", str(self.key), "-out", str(self.certificate)]
        subprocess.run(argv, check=True, capture_output=True)


def shipped(name: str, changes: Mapping[str, str]) -> str:
    """A file of deploy/ with some of its text replaced; text that is not there is an error."""
    text = (DEPLOY / name).read_text()
    for old, new in changes.items():
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    return text


def nginx(place: Place) -> Daemon:
    included = place.folder / "fletching-proxy.conf"
    included.write_text(shipped("nginx/fletching-proxy.conf", {}))
    live = f"/etc/letsencrypt/live/{HOST}"
    changes = {
        "server 127.0.0.1:8090;": f"server 127.0.0.1:{place.upstream};",
        # A second address of loopback: not every machine has IPv6.
        "listen [::]:80;": f"listen 127.0.0.3:{place.plain};",
        "listen [::]:443 ssl;": f"listen 127.0.0.3:{place.tls} ssl;",
        "listen 80;": f"listen 127.0.0.1:{place.plain};",
        "listen 443 ssl;": f"listen 127.0.0.1:{place.tls} ssl;",
        f"{live}/fullchain.pem": str(place.certificate),
        f"{live}/privkey.pem": str(place.key),
        "/etc/nginx/fletching-proxy.conf": str(included),
    }
    (place.folder / "fletching.conf").write_text(shipped("nginx/fletching.conf", changes))
    main = place.folder / "nginx.conf"
    main.write_text(DEBIANS_NGINX.format(folder=place.folder, plain=place.plain))
    argv: list[str | Path]
    argv = [program("nginx", "nginx-light"), "-c", main, "-p", place.folder, "-e", "stderr"]
    return Daemon(argv, place.folder / "log")


def caddy(place: Place) -> Daemon:
    changes = {
        f"\n{HOST} {{\n": f"\n{HOST} {{\n\ttls {place.certificate} {place.key}\n",
        "reverse_proxy 127.0.0.1:8090\n": f"reverse_proxy 127.0.0.1:{place.upstream}\n",
    }
    options = CADDYS_OPTIONS.format(plain=place.plain, tls=place.tls)
    config = place.folder / "Caddyfile"
    config.write_text(options + shipped("caddy/Caddyfile", changes))
    argv: list[str | Path]
    argv = [program("caddy", "caddy"), "run", "--config", config, "--adapter", "caddyfile"]
    homes = ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
    return Daemon(argv, place.folder / "log", dict.fromkeys(homes, str(place.folder)))


PROXIES = {"nginx": nginx, "caddy": caddy}


@dataclass(frozen=True, slots=True)
class Site:
    """`fletching web`, a proxy before it, and a reader's browser."""

    place: Place
    fletching: Fletching
    dashboard: int
    events: EventLog

    def target(self, kind: Kind = Kind.CLICK_HTML, url: str = URL) -> str:
        """Path and query of a link of ours."""
        facts = Facts("abcdefghijkl", 7, "News", "01", "T100", "u|s", "r@example.org", "bulk", 1)
        noun = {Kind.CLICK_HTML: "click", Kind.OPEN: "open"}.get(kind, "unsub")
        return f"/{noun}?{self.fletching.keys.seal(kind, facts, url)}"

    def ask(
        self,
        target: str,
        method: str = "GET",
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        tls: bool = True,
    ) -> Answer:
        """What the proxy answers."""
        port = self.place.tls if tls else self.place.plain
        plain = socket.create_connection(("127.0.0.1", port), 30, (PROXIED_CLIENT, 0))
        client = HTTPConnection(HOST)
        client.sock = self._secured(plain) if tls else plain
        try:
            client.request(method, target, body, dict(headers or {}))
            response = client.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, told, response.read())
        finally:
            client.close()

    def _secured(self, plain: socket.socket) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.place.certificate))
        return context.wrap_socket(plain, server_hostname=HOST)

    def recorded(self) -> list[dict[str, Any]]:
        """The events of all that was answered."""
        wait_for_held(self.fletching.directory / "state")
        return [json.loads(event) for _, event in self.events.read("0", 1000)]


@pytest.fixture(scope="module")
def running_web(
    directory: Path, running_redis: RedisServer
) -> Iterator[tuple[Fletching, int, int]]:
    """`fletching web`, its port and the dashboard's."""
    port, dashboard = free_port(), free_port()
    web = {
        "listen": f"127.0.0.1:{port}",
        "admin_listen": f"127.0.0.1:{dashboard}",
        "trusted_proxies": ["127.0.0.1/32"],
    }
    folder = directory / f"web-{port}"
    daemon = Fletching(
        folder, running_redis.unix_url, {"web": web}, command="web", program=HASTY_WEB
    )
    with daemon as fletching:
        yield fletching, port, dashboard


@pytest.fixture(scope="module", params=PROXIES)
def running_site(
    request: pytest.FixtureRequest,
    directory: Path,
    running_web: tuple[Fletching, int, int],
    running_redis: RedisServer,
) -> Iterator[Site]:
    fletching, port, dashboard = running_web
    place = Place(directory / f"{request.param}-{port}", free_port(), free_port(), port)
    place.folder.mkdir()
    place.certify()
    with ExitStack() as stack:
        daemon = PROXIES[request.param](place)
        stack.callback(daemon.stop)
        daemon.start(lambda: answers(place.plain) and answers(place.tls))
        events = EventLog(open_store(running_redis.unix_url))
        yield Site(place, fletching, dashboard, events)


@pytest.fixture
def site(running_site: Site, redis: RedisServer) -> Iterator[Site]:
    """The site, without events; also for the next test."""
    yield running_site
    wait_for_held(running_site.fletching.directory / "state")


# Readers


class TestBehindAProxy:
    """What a reader gets, and what is recorded of him, is the same without a proxy."""

    def test_a_click(self, site: Site) -> None:
        answer = site.ask(site.target(), headers={"User-Agent": "x"})
        assert (answer.status, answer.location, answer.body) == (302, LOCATION, b"")
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        (told,) = site.recorded()
        assert (told["event_type"], told["click_url"]) == ("engine_click", URL)
        assert (told["engine_ip"], told["user_agent"]) == (PROXIED_CLIENT, "x")

    def test_a_click_without_tls_gets_there(self, site: Site) -> None:
        """Caddy leads to TLS first."""
        target = site.target()
        answer = site.ask(target, tls=False)
        if answer.status == 308:
            assert answer.location == f"https://{HOST}{target}"
            answer = site.ask(target)
        assert (answer.status, answer.location) == (302, LOCATION)
        assert len(site.recorded()) == 1

    def test_head(self, site: Site) -> None:
        answer = site.ask(site.target(), "HEAD")
        assert (answer.status, answer.location, answer.body) == (302, LOCATION, b"")
        assert site.recorded() == []

    def test_one_click(self, site: Site) -> None:
        target = site.target(Kind.LIST_UNSUBSCRIBE, "")
        answer = site.ask(target, "POST", "List-Unsubscribe=One-Click", FORM)
        assert (answer.status, answer.location) == (200, None)
        (told,) = site.recorded()
        assert told["event_type"] == "engine_unsub"

    def test_one_click_of_a_page_elsewhere(self, site: Site) -> None:
        """What a browser asks first, and what it wants to see then (CORS)."""
        target = site.target(Kind.LIST_UNSUBSCRIBE, "")
        origin = {"Origin": "https://mail.example"}
        asked = {**origin, "Access-Control-Request-Method": "POST"}
        answer = site.ask(target, "OPTIONS", headers=asked)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-methods"] == "POST"
        answer = site.ask(target, "POST", "List-Unsubscribe=One-Click", {**FORM, **origin})
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
        assert len(site.recorded()) == 1

    def test_the_pixel(self, site: Site) -> None:
        answer = site.ask(site.target(Kind.OPEN, ""))
        assert (answer.status, answer.headers["content-type"]) == (200, "image/gif")
        assert (answer.headers["cache-control"], answer.body) == ("no-store", PIXEL)
        (told,) = site.recorded()
        assert told["event_type"] == "engine_open"

    def test_a_forged_address_is_not_believed(self, site: Site) -> None:
        forged = ("X-Forwarded-For", "X-Real-IP", "X-Client-IP", "True-Client-IP")
        headers = {**dict.fromkeys(forged, "192.0.2.9"), "Forwarded": "for=192.0.2.9"}
        assert site.ask(site.target(), headers=headers).status == 302
        (told,) = site.recorded()
        assert told["engine_ip"] == PROXIED_CLIENT

    @pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
    @pytest.mark.parametrize("letter", ["x", "ü"])
    def test_a_long_link(self, site: Site, letter: str, tls: bool) -> None:
        """A request line of 12,000 octets; each umlaut has 6 in the answer."""
        path = letter * (8000 // len(letter.encode()))
        target = f"{site.target(url=f'https://shop.example/{path}')}&".ljust(12_000, "x")
        answer = site.ask(target, tls=tls)
        if answer.status == 308:
            answer = site.ask(target)
        assert (answer.status, answer.location) == (302, f"https://shop.example/{quote(path)}")

    def test_a_body_that_is_too_large(self, site: Site) -> None:
        """Caddy 2.6 says 502 where 413 is meant."""
        target = site.target(Kind.LIST_UNSUBSCRIBE, "")
        answer = site.ask(target, "POST", "List-Unsubscribe=One-Click" + "&" * 8192, FORM)
        assert answer.status in (413, 502)
        assert site.recorded() == []

    def test_a_link_goes_on_as_it_came(self, site: Site) -> None:
        token = site.target().partition("?")[2]
        targets = (
            f"/click/{token}",
            f"//click/{token}",
            f"/x/../click/{token}",
            f"/click/%{ord(token[0]):02x}{token[1:]}",
            f"/%63lick/{token}",
            f"/click?qs={token}&a;b=%zz",
            f"/click?{token[:-2]}",
        )
        upstream = f"http://127.0.0.1:{site.place.upstream}"
        for target in targets:
            straight = ask(site.place.upstream, f"{upstream}{target}")
            answer = site.ask(target)
            assert (answer.status, answer.location) == (straight.status, straight.location), target

    @pytest.mark.parametrize(
        "target", ["/click?x", "/", "/live", "/by/class", "/campaign/abcdefghijkl", "/metrics"]
    )
    def test_nothing_else_leads_anywhere(self, site: Site, target: str) -> None:
        """The dashboard least of all, though it is there."""
        assert ask(site.dashboard, f"http://127.0.0.1:{site.dashboard}/").status == 200
        answer = site.ask(target)
        assert (answer.status, answer.location) == (404, None)
        assert b"does not work" in answer.body
        assert site.recorded() == []

    def test_no_token_is_logged(self, site: Site) -> None:
        target = site.target()
        assert site.ask(target).status == 302
        logs = [file for file in site.place.folder.glob("*log") if file.is_file()]
        assert logs
        assert not any(target in log.read_text() for log in logs)
