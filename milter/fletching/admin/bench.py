"""`fletching bench`: how fast this host would process mails and clicks, and which part is slowest.

Here live the measurements; nothing is sent, and Redis gets no key. A mail is processed as in the
milter, without the store: the answer of Redis is measured as one round trip.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fletching.config.model import Config
from fletching.mail import dkim
from fletching.mail.envelope import Envelope, Recipient
from fletching.mail.message import Message, parse
from fletching.numbering import Numbered
from fletching.outgoing.flow import Outcome, carry
from fletching.outgoing.text_parts import TextPartCache
from fletching.policy.setup import Setup
from fletching.startup import open_setup, stamp, zone
from fletching.store.connection import Store, StoreUnavailable

SECONDS = 1.0
"""For which each part is measured."""

_MOST = 1000
_EVENT = 1024
"""Bytes of a typical event."""

_ARTICLE = (
    '<tr><td><h2><a href="https://shop.example.com/%d?from=title">Offer %d</a></h2><p>%s</p><p>'
    '<a class="button" href="https://shop.example.com/%d?from=more">Read more</a></p></td></tr>\n'
)
_TEXT = "The container from the coast has cleared customs, and the house smells of it. " * 11

Of = Literal["mail", "click"]


class BenchError(Exception):
    """What cannot be measured; says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the work on one mail or one click. Times in seconds.

    ``uses_processor``: while it takes place, the processor can do nothing else.
    """

    of: Of
    name: str
    median: float
    p99: float
    uses_processor: bool
    cure: str


@dataclass(frozen=True, slots=True)
class Report:
    """``skipped``: what could not be measured, and why."""

    size: int
    """Bytes of the mail."""
    processors: int
    parts: tuple[Part, ...]
    skipped: tuple[str, ...]

    def seconds(self, of: Of) -> float:
        """The time of one mail or click, one part after the other."""
        return sum(part.median for part in self.parts if part.of == of)

    @property
    def mails_per_second(self) -> float:
        """How many mails the processors could do, if Postfix and others took none of their time."""
        return self.processors / sum(p.median for p in self.parts if p.uses_processor)

    def slowest(self, of: Of) -> Part | None:
        """The part that takes most of the time."""
        return max((p for p in self.parts if p.of == of), key=lambda p: p.median, default=None)


def newsletter(config: Config, articles: int = 20) -> bytes:
    """A newsletter of 23 kB in HTML, from a domain that has a DKIM key, with 40 links."""
    domain = next((key.domain for key in config.dkim.keys if key.default), "example.com")
    rows = "".join(_ARTICLE % (n, n, _TEXT, n) for n in range(articles))
    head = (
        f"From: Shop <news@{domain}>\r\nTo: joe@example.org\r\nSubject: This week's offers\r\n"
        "Date: Mon, 30 Nov 2026 09:00:00 +0000\r\nMessage-ID: <bench@example.com>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    )
    page = f"<html><body><table>\n{rows}</table></body></html>\n"
    return (head + page.replace("\n", "\r\n")).encode()


def measured(config: Config, raw: bytes) -> Report:
    """Measures each part for about a second. Raises BenchError, and UnusableError for key files."""
    setup, message = open_setup(config), _classified(raw, config)
    parts: list[Part] = []
    skipped: list[str] = []
    parts += _of_mail(message, setup)
    try:
        parts += _redis(Store(config.redis, config.state_dir))
    except StoreUnavailable as away:
        skipped.append(f"redis: {away}")
    try:
        parts.append(_disk(config.state_dir))
    except OSError as wrong:
        skipped.append(f"state_dir: {config.state_dir}: {wrong.strerror}")
    workers = config.workers if isinstance(config.workers, int) else _processors()
    processors = min(workers, _processors())
    return Report(len(raw), processors, tuple(parts), tuple(skipped))


def _processors() -> int:
    return len(os.sched_getaffinity(0))


def _of_mail(message: Message, setup: Setup) -> Iterator[Part]:
    outcome = _carried(message, setup)
    if outcome.facts is None:
        why = outcome.refusal or "; ".join(outcome.warnings) or "it has no Mail Class"
        raise BenchError(f"the mail is not processed: {why}")
    # The processor's time: other programs may run on this host.
    whole = _timed(lambda: _carried(message, setup), time.thread_time)
    signing = [0.0]
    if signatures := outcome.plan.signatures:
        signing = _timed(lambda: dkim.sign(outcome.final, signatures, 0), time.thread_time)
        keys = ", ".join(f"{each.selector} of {each.domain}" for each in signatures)
        cure = "RSA keys of 2048 bits sign several times as fast as those of 4096; Ed25519 faster"
        yield _part("mail", f"signature ({keys})", signing, cure, uses_processor=True)
    rest = [max(each - statistics.median(signing), 0.0) for each in whole]
    cure = "more processors, or smaller mails: links and size decide"
    yield _part("mail", "decisions and rewriting", rest, cure, uses_processor=True)


def _classified(raw: bytes, config: Config) -> Message:
    """The mail with a Mail Class: its own, the default one, or the first one."""
    message = parse(raw)
    if message.has(b"x-greenarrow-mailclass") or config.default_mail_class:
        return message
    first = next(iter(config.mail_classes), "")
    return parse(b"X-GreenArrow-MailClass: %s\r\n%b" % (first.encode(), raw)) if first else message


def _carried(message: Message, setup: Setup) -> Outcome:
    envelope = Envelope(
        sender="news@example.com",
        recipients=(Recipient("joe@example.org", "smtp"),),
        client="127.0.0.1",
        login=None,
        service=next(iter(setup.config.trusted.services), None),
    )
    now = stamp(zone(setup.config))
    return carry(message, envelope, setup, lambda _: Numbered("bench", 1), now, TextPartCache())


def _redis(store: Store) -> Iterator[Part]:
    store.ping()
    cure = "a Redis nearer to this host, by Unix socket if it is on it; nothing slow beside it"
    times = _timed(store.ping)
    yield _part("mail", "one round trip to Redis", times, cure)
    yield _part("click", "one round trip to Redis", times, cure)


def _disk(folder: Path) -> Part:
    with tempfile.TemporaryFile(dir=folder) as file:

        def write() -> None:
            os.write(file.fileno(), bytes(_EVENT))
            os.fdatasync(file.fileno())

        times = _timed(write)
    cure = "an SSD for state_dir: each event is on this disk before its request is answered"
    return _part("click", "one write to the disk of state_dir", times, cure)


def _timed(
    work: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """How long each run took, by this clock."""
    work()
    times: list[float] = []
    until = time.perf_counter() + SECONDS
    while len(times) < _MOST and (not times or time.perf_counter() < until):
        begun = clock()
        work()
        times.append(clock() - begun)
    return times


def _part(
    of: Of, name: str, times: Sequence[float], cure: str, *, uses_processor: bool = False
) -> Part:
    p99 = sorted(times)[len(times) * 99 // 100]
    return Part(of, name, statistics.median(times), p99, uses_processor, cure)
