"""How much of its limits each VirtualMTA has used, over all hosts (docs/routing.md).

What counts, and what the caps are, comes with the question (`numbering.py`). Each VirtualMTA has
keys of its own in one slot of a cluster, so a mail asks one VirtualMTA after the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from fletching.numbering import Candidate, Period, Question, Window
from fletching.store import keys
from fletching.store.connection import Ask, Store
from fletching.store.script import Script

Counted = tuple[tuple[str, int], ...]
"""Recipients by provider."""

Command = tuple[str | int | bytes, ...]

Later = Callable[[Callable[[Ask], None]], None]

ALL = "*"
"""Stands for all providers together. No provider can have this name."""

PLENTY = 500
"""Recipients for which there is room, so that the next message will have room, too. If it does not,
because other hosts sent hundreds meanwhile, a message number is left out."""

_KEPT = {"hour": 3600, "day": 35 * 86400}
"""Seconds for which the windows of a period are kept after their end. Days are shown later."""


class Limits:
    """The scripts that take room and give it back. Any number of threads may use it."""

    def __init__(self) -> None:
        self._take = Script("take.lua")
        self._give_back = Script("give_back.lua")
        self._with_plenty: set[str] = set()

    def take(self, ask: Ask, candidate: Candidate, counted: Counted) -> str:
        """Counts recipients in all windows of a candidate; the labels of the windows, empty if one
        of them has no room. Raises as ``ask`` does."""
        return self.taken(candidate, self._take.run(ask, *_call(candidate, counted)))

    def command(self, candidate: Candidate, counted: Counted) -> Command | None:
        """The command of `take`, if the candidate had plenty of room the last time."""
        if candidate.name not in self._with_plenty:
            return None
        return self._take.command(*_call(candidate, counted))

    def taken(self, candidate: Candidate, answer: tuple[str, int]) -> str:
        """Records the answer of take.lua, and returns its labels."""
        labels, left = answer
        if left >= PLENTY:
            self._with_plenty.add(candidate.name)
        else:
            self._with_plenty.discard(candidate.name)
        return labels

    def give_back(self, ask: Ask, candidate: str, labels: str, counted: Counted) -> None:
        """Takes back what `take` counted."""
        self._give_back.run(ask, [keys.used(candidate)], [labels, *_recipients(counted)])


class Room:
    """The room that one message takes, once, however often it is asked for."""

    def __init__(self, limits: Limits, question: Question, later: Later) -> None:
        """``later`` runs something in another thread, when Redis answers again."""
        self._limits = limits
        self._question = question
        self._later = later
        self._route: str | None = None
        self._labels = ""
        self._abandoned = False
        self._changing = threading.Lock()

    def take(self, ask: Ask) -> str | None:
        """The first candidate that has room for the message, which it now counts; empty if none
        has, None if there is nothing to choose. Raises as ``ask`` does."""
        if self._question.candidates and self._route is None:
            route, labels = self._first(ask)
            with self._changing:
                self._route, self._labels = route, labels
                if self._abandoned:
                    self._give_back()
        return self._route

    def command(self) -> Command | None:
        """The command that takes room at the first candidate, if it may be sent before it is known
        whether there is room; `answered` gets its answer."""
        if not self._question.candidates or self._route is not None:
            return None
        return self._limits.command(self._question.candidates[0], self._question.counted)

    def answered(self, answer: tuple[str, int]) -> bool:
        """Whether the first candidate had room."""
        first = self._question.candidates[0]
        if labels := self._limits.taken(first, answer):
            with self._changing:
                self._route, self._labels = first.name, labels
        return bool(labels)

    def abandon(self) -> None:
        """Gives back what was taken, or will be: the message gets no number."""
        with self._changing:
            self._abandoned = True
            self._give_back()

    def _first(self, ask: Ask) -> tuple[str, str]:
        for each in self._question.candidates:
            if not each.periods:
                return each.name, ""
            if labels := self._limits.take(ask, each, self._question.counted):
                return each.name, labels
        return "", ""

    def _give_back(self) -> None:
        labels, self._labels = self._labels, ""
        if labels and self._route:
            route, counted = self._route, self._question.counted
            self._later(lambda ask: self._limits.give_back(ask, route, labels, counted))


def _call(candidate: Candidate, counted: Counted) -> tuple[list[str], list[str | int]]:
    """Keys and arguments of take.lua."""
    words = [*_recipients(counted), *(each for p in candidate.periods for each in _words(p))]
    return [keys.used(candidate.name)], words


def _recipients(counted: Counted) -> list[str | int]:
    return [len(counted), *(word for each in counted for word in each)]


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
