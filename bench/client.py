"""An SMTP client that sends each mail at its scheduled time, not when the previous one is answered.

One thread and one selector, with all bytes prepared beforehand, so that the client uses little of
the machine that it measures. Sessions are opened before the clock starts and kept open, as an
application that sends a campaign does; they take turns. MAIL, RCPT and DATA are sent at once
(RFC 2920), the mail after the reply to DATA.

A mail waits in a queue while all sessions are busy. Its time counts from its scheduled time, so a
stalling server cannot hide it by slowing its client down ("coordinated omission").
"""

from __future__ import annotations

import random
import re
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

_PATIENCE = 60.0
_CHUNK = 1 << 16
Words = tuple[bytes, bytes]
"""The bytes that the client sends for one mail: before the 354, and after it."""

_REPLY = re.compile(rb"(?m)^(\d{3}) .*\r\n")


class RefusedError(Exception):
    """The server did not accept a mail."""


@dataclass(frozen=True, slots=True)
class Times:
    """Times of one mail in seconds: scheduled, begun, final dot sent, final dot answered."""

    due: float
    begun: float
    dot: float
    answered: float

    @property
    def service(self) -> float:
        """The time of milter and Postfix: from the final dot to its reply."""
        return self.answered - self.dot

    @property
    def from_schedule(self) -> float:
        """The application's wait: from the scheduled time to the reply."""
        return self.answered - self.due


def schedule(count: int, per_second: float, seed: int = 0) -> list[float]:
    """When each mail is due, in seconds from the start, at random times (Poisson).

    The times depend on ``seed`` only, so they are the same for every server. With a rate of 0, all
    mails are due at once: the sessions are always busy, and the result is the throughput.
    """
    if not per_second:
        return [0.0] * count
    chance = random.Random(seed)
    due, now = [], 0.0
    for _ in range(count):
        now += chance.expovariate(per_second)
        due.append(now)
    return due


def dialogue(mail: bytes, sender: str, recipient: str) -> Words:
    """The bytes for one mail, with dots doubled and the final dot."""
    before = f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode("ascii")
    stuffed = re.sub(rb"(?m)^\.", b"..", mail)
    return before, stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n"


class _Session:
    """One SMTP session: idle, or sending one mail."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._mail = b""
        self._read = b""
        self._left = memoryview(b"")
        self._due = self._begun = self._dot = 0.0
        self._greet()
        self.socket.setblocking(False)

    def _greet(self) -> None:
        for command in (b"", b"EHLO client.example\r\n"):
            self.socket.sendall(command)
            reply = b""
            while not _REPLY.search(reply):
                reply += self.socket.recv(_CHUNK) or b"421 gone\r\n"
            if not _REPLY.findall(reply)[-1].startswith(b"2"):
                raise RefusedError(reply.decode("ascii", "replace"))

    def begin(self, due: float, words: Words) -> None:
        """Start the next mail."""
        self._due, self._begun, self._dot = due, time.monotonic(), 0.0
        envelope, self._mail = words
        self.socket.send(envelope)

    def writing(self) -> bool:
        """Whether part of the mail still has to be sent, because the kernel's buffer was full."""
        return bool(self._left)

    def write(self) -> None:
        """Send as much as the kernel takes."""
        self._left = self._left[self.socket.send(self._left) :]
        if not self._left:
            self._dot = time.monotonic()

    def read(self) -> Times | None:
        """Read what has arrived; return the mail's times when it has been answered."""
        self._read += self.socket.recv(_CHUNK) or b"421 gone\r\n"
        *lines, self._read = self._read.split(b"\r\n")
        for line in lines:
            if line[:1] not in (b"2", b"3"):
                raise RefusedError(line.decode("ascii", "replace"))
            if line.startswith(b"354"):
                self._left = memoryview(self._mail)
                self.write()
            elif self._dot:
                return Times(self._due, self._begun, self._dot, time.monotonic())
        return None

    def close(self) -> None:
        """End the session with QUIT."""
        with suppress(OSError), self.socket:
            self.socket.settimeout(_PATIENCE)
            self.socket.sendall(b"QUIT\r\n")
            self.socket.recv(_CHUNK)


def send(port: int, words: Iterator[Words], due: Sequence[float], sessions: int) -> list[Times]:
    """Send each mail when it is due, and return the times of all."""
    # select(2), since epoll_wait(2) counts in milliseconds and would begin mails that much late.
    with _opened(port, sessions) as idle, selectors.SelectSelector() as selector:
        for session in idle:
            selector.register(session.socket, selectors.EVENT_READ, session)
        start = time.monotonic() + 0.05
        waiting = deque(start + moment for moment in due)
        done: list[Times] = []
        while len(done) < len(due):
            while waiting and idle and waiting[0] <= time.monotonic():
                idle.popleft().begin(waiting.popleft(), next(words))
            done += _heard(selector, idle, _pause(waiting, idle))
        return done


def _pause(waiting: deque[float], idle: deque[_Session]) -> float:
    """Seconds until the next mail is due."""
    if waiting and idle:
        return max(waiting[0] - time.monotonic(), 0.0)
    return _PATIENCE


def _heard(
    selector: selectors.BaseSelector, idle: deque[_Session], pause: float
) -> Iterator[Times]:
    events = selector.select(pause)
    if not events and pause == _PATIENCE:
        raise RefusedError(f"no answer for {_PATIENCE:.0f} s")
    for key, mask in events:
        session: _Session = key.data
        if mask & selectors.EVENT_WRITE:
            session.write()
        times = session.read() if mask & selectors.EVENT_READ else None
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if session.writing() else 0)
        if wanted != key.events:
            selector.modify(session.socket, wanted, session)
        if times is not None:
            idle.append(session)
            yield times


@contextmanager
def _opened(port: int, sessions: int) -> Iterator[deque[_Session]]:
    with ExitStack() as closing:
        opened = deque[_Session]()
        for _ in range(sessions):
            opened.append(_Session(port))
            closing.callback(opened[-1].close)
        yield deque(opened)
