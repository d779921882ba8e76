"""Recording the events of an input once, even if a killed process gets the input again.

Here lives how a repeated event is recognized: the random part of its id is not random, but a digest
of the input (`entropy`). The same input gives the same suffix of the id, at any time, and an event
whose suffix is in the journal already is not recorded again. What an input is, and when it may be
forgotten, is up to the daemon.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from fletching.daemons.intake.journal import START, Position, recorded_ids
from fletching.daemons.intake.recorder import Recorder
from fletching.daemons.intake.remembered import Remembered
from fletching.events import Event

MOST = 500_000
"""Suffixes that are remembered; each takes 8 bytes of memory."""

_SUFFIX = 16
"""Characters at the end of an event's id: 80 bits."""


def entropy(*parts: bytes) -> bytes:
    """Ten bytes for `events.unique_id`: always the same ones for the same parts."""
    digest = hashlib.blake2b(digest_size=10)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def suffix(id: str) -> str:
    """The part of an event's id that comes from `entropy`."""
    return id[-_SUFFIX:]


def recorded(folder: Path, since: Position = START) -> list[str]:
    """The suffixes of all events in a journal since a position, oldest first. Raises OSError."""
    return [suffix(id) for id in recorded_ids(folder, since)]


class Once:
    """Records events that are not recorded yet. Its methods are for one event loop."""

    def __init__(self, recorder: Recorder, recorded: Iterable[str], most: int = MOST) -> None:
        """``recorded``: suffixes; of those above ``most``, the first ones are forgotten."""
        self._recorder = recorder
        self._recorded = Remembered(recorded, most)
        self._recording: dict[str, asyncio.Future[None]] = {}

    async def record(self, *events: Event) -> int:
        """Returns how many of the events are new, when all of them are safe.

        Raises NotSafeError, and unexpected errors; the events may be repeated then. Being
        cancelled changes nothing: a client that goes away will come again.
        """
        return await asyncio.shield(asyncio.create_task(self._record(events)))

    async def _record(self, events: Sequence[Event]) -> int:
        for event in events:
            if (other := self._recording.get(suffix(event.id))) is not None:
                # The same input over another connection. Whether that one succeeds, is seen below.
                await asyncio.wait([other])
        new = {suffix(event.id): event for event in events}
        new = {name: event for name, event in new.items() if name not in self._recorded}
        if not new:
            return 0
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._recording |= dict.fromkeys(new, done)
        try:
            await self._recorder.record(*new.values())
            self._recorded.add(new)
        finally:
            for name in new:
                del self._recording[name]
            done.set_result(None)
        return len(new)

    def forget(self) -> None:
        """Forgets all that was recorded: none of it can be repeated any more."""
        self._recorded.clear()
