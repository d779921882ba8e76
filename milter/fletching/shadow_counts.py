"""The form of what is counted of mail in shadow (docs/shadow.md): counts by class, topic and name.

The milter makes them, Redis adds them up by the hour, `fletching shadow report` reads them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

VERDICT = "verdict"
"""Messages by what would have happened: accept, reject, tempfail, or error."""
REPLY = "reply"
"""Messages that would have been refused, by reply."""
ACTION = "action"
"""Messages to which a rule would have done something, by what: hold, discard, ..."""
TRACKED = "tracked"
"""Links that would have been tracked. Its only name is empty."""
LEFT = "left"
"""Links that would have been left alone, by reason."""
PART = "part"
"""Parts that would not have been rewritten, by reason."""
WARNING = "warning"
"""Messages by warning."""
EDIT = "edit"
"""Edits by kind."""
ROUTE = "route"
"""Messages by VirtualMTA; no name: Postfix would have chosen."""
SIGNATURE = "signature"
"""Signatures by domain."""
TIME = "time"
"""Messages by the bucket of their time."""
SLOWEST = "slowest"
"""The longest time in microseconds: not a sum, but the largest one. Its only name is empty."""

FREE = frozenset({REPLY, LEFT, PART, WARNING, ROUTE, SIGNATURE})
"""Topics with names that are not a fixed few: mail may contain them."""

LONGEST = 255
"""Characters of a name that are kept."""

OTHERS = "(others)"
"""The name for all names of a topic that find no room."""

_SMALLEST = 1e-4
_PER_DOUBLING = 8


class Counted(NamedTuple):
    """What is counted. ``mail_class`` is empty for mail without one."""

    mail_class: str
    topic: str
    name: str = ""

    @property
    def text(self) -> str:
        """Its name in Redis; neither a class nor a topic has a `|`."""
        name = self.name[:LONGEST].encode("utf-8", "backslashreplace").decode("utf-8")
        return f"{self.mail_class}|{self.topic}|{name}"


def counted(text: str) -> Counted:
    """What the name in Redis stands for."""
    mail_class, topic, name = text.split("|", 2)
    return Counted(mail_class, topic, name)


def bucket(seconds: float) -> int:
    """The bucket of a time: eight for each doubling, from 0.1 ms on."""
    if seconds <= _SMALLEST:
        return 0
    return math.ceil(_PER_DOUBLING * math.log2(seconds / _SMALLEST))


def seconds(bucket: int) -> float:
    """The longest time in a bucket, at most 9 % longer than any other."""
    return float(_SMALLEST * 2 ** (bucket / _PER_DOUBLING))
