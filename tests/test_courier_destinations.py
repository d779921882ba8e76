"""Destinations: a receiver of webhooks, files and databases, as they are met by `deliver`."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import re
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fletching import events
from fletching.config.sections import Destination
from fletching.destinations import lines, webhook
from fletching.destinations.answers import LONGEST_WAIT, Answer, Verdict
from fletching.destinations.formats.greenarrow import ARRAY, FORM
from fletching.destinations.lines import JsonLines
from fletching.destinations.open import DestinationError, open_destination
from fletching.destinations.sql import Sql
from fletching.destinations.webhook import Webhook

from sandbox.processes import Daemon, free_port, program
from sandbox.processes import answers as answers_at
from tests.courier_setting import Receiver, Reply, event, mailwizz, queued

pytestmark = pytest.mark.slow

SECRET = b"what the shop and we know"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


# Webhooks


def test_webhook_gets_an_array_with_all_fields(receiver: Receiver) -> None:
    sent_events = [event(number) for number in range(3)]
    answer = Webhook(receiver.url, SECRET, format=ARRAY).deliver(queued(*sent_events), attempt=2)
    assert answer.verdict is Verdict.DELIVERED
    (request,) = receiver.requests
    assert request.path == "/hook?of=shop"
    assert request.events == [each.fields() for each in sent_events]
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-fletching-attempt"] == "2"
    assert request.headers["x-fletching-first-queued"] == sent_events[0].fields()["timestamp"]


def test_webhook_requests_are_signed(receiver: Receiver) -> None:
    Webhook(receiver.url, SECRET, format=ARRAY).deliver(queued(event(1)), 1)
    Webhook(receiver.url, None, format=ARRAY).deliver(queued(event(1)), 1)
    signed, unsigned = receiver.requests
    found = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", signed.headers["x-fletching-signature"])
    assert found is not None
    made = hmac.digest(SECRET, found[1].encode() + b"." + signed.body, hashlib.sha256)
    assert hmac.compare_digest(made, bytes.fromhex(found[2]))
    assert "x-fletching-signature" not in unsigned.headers


def test_form_is_accepted_by_mailwizz_rules() -> None:
    with Receiver(mailwizz) as receiver:
        post = Webhook(receiver.url, None, format=FORM)
        assert post.batch_size == 1
        unsubscribed = event(1, events.UNSUBSCRIBE, click_url="")
        bounced = event(2, events.BAD_ADDRESS, bounce_type="h", bounce_code=10)
        for each in (unsubscribed, bounced):
            assert post.deliver(queued(each), 1).verdict is Verdict.DELIVERED
        post.close()
        first, second = (request.form for request in receiver.requests)
    assert first["event_type"] == "engine_unsub"
    assert first["click_tracking_id"].split("|") == ["campaign", "subscriber"]
    assert "bounce" in second["event_type"]
    assert second["bounce_type"] == "h"
    assert receiver.connections == 1


def test_form_answered_without_ok_is_retried() -> None:
    with Receiver(lambda _: Reply(200, b"")) as receiver:
        answer = Webhook(receiver.url, None, format=FORM).deliver(queued(event(1)), 1)
    assert answer == Answer(Verdict.RETRY, "the response does not begin with ok")


def test_redirect_is_not_followed(receiver: Receiver) -> None:
    with Receiver(lambda _: Reply(307, headers=(("Location", receiver.url),))) as other:
        answer = Webhook(other.url, SECRET, format=ARRAY).deliver(queued(event(1)), 1)
    assert answer == webhook.judge(307)
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("value", "wait"), [("7", 7.0), ("Mon, 21 Sep 2099 14:13:20 GMT", LONGEST_WAIT)]
)
def test_retry_after_of_an_answer_is_read(receiver: Receiver, value: str, wait: float) -> None:
    receiver.answer = lambda _: Reply(429, headers=(("Retry-After", value),))
    answer = Webhook(receiver.url, None, format=ARRAY).deliver(queued(event(1)), 1)
    assert answer == Answer(Verdict.RETRY, "status 429", wait)


def test_configured_headers_are_sent(receiver: Receiver) -> None:
    more = {"X-Api-Key": "k1", "Authorization": "Bearer b"}
    Webhook(receiver.url, None, format=ARRAY, headers=more).deliver(queued(event(1)), 1)
    (request,) = receiver.requests
    assert (request.headers["x-api-key"], request.headers["authorization"]) == ("k1", "Bearer b")


def test_requests_share_one_connection(receiver: Receiver) -> None:
    receiver.answer = lambda _: Reply(200, b"thanks")
    post = Webhook(receiver.url, SECRET, format=ARRAY)
    for attempt in range(1, 4):
        assert post.deliver(queued(event(1)), attempt).verdict is Verdict.DELIVERED
    post.close()
    assert receiver.connections == 1


def test_closed_idle_connection_is_reopened() -> None:
    # Each connection answers once and is closed without a word.
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def once_each() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                with connection, connection.makefile("rb") as asked:
                    length = 0
                    while (line := asked.readline()) != b"\r\n":
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.partition(b":")[2])
                    asked.read(length)
                    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        serving = threading.Thread(target=once_each)
        serving.start()
        port = listening.getsockname()[1]
        post = Webhook(f"http://127.0.0.1:{port}/", SECRET, format=ARRAY)
        found = [post.deliver(queued(event(1)), 1).verdict for _ in range(2)]
        post.close()
        serving.join()
    assert found == [Verdict.DELIVERED] * 2


def _answers(*octets: bytes) -> Iterator[str]:
    """A server that answers anything with these octets, piece by piece, and then waits."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                try:
                    for piece in octets:
                        connection.sendall(piece)
                    # Until the other side has had enough.
                    while connection.recv(65536):
                        pass
                except OSError:
                    pass

        serving = threading.Thread(target=answer)
        serving.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        serving.join()


answers = contextmanager(_answers)


@pytest.mark.parametrize(
    ("octets", "verdict"),
    [
        pytest.param((), Verdict.RETRY, id="no answer"),
        pytest.param((b"\0\0\0\n\n",), Verdict.RETRY, id="no HTTP"),
        pytest.param((b"HTTP/1.1 200 OK\r\nA: ",), Verdict.RETRY, id="half a header"),
        pytest.param((b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10**7,), Verdict.DELIVERED, id="10 MB"),
        pytest.param(
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",), Verdict.RETRY, id="half a body"
        ),
        pytest.param(
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",),
            Verdict.RETRY,
            id="broken chunks",
        ),
        pytest.param((b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 999,), Verdict.RETRY, id="headers"),
        pytest.param((b"HTTP/1.1 103 Early Hints\r\n\r\n",), Verdict.RETRY, id="103 alone"),
        pytest.param((b"HTTP/1.1 103 Hi\r\n\r\n" * 10**5,), Verdict.RETRY, id="103 for ever"),
        pytest.param((b"HTTP/1.1 101 Switching\r\n\r\n",), Verdict.RETRY, id="another protocol"),
    ],
)
def test_hostile_answer_gets_a_verdict(octets: tuple[bytes, ...], verdict: Verdict) -> None:
    with answers(*octets) as url:
        post = Webhook(url, SECRET, format=ARRAY, timeout=0.5)
        assert post.deliver(queued(event(1)), 1).verdict is verdict
        post.close()


@pytest.mark.parametrize("interim", [(100,), (102,), (103,), (100, 102, 103, 103)])
def test_interim_answers_are_skipped(interim: tuple[int, ...]) -> None:
    octets = [b"HTTP/1.1 %d Wait\r\nLink: </a>\r\n\r\n" % status for status in interim]
    with answers(*octets, b"HTTP/1.1 406 No\r\nContent-Length: 0\r\n\r\n") as url:
        post = Webhook(url, None, format=ARRAY)
        assert post.deliver(queued(event(1)), 1) == Answer(Verdict.DEAD_LETTER, "status 406")
        post.close()


def test_answer_sent_byte_by_byte_is_cut_off() -> None:
    """No wait is long, and all together are."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nA: ")
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.01)

        serving = threading.Thread(target=drip)
        serving.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        post = Webhook(url, None, format=ARRAY, deadline=0.3)
        assert post.deliver(queued(event(1)), 1).verdict is Verdict.RETRY
        post.close()
        serving.join()


def test_refused_connection_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    answer = Webhook(f"http://127.0.0.1:{port}/", None, format=ARRAY).deliver(queued(event(1)), 1)
    assert answer.verdict is Verdict.RETRY
    assert answer.why.startswith("ConnectionRefusedError")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for localhost, with its key beside it."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *(program("openssl", "openssl"), "req", "-x509", "-nodes", "-newkey", "rsa:2048"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate


@contextmanager
def tls_receiver(certificate: Path) -> Iterator[Receiver]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with Receiver() as receiver:
        receiver.wrap(tls)
        receiver.url = receiver.url.replace("http://127.0.0.1", "https://localhost")
        yield receiver


def test_untrusted_certificate_is_refused(certificate: Path) -> None:
    with tls_receiver(certificate) as receiver:
        url = receiver.url
        refused = Webhook(url, SECRET, format=ARRAY).deliver(queued(event(1)), 1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(certificate))
            post = Webhook(url, SECRET, format=ARRAY)
            trusted = post.deliver(queued(event(1)), 1)
            post.close()
    assert refused.verdict is Verdict.RETRY
    assert "certificate verify failed" in refused.why
    assert trusted.verdict is Verdict.DELIVERED
    assert len(receiver.requests) == 1


# Through a proxy


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a private tinyproxy, and its log."""
    port = free_port()
    log = tmp_path / "tinyproxy.log"
    config = tmp_path / "tinyproxy.conf"
    config.write_text(f"Listen 127.0.0.1\nPort {port}\nAllow 127.0.0.1\nLogLevel Connect\n")
    daemon = Daemon([program("tinyproxy", "tinyproxy-bin"), "-d", "-c", str(config)], log)
    daemon.start(lambda: answers_at(port))
    try:
        yield f"http://127.0.0.1:{port}", log
    finally:
        daemon.stop()


def test_proxy_forwards_http(proxy: tuple[str, Path], receiver: Receiver) -> None:
    url, log = proxy
    post = Webhook(receiver.url, SECRET, format=ARRAY, proxy=url)
    assert post.deliver(queued(event(1)), 1).verdict is Verdict.DELIVERED
    post.close()
    (request,) = receiver.requests
    assert request.path == "/hook?of=shop"
    assert f"POST {receiver.url}" in log.read_text()


def test_proxy_tunnels_tls(
    proxy: tuple[str, Path], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, log = proxy
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with tls_receiver(certificate) as receiver:
        post = Webhook(receiver.url, SECRET, format=ARRAY, proxy=url)
        for _ in range(2):
            assert post.deliver(queued(event(1)), 1).verdict is Verdict.DELIVERED
        post.close()
        assert receiver.connections == 1
        assert [request.path for request in receiver.requests] == ["/hook?of=shop"] * 2
    assert "CONNECT localhost:" in log.read_text()


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://shop.example/hook", b"CONNECT shop.example:443 "),
        ("https://shop.example:8443/hook", b"CONNECT shop.example:8443 "),
        ("http://shop.example/hook", b"POST http://shop.example/hook "),
    ],
)
def test_proxy_tunnel_uses_the_port_of_the_url(url: str, target: bytes) -> None:
    """443 is the default of https."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        requests: list[bytes] = []

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                requests.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
        post = Webhook(url, None, format=ARRAY, proxy=proxy)
        assert post.deliver(queued(event(1)), 1).verdict is Verdict.RETRY
        post.close()
        thread.join()
    assert requests[0].startswith(target)


def test_refusing_proxy_is_a_failure(proxy: tuple[str, Path]) -> None:
    url, _ = proxy
    # Nobody listens there.
    post = Webhook(f"https://localhost:{free_port()}/", SECRET, format=ARRAY, proxy=url)
    answer = post.deliver(queued(event(1)), 1)
    assert answer.verdict is Verdict.RETRY
    assert "Tunnel connection failed" in answer.why


# Files


def read(path: Path) -> list[str]:
    """The ids of the events in a file; an error where a line is not whole."""
    return [json.loads(line)["event_unique_id"] for line in path.read_text().splitlines()]


def test_file_gets_one_line_for_each_event(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sent_events = [event(number) for number in range(3)]
    file = JsonLines(path, None)
    assert file.deliver(queued(*sent_events[:2]), 1).verdict is Verdict.DELIVERED
    assert file.deliver(queued(*sent_events[2:]), 1).verdict is Verdict.DELIVERED
    assert path.read_text() == "".join(each.json() + "\n" for each in sent_events)
    assert path.stat().st_mode & 0o777 & ~0o640 == 0
    file.close()


def test_rotation_keeps_the_newest_files_in_order(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = JsonLines(path, 10)
    count = lines.KEPT + 3
    for number in range(count):
        assert file.deliver(queued(event(number)), 1).verdict is Verdict.DELIVERED
    file.close()
    last = [f"id{number:06}" for number in range(count - 1, 1, -1)]
    names = [path, *(Path(f"{path}.{number}") for number in range(1, lines.KEPT + 1))]
    assert [read(name) for name in names] == [[id] for id in last]
    assert sorted(tmp_path.iterdir()) == sorted(names)


@pytest.mark.parametrize("successor", [False, True], ids=["moved", "moved and created again"])
def test_moved_file_is_created_again(successor: bool, tmp_path: Path) -> None:
    path, moved = tmp_path / "events.jsonl", tmp_path / "moved"
    file = JsonLines(path, None)
    file.deliver(queued(event(1)), 1)
    path.rename(moved)
    if successor:
        path.touch()
    file.deliver(queued(event(2)), 1)
    file.close()
    assert (read(moved), read(path)) == (["id000001"], ["id000002"])


def test_deleted_file_is_created_again(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = JsonLines(path, None)
    file.deliver(queued(event(1)), 1)
    path.unlink()
    file.deliver(queued(event(2)), 1)
    file.close()
    assert read(path) == ["id000002"]


@pytest.mark.parametrize("size", [0, 1, 70_000, 200_000])
def test_incomplete_last_line_is_removed(tmp_path: Path, size: int) -> None:
    path = tmp_path / "events.jsonl"
    file = JsonLines(path, None)
    file.deliver(queued(event(1)), 1)
    file.close()
    with path.open("a") as left:
        left.write("{" * size)
    file.deliver(queued(event(2)), 1)
    file.close()
    assert read(path) == ["id000001", "id000002"]


def test_full_disk_leaves_no_part_of_a_batch(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = JsonLines(path, None)
    file.deliver(queued(event(1)), 1)
    size = path.stat().st_size
    # A limit on files makes write(2) write a part and then fail, as a full disk does.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
    try:
        answer = file.deliver(queued(event(2)), 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert answer == Answer(Verdict.RETRY, f"{path}: File too large")
    assert read(path) == ["id000001"]
    assert file.deliver(queued(event(2)), 2).verdict is Verdict.DELIVERED
    file.close()
    assert read(path) == ["id000001", "id000002"]


def test_missing_folder_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "no" / "file"
    answer = JsonLines(path, None).deliver(queued(event(1)), 1)
    assert answer == Answer(Verdict.RETRY, f"{path}: No such file or directory")


# From the configuration


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        pytest.param({"webhook": "https://example.com/"}, Webhook, id="webhook"),
        pytest.param({"file": "events.jsonl"}, JsonLines, id="file"),
        pytest.param({"sql": "sqlite://"}, Sql, id="sql"),
    ],
)
def test_destination_class_by_option(options: dict[str, Any], kind: type) -> None:
    assert isinstance(open_destination(Destination(name="a", **options)), kind)


@pytest.mark.parametrize(
    ("options", "content", "said"),
    [
        pytest.param(
            {"webhook": "https://example.com/", "secret_file": "{file}"},
            "short\n",
            "secret_file: {file}: must have at least 16 characters in its first line",
            id="a short secret",
        ),
        pytest.param(
            {"webhook": "https://example.com/", "secret_file": "{file}"},
            None,
            "secret_file: {file}: No such file or directory",
            id="no secret",
        ),
        pytest.param(
            {"webhook": "https://example.com/", "auth_file": "{file}"},
            "user\npassword\n",
            "auth_file: {file}: must have USER:PASSWORD in its first line",
            id="no password",
        ),
        pytest.param(
            {"webhook": "https://example.com/", "auth_file": "{file}"},
            None,
            "auth_file: {file}: No such file or directory",
            id="no file of a password",
        ),
        pytest.param(
            {"file": "{file}/a/events.jsonl"},
            None,
            "file: {file}/a: missing directory:"
            " create it for the service's user: install -d -o fletching {file}/a",
            id="a missing directory",
        ),
        pytest.param(
            {"file": "{file}/events.jsonl"},
            "no folder",
            "file: {file}: missing directory:"
            " create it for the service's user: install -d -o fletching {file}",
            id="a file as a folder",
        ),
        pytest.param(
            {"file": "/var"},
            None,
            "file: /var: is a directory: name a file in it, such as /var/events.jsonl",
            id="a folder as a file",
        ),
        pytest.param(
            {"file": "/dev/null"},
            None,
            "file: /dev/null: must be a regular file, not a device or a pipe",
            id="a device as a file",
        ),
        pytest.param(
            {"sql": "mysql+hunter2://u:hunter2@h/d"},
            None,
            "sql: not a URL that SQLAlchemy understands",
            id="no such database",
        ),
        pytest.param(
            {"sql": "mysql+mysqldb://u:hunter2@h/d"},
            None,
            "sql: needs the Python package MySQLdb",
            id="no driver",
        ),
    ],
)
def test_wrong_destination_options_raise(
    tmp_path: Path, options: dict[str, str], content: str | None, said: str
) -> None:
    file = str(tmp_path / "file")
    if content is not None:
        Path(file).write_text(content)
    values = {name: value.replace("{file}", file) for name, value in options.items()}
    with pytest.raises(DestinationError) as wrong:
        open_destination(Destination.model_validate({"name": "a", **values}))
    assert f"{wrong.value.option}: {wrong.value}" == said.replace("{file}", file)


def test_secret_is_the_first_line_of_its_file(tmp_path: Path, receiver: Receiver) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET + b"\r\nold one\n")
    values = {"name": "a", "webhook": receiver.url, "secret_file": str(file)}
    open_destination(Destination.model_validate(values)).deliver(queued(event(1)), 1)
    (request,) = receiver.requests
    found = re.fullmatch(r"t=(\d+),v1=(\w+)", request.headers["x-fletching-signature"])
    assert found is not None
    assert found[2] == hmac.digest(SECRET, f"{found[1]}.".encode() + request.body, "sha256").hex()


def test_auth_file_is_sent_as_basic_authentication(tmp_path: Path, receiver: Receiver) -> None:
    file = tmp_path / "auth"
    file.write_text("Aladdin:open sesame\n")
    values = {"name": "a", "webhook": receiver.url, "auth_file": str(file)}
    open_destination(Destination.model_validate(values)).deliver(queued(event(1)), 1)
    (request,) = receiver.requests
    # The example of RFC 7617, section 2.
    assert request.headers["authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
