"""The stream of events as the operator sees it: its lines, who has read how far, going back in it.

Here live the answers of `fletching events`. What an event means may not be known here. All raise
NoAnswer where Redis does not answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fletching.admin.asking import asking, store
from fletching.admin.figures import moment
from fletching.config.model import Config
from fletching.store.events import EventLog

_PAGE = 1000


class StreamError(Exception):
    """It cannot be done. Says why."""


class NoDestination(Exception):
    """The configuration has no destination of that name. Says which ones there are."""


class Reading:
    """A place in the stream, which goes on as it is read."""

    def __init__(self, config: Config, since_ms: int) -> None:
        """Begins with what Redis got at that time: unix milliseconds, 0 for the first event."""
        self._log = _log(config)
        self._after = f"{since_ms - 1}-{2**64 - 1}" if since_ms > 0 else "0"

    @asking()
    def read(self) -> list[str]:
        """The next events, one JSON object each; empty where there are none yet.

        Where it raises, it stays at its place.
        """
        page = self._log.read(self._after, _PAGE)
        if page:
            self._after = page[-1][0]
        return [event for _, event in page]


def of_types(lines: list[str], types: frozenset[str]) -> list[str]:
    """Those events whose type is one of these; all where there are none of these."""
    return [line for line in lines if not types or _type(line) in types]


@asking()
def replay(config: Config, name: str, since_ms: int) -> int:
    """Sets a destination back to a time; how many events it gets from there on.

    Never forth: that would take from it what it has not got yet, and then StreamError is raised.
    Raises NoDestination.
    """
    _known(config, name)
    log = _log(config)
    # In the time of Redis, which is the one of the stream.
    if since_ms > _milliseconds(log.last_id()):
        raise StreamError(f"{name}: no events since then, so there is nothing to redeliver")
    progress = log.progress(name)
    if progress.waiting and progress.oldest <= since_ms:
        raise StreamError(
            f"{name}: events since {moment(progress.oldest / 1000)} are still to be"
            " delivered, so there is nothing to redeliver"
        )
    return log.rewind(name, since_ms)


@asking()
def status(config: Config, now: float) -> list[dict[str, Any]]:
    """How far each destination is, in the order of the configuration. ``now``: unix seconds.

    ``oldest``: when Redis got the oldest event that is not done; ``age``: seconds since then.
    """
    log = _log(config)
    return [_status(log, name, now) for name in _names(config)]


def _status(log: EventLog, name: str, now: float) -> dict[str, Any]:
    progress = log.progress(name)
    oldest = progress.oldest / 1000
    return {
        "destination": name,
        "waiting": progress.waiting,
        "in_hand": progress.in_hand,
        "dead_letters": progress.dead,
        "oldest": moment(oldest) if oldest else None,
        "age": max(0, int(now - oldest)) if oldest else None,
    }


def dead_letters(config: Config, name: str) -> Iterator[dict[str, Any]]:
    """The dead letters of a destination, the oldest first. Raises NoDestination.

    ``event`` is what was buried: an event, or the text that was none.
    """
    _known(config, name)
    with asking():
        for id, event, why in _log(config).dead_letters(name):
            yield {"id": id, "why": why, "event": _event(event)}


def _names(config: Config) -> list[str]:
    return [each.name for each in config.events.destinations] if config.events else []


def _known(config: Config, name: str) -> None:
    names = _names(config)
    if name not in names:
        there_are = f"must be one of {', '.join(names)}" if names else "none is configured"
        raise NoDestination(f"{name}: unknown destination: {there_are}")


def _event(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _type(line: str) -> str:
    event = _event(line)
    return str(event.get("event_type")) if isinstance(event, dict) else ""


def _milliseconds(id: str) -> int:
    return int(id.partition("-")[0])


def _log(config: Config) -> EventLog:
    return EventLog(store(config))
