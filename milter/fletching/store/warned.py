"""The warnings of the last day by kind, of all hosts, each with its latest example.

The warnings of a campaign are in `warnings.py`. Which warnings are of one kind is decided where
they are counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from fletching.store import keys
from fletching.store.connection import Store
from fletching.store.script import Script

MOST = 100
"""Kinds of one hour that are kept."""

OTHER = "other warnings"
"""What further ones are counted as."""

_HOURS = 25
"""The last day, of which the first hour is counted completely."""

_LONGEST = 255


@dataclass(frozen=True, slots=True)
class Example:
    """A mail that had a warning. ``seconds``: when, in unix time. ``campaign``: empty if it had no
    Mail Class, or was refused.
    """

    text: str
    queue_id: str
    seconds: int
    host: str
    campaign: str = ""


@dataclass(frozen=True, slots=True)
class Warned:
    """A kind of warning: how many mails had it, and the latest one."""

    kind: str
    mails: int
    example: Example


class WarnedMails:
    """The warnings of a fleet."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._script = Script("warned.lua")

    def count(self, found: Sequence[Warned], now: int) -> None:
        """Adds mails of this hour. ``now``: unix time. Raises StoreUnavailable."""
        words = [
            word
            for each in found
            for word in (each.kind[:_LONGEST], each.mails, json.dumps(asdict(each.example)))
        ]
        kept = (_HOURS + 1) * 3600 * 1000
        used = [keys.warned(now // 3600)]
        self._store.ask(
            lambda client: self._script.run(
                client.execute_command, used, [MOST, OTHER, kept, *words]
            )
        )

    def of_last_day(self, now: int) -> list[Warned]:
        """The warnings by kind, most frequent first. Raises StoreUnavailable."""
        found: dict[str, Warned] = {}
        for hour in range(now // 3600 - _HOURS + 1, now // 3600 + 1):
            for each in _parsed(self._fields(hour)):
                before = found[each.kind].mails if each.kind in found else 0
                found[each.kind] = Warned(each.kind, before + each.mails, each.example)
        return sorted(found.values(), key=lambda each: (-each.mails, each.kind))

    def _fields(self, hour: int) -> Mapping[str, str]:
        found: Mapping[str, str] = self._store.ask(lambda client: client.hgetall(keys.warned(hour)))
        return found


def _parsed(fields: Mapping[str, str]) -> Iterator[Warned]:
    for name, value in fields.items():
        mark, _, kind = name.partition(":")
        if mark == "n" and (example := _example(fields.get(f"e:{kind}", ""))) is not None:
            yield Warned(kind, int(value), example)


def _example(text: str) -> Example | None:
    """An example; None if it is not one of ours."""
    try:
        facts = json.loads(text)
        return Example(
            *(str(facts["text"]), str(facts["queue_id"]), int(facts["seconds"])),
            *(str(facts["host"]), str(facts["campaign"])),
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
