"""The rules of delivery: which events, what an answer means, when to try again, how to sign.

Here lives what can be said without asking anybody. Pure.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from fletching import events

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
"""Seconds after the first failure, and after many."""

_OK = re.compile(rb"\bok\b", re.IGNORECASE)
_NOT_ACCEPTABLE, _GONE, _TOO_LARGE = 406, 410, 413


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
    """Together they never will: each is to be offered by itself, and buried if it is alone."""
    BURY = auto()
    """They never will: to the dead letters with them, and on with the next ones."""
    STOP = auto()
    """Nothing more is wanted there: what comes goes to the dead letters."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict, and for the operator why it is not `DONE`."""

    verdict: Verdict
    why: str = ""


ARRIVED = Answer(Verdict.DONE)


def failed(why: object) -> Answer:
    """They have not arrived; what is said of it is cut to a length that a log bears."""
    return Answer(Verdict.AGAIN, str(why)[:200])


def of_webhook(status: int) -> Answer:
    """What the answer to a JSON webhook means, by its status (RFC 9110, section 15)."""
    if 200 <= status < 300:
        return ARRIVED
    why = f"status {status}"
    if status == _GONE:
        return Answer(Verdict.STOP, why)
    if status == _TOO_LARGE:
        return Answer(Verdict.APART, why)
    if status == _NOT_ACCEPTABLE:
        return Answer(Verdict.BURY, why)
    return failed(why)


def of_form(status: int, body: bytes) -> Answer:
    """What the answer to a legacy form post means: it has arrived when it says the word `ok`."""
    answer = of_webhook(status)
    if answer.verdict is Verdict.DONE and not _OK.search(body):
        return failed("the answer does not say ok")
    return answer


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
