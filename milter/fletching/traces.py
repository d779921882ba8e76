"""The form of a trace: what is kept of the life of one message, in as few bytes as possible.

Here live the lines of a trace: how an accepted mail and an event become bytes, and bytes become
`Moment`s again. Pure: where lines are kept is in `store/write_traces.py`, what a person reads is in
`timeline.py`.

A line has a head and a content:

    1 byte      the message number within its block of `PER_BLOCK` messages
    1 byte      the type (`_CODES`)
    varint      seconds since the campaign was opened
    1 byte      of a digest: tells equal events of the same second apart (not if accepted; 4 bytes
                if the mail has several recipients)

    queue id    only of an accepted mail
    texts       empty ones at the end are left out; of an accepted mail, one with VirtualMTA and
                warnings, and one with the recipients if there are several

Head and content of an event are two entries of its block, since an event that is written again has
the same head, but not always the same content; those of an accepted mail are one entry.

A text is a number and its bytes: 0 and `REFERENCE` bytes that refer to a text that many lines have
in common, or its length plus 1 and the text itself. The first text of an event's line has all
values that many events share, and the server's words without those that contain a digit or an
address; the second one has these.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from fletching import events
from fletching.encoding import packed_id, read_varint, unpacked_id, varint
from fletching.events import Event, Value
from fletching.numbering import opened_at

ACCEPTED = "accepted"
"""The type of the first moment. The others have the types of their events."""

PER_BLOCK = 128
"""Messages whose lines are kept together."""

REFERENCE = 4
"""Bytes of a reference to a text that is kept elsewhere."""

DAY = 86400

LONGEST_WORDS = 300
"""Characters of a server's reply that are kept."""

LONGEST_SUCCESS = 120
"""Characters of the reply to a delivered message that are kept, ..."""

LONGEST_OWN = 24
"""... and characters of those of its words that belong to this message alone. A word of which only
a part would be kept is left out: a part of an id finds nothing."""

MOST_RECIPIENTS = 100
MOST_WARNINGS = 5
LONGEST_WARNING = 120

_CODES = {
    ACCEPTED: 1,
    events.DELIVERY: 2,
    events.BOUNCE: 3,
    events.COMPLAINT: 4,
    events.UNSUBSCRIBE: 5,
    events.OPEN: 6,
    events.CLICK: 7,
    events.BAD_ADDRESS: 8,
}
_TYPES = {code: type for type, code in _CODES.items()}

_HUMAN = ("is_bot", "bot_reason", "is_privacy_open")
_SHARED: Mapping[str, tuple[str, ...]] = {
    events.DELIVERY: ("status", "bounce_status", "bounce_reason", "outmtaid"),
    events.BOUNCE: ("bounce_type", "bounce_status", "bounce_reason", "synchronous"),
    events.COMPLAINT: ("feedback_type",),
    events.UNSUBSCRIBE: ("html_or_text", "by"),
    events.OPEN: _HUMAN,
    events.CLICK: _HUMAN,
    events.BAD_ADDRESS: ("bounce_type", "bounce_status", "bounce_reason"),
}
_WORDS = {events.DELIVERY: "message", events.BOUNCE: "bounce_text"}
_SINGLE = {
    events.DELIVERY: ("relay", "recipient"),
    events.BOUNCE: ("recipient",),
    events.CLICK: ("link",),
}
_SWITCHES = frozenset({"is_bot", "is_privacy_open", "synchronous"})

_BETWEEN, _GAP, _LEFT_OUT = "\x1f", "\x1e", "\x1d"
# A word of a reply that differs from message to message: it has a digit, or is an address.
_OWN = re.compile(r"[^\s\x1e]*[0-9@][^\s\x1e]*")
_CODE = re.compile(r"[245][0-9]{2}(?:[ -][245]\.[0-9]{1,3}\.[0-9]{1,3})?(?=\s|$)")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]+")

Encode = Callable[[str], bytes]
"""A text as it is in a line, from `inline` or from a dictionary of common texts."""

HeadAndContent = tuple[bytes, bytes]

Text = str | bytes
"""A text of a line; bytes are a reference."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A mail that Postfix accepted. ``names``: what it is found by: recipients, or what stands for
    them. ``mtaid``: empty if Postfix routes it. ``seconds``: unix time.
    """

    campaign: str
    number: int
    seconds: int
    queue_id: str
    message_id: str
    names: tuple[str, ...] = ()
    mtaid: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """Something in the life of a message. ``type``: `ACCEPTED`, or the type of an event.

    ``details``: by name of the event's field; empty values are left out.
    """

    seconds: int
    type: str
    details: Mapping[str, Value | tuple[str, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )


@dataclass(frozen=True, slots=True)
class TraceLine:
    """A line that was read, with references that are not resolved yet."""

    number: int
    type: str
    seconds: int
    texts: tuple[Text, ...]

    @property
    def references(self) -> Iterator[tuple[int, bytes]]:
        """The references in it, each with the day of the line (unix seconds over `DAY`)."""
        return ((self.seconds // DAY, text) for text in self.texts if isinstance(text, bytes))


def inline(text: str) -> bytes:
    """A text within its line."""
    data = text.encode("utf-8", "surrogateescape")
    return varint(len(data) + 1) + data


def reference(text: str) -> bytes:
    """What refers to a text in a dictionary of common texts."""
    data = text.encode("utf-8", "surrogateescape")
    return hashlib.blake2b(data, digest_size=REFERENCE).digest()


def referring(text: str) -> bytes:
    """A text as a reference, within a line."""
    return b"\0" + reference(text)


def accepted_line(mail: Accepted, encode: Encode) -> HeadAndContent:
    """The line of an accepted mail."""
    warnings = [shortened(each, LONGEST_WARNING) for each in mail.warnings[:MOST_WARNINGS]]
    recipients = mail.names[:MOST_RECIPIENTS] if len(mail.names) > 1 else ()
    texts = (encode(_BETWEEN.join((mail.mtaid, *warnings))), inline(_BETWEEN.join(recipients)))
    head = _head(ACCEPTED, mail.campaign, mail.number, mail.seconds)
    return head, packed_id(mail.queue_id) + _joined(texts)


def event_line(event: Event, encode: Encode) -> HeadAndContent | None:
    """The line of an event; None if no trace has events of its type, or if it has no message."""
    facts, type = event.facts, event.type
    if type not in _SHARED or not facts.campaign or not facts.number:
        return None
    details = _details(event)
    words, own = _split(details.get(_WORDS.get(type, ""), ""), details.get("status") == "success")
    shared = [details.get(name, "") for name in _SHARED[type]]
    texts = [encode(_BETWEEN.join([*shared, words])), inline(own)]
    for name in _SINGLE.get(type, ()):
        value = details.get(name, "")
        # A relay has many messages; an address or a link's digest has few.
        texts.append(encode(value) if name == "relay" else inline(value))
    # A server takes a mail for several recipients within one second.
    size = 4 if event.details.get("recipients") else 1
    mark = hashlib.blake2b(event.id.encode(), digest_size=size).digest()
    seconds = event.milliseconds // 1000
    return _head(type, facts.campaign, facts.number, seconds) + mark, _joined(texts)


def read(entries: Iterable[bytes], campaign: str, block: int) -> Iterator[TraceLine]:
    """The lines in the entries of a block, without those of types that only a later version
    knows, and without damaged ones. A mail that was written again has one line.
    """
    left, accepted = iter(entries), set[int]()
    for entry in left:
        with suppress(IndexError, KeyError):
            type = _TYPES.get(entry[1], "")
            since, at = read_varint(entry, 2)
            content = entry[at:] if type == ACCEPTED else next(left, b"")
            if entry[0] in accepted and type == ACCEPTED:
                continue
            texts = tuple(_texts(content, type))
            number = block * PER_BLOCK + entry[0]
            if type == ACCEPTED:
                accepted.add(entry[0])
            if type:
                yield TraceLine(number, type, _opened(campaign) + since, texts)


def _texts(content: bytes, type: str) -> Iterator[Text]:
    at = 0
    if type == ACCEPTED:
        queue_id, at = unpacked_id(content, at)
        yield queue_id
    while at < len(content):
        text, at = _read_text(content, at)
        yield text


def moment(line: TraceLine, texts: Mapping[bytes, str]) -> Moment:
    """What a line says. ``texts``: by reference; one that is missing has been lost."""
    found = [texts.get(text, "") if isinstance(text, bytes) else text for text in line.texts]
    details: dict[str, Value | tuple[str, ...]] = {}
    if line.type == ACCEPTED:
        mtaid, *warnings = "".join(found[1:2]).split(_BETWEEN)
        recipients = "".join(found[2:3])
        details = {
            "queue_id": found[0],
            "mtaid": mtaid,
            "warnings": tuple(warnings),
            "recipients": tuple(recipients.split(_BETWEEN)) if recipients else (),
        }
    else:
        first, own, *single = (*found, "", "")[: max(2, len(found))]
        shared = first.split(_BETWEEN)
        details = dict(zip(_SHARED[line.type], shared, strict=False))
        if line.type in _WORDS and len(shared) > len(_SHARED[line.type]):
            details[_WORDS[line.type]] = _together(shared[-1], own)
        details |= dict(zip(_SINGLE.get(line.type, ()), single, strict=False))
    return Moment(
        line.seconds,
        line.type,
        {
            name: value if name not in _SWITCHES else True
            for name, value in details.items()
            if value
        },
    )


def shortened(text: str, most: int) -> str:
    """A text on one line, with at most so many characters."""
    text = " ".join(_UNSAFE.sub(" ", str(events.text(text))).split())
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def _details(event: Event) -> dict[str, str]:
    """The fields of an event that its line has, and those that are put together for it."""

    def text(name: str) -> str:
        value = event.details.get(name, "")
        return _plain(value) if value else ""

    found = {name: text(name) for name in _SHARED[event.type]}
    # The bounce record has the only recipient.
    found["recipient"] = event.facts.email if text("recipients") else ""
    match event.type:
        case events.DELIVERY:
            found["message"] = text("message")
            host, ip = text("mx_hostname"), text("mx_ip")
            found["relay"] = f"{host}[{ip}]" if ip else host
        case events.BOUNCE:
            # The delivery attempt before a synchronous one has the same words.
            found["bounce_text"] = "" if found["synchronous"] else text("bounce_text")
        case events.UNSUBSCRIBE:
            # Only a request to the web service has a client's address.
            found["by"] = "web" if text("engine_ip") else "mail"
        case events.CLICK:
            found["link"] = link_digest(text("click_url"))
    return found


@lru_cache(4096)
def link_digest(url: str) -> str:
    """What stands for a link in counters and traces."""
    return hashlib.blake2b(url.encode(), digest_size=8).hexdigest()


def _plain(value: Value) -> str:
    if value is True:
        return "1"
    return str(events.text(value)).replace(_BETWEEN, " ").replace(_GAP, " ")


def _split(words: str, is_success: bool) -> tuple[str, str]:
    """A server's reply without the words that differ from message to message, and those."""
    words = shortened(words, LONGEST_SUCCESS if is_success else LONGEST_WORDS)
    code = _CODE.match(words)
    start = code.end() if code else 0
    own = _OWN.findall(words, start)
    if is_success:
        room = LONGEST_OWN
        for at, word in enumerate(own):
            own[at] = word if len(word) <= room else _LEFT_OUT
            room -= len(own[at])
    return words[:start] + _OWN.sub(_GAP, words[start:]), " ".join(own)


def _together(words: str, own: str) -> str:
    """The reply again, with an ellipsis for each word that was left out."""
    pieces = words.split(_GAP)
    filled = own.split(" ") if own else []
    text = pieces[0]
    for at, piece in enumerate(pieces[1:]):
        text += (filled[at] if at < len(filled) else "") + piece
    return " ".join(text.replace(_LEFT_OUT, "\N{HORIZONTAL ELLIPSIS}").split())


def _head(type: str, campaign: str, number: int, seconds: int) -> bytes:
    since = max(0, seconds - _opened(campaign))
    return bytes((number % PER_BLOCK, _CODES[type])) + varint(since)


@lru_cache(1024)
def _opened(campaign: str) -> int:
    try:
        return opened_at(campaign)
    except ValueError:
        return 0


def _joined(texts: Iterator[bytes] | Sequence[bytes]) -> bytes:
    found, empty = list(texts), inline("")
    while found and found[-1] == empty:
        found.pop()
    return b"".join(found)


def _read_text(line: bytes, at: int) -> tuple[Text, int]:
    size, at = read_varint(line, at)
    if not size:
        return line[at : at + REFERENCE], at + REFERENCE
    end = at + size - 1
    return line[at:end].decode("utf-8", "surrogateescape"), end
