"""The tracking service as it runs: processes, HTTP, Redis that goes away, and its pages."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from fletching.daemons.web.pages import PageError, Pages
from fletching.keys.link_keys import new_link_key, read_link_keys
from fletching.returning import hits
from fletching.returning.hits import Body
from fletching.store import keys
from fletching.store.events import EventLog
from fletching.store.suppression import Suppression
from fletching.tokens import Facts, Keyring, Kind

from sandbox.processes import Daemon, DidNotHappenError, free_port, processes, wait_until
from sandbox.redis_server import RedisServer
from tests.stores import open_store
from tests.waiting import HASTY_WEB, wait_for_held

pytestmark = pytest.mark.slow

URL = "https://shop.example/ü?a=1&b=2#c"
LOCATION = "https://shop.example/%C3%BC?a=1&b=2#c"
ONE_CLICK = "List-Unsubscribe=One-Click"
FORM = {"content-type": "application/x-www-form-urlencoded"}


class Web:
    """`fletching web` over one configuration file, and a browser of a kind."""

    def __init__(
        self,
        folder: Path,
        redis_url: str,
        change: Mapping[str, Any],
        program: Sequence[str] = ("-m", "fletching"),
    ) -> None:
        self.folder, self.config = folder, folder / "fletching.yaml"
        self.redis_url = redis_url
        self.port = free_port()
        self.keys_file = folder / "link-keys"
        new_link_key(self.keys_file, 1)
        self.configure(change)
        argv: list[str | Path] = [sys.executable, *program, "web", "--config", self.config]
        self.daemon = Daemon(argv, folder / "log")
        self.events = EventLog(open_store(redis_url))

    def configure(self, change: Mapping[str, Any]) -> None:
        web = {"listen": f"127.0.0.1:{self.port}", "admin_listen": f"127.0.0.1:{free_port()}"}
        config = {
            "redis": self.redis_url,
            "workers": 2,
            "state_dir": str(self.folder / "state"),
            "link_keys": str(self.keys_file),
            "server_id": "mx1",
            "web": web | dict(change.get("web", {})),
        }
        config |= {name: value for name, value in change.items() if name != "web"}
        self.config.write_text(yaml.safe_dump(config))

    def start(self) -> None:
        before = self.log().count("started daemon=web ")
        self.daemon.start(lambda: self.log().count("started daemon=web ") > before)

    def log(self) -> str:
        log = self.folder / "log"
        return log.read_text() if log.exists() else ""

    def says(self, what: str) -> None:
        wait_until(f"no {what!r} in:\n{self.log()[-2000:]}", lambda: what in self.log())

    @property
    def workers(self) -> list[int]:
        return [pid for pid in processes(self.daemon.pid) if pid != self.daemon.pid]

    @property
    def keys(self) -> Keyring:
        return read_link_keys(self.keys_file)

    def token(self, kind: Kind = Kind.CLICK_HTML, url: str = URL, number: int = 7) -> str:
        facts = Facts(
            "abcdefghijkl", number, "News", "01", "T100", "u|s", "r@example.org", "bulk", 1
        )
        return self.keys.seal(kind, facts, url)

    def ask(
        self, method: str, target: str, body: str = "", headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, target, body or None, dict(headers or {}))
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            return response.status, told, response.read()

    def raw(self, data: bytes) -> bytes:
        """What is answered to these octets, until the server ends the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(data)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    answer += piece
            return answer

    def recorded(self) -> list[dict[str, Any]]:
        """The events of all that was answered."""
        wait_for_held(self.folder / "state")
        return [json.loads(event) for _, event in self.events.read("0", 100_000)]


@pytest.fixture
def clean(redis: RedisServer) -> RedisServer:
    redis.empty(keep=(keys.JOURNALS,))
    return redis


def made(
    folder: Path,
    redis: RedisServer,
    change: Mapping[str, Any],
    program: Sequence[str] = ("-m", "fletching"),
) -> Iterator[Web]:
    web = Web(folder, redis.url, change, program)
    web.start()
    try:
        yield web
    finally:
        web.daemon.stop()


@pytest.fixture(scope="module")
def running_web(tmp_path_factory: pytest.TempPathFactory, redis: RedisServer) -> Iterator[Web]:
    yield from made(tmp_path_factory.mktemp("web"), redis, {}, HASTY_WEB)


@pytest.fixture
def web(running_web: Web, clean: RedisServer) -> Iterator[Web]:
    """The tracking service, for tests that neither change nor hurt it; nothing is held."""
    yield running_web
    # What it still holds belongs to the test that has ended.
    running_web.recorded()


@pytest.fixture
def own_web(tmp_path: Path, clean: RedisServer, request: pytest.FixtureRequest) -> Iterator[Web]:
    """One for this test alone, with the options that the test wants."""
    yield from made(tmp_path, clean, getattr(request, "param", {}))


# Requests


@pytest.mark.parametrize(
    "form",
    ["/click/{}", "/click?{}", "/click?qs={}", "/click/?{}", "//click?{}", "/%63lick?%71s={}"],
)
def test_click(web: Web, form: str) -> None:
    status, headers, body = web.ask("GET", form.format(web.token()), headers={"user-agent": "x"})
    assert (status, headers["location"], body) == (302, LOCATION, b"")
    (told,) = web.recorded()
    assert (told["event_type"], told["click_url"], told["user_agent"]) == ("engine_click", URL, "x")
    assert (told["engine_ip"], told["server_id"], told["message_number"]) == ("127.0.0.1", "mx1", 7)


def test_head_and_forged_record_nothing(web: Web) -> None:
    assert web.ask("HEAD", f"/click?{web.token()}")[0] == 302
    for target in ("/click?x", f"/click?{web.token()[:-2]}", "/", "/click", "/%2e%2e/etc/passwd"):
        status, headers, body = web.ask("GET", target)
        assert (status, "location" in headers) == (404, False)
        assert b"does not work" in body
    assert web.ask("GET", "/open?x")[2] == hits.PIXEL
    assert web.recorded() == []


def test_open(web: Web) -> None:
    status, headers, body = web.ask("GET", f"/open?{web.token(Kind.OPEN, '')}")
    assert (status, headers["content-type"], body) == (200, "image/gif", hits.PIXEL)
    assert headers["cache-control"] == "no-store"
    assert web.recorded()[0]["event_type"] == "engine_open"


def test_unsubscribe_with_the_page(web: Web) -> None:
    """As a browser does it: GET, the form that is there, and where it leads."""
    target = f"/unsub?{web.token(Kind.UNSUBSCRIBE_HTML, 'https://example.com/bye')}"
    status, headers, body = web.ask("GET", target, headers={"accept-language": "de-CH"})
    assert (status, headers["content-language"], "set-cookie" in headers) == (200, "de", False)
    assert "http:" in headers["content-security-policy"].partition("form-action")[2]
    assert web.recorded() == []
    form = Form.of(body.decode())
    assert (form.method, form.action) == ("post", "")
    posted = "&".join(f"{name}={value}" for name, value in form.fields.items())
    status, headers, _ = web.ask("POST", target, posted, FORM)
    to = "https://example.com/bye?email=r%40example.org&sendid=News01&listid=T100"
    assert (status, headers["location"]) == (303, to)
    (told,) = web.recorded()
    assert (told["event_type"], told["listid"]) == ("engine_unsub", "t100")


def test_one_click_unsubscribe_can_be_repeated(web: Web) -> None:
    target = f"/unsub?{web.token(Kind.LIST_UNSUBSCRIBE, '')}"
    for _ in range(2):
        status, headers, _ = web.ask("POST", target, ONE_CLICK, FORM)
        assert (status, "location" in headers, "set-cookie" in headers) == (200, False, False)
    assert [told["event_type"] for told in web.recorded()] == ["engine_unsub"] * 2


@pytest.mark.parametrize(
    "own_web",
    [
        {
            "unsubscribe_mailbox": "all@example.com",
            "mail_classes": {"news": {"unsubscribe_mailbox": "news@example.com"}, "shop": {}},
        }
    ],
    indirect=True,
)
@pytest.mark.parametrize(
    ("mail_class", "mailbox"),
    [("News", "news@example.com"), ("shop", "all@example.com"), ("gone", "all@example.com")],
)
def test_unsubscribe_without_a_recorded_recipient(
    own_web: Web, mail_class: str, mailbox: str
) -> None:
    facts = Facts("abcdefghijkl", 7, mail_class, "01", "T100", "", "", "bulk", 1)
    target = f"/unsub?{own_web.keys.seal(Kind.UNSUBSCRIBE_HTML, facts, 'https://example.com/bye')}"
    for method, body, status in (("GET", "", 200), ("POST", ONE_CLICK, 422)):
        found, _, page = own_web.ask(method, target, body, FORM if body else {})
        assert found == status
        assert f'href="mailto:{mailbox}"' in page.decode()
        assert "form" not in Form.of(page.decode()).elements
    assert own_web.recorded() == []


def test_pages_set_no_cookie_and_have_a_strict_policy(web: Web) -> None:
    for target in ("/click?x", f"/unsub?{web.token(Kind.LIST_UNSUBSCRIBE, '')}"):
        _, headers, body = web.ask("GET", target)
        assert "set-cookie" not in headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        assert b"<script" not in body.lower()


def test_keep_alive_and_pipelining(web: Web) -> None:
    one = f"GET /click?{web.token()} HTTP/1.1\r\nHost: x\r\n".encode()
    answer = web.raw((one + b"\r\n") * 3 + one + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 302 ") == 4
    assert len(web.recorded()) == 4


TOO_LONG = {
    "a header": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
    "a header without end": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000,
    "a target": b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a target without end": b"GET /" + b"x" * 200_000,
    "no HTTP": b"\x16\x03\x01" + b"\0" * 1000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_size_limits_of_the_head(web: Web, name: str) -> None:
    answer = web.raw(TOO_LONG[name])
    # It may have been ended before all was sent, and then the answer is lost on the way.
    assert re.match(rb"HTTP/1.1 4(00|14|31) ", answer) or not answer
    assert web.ask("GET", f"/click?{web.token()}")[0] == 302


def test_slow_request_head_times_out(tmp_path: Path, clean: RedisServer) -> None:
    for web in made(tmp_path, clean, {}, IMPATIENT):
        for begun in (b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /"):
            assert web.raw(begun).count(b" 404 ") == begun.count(b"Host")


ENDLESS = {
    "trailers": b"POST /unsub?x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    + b"A: b\r\n" * 200_000,
    "a trailer": b"GET /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: "
    + b"a" * 1_000_000,
    "a body that nobody wants": b"GET /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
    + b"x" * 1_000_000,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_size_limits_after_the_head(web: Web, name: str) -> None:
    """The connection ends, with or without an answer before."""
    web.raw(ENDLESS[name])
    assert web.ask("GET", f"/click?{web.token()}")[0] == 302


def test_slow_request_body_times_out(tmp_path: Path, clean: RedisServer) -> None:
    for web in made(tmp_path, clean, {}, IMPATIENT):
        web.raw(b"POST /unsub?x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx")


def test_empty_lines_do_not_keep_a_connection_open(tmp_path: Path, clean: RedisServer) -> None:
    for web in made(tmp_path, clean, {}, IMPATIENT):
        with socket.create_connection(("127.0.0.1", web.port), timeout=30) as connection:
            connection.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(65536)
            connection.sendall(b"\r\n")
            assert connection.recv(1) == b""


IMPATIENT = (
    "-c",
    """
import sys
from pathlib import Path
from fletching.daemons.process import lifecycle
from fletching.daemons.web.main import TrackingService

lifecycle.serve("web", Path(sys.argv[-1]), [TrackingService(request_timeout=0.1)])
""",
)


def test_long_target_and_long_body(web: Web) -> None:
    assert web.ask("GET", f"/click?{web.token()}&" + "x" * 40_000)[0] == 414
    target = f"/unsub?{web.token(Kind.LIST_UNSUBSCRIBE, '')}"
    assert web.ask("POST", target, ONE_CLICK + "&" * 20_000, FORM)[0] == 413
    assert web.recorded() == []
    url = "https://shop.example/" + "x" * 8000
    assert web.ask("GET", f"/click?{web.token(url=url)}")[1]["location"] == url


@pytest.mark.parametrize(
    ("proxies", "address"),
    [([], "127.0.0.1"), (["127.0.0.1/32"], "192.0.2.9"), (["10.0.0.0/8"], "127.0.0.1")],
)
def test_client_address_behind_proxies(
    tmp_path: Path, clean: RedisServer, proxies: list[str], address: str
) -> None:
    for web in made(tmp_path, clean, {"web": {"trusted_proxies": proxies}}, HASTY_WEB):
        forwarded = {"X-Forwarded-For": "8.8.8.8, 192.0.2.9"}
        web.ask("GET", f"/click?{web.token()}", headers=forwarded)
        assert web.recorded()[0]["engine_ip"] == address


def test_hostile_headers_have_no_effect(web: Web) -> None:
    agent = 'x"}<script>\\'
    web.ask("GET", f"/click?{web.token()}", headers={"User-Agent": agent, "Accept-Language": agent})
    assert web.recorded()[0]["user_agent"] == agent
    assert "script" not in web.log()


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("Prüfer/1.0 日本".encode(), "Prüfer/1.0 日本"),
        ("Probe ü".encode("latin-1"), "Probe ü"),
    ],
    ids=["UTF-8", "Latin-1"],
)
def test_user_agent_that_is_not_ascii(web: Web, sent: bytes, stored: str) -> None:
    web.raw(
        f"GET /click?{web.token()} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
        + b"User-Agent: "
        + sent
        + b"\r\n\r\n"
    )
    assert web.recorded()[0]["user_agent"] == stored


def test_app_links(tmp_path: Path, clean: RedisServer) -> None:
    links = tmp_path / "links"
    links.mkdir()
    (links / "assetlinks.json").write_text("[1]")
    (links / "secret").write_text("no")
    for web in made(tmp_path, clean, {"web": {"app_links": str(links)}}):
        status, headers, body = web.ask("GET", "/.well-known/assetlinks.json")
        assert (status, headers["content-type"], body) == (200, "application/json", b"[1]")
        for other in ("/.well-known/apple-app-site-association", "/.well-known/secret", "/secret"):
            assert web.ask("GET", other)[0] == 404


def test_a_unix_socket(tmp_path: Path, clean: RedisServer) -> None:
    path = tmp_path / "web.sock"
    for web in made(tmp_path, clean, {"web": {"listen": f"unix:{path}"}}, HASTY_WEB):
        assert path.stat().st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            head = f"GET /click?{web.token()} HTTP/1.0\r\nX-Forwarded-For: 2001:db8::1\r\n\r\n"
            connection.sendall(head.encode())
            assert b" 302 " in connection.recv(4096)
        assert web.recorded()[0]["engine_ip"] == "2001:db8::1"
    assert not path.exists()


# Life


def test_reload(own_web: Web) -> None:
    target = f"/unsub?{own_web.token(Kind.UNSUBSCRIBE_HTML)}"
    assert own_web.ask("GET", target)[0] == 200
    own_web.configure({"unsubscribe_tag": "immediate"})
    own_web.daemon.signal(signal.SIGHUP)
    own_web.says("configuration daemon=web reload=done")
    wait_until(
        "every process has it", lambda: {own_web.ask("GET", target)[0] for _ in "1234"} == {303}
    )
    own_web.config.write_text("nonsense: 1\n")
    own_web.daemon.signal(signal.SIGHUP)
    own_web.says("configuration daemon=web reload=failed")
    assert own_web.ask("GET", target)[0] == 303


def test_dead_web_process_is_replaced(own_web: Web) -> None:
    wait_until("all are there", lambda: len(own_web.workers) >= 2)
    dead = own_web.workers[0]
    os.kill(dead, signal.SIGKILL)
    own_web.says("child_died")
    wait_until("another is there", lambda: len(set(own_web.workers) - {dead}) >= 2)
    assert {own_web.ask("GET", f"/click?{own_web.token()}")[0] for _ in range(20)} == {302}


def test_stop_answers_current_requests(own_web: Web, clean: RedisServer) -> None:
    with socket.create_connection(("127.0.0.1", own_web.port), timeout=30) as connection:
        connection.sendall(f"GET /click?{own_web.token()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b" 302 " in connection.recv(4096)
        assert own_web.daemon.stop() == 0
    assert own_web.log().endswith("stopping daemon=web signal=SIGTERM\nstopped daemon=web\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("no keys", {"link_keys": None}, "link_keys: not set"),
        ("no key file", {"link_keys": "/nowhere/keys"}, "link_keys: /nowhere/keys"),
        ("no folder", {"web": {"admin_listen": "unix:/no/s"}}, "web.admin_listen: /no/s: "),
        ("a bad option", {"web": {"listen": "8090"}}, "web.listen"),
        (
            "no templates",
            {"web": {"templates": "/nowhere"}},
            "web.templates: /nowhere: not a directory",
        ),
        (
            "no links",
            {"web": {"app_links": "/etc/hosts"}},
            "web.app_links: /etc/hosts: not a directory",
        ),
        ("another's address", {"web": {"listen": "192.0.2.1:80"}}, "web.listen: 192.0.2.1:80: "),
    ],
)
def test_faults_at_the_start_are_reported(
    tmp_path: Path, redis: RedisServer, name: str, change: dict[str, Any], said: str
) -> None:
    web = Web(tmp_path, redis.url, change)
    with pytest.raises(DidNotHappenError, match="ended at once"):
        web.start()
    assert re.search(rf"(?m)^{re.escape(str(web.config))}:\d+: {re.escape(said)}", web.log())


@pytest.mark.slow
def test_out_of_descriptors(tmp_path: Path, clean: RedisServer) -> None:
    """It says so, and not each time; those who came before are answered, and others afterwards."""
    program = ("-c", OF_FEW_DESCRIPTORS)
    for web in made(tmp_path, clean, {"workers": 1}, program):
        few_descriptors(web)


def few_descriptors(web: Web) -> None:
    early = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)

    def click(number: int) -> int:
        early.request("GET", f"/click?{web.token(number=number)}")
        response = early.getresponse()
        response.read()
        return response.status

    with contextlib.closing(early), contextlib.ExitStack() as stack:
        assert click(1) == 302
        for _ in range(100):
            stack.enter_context(socket.create_connection(("127.0.0.1", web.port)))
        web.says("out_of_file_descriptors limit=64 ")
        assert web.ask("GET", f"/click?{web.token(number=2)}")[0] == 503
        assert click(3) == 302
    wait_until("it answers again", lambda: web.ask("GET", f"/click?{web.token()}")[0] == 302)
    assert {told["message_number"] for told in web.recorded()} == {1, 3, 7}
    assert web.log().count("out_of_file_descriptors") == 1


OF_FEW_DESCRIPTORS = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from fletching.cli.main import main
main()
"""


@pytest.mark.slow
def test_errors_of_uvloop_and_uvicorn_are_logged(tmp_path: Path, clean: RedisServer) -> None:
    for web in made(tmp_path, clean, {"workers": 1}, ("-c", BROKEN_CALLBACK)):
        for _ in range(3):
            assert web.ask("GET", f"/click?{web.token()}")[0] == 302
        web.says("library library=asyncio message=")
        web.says("traceback library=asyncio | RuntimeError: nobody expects this")
        # What any client can cause is no failure.
        assert web.raw(b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert "uvicorn" not in web.log()
        assert web.log().count("library library=asyncio") == 1


BROKEN_CALLBACK = """
import asyncio
from fletching.daemons.web import app as web
from fletching.cli.main import main

class Broken(web.Application):
    async def __call__(self, scope, receive, send):
        await super().__call__(scope, receive, send)
        asyncio.get_running_loop().call_soon(self.fail)

    def fail(self):
        raise RuntimeError("nobody expects this")

from fletching.daemons.web import main as web_processes
web_processes.Application = Broken
main()
"""


# Redis away


@pytest.mark.slow
def test_no_event_is_lost_while_redis_is_down(tmp_path: Path) -> None:
    """A short hour: clicks before, while Redis is away, at its return, and a crash in between."""
    with RedisServer() as redis:
        for web in made(tmp_path, redis, {}):
            asked: list[int] = []

            def click(times: int, web: Web = web, asked: list[int] = asked) -> None:
                for _ in range(times):
                    asked.append(len(asked) + 1)
                    status, headers, _ = web.ask("GET", f"/click?{web.token(number=asked[-1])}")
                    assert (status, headers["location"]) == (302, LOCATION)

            click(20)
            redis.stop()
            click(200)
            web.says("redis_unavailable")
            web.daemon.kill()
            web.start()
            click(100)
            redis.start()
            click(100)
            click(20)
            wait_until("all are there", partial(has_all, web, asked))
            told = web.recorded()
            assert len({each["event_unique_id"] for each in told}) == len(asked)
            assert "events_lost" not in web.log()


@pytest.mark.slow
def test_answered_unsubscribes_survive_data_loss_in_redis(tmp_path: Path) -> None:
    """SIGKILL without an append-only file: Redis starts with nothing, as some set-ups have it."""
    with RedisServer("appendonly no") as redis:
        for web in made(tmp_path, redis, {}):
            for number in range(200):
                target = f"/unsub?{web.token(Kind.LIST_UNSUBSCRIBE, '', number)}"
                assert web.ask("POST", target, ONE_CLICK, FORM)[0] == 200
            redis.daemon.kill()
            redis.start()
            wait_until("not each is there once", partial(has_each_once, web, range(200)))
            lists = Suppression(open_store(redis.url))
            wait_until("nobody is suppressed", partial(lists.contains, "t100", "r@example.org"))


def has_each_once(web: Web, asked: Sequence[int]) -> bool:
    return sorted(told["message_number"] for told in web.recorded()) == list(asked)


def has_all(web: Web, asked: Sequence[int]) -> bool:
    return {told["message_number"] for told in web.recorded()} == set(asked)


def test_many_clients_at_once(web: Web) -> None:
    """Every click that was answered is in the stream, once."""
    readers, each = 8, 50

    def read(reader: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
        with contextlib.closing(connection):
            for number in range(each):
                connection.request("GET", f"/click?{web.token(number=reader * each + number)}")
                response = connection.getresponse()
                response.read()
                assert response.status == 302

    threads = [threading.Thread(target=read, args=(reader,)) for reader in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [event["message_number"] for event in web.recorded()]
    assert sorted(told) == list(range(readers * each))


# Pages


class Form(HTMLParser):
    """The form of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.method, self.action = "", ""
        self.fields: dict[str, str] = {}
        self.elements: list[str] = []

    @classmethod
    def of(cls, page: str) -> Form:
        form = cls()
        form.feed(page)
        return form

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append(tag)
        if tag == "form":
            self.method, self.action = found["method"] or "", found.get("action") or ""
        if tag == "input":
            self.fields[found["name"] or ""] = found["value"] or ""


def test_every_page_in_every_language() -> None:
    pages = Pages(None)
    assert pages.languages == ("en", "de", "fr", "es")
    texts = {pages.page(body, language) for body in PAGES for language in pages.languages}
    assert len(texts) == 4 * len(PAGES)
    for body in PAGES:
        for language in pages.languages:
            text = pages.page(body, language).decode()
            form = Form.of(text)
            assert f'<html lang="{language}">' in text
            assert form.elements.count("h1") == 1
            assert ("form" in form.elements) is (body is Body.UNSUBSCRIBE)
            assert not {"script", "img", "link", "iframe"} & set(form.elements)
            assert len(text) < 4096


PAGES = (Body.UNSUBSCRIBE, Body.NO_RECIPIENT, Body.DONE, Body.UNKNOWN, Body.ERROR)


def test_custom_pages(tmp_path: Path) -> None:
    (tmp_path / "done.html").write_text("<p>Bye, {{ words.title }}")
    words = {
        "nl": {
            body.value: {"title": "<b>Weg</b>", "text": "", "button": "x", "ask": ""}
            for body in PAGES
        }
    }
    (tmp_path / "words.json").write_text(json.dumps(words))
    pages = Pages(tmp_path)
    assert pages.languages == ("nl",)
    assert pages.page(Body.DONE, "nl") == b"<p>Bye, &lt;b&gt;Weg&lt;/b&gt;"
    assert b"<form" in pages.page(Body.UNSUBSCRIBE, "nl")


@pytest.mark.parametrize("mailbox", ["u@example.com", "a+b?c&d%e@example.com", "<b>@example.com"])
def test_the_page_without_a_recipient_shows_the_mailbox(mailbox: str) -> None:
    pages = Pages(None, ["other@example.com", mailbox])
    for language in pages.languages:
        text = pages.page(Body.NO_RECIPIENT, language, mailbox).decode()
        assert f'<a href="mailto:{quote(mailbox, safe="@")}">{escape(mailbox)}</a>' in text
        assert "other@" not in text
        assert "<a " not in pages.page(Body.NO_RECIPIENT, language).decode()


@pytest.mark.parametrize(("language", "title"), [("de", "nicht abmelden"), ("nl", "cannot unsub")])
def test_custom_texts_may_lack_the_page_without_a_recipient(
    tmp_path: Path, language: str, title: str
) -> None:
    said = {"title": "x", "text": "", "button": "x"}
    known = {body.value: said for body in PAGES if body is not Body.NO_RECIPIENT}
    (tmp_path / "words.json").write_text(json.dumps({language: known}))
    assert title in Pages(tmp_path).page(Body.NO_RECIPIENT, language).decode()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("done.html", "{{ nothing }}", "done.html in en: UndefinedError"),
        ("done.html", "{% if %}", "done.html in en: TemplateSyntaxError"),
        ("words.json", "{", "words.json"),
        ("words.json", "{}", "words.json"),
        ("words.json", '{"en": {}}', "unsubscribe.html in en"),
        ("error.html", "{% extends 'nothing.html' %}", "error.html in en: TemplateNotFound"),
    ],
)
def test_broken_pages_are_reported(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(PageError, match=re.escape(said)):
        Pages(tmp_path)
