"""Finds the traces that a person asks for: by an address, a queue id, a Message-ID, a return path
or a URL.

Here lives what a text means, and why nothing is found. Where traces are kept is known to the store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fletching import tokens
from fletching.config.units import show_duration
from fletching.returning.attribution import message_of
from fletching.store.find_traces import Trace, Traces
from fletching.tokens import Facts, Keyring, TokenError

_FIELD = re.compile(r"\s*(?:Message-ID|Return-Path|X-Mailer-Info)\s*:", re.IGNORECASE)
_URL = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
_MAILTO = re.compile(r"mailto:", re.IGNORECASE)
_TAG = re.compile(rf"[a-z2-7]{{{tokens.SHORTEST_TAG},{tokens.TAG_LENGTH}}}", re.IGNORECASE)
_SHORTEST_TOKEN = 40


class NoTrace(Exception):
    """Nothing is found. Its text says why."""


@dataclass(frozen=True, slots=True)
class Search:
    """How the traces of a site are searched. ``memory``: `trace_memory`, in seconds."""

    traces: Traces
    keys: Keyring
    memory: int

    def find(self, text: str, most: int) -> list[Trace]:
        """The traces that a text names, newest first. Raises NoTrace and StoreUnavailable."""
        if not self.memory:
            raise NoTrace("traces are switched off: trace_memory is 0")
        name = _FIELD.sub("", text, count=1).strip()
        if facts := self._of_token(name):
            return self.of_message(facts.campaign, facts.number)
        if message := self._of_return_path(name):
            return self.of_message(*message)
        if _URL.match(name):
            raise NoTrace("not one of our links: it has no token that our keys can open")
        # A search reads the whole name, and no name is longer.
        if found := self.traces.named(name.strip("<>")[:1000], most):
            return found
        raise NoTrace(
            f"no message of the last {show_duration(self.memory)} (trace_memory) has this address,"
            " queue id or Message-ID; mail without a Mail Class has no trace, and mail with an"
            " obscured address is found by that address only"
        )

    def of_message(self, campaign: str, number: int) -> list[Trace]:
        """The trace of a message. Raises NoTrace and StoreUnavailable."""
        if not campaign:
            raise NoTrace("this mail was sent while Redis was unavailable, so it has no trace")
        if found := self.traces.of([(campaign, number)]):
            return found
        raise NoTrace(
            f"nothing is kept of message {number} of campaign {campaign}: it was sent more than"
            f" {show_duration(self.memory)} ago (trace_memory), or Redis has lost it"
        )

    def _of_token(self, text: str) -> Facts | None:
        if not _URL.match(text) and ("@" in text or len(text) < _SHORTEST_TOKEN):
            return None
        if _MAILTO.match(text):
            text = text.rpartition("=")[2]
        try:
            return self.keys.open(tokens.found_in(text)).facts
        except TokenError:
            return None

    def _of_return_path(self, text: str) -> tuple[str, int] | None:
        if _TAG.fullmatch(text):
            text = f"{text}@"
        return message_of(text.strip("<>"), self.keys) if "@" in text else None
