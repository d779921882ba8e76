"""What clients did with messages in the last minute, for all processes that look for bots.

Here a touch is a line of text; what it means is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.script import Script

KEPT = 75_000
"""Milliseconds for which the touches of a message are kept after the last one."""

LARGEST = 8192
"""Bytes of one message's touches, about 150 of them. Above that, the older half is deleted."""


class Touches:
    """The touches of a fleet. Any number of threads may use them.

    Every method raises StoreUnavailable if Redis does not answer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._touch = Script("touch.lua")

    def add(self, lines: Mapping[str, str]) -> None:
        """Adds lines, by message. Each must end with a newline."""
        used = [keys.touches(message) for message in lines]
        arguments: list[str | int] = [KEPT, LARGEST, *lines.values()]
        self._store.ask(lambda client: self._touch.run(client.execute_command, used, arguments))

    def of(self, messages: Sequence[str]) -> list[str]:
        """The lines of each message; empty if there are none."""
        used = [keys.touches(message) for message in messages]

        def ask(client: Any) -> list[str | None]:
            values: list[str | None] = client.mget(used)
            return values

        return [value or "" for value in self._store.ask(ask)]
