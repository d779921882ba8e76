"""The rules of delivery: which events, what an answer means, when to try again, how to sign.

Here lives what can be said without asking anybody. Pure.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any

from fletching import events

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
"""Seconds after the first failure, and after many."""

LONGEST_WAIT = 3600.0
"""Seconds that a destination can ask for by Retry-After."""

_OK = re.compile(rb"\s*ok\b", re.IGNORECASE)
_NOT_ACCEPTABLE, _GONE, _TOO_LARGE = 406, 410, 413
_MALFORMED = (400, 422)
_LATER = (429, 503)


@dataclass(frozen=True, slots=True)
class Queued:
    """An event on its way to a destination, by the id that the stream gave it."""

    id: str
    json: str
    fields: Mapping[str, Any]

    @classmethod
    def read(cls, id: str, json: str) -> Queued:
        """Raises ValueError where it is no event."""
        return cls(id, json, events.parse(json))

    @property
    def queued(self) -> int:
        """When it was queued first, in milliseconds of unix time."""
        return queued(self.id)


def queued(id: str) -> int:
    """The time in the id of an entry of a stream, in milliseconds of unix time."""
    return int(id.partition("-")[0])


@dataclass(frozen=True, slots=True)
class Filter:
    """The types and Mail Classes that a destination wants; None is all of them."""

    types: Collection[str] | None
    classes: Collection[str] | None
    """In lower case."""

    def wants(self, fields: Mapping[str, Any]) -> bool:
        """Whether an event goes there."""
        if self.types is not None and fields["event_type"] not in self.types:
            return False
        mail_class = str(fields.get("mail_class", "")).lower()
        return self.classes is None or mail_class in self.classes


class Verdict(Enum):
    """What becomes of events that were offered to a destination."""

    DONE = auto()
    """They have arrived."""
    AGAIN = auto()
    """They have not, and may a moment later."""
    APART = auto()
    """Together they never will: each half is to be offered by itself, and one alone is buried."""
    REFUSED = auto()
    """As `APART`, but one alone is tried again a few times before it is buried."""
    BURY = auto()
    """They never will: to the dead letters with them, and on with the next ones."""
    STOP = auto()
    """Nothing more is wanted there: what comes goes to the dead letters."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict, and for the operator why it is not `DONE`.

    ``wait``: seconds until the next attempt, if the destination has asked for more than the usual.
    """

    verdict: Verdict
    why: str = ""
    wait: float = 0.0


ARRIVED = Answer(Verdict.DONE)


def failed(why: object) -> Answer:
    """They have not arrived; what is said of it is cut to a length that a log bears."""
    return Answer(Verdict.AGAIN, str(why)[:200])


def of_webhook(status: int, wait: float = 0.0) -> Answer:
    """What the answer to a JSON webhook means, by its status (RFC 9110, section 15).

    ``wait``: what its Retry-After says.
    """
    if 200 <= status < 300:
        return ARRIVED
    why = f"status {status}"
    if status == _GONE:
        return Answer(Verdict.STOP, why)
    if status == _TOO_LARGE:
        return Answer(Verdict.APART, why)
    if status == _NOT_ACCEPTABLE:
        return Answer(Verdict.BURY, why)
    if status in _MALFORMED:
        return Answer(Verdict.REFUSED, why)
    if 300 <= status < 400:
        return failed(f"{why}: redirects are not followed, so give the URL that it leads to")
    return replace(failed(why), wait=wait if status in _LATER else 0.0)


def of_form(status: int, body: bytes, wait: float = 0.0) -> Answer:
    """What the answer to a legacy form post means: it has arrived when it begins with `ok`."""
    answer = of_webhook(status, wait)
    if answer.verdict is Verdict.DONE and not _OK.match(body):
        return failed("the answer does not begin with ok")
    return answer


def retry_after(value: str | None, now: float) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110, section 10.2.3), within bounds.

    ``now``: unix time. 0 where there is no such header, or none that can be read.
    """
    text = (value or "").strip()
    if text.isdecimal():
        return min(float(text), LONGEST_WAIT)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT)


def pause(failures: int, chance: float) -> float:
    """Seconds until the next attempt after so many failures in a row, the first being 1.

    ``chance``, from 0 to 1, keeps those apart who failed together: up to half of it is left out.
    """
    longest = min(FIRST_PAUSE * 2.0 ** min(failures - 1, 30), LONGEST_PAUSE)
    return longest * (1 - chance / 2)


def signature(secret: bytes, seconds: int, body: bytes) -> str:
    """The value of X-Fletching-Signature: HMAC-SHA256 over the time, a full stop and the body.

    ``seconds``: unix time, by which the receiver knows an old request that is played again.
    """
    mac = hmac.new(secret, f"{seconds}.".encode() + body, "sha256")
    return f"t={seconds},v1={mac.hexdigest()}"
