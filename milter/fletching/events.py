"""The form of an event: what happened to a message, in the names that customers' programs know.

Here live the names of events and their fields (docs/events.md), which are GreenArrow's where
GreenArrow has one. Nothing here does I/O, reads the clock or draws a random number. Who gets an
event, and how, is not known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from fletching.tokens import Facts

CLICK, OPEN, UNSUBSCRIBE = "engine_click", "engine_open", "engine_unsub"
COMPLAINT = "scomp"
BOUNCE, BAD_ADDRESS = "bounce_all", "bounce_bad_address"
DELIVERY, PREPARED, SEED = "delivery_attempt", "message_prepared", "seed_sent"
TYPES = (CLICK, OPEN, UNSUBSCRIBE, COMPLAINT, BOUNCE, BAD_ADDRESS, DELIVERY, PREPARED, SEED)

Value = str | int | float | bool

# Digits before letters, so that ids sort like their numbers.
_BASE32 = "234567abcdefghijklmnopqrstuvwxyz"
_SHIFTS = range(120, -1, -10)
_PAIRS = [one + other for one in _BASE32 for other in _BASE32]
# Characters that strict JSON parsers (such as PostgreSQL's jsonb) refuse in a text.
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_JSON = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to one message.

    ``milliseconds``: unix time. ``id``: from `unique_id`; a repeated delivery of an event has the
    same id. ``details``: the fields that not all events have.
    """

    type: str
    milliseconds: int
    id: str
    server_id: str
    facts: Facts
    details: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(f"unknown event type {self.type!r}")
        if not 1 <= len(self.id) <= 64:
            raise ValueError(f"id of {len(self.id)} characters: must have 1 to 64")

    def fields(self) -> dict[str, Value]:
        """All fields as a customer gets them; texts contain only characters that JSON allows."""
        return {name: text(value) for name, value in self._all().items()}

    def json(self) -> str:
        """The fields as one line of ASCII JSON."""
        line = _JSON.encode(self._all())
        # A character that is not allowed is an escape in this line; most lines have no escapes.
        return line if "\\u" not in line else _JSON.encode(self.fields())

    def _all(self) -> dict[str, Value]:
        facts = self.facts
        return {
            "event_type": self.type,
            "event_time": self.milliseconds // 1000,
            "timestamp": rfc3339(self.milliseconds),
            "event_unique_id": self.id,
            "server_id": self.server_id,
            "email": facts.email,
            "listid": facts.listid.lower(),
            "sendid": facts.sendid.lower(),
            "click_tracking_id": facts.click_tracking_id,
            "mail_class": facts.mail_class,
            "instance_id": facts.instance_id,
            "campaign": facts.campaign,
            "message_number": facts.number,
            "mtaid": facts.mtaid,
            **({"is_seed": True} if facts.seed else {}),
            **self.details,
        }


def parse(line: str | bytes) -> dict[str, Any]:
    """The fields of an event in JSON. Raises ValueError."""
    fields = json.loads(line)
    if not isinstance(fields, dict) or fields.get("event_type") not in TYPES:
        raise ValueError("not an event")
    return fields


def unique_id(milliseconds: int, entropy: bytes) -> str:
    """An event's id: 26 of a-z and 2-7, from the time and 80 random bits. Later ids sort higher."""
    if len(entropy) < 10:
        raise ValueError("an id needs 10 random bytes")
    number = (milliseconds & (1 << 50) - 1) << 80 | int.from_bytes(entropy[:10], "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def rfc3339(milliseconds: int) -> str:
    """Unix time in RFC 3339, UTC, with milliseconds."""
    when = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text(value: Value) -> Value:
    """A value as it is in an event: U+FFFD replaces what JSON does not allow in a text."""
    return (
        value if not isinstance(value, str) else _NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", value)
    )
