"""The load during a drill: an application that sends a campaign, and recipients who react.

The application keeps mails that were not accepted and sends them again, as a newsletter system
does. Recipients click the link and unsubscribe by the header (RFC 8058); a recipient without an
answer tries again. `judge.py` judges the answers that are recorded here.
"""

from __future__ import annotations

import heapq
import re
import smtplib
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from bench.drills.judge import CLICK, UNSUBSCRIBE, Request, Sending
from sandbox.postfix import send
from sandbox.sinks import Sink, SunkMail
from sandbox.web import AGENT

SENDER = "shop@example.com"
LINK = "https://shop.example/offers?utm_source=newsletter"
_MAIL = """\
X-GreenArrow-MailClass: newsletter\r
X-GreenArrow-InstanceID: 1\r
From: Shop <{sender}>\r
To: {recipient}\r
Subject: Offers\r
Date: Sat, 21 Nov 2026 09:00:00 +0000\r
Message-ID: <{number}@example.com>\r
MIME-Version: 1.0\r
Content-Type: text/html; charset=utf-8\r
\r
<p>Hello {number}, here are our <a href="{link}">offers</a>.</p>\r
"""
_SESSIONS = 2
"""SMTP sessions to each host."""
_RETRY = 0.5
"""Seconds until a mail that was not accepted, or a request without an answer, is sent again."""
_WAIT = 30.0
"""Seconds that a session or a recipient waits for an answer."""
_RECIPIENT_THREADS = 4
_REACTIONS = 60
"""Requests per second."""
_REACT_AFTER = 2.5
"""Seconds after a mail's delivery; an earlier click counts as a bot's."""
_UNSUBSCRIBE_EVERY = 2


class Application:
    """Sends a campaign at a steady rate, alternating between the ports."""

    def __init__(self, ports: Sequence[int], count: int, seconds: float) -> None:
        self._count, self._seconds = count, seconds
        self._ports = ports
        self._lock = threading.Lock()
        self._due: list[list[tuple[float, int]]] = [[] for _ in ports]
        self._accepted: list[float] = []
        self._tempfailed = 0
        self._began = 0.0
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._session, args=(place,))
            for place in range(len(ports))
            for _ in range(_SESSIONS)
        ]

    def start(self) -> None:
        """Start sending."""
        self._began = time.monotonic()
        for number in range(self._count):
            due = self._began + number * self._seconds / self._count
            self._due[number % len(self._ports)].append((due, number))
        for thread in self._threads:
            thread.start()

    @property
    def accepted(self) -> int:
        """The number of accepted mails."""
        return len(self._accepted)

    def wait(self, patience: float) -> None:
        """Wait until all mails are accepted, at most ``patience`` seconds."""
        end = time.monotonic() + patience
        while self.accepted < self._count and time.monotonic() < end:
            time.sleep(0.05)
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def seen(self) -> Sending:
        """The observations of the application."""
        return Sending(self._count, self._began, tuple(self._accepted), self._tempfailed)

    def _session(self, place: int) -> None:
        while not self._ended.is_set():
            try:
                port = self._ports[place]
                with smtplib.SMTP("127.0.0.1", port, "client.example", timeout=_WAIT) as smtp:
                    smtp.ehlo()
                    while not self._ended.is_set():
                        self._send_next(smtp, place)
            except (OSError, smtplib.SMTPException):
                time.sleep(_RETRY)

    def _send_next(self, smtp: smtplib.SMTP, place: int) -> None:
        with self._lock:
            waiting = self._due[place]
            if not waiting or waiting[0][0] > time.monotonic():
                number = None
            else:
                _, number = heapq.heappop(waiting)
        if number is None:
            time.sleep(0.005)
            return
        recipient = f"r{number}@recipient.example"
        mail = _MAIL.format(sender=SENDER, recipient=recipient, number=number, link=LINK)
        is_accepted = False
        try:
            is_accepted = send(smtp, mail.encode("ascii"), SENDER, [recipient]).accepted
        finally:
            with self._lock:
                if is_accepted:
                    self._accepted.append(time.monotonic())
                else:
                    self._tempfailed += 1
                    heapq.heappush(self._due[place], (time.monotonic() + _RETRY, number))


@dataclass(slots=True)
class _Reaction:
    """One request of a recipient, and its state."""

    event_type: str
    recipient: str
    url: str
    due: float
    host: int
    tries: int = 0
    answered: bool = False
    wrong: list[int] = field(default_factory=list)


class Recipients:
    """The recipients of mail in the sink; each uses the web service of one host."""

    def __init__(self, sink: Sink, sockets: Sequence[Path]) -> None:
        self._sink, self._sockets = sink, sockets
        self._lock = threading.Lock()
        self._waiting: deque[_Reaction] = deque()
        self._made: list[_Reaction] = []
        self._next = 0.0
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=work)
            for work in (self._watch, *[self._react] * _RECIPIENT_THREADS)
        ]

    def start(self) -> None:
        """Start reacting."""
        self._next = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop, after the open requests have been answered."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def seen(self) -> tuple[Request, ...]:
        """The requests that were sent at least once."""
        return tuple(Request(r.event_type, r.recipient, r.tries, r.answered) for r in self._made)

    def wrong(self) -> tuple[int, ...]:
        """Status codes of wrong answers."""
        return tuple(status for each in self._made for status in each.wrong)

    def _watch(self) -> None:
        known = 0
        while not self._ended.wait(0.1):
            mails = self._sink.mails
            for mail in mails[known:]:
                self._waiting.extend(self._reactions(mail, known))
                known += 1

    def _reactions(self, mail: SunkMail, number: int) -> list[_Reaction]:
        text = mail.raw.decode("ascii").replace("\r\n ", " ")
        due, recipient = time.monotonic() + _REACT_AFTER, mail.recipients[0]
        host = number % len(self._sockets)
        link = _found(r'href="([^"]+)"', text)
        reactions = [_Reaction(CLICK, recipient, link, due, host)]
        if number % _UNSUBSCRIBE_EVERY == 0:
            url = _found(r"(?m)^List-Unsubscribe: <(https[^>]+)>", text)
            reactions.append(_Reaction(UNSUBSCRIBE, recipient, url, due, host))
        return reactions

    def _react(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                now = time.monotonic()
                reaction = None
                if self._waiting and max(self._waiting[0].due, self._next) <= now:
                    reaction = self._waiting.popleft()
                    self._next = max(self._next + 1 / _REACTIONS, now - 0.1)
                    self._made.append(reaction)
            if reaction is None:
                time.sleep(0.005)
            else:
                self._until_answered(reaction)

    def _until_answered(self, reaction: _Reaction) -> None:
        end = time.monotonic() + _WAIT
        while not reaction.answered and time.monotonic() < end:
            reaction.tries += 1
            try:
                status = _ask(self._sockets[reaction.host], reaction)
            except (OSError, HTTPException):
                status = 0
            reaction.answered = status == (302 if reaction.event_type == CLICK else 200)
            if not reaction.answered:
                reaction.wrong.append(status)
                time.sleep(_RETRY)


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, f"no {pattern} in {text}"
    return found[1].replace("&amp;", "&")


class _ByUnixSocket(HTTPConnection):
    """Connects as a proxy on the same host does."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_WAIT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_WAIT)
        self.sock.connect(str(self._path))


def _ask(path: Path, reaction: _Reaction) -> int:
    """The status code of the answer."""
    parts = urlsplit(reaction.url)
    target = reaction.url.partition(parts.netloc)[2]
    connection = _ByUnixSocket(path)
    headers = {"Host": parts.netloc, "User-Agent": AGENT}
    try:
        if reaction.event_type == CLICK:
            connection.request("GET", target, headers=headers)
        else:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            connection.request("POST", target, "List-Unsubscribe=One-Click", headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()
