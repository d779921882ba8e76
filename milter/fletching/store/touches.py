"""What clients did with messages of late, for all processes that judge them.

Here live the keys of touches. What a touch means may not be known here: it is a line of text. Keys:

    fletching:touches:{t}:<message>   string: lines, the latest last, for some seconds

All are in one slot of a cluster, so that those of many messages are one question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fletching.store.connection import Connection
from fletching.store.script import Script

KEY = "fletching:touches:{t}:"
KEPT = 75_000
"""Milliseconds after the last touch of a message."""

LARGEST = 8192
"""Octets of one message's touches, some 150; of more, the older half is forgotten."""


class Touches:
    """The touches of a fleet. Any number of threads may use them.

    Every method raises StoreAway where Redis does not answer.
    """

    def __init__(self, url: str, state_dir: Path) -> None:
        self._connection = Connection(url, state_dir)
        self._touch = Script("touch.lua")

    def add(self, lines: Mapping[str, str]) -> None:
        """Adds lines, each with its end, by message."""
        keys = [KEY + message for message in lines]
        arguments: list[str | int] = [KEPT, LARGEST, *lines.values()]
        self._connection.ask(
            lambda client: self._touch.run(client.execute_command, keys, arguments)
        )

    def of(self, messages: Sequence[str]) -> list[str]:
        """The lines of each message; empty where there are none."""
        keys = [KEY + message for message in messages]

        def asked(client: Any) -> list[str | None]:
            values: list[str | None] = client.mget(keys)
            return values

        return [value or "" for value in self._connection.ask(asked)]
