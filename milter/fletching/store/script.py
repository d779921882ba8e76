"""Lua scripts: what must be one step in Redis.

Here lives how a script gets to a server and is called there. The scripts are files beside this one;
which keys they touch is their callers' business.
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
        # SHA-1 is the name that Redis gives to a script; nothing rests on its strength.
        self._sha = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    def run(self, ask: Ask, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        # Octets that were no UTF-8 when they came go out as they were; redis-py cannot do that.
        sent = [str(argument).encode("utf-8", "surrogateescape") for argument in arguments]
        try:
            return ask("EVALSHA", self._sha, len(keys), *keys, *sent)
        except NoScriptError:
            return ask("EVAL", self._text, len(keys), *keys, *sent)
