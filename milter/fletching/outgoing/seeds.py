"""Seeds: which of them are due, and the content of a seed copy. Pure.

Whether a campaign has seeds is decided in `policy/seeding.py`; who claims a due seed, and who
submits its copy, is not known here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from fletching.mail.envelope import Envelope
from fletching.mail.message import Message
from fletching.numbering import place
from fletching.policy.control import SEED_HEADER
from fletching.policy.plan import Seeding


def due(seeding: Seeding, number: int) -> int:
    """How many seeds are due once the message with this number is sent, from the first one on.

    Seed i of n, counted from 0, is due at number `start + i*(end-start)/(n-1)`, or at `100*i/(n-1)`
    per cent if the mail says how far the campaign is.
    """
    steps = len(seeding.seeds) - 1
    if steps < 0:
        return 0
    if seeding.progress is not None:
        return min(steps, int(seeding.progress * steps / 100)) + 1
    past = place(number) - seeding.start
    if past < 0:
        return 0
    whole = seeding.end - seeding.start
    return min(steps, past * steps // whole if whole else steps) + 1


def due_points(count: int, start: int, end: int) -> tuple[float, ...]:
    """The numbers at which so many seeds are due; with 0 and 100, the percentages."""
    steps = max(1, count - 1)
    return tuple(start + i * (end - start) / steps for i in range(count))


@dataclass(frozen=True, slots=True)
class SeedContent:
    """What is kept of a mail until its seeds have their copies: as it was submitted."""

    sender: str
    client: str
    login: str | None
    message: bytes

    @classmethod
    def of(cls, message: Message, envelope: Envelope) -> SeedContent:
        kept = tuple(each for each in message.headers if each.key != SEED_HEADER.lower())
        return cls(
            envelope.sender,
            envelope.client,
            envelope.login,
            bytes(Message(kept, message.body)),
        )

    def packed(self) -> bytes:
        """As bytes, not yet encrypted."""
        return json.dumps([self.sender, self.client, self.login]).encode() + b"\n" + self.message

    @classmethod
    def unpacked(cls, packed: bytes) -> SeedContent:
        """The reverse of `packed`."""
        head, _, message = packed.partition(b"\n")
        sender, client, login = json.loads(head)
        return cls(sender, client, login, message)

    def with_token(self, token: str) -> bytes:
        """The copy as it is submitted."""
        pieces = [token[at : at + 72] for at in range(0, len(token), 72)]
        value = "\r\n ".join(pieces).encode("ascii")
        return SEED_HEADER + b": " + value + b"\r\n" + self.message
