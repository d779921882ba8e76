"""Seed mailboxes on a server that answers what no server should: an error, and nothing worse."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from fletching.monitor import mailbox
from fletching.monitor.mailbox import Account, MailboxError, arrivals

from tests.setting import KEYRING

pytestmark = pytest.mark.slow

SINCE = 1_790_000_000
FOUND = b"* SEARCH 1\r\n"
HEADER = b"X-Mailer-Info: x\r\n\r\n"


def fetched(about: bytes) -> bytes:
    size = str(len(HEADER)).encode()
    return b"* 1 FETCH (UID 1 " + about + b" BODY[] {" + size + b"}\r\n" + HEADER + b")\r\n"


@contextmanager
def server(answers: Mapping[bytes, bytes | Callable[[socket.socket], None]]) -> Iterator[int]:
    """An IMAP server with those answers before its OK, by command; its port."""

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines, suppress(OSError):
            connection.sendall(b"* OK [CAPABILITY IMAP4rev1] hello\r\n")
            for line in lines:
                tag, _, rest = line.partition(b" ")
                command = rest.upper().removeprefix(b"UID ").split()[0]
                answer = answers.get(command, b"")
                if callable(answer):
                    answer(connection)
                    return
                if command == b"CAPABILITY":
                    answer = answer or b"* CAPABILITY IMAP4rev1\r\n"
                connection.sendall(answer + tag + b" OK done\r\n")

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("secret\n")
    path.chmod(0o600)
    return path


ANSWERS: dict[str, tuple[Mapping[bytes, bytes], str]] = {
    "a date without such a day": (
        {b"SEARCH": FOUND, b"FETCH": fetched(b'INTERNALDATE "99-Feb-2026 00:00:00 +0000"')},
        "",
    ),
    "a date before all others": (
        {b"SEARCH": FOUND, b"FETCH": fetched(b'INTERNALDATE "01-Jan-0001 00:00:00 +2300"')},
        "",
    ),
    "a folder that is not ASCII": ({b"LIST": b'* LIST () "/" "\xff\xfe"\r\n'}, ""),
    "a folder with a line end": ({b"LIST": b'* LIST () "/" {9}\r\na\r\nX NOOP\r\n'}, ""),
    "a folder with a NUL": ({b"LIST": b'* LIST () "/" "a\0b"\r\n'}, ""),
    "a separator that is not ASCII": ({b"LIST": b'* LIST () "\xff" "a"\r\n'}, ""),
    "a name that is not UTF-7": ({b"LIST": b'* LIST () "/" "&2AA-x&AAA-"\r\n'}, ""),
    "no folders": ({b"LIST": b"* LIST\r\n* LIST x\r\n* LIST ()\r\n"}, ""),
    "ids in a literal": ({b"SEARCH": b"* SEARCH {1}\r\n1\r\n"}, ""),
    "ids that are not numbers": ({b"SEARCH": b"* SEARCH \xff 1\r\n"}, ""),
    "a mail without anything": ({b"SEARCH": FOUND, b"FETCH": b"* 1 FETCH\r\n* 1 FETCH ()\r\n"}, ""),
    "a literal where none belongs": (
        {b"FETCH": b"* 1 FETCH ({1}\r\nx {1}\r\ny)\r\n", b"SEARCH": FOUND},
        "",
    ),
    "a line that is too long": (
        {b"LIST": b"* " + b"x" * 2_000_000 + b"\r\n"},
        "command: LIST => got more than 1000000 bytes",
    ),
    "a literal that is too long": (
        {b"LIST": b"* LIST () NIL {99999999999}\r\n"},
        "an answer of the server is too large",
    ),
    "too many lines": (
        {b"LIST": b"* OK " + b"x" * 900_000 + b"\r\n" + b"* OK still here\r\n" * 1_000_000},
        "an answer of the server is too large",
    ),
}


@pytest.mark.parametrize(("answers", "why"), ANSWERS.values(), ids=ANSWERS)
def test_answer_that_no_server_should_give(
    password_file: Path, answers: Mapping[bytes, bytes], why: str
) -> None:
    with server(answers) as port:
        account = Account(f"imap://127.0.0.1:{port}", "s", password_file)
        try:
            arrivals(account, SINCE, KEYRING)
            error = ""
        except MailboxError as refused:
            error = str(refused)
    assert error == why


def test_server_that_sends_a_byte_from_time_to_time(
    password_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "LONGEST", 0.5)

    def drip(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"*")
            time.sleep(0.05)

    with server({b"LIST": drip}) as port:
        account = Account(f"imap://127.0.0.1:{port}", "s", password_file)
        with pytest.raises(MailboxError, match="took too long"):
            arrivals(account, SINCE, KEYRING)
