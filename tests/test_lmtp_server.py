"""The LMTP protocol of returned mail: what Postfix and odd clients say, over a real socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from fletching.daemons.lmtp import server
from fletching.daemons.lmtp.server import TRY_AGAIN, Clients, Transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.lmtp import LmtpClient
from tests.cases import for_every

BOUNCES = "bounces+tag@example.com"


class Server:
    """A server in a thread, which keeps what it gets."""

    def __init__(self, path: Path, timeout: float = 60) -> None:
        self.path = str(path / "lmtp.sock")
        self.got: list[Transaction] = []
        self.reply: Callable[[Transaction], Sequence[str]] = lambda mail: [
            f"250 2.0.0 {recipient}" for recipient in mail.recipients
        ]
        self._timeout = timeout
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))
        self._ready, self._over = ready, asyncio.Event()
        self._thread.start()
        assert ready.wait(30)

    async def _run(self) -> None:
        self.clients = Clients(self._receive, "mx1.example.com", self._timeout)
        running = await self._loop.create_unix_server(self.clients.connection, self.path)
        self._ready.set()
        await self._over.wait()
        running.close()
        await self.clients.end(5)

    async def _receive(self, mail: Transaction) -> Sequence[str]:
        self.got.append(mail)
        return self.reply(mail)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def client(self) -> LmtpClient:
        opened = LmtpClient(self.path)
        assert opened.say(b"LHLO x").startswith(b"250")
        return opened


@pytest.fixture
def lmtp(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.end()


def test_mail_arrives_as_it_was_sent(lmtp: Server) -> None:
    content = b"Subject: x\r\n\r\n.\r\n..two\r\n" + b"long" * 50_000 + b"\r\nend\r\n"
    with lmtp.client() as client:
        assert client.deliver("", [BOUNCES], content) == [f"250 2.0.0 {BOUNCES}".encode()]
        client.deliver("a@example.net", [BOUNCES, "b@example.com"], b"\r\n")
    assert lmtp.got == [
        Transaction("", (BOUNCES,), content, len(content.replace(b"\r\n.", b"\r\n.."))),
        Transaction("a@example.net", (BOUNCES, "b@example.com"), b"\r\n", 2),
    ]


# Each begins with the reply to DATA. Postfix sends the commands before in one write.
CONTENTS = {
    "nothing": (b".\r\n", b""),
    "one line": (b"a: b\r\n.\r\n", b"a: b\r\n"),
    "only a dot": (b"..\r\n.\r\n", b".\r\n"),
    "dot at once": (b".a\r\n.\r\n", b"a\r\n"),
    "bare LF around a dot": (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n"),
    "bare CR around a dot": (b"a\r.\rb\r\n.\r\n", b"a\r.\rb\r\n"),
    "NUL and 8 bits": (b"\0\xff\r\n.\r\n", b"\0\xff\r\n"),
}


@for_every(CONTENTS)
def test_content_ends_at_a_line_with_a_dot(sent: bytes, wanted: bytes) -> None:
    assert _received(sent) == wanted


def _received(sent: bytes) -> bytes:
    async def feed() -> Transaction:
        got: list[Transaction] = []

        async def receive(mail: Transaction) -> Sequence[str]:
            got.append(mail)
            return ["250 OK"]

        clients = Clients(receive, "x")
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            loop = asyncio.get_running_loop()
            transport, _ = await loop.connect_accepted_socket(clients.connection, ours)
            commands = b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@e>\r\nDATA\r\n"
            await loop.sock_sendall(theirs, commands)
            answers = b""
            while b"\r\n354 " not in answers:
                answers += await loop.sock_recv(theirs, 65536)
            await loop.sock_sendall(theirs, sent + b"QUIT\r\n")
            while answers.count(b"\r\n221 ") < 1:
                answers += await loop.sock_recv(theirs, 65536)
            transport.close()
        return got[0]

    return asyncio.run(feed()).content


@given(st.lists(st.sampled_from([b".", b"\r\n", b"a", b"\n", b"\r", b"\r\n.\r\n"])))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_content_arrives_whole(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    assert _received(stuffed + b".\r\n") == content


def test_rest_of_a_mail_that_is_too_long_is_discarded(
    lmtp: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LARGEST", 100_000)
    content = b"Subject: x\r\n\r\n" + b"x" * 78 * 20_000 + b"\r\n"
    with lmtp.client() as client:
        client.deliver("", [BOUNCES], content)
        client.deliver("", [BOUNCES], b"Subject: next\r\n")
    first, second = lmtp.got
    assert first.content == content[:100_000]
    assert first.size == len(content)
    assert second.content == b"Subject: next\r\n"


def test_each_recipient_has_a_reply_of_its_own(lmtp: Server) -> None:
    replies = ["250 2.0.0 OK", TRY_AGAIN, "250 2.0.0 OK"]
    lmtp.reply = lambda mail: replies
    with lmtp.client() as client:
        for _ in range(2):
            found = client.deliver("", ["a@e", "b@e", "c@e"], b"\r\n")
            assert [reply.decode() for reply in found] == replies


def test_unexpected_error_is_451_for_each_recipient(
    lmtp: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(mail: Transaction) -> Sequence[str]:
        raise RuntimeError("boom")

    lmtp.reply = fail
    with lmtp.client() as client:
        assert client.deliver("", ["a@e", "b@e"], b"\r\n") == [TRY_AGAIN.encode()] * 2
        lmtp.reply = lambda mail: ["250 2.0.0 OK"]
        assert client.deliver("", ["a@e"], b"\r\n") == [b"250 2.0.0 OK"]
    assert 'returned_mail_failed error="RuntimeError: boom"' in capfd.readouterr().err


COMMANDS = {
    "null sender": (b"MAIL FROM:<>", b"250"),
    "size and body": (b"MAIL FROM:<> SIZE=99999999999 BODY=8BITMIME", b"250"),
    "internationalized sender": ("MAIL FROM:<ü@example.net> SMTPUTF8".encode(), b"250"),
    "odd sender": (b"MAIL FROM:<a..b.@-c-.d>", b"250"),
    "quoted sender": (b'MAIL FROM:<"a > b"@example.net>', b"250"),
    "long sender": (b"MAIL FROM:<" + b"a" * 2000 + b"@example.net>", b"250"),
    "bytes that are no UTF-8": (b"MAIL FROM:<\xff@example.net>", b"250"),
    "no brackets": (b"MAIL FROM:a@example.net", b"553"),
    "HELO": (b"HELO x", b"500"),
    "DATA too early": (b"DATA", b"503"),
    "RCPT too early": (b"RCPT TO:<a@e>", b"503"),
    "nonsense": (b"XYZZY", b"500"),
    "NUL": (b"\0", b"500"),
    "endless line": (b"a" * 1_000_000, b"500"),
    "VRFY of bytes": (b"VRFY <\xff@e>", b"252"),
}


def test_commands_have_their_replies(lmtp: Server) -> None:
    for name, (command, code) in COMMANDS.items():
        with lmtp.client() as client:
            assert client.say(command).startswith(code), name
            assert client.say(b"NOOP").startswith(b"250"), name


def test_recipients_above_the_limit_are_for_later(
    lmtp: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_RECIPIENTS", 2)
    with lmtp.client() as client:
        replies = client.deliver("", ["a@e", "b@e", "c@e"], b"\r\n")
    assert [reply[:3] for reply in replies] == [b"250", b"250", b"452"]
    assert lmtp.got[0].recipients == ("a@e", "b@e")


def test_connections_above_the_limit_are_for_later(
    lmtp: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 1)
    with lmtp.client() as client:
        with LmtpClient(lmtp.path) as other:
            assert other.greeting.startswith(b"421")
        assert client.deliver("", ["a@e"], b"\r\n") == [b"250 2.0.0 a@e"]


def test_silent_client_is_disconnected(tmp_path: Path) -> None:
    running = Server(tmp_path, timeout=0.3)
    try:
        with LmtpClient(running.path) as client, pytest.raises(ConnectionError):
            client.reply()
    finally:
        running.end()


def test_mail_in_hand_is_finished_at_the_end(tmp_path: Path) -> None:
    running = Server(tmp_path)
    with running.client() as idle, running.client() as busy:
        for command in (b"MAIL FROM:<>", b"RCPT TO:<a@e>", b"DATA"):
            busy.say(command)
        ending = threading.Thread(target=running.end)
        ending.start()
        with pytest.raises(ConnectionError):
            idle.reply()
        assert busy.say(b"Subject: x\r\n.") == b"250 2.0.0 a@e"
        ending.join()
    assert [mail.content for mail in running.got] == [b"Subject: x\r\n"]
