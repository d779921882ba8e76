"""Lua scripts: what must happen in one step in Redis.

Here lives how a script is loaded into a server and called. The scripts are files beside this one;
their callers pass the keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from fletching.store.connection import Ask


class Script:
    """A Lua script beside this file, sent once to each server that does not have it."""

    def __init__(self, name: str) -> None:
        self._text = files("fletching.store").joinpath(name).read_text("ascii")
        # Redis names a script by its SHA-1. No security depends on it.
        self._sha = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    def run(self, ask: Ask, keys: Sequence[str], arguments: Sequence[str | int | bytes]) -> Any:
        _, sha, *words = self.command(keys, arguments)
        try:
            return ask("EVALSHA", sha, *words)
        except NoScriptError:
            return ask("EVAL", self._text, *words)

    def command(
        self, keys: Sequence[str], arguments: Sequence[str | int | bytes]
    ) -> tuple[str | int | bytes, ...]:
        """The command for a server that has the script."""
        # Bytes that were not UTF-8 are sent as they came; redis-py cannot do that.
        sent = [
            each if isinstance(each, bytes) else str(each).encode("utf-8", "surrogateescape")
            for each in arguments
        ]
        return ("EVALSHA", self._sha, len(keys), *keys, *sent)
