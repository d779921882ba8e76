"""`fletching events`: reads the stream, backlogs and dead letters, and starts redelivery.

What an event means is not known here. All functions raise NoAnswer if Redis does not answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fletching.admin.asking import asking, store
from fletching.config.model import Config
from fletching.figures import moment
from fletching.store.events import EventLog

_PAGE = 1000


class StreamError(Exception):
    """The command cannot be carried out. Says why."""


class NoDestination(Exception):
    """The configuration has no destination of that name. Says which there are."""


class Reading:
    """A position in the stream, which advances as events are read."""

    def __init__(self, config: Config, since_ms: int) -> None:
        """Starts with the events that Redis got since then: unix milliseconds, 0 for all."""
        self._log = _log(config)
        self._after = f"{since_ms - 1}-{2**64 - 1}" if since_ms > 0 else "0"

    @asking()
    def read(self) -> list[str]:
        """The next events, one JSON object each; empty if there are none yet.

        If it raises, the position does not change.
        """
        page = self._log.read(self._after, _PAGE)
        if page:
            self._after = page[-1][0]
        return [event for _, event in page]


def of_types(lines: list[str], types: frozenset[str]) -> list[str]:
    """The events of these types; all events if ``types`` is empty."""
    return [line for line in lines if not types or _type(line) in types]


@asking()
def replay(config: Config, name: str, since_ms: int) -> int:
    """Moves a destination's position back to a time. Returns how many events will be redelivered.

    Never forward, since that would skip undelivered events: then raises StreamError. Raises
    NoDestination.
    """
    _known(config, name)
    log = _log(config)
    # By Redis' clock, which the stream uses.
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
    """Each destination's backlog, in the order of the configuration. ``now``: unix seconds.

    ``oldest``: when Redis got the oldest undelivered event; ``age``: seconds since then.
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
    """The dead letters of a destination, oldest first. Raises NoDestination.

    ``event``: the event, or the text if it was not a valid event.
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
