"""How much of its limits each VirtualMTA has used, over all hosts (docs/routing.md).

What counts, and what the caps are, comes with the question (`numbering.py`). Each VirtualMTA has
keys of its own in one slot of a cluster, so a mail asks one VirtualMTA after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from fletching.numbering import Candidate, Period, Question, Window
from fletching.store import keys
from fletching.store.connection import Ask, Store
from fletching.store.script import Script

ALL = "*"
"""Stands for all providers together. No provider can have this name."""

_KEPT = {"hour": 3600, "day": 35 * 86400}
"""Seconds for which the windows of a period are kept after their end. Days are shown later."""


class Room:
    """Takes room for messages. Any number of threads may use it."""

    def __init__(self) -> None:
        self._script = Script("take.lua")

    def take(self, ask: Ask, question: Question) -> str | None:
        """The first candidate that has room for a message, which it now counts; empty if none has,
        None if there is nothing to choose. Raises as ``ask`` does."""
        if not question.candidates:
            return None
        return next(
            (each.name for each in question.candidates if self._has(ask, each, question)), ""
        )

    def _has(self, ask: Ask, candidate: Candidate, question: Question) -> bool:
        if not candidate.periods:
            return True
        words: list[str | int] = [len(question.counted)]
        for provider, recipients in question.counted:
            words += [provider, recipients]
        for period in candidate.periods:
            words += _words(period)
        return bool(self._script.run(ask, [keys.used(candidate.name)], words))


def _words(period: Period) -> Iterable[str | int]:
    yield _KEPT[period.kind]
    for window in period.windows:
        yield window.label
        yield window.starts
        for cap in (window.per_provider, window.in_all):
            yield "" if cap is None else cap


def used(store: Store, wanted: Iterable[tuple[str, Window]]) -> list[Mapping[str, int]]:
    """How many recipients each VirtualMTA had in each window, by provider, and `ALL`.

    Raises StoreUnavailable.
    """
    return [store.ask(partial(_used, keys.used(name) + window.label)) for name, window in wanted]


def _used(key: str, client: Any) -> Mapping[str, int]:
    return {name: int(count) for name, count in client.execute_command("HGETALL", key).items()}
