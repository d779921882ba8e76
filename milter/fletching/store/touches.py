"""What clients did with messages of late, for all processes that judge them.

What a touch means may not be known here: it is a line of text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.script import Script

KEPT = 75_000
"""Milliseconds after the last touch of a message."""

LARGEST = 8192
"""Octets of one message's touches, some 150; of more, the older half is forgotten."""


class Touches:
    """The touches of a fleet. Any number of threads may use them.

    Every method raises StoreAway where Redis does not answer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._touch = Script("touch.lua")

    def add(self, lines: Mapping[str, str]) -> None:
        """Adds lines, each with its end, by message."""
        used = [keys.touches(message) for message in lines]
        arguments: list[str | int] = [KEPT, LARGEST, *lines.values()]
        self._store.ask(lambda client: self._touch.run(client.execute_command, used, arguments))

    def of(self, messages: Sequence[str]) -> list[str]:
        """The lines of each message; empty where there are none."""
        used = [keys.touches(message) for message in messages]

        def asked(client: Any) -> list[str | None]:
            values: list[str | None] = client.mget(used)
            return values

        return [value or "" for value in self._store.ask(asked)]
