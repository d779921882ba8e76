"""What a format is: how many events a request has, its body, and what its answer must say.

Here also live the facts that all formats of other programs take from an event in the same way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Fields = Mapping[str, Any]
"""An event, as docs/events.md describes it."""

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Post:
    """A request. ``headers``: in addition to Content-Type."""

    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Signing:
    """When a request is sent, in unix seconds, and the secret that may sign it."""

    seconds: int
    secret: bytes | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """A format.

    ``post``: makes the request for up to ``most`` events; None if none of them has a counterpart in
    the format. ``says_ok``: the answer counts only if it begins with `ok`.
    """

    post: Callable[[Sequence[Fields], Signing], Post | None]
    most: int = 1
    says_ok: bool = False


def as_json(value: object) -> bytes:
    """Compact ASCII JSON."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def as_it_is(event: Fields, converted: Fields, signing: Signing) -> Post:
    """A request whose body is the converted event."""
    return Post(as_json(converted))


def one(
    convert: Callable[[Fields], Fields | None],
    wrap: Callable[[Fields, Fields, Signing], Post] = as_it_is,
) -> Format:
    """The format of a program that takes a JSON object for each event.

    ``convert``: None if the event has no counterpart. ``wrap``: makes the request of an event and
    of what it was converted to.
    """

    def post(events: Sequence[Fields], signing: Signing) -> Post | None:
        (event,) = events
        converted = convert(event) if is_for_others(event) else None
        return None if converted is None else wrap(event, converted, signing)

    return Format(post)


def is_for_others(event: Fields) -> bool:
    """Whether other programs may get an event at all.

    They cannot tell a bot's click from a person's. They act on every bounce and complaint, so they
    get none that our token does not prove, and none without a recipient.
    """
    is_proven = event.get("attributed") is not False
    return bool(event.get("email")) and is_proven and not event.get("is_bot")


def message_id(event: Fields) -> str:
    """What identifies the message: its campaign and number; the event, if it has no campaign."""
    if event.get("campaign"):
        return f"{event.get('campaign', '')}.{event.get('message_number', '')}"
    return str(event.get("event_unique_id", ""))


def metadata(event: Fields) -> dict[str, str]:
    """What the format carries as the sender's own data, for instance to find the message.

    If the Click-Tracking-ID is an object in JSON, its keys are data, too: an application gave them
    to another vendor (docs/dialects.md), whose webhooks have them there.
    """
    ours = {name: str(event[name]) for name in _METADATA if event.get(name)}
    return _data_of(str(event.get("click_tracking_id", ""))) | ours


def _data_of(click_tracking_id: str) -> dict[str, str]:
    if not click_tracking_id.startswith("{"):
        return {}
    try:
        found = json.loads(click_tracking_id)
    except (ValueError, RecursionError):
        return {}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in found.items()
    }


_METADATA = (
    *("click_tracking_id", "sendid", "listid", "mail_class", "instance_id"),
    *("campaign", "message_number", "mtaid", "bounce_reason"),
)


def digest(event: Fields, size: int) -> bytes:
    """So many bytes that identify an event; the same when it is delivered again."""
    return hashlib.blake2b(
        str(event.get("event_unique_id", "")).encode(), digest_size=size
    ).digest()
