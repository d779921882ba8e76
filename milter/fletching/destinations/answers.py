"""What all destinations share: events on their way, what an answer means, when to try again.

Here lives what can be said without asking anybody. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any

from fletching import events

LONGEST_WAIT = 3600.0
"""Seconds that a destination can ask for with Retry-After."""


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event on its way to a destination. ``id``: the one that it has in the stream."""

    id: str
    json: str
    fields: Mapping[str, Any]

    @classmethod
    def parse(cls, id: str, json: str) -> QueuedEvent:
        """Raises ValueError if the text is not an event."""
        return cls(id, json, events.parse(json))

    @property
    def queued_at(self) -> int:
        """When the event was first queued, in unix milliseconds."""
        return queued_at(self.id)


def queued_at(id: str) -> int:
    """The time in the id of a stream entry, in unix milliseconds."""
    return int(id.partition("-")[0])


@dataclass(frozen=True, slots=True)
class Filter:
    """The event types and Mail Classes that a destination wants; None means all of them."""

    types: Collection[str] | None
    classes: Collection[str] | None
    """In lower case."""

    def wants(self, fields: Mapping[str, Any]) -> bool:
        """Whether the destination gets an event."""
        if self.types is not None and fields["event_type"] not in self.types:
            return False
        mail_class = str(fields.get("mail_class", "")).lower()
        return self.classes is None or mail_class in self.classes


class Verdict(Enum):
    """What happens next to events that were offered to a destination."""

    DELIVERED = auto()
    """They have arrived."""
    RETRY = auto()
    """They have not arrived, but may arrive later."""
    SPLIT = auto()
    """They cannot arrive together. Offer each half by itself; one event alone is dead-lettered."""
    REFUSED = auto()
    """Like `SPLIT`, but one event alone is retried a few times before it is dead-lettered."""
    DEAD_LETTER = auto()
    """They can never arrive. Go on with the next events."""
    STOP = auto()
    """The destination wants no more events. All that follow are dead-lettered, too."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict, and the reason for the operator if it is not `DELIVERED`.

    ``wait``: seconds until the next attempt, if the destination asked for a longer pause.
    """

    verdict: Verdict
    why: str = ""
    wait: float = 0.0


ARRIVED = Answer(Verdict.DELIVERED)


def failed(why: object) -> Answer:
    """The events have not arrived. The reason is cut to a length that fits a log line."""
    return Answer(Verdict.RETRY, str(why)[:200])


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds between attempts: ``first`` after one failure, doubled up to ``longest``."""

    first: float = 1.0
    longest: float = 300.0

    def after(self, failures: int, chance: float) -> float:
        """The pause after so many failures in a row, the first being 1.

        ``chance``, from 0 to 1, shortens it by up to a half: so destinations that failed together
        are not all tried again at the same moment.
        """
        longest = min(self.first * 2.0 ** min(failures - 1, 30), self.longest)
        return longest * (1 - chance / 2)


PAUSES = Pauses()


def retry_after(value: str | None, now: float) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110, section 10.2.3), at most an hour.

    ``now``: unix time. 0 if the header is missing or cannot be parsed.
    """
    text = (value or "").strip()
    if text.isdecimal():
        return min(float(text), LONGEST_WAIT)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT)
