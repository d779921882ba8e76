"""What is known before a mail is decided about: configuration, keys, paused VirtualMTAs, the time.

Here are the two values that whoever carries mail passes in: what was opened at the start, and the
moment at which the mail is carried. Nothing is read or drawn here (`startup.py` does both).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fletching.config.model import Config
from fletching.mail.dkim import SigningKey
from fletching.tokens import Keyring


@dataclass(frozen=True, slots=True)
class Setup:
    """What was opened before the first mail. ``paused``: names of VirtualMTAs in lower case."""

    config: Config
    link_keys: Keyring
    dkim_keys: tuple[SigningKey, ...]
    paused: frozenset[str]


@dataclass(frozen=True, slots=True)
class Stamp:
    """The time, in the configuration's time zone, and 8 random bytes."""

    time: datetime
    entropy: bytes

    @property
    def seconds(self) -> int:
        """Unix time."""
        return int(self.time.timestamp())
