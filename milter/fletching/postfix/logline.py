"""One line of Postfix's log: what it says about a message in the queue.

Here live the forms of the lines that qmgr(8), cleanup(8) and the delivery agents of Postfix 3.4 to
3.12 write, and the values that they become. Which message of ours a line is about, and what follows
from it, is not known here. Nothing here does I/O; any bytes are read in linear time, and no line
raises.

A line is PREFIX PROGRAM[PID]: QUEUEID: TEXT. The prefix has the time, in the traditional form of
syslog (RFC 3164 section 4.1.2) or that of RFC 3339, and the host. PROGRAM is the `syslog_name` of
the service (which may contain slashes), a slash, and the program in lower case. The text of a
delivery attempt is written by log_adhoc(3); 3.11 adds `tls=` to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

LONGEST = 65536
"""Bytes of a line. Postfix cuts its lines at 2,000 or so; a longer line is not Postfix's."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# A queue id has no lower-case vowels (postconf(5), enable_long_queue_ids), so `warning` is none.
_LINE = re.compile(
    rb"(?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.+Zz-]{8,24}) "
    rb"(?:[^ \[]+ )?(?P<name>[^ \[]*/[a-z]+)\[\d+\]: "
    rb"(?P<queue_id>[0-9A-HJ-NP-TV-Zb-df-hj-np-tv-z]{5,20}): "
)
_QUICK = re.compile(rb"/qmgr\[|/cleanup\[|/postsuper\[|, status=")
_SERVER_WORDS = re.compile(r"host ([^\[\s]+)\[([^\]\s]+)\] said: ")
_IN_REPLY = re.compile(r" \(in reply to (end of DATA|initial|[A-Z]{4})\b[A-Za-z ]{0,30}\)\Z")
_REPLY_CODE = re.compile(r"[2-5]\d\d(?=[ -]|\Z)")
_RELAY = re.compile(r"([^\[\s]+)\[([^\]\s]*)\]")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,6})?")
_RECIPIENTS = re.compile(r", nrcpt=(\d{1,9}) \(queue active\)\Z")
_EXPIRED = re.compile(r", status=(?:force-)?expired, returned to sender\Z")
_QUEUED_AS = re.compile(r"queued as ([0-9A-Za-z]{5,20})\b")

_LOCAL = frozenset({"local", "virtual", "pipe", "lmtp", "discard"})

_COMMANDS = {"end of DATA": "DATA", "initial": "CONN"}
_OUTCOMES = {
    "sent": "success",
    "bounced": "failure",
    "deferred": "deferral",
    # With soft_bounce: what would have bounced stays in the queue.
    "SOFTBOUNCE": "deferral",
    "expired": "failure_toolong",
}


@dataclass(frozen=True, slots=True)
class Queued:
    """A message has entered the queue of this host: cleanup(8) logs its Message-ID."""

    queue_id: str


@dataclass(frozen=True, slots=True)
class Active:
    """qmgr(8) begins to deliver a message. ``recipients``: how many are left to deliver to."""

    queue_id: str
    sender: str
    recipients: int


@dataclass(frozen=True, slots=True)
class Expired:
    """qmgr(8) gives up the recipients that were deferred."""

    queue_id: str
    sender: str


@dataclass(frozen=True, slots=True)
class Removed:
    """A message has left the queue."""

    queue_id: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """A delivery attempt for one recipient.

    ``outcome``: `success`, `failure`, `deferral` or `failure_toolong`. ``original``: the recipient
    before Postfix rewrote it; empty if it did not. ``service``: the last part of the syslog name
    before the program (`fletching postfix` writes the transport there), else the program.
    ``status``: the enhanced status code (RFC 3463). ``code``: the reply code of the server; 0 if it
    gave none. ``words``: the server's, else Postfix's own. ``command``: what the server refused:
    `CONN`, or a command such as `RCPT`; empty if it is not said. ``delay``: seconds since the
    message arrived. ``tls``: as logged by 3.11; empty before.
    """

    queue_id: str
    outcome: str
    recipient: str
    original: str
    service: str
    channel: str
    host: str
    ip: str
    delay: float
    tls: str
    status: str
    code: int
    words: str
    command: str = ""

    @property
    def next_queue_id(self) -> str:
        """The queue id that the server gave the message; empty if it names none."""
        found = _QUEUED_AS.search(self.words) if self.outcome == "success" else None
        return found[1] if found else ""


Said = Queued | Active | Expired | Removed | Attempt


@dataclass(frozen=True, slots=True)
class LogLine:
    """``time``: as it stands in the line; `seconds_of` reads it."""

    time: str
    said: Said


def parse(line: bytes) -> LogLine | None:
    """What a line says, without its line end; None if it is not about the delivery of a message."""
    if len(line) > LONGEST or not _QUICK.search(line):
        return None
    prefix = _LINE.match(line)
    if prefix is None:
        return None
    text = line[prefix.end() :].decode("utf-8", "replace")
    queue_id = prefix["queue_id"].decode("ascii")
    parts = prefix["name"].decode("utf-8", "replace").split("/")
    said = _said(parts[-1], parts, queue_id, text)
    return None if said is None else LogLine(prefix["time"].decode("ascii"), said)


def _said(program: str, name: list[str], queue_id: str, text: str) -> Said | None:
    if program == "qmgr":
        return _said_by_qmgr(queue_id, text)
    if program == "cleanup":
        return Queued(queue_id) if text.startswith("message-id=") else None
    if program == "postsuper":
        return Removed(queue_id) if text == "removed" else None
    return _attempt(name, queue_id, text)


def _said_by_qmgr(queue_id: str, text: str) -> Said | None:
    if text == "removed":
        return Removed(queue_id)
    if not text.startswith("from=<"):
        return None
    if found := _RECIPIENTS.search(text):
        # What follows the address is `, size=N, nrcpt=N (queue active)`, with no ">" in it.
        sender, size, _ = text[6 : found.start()].rpartition(">, size=")
        return Active(queue_id, sender, int(found[1])) if size else None
    if (found := _EXPIRED.search(text)) and text[found.start() - 1] == ">":
        return Expired(queue_id, text[6 : found.start() - 1])
    return None


def _attempt(name: list[str], queue_id: str, text: str) -> Attempt | None:
    if not text.startswith("to=<"):
        return None
    recipient, rest = _address(text[4:])
    original = ""
    if rest.startswith("orig_to=<"):
        original, rest = _address(rest[9:])
    attributes, found, tail = rest.partition(", status=")
    values = _attributes(attributes)
    state, _, words = tail.partition(" (")
    outcome = _OUTCOMES.get(state)
    if not found or outcome is None or "relay" not in values or "dsn" not in values:
        return None
    words = words.removesuffix(")")
    command = _IN_REPLY.search(words)
    host, ip, words = _server(values["relay"], _IN_REPLY.sub("", words))
    delay = values.get("delay", "")
    return Attempt(
        queue_id=queue_id,
        outcome=outcome,
        recipient=recipient,
        original=original,
        service=name[-2] if len(name) > 2 else name[-1],
        channel="local" if name[-1] in _LOCAL else "remote",
        host=host,
        ip=ip,
        delay=float(delay) if _NUMBER.fullmatch(delay) else 0.0,
        tls=values.get("tls", ""),
        status=values["dsn"] if _STATUS.fullmatch(values["dsn"]) else "",
        code=int(code[0]) if (code := _REPLY_CODE.match(words)) else 0,
        words=words,
        command=_COMMANDS.get(command[1], command[1]) if command else "",
    )


def _address(text: str) -> tuple[str, str]:
    """An address up to `>, `, and the text after that. A quoted local part may contain `>, `."""
    start = 0
    if text.startswith('"'):
        start = 1
        while start < len(text) and text[start] != '"':
            start += 2 if text[start] == "\\" else 1
    end = text.find(">, ", start)
    return (text[:end], text[end + 3 :]) if end >= 0 else ("", "")


def _attributes(text: str) -> Mapping[str, str]:
    return {name: value for name, _, value in (each.partition("=") for each in text.split(", "))}


def _server(relay: str, words: str) -> tuple[str, str, str]:
    """Host name and IP address of the server that answered, and its words."""
    if found := _SERVER_WORDS.match(words):
        return found[1], found[2], words[found.end() :]
    if found := _RELAY.match(relay):
        # A socket of this host is in the place of an address: `relay=mx.example.com[private/lmtp]`.
        return found[1], "" if "/" in found[2] else found[2], words
    return "", "", words


def seconds_of(text: str, now: datetime) -> float:
    """Unix seconds of a time in a line. ``now``: when it is read, in the zone of the log; naive in
    that of the system.

    The traditional form has no year: the line was written in the year before ``now``, or a day
    after it if the clocks differ. What is no time is ``now``.
    """
    try:
        if text[:4].isdigit():
            when = datetime.fromisoformat(text.upper())
            return (when if when.tzinfo else when.replace(tzinfo=now.tzinfo)).timestamp()
        return _traditional(text, now, now.tzinfo).timestamp()
    except (ValueError, OverflowError):
        return now.timestamp()


def _traditional(text: str, now: datetime, zone: tzinfo | None) -> datetime:
    month = _MONTHS.index(text[:3]) + 1
    day, hour, minute, second = int(text[4:6]), int(text[7:9]), int(text[10:12]), int(text[13:15])
    for year in (now.year + 1, now.year, now.year - 1):
        if (month, day) == (2, 29) and not _is_leap(year):
            continue
        when = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
        if when - now <= timedelta(days=1):
            return when
    raise ValueError("no such day")


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
