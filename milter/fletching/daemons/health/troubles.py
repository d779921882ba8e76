"""Whether Fletching works on this host: the milter, Redis, the journals, each destination.

Each check gives one line per trouble. The lines contain no text from outside but the names of
destinations: whoever can reach the port reads them.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

from fletching.config import values
from fletching.config.model import Config
from fletching.daemons.intake import journal
from fletching.metrics.export import journal_sizes
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.events import EventLog

MILTER_TIMEOUT = 5.0
"""Seconds within which a worker of the milter must answer."""

LARGEST_JOURNAL = journal.LARGEST * 3 // 4
"""Bytes of one journal. Events that Redis has take about half of `LARGEST` at most, so the others
are waiting; at `LARGEST`, events are only in Redis, or lost."""

OLDEST_WAITING = 3600
"""Seconds that an event may wait for a destination."""

# Version 6, all actions and protocol steps, as Postfix offers them.
_NEGOTIATE = struct.pack("!IcIII", 13, b"O", 6, 0x1FF, 0x1FFFFF)
_QUIT = struct.pack("!Ic", 1, b"Q")


def troubles(config: Config, store: Store) -> Iterator[str]:
    """One line for each thing that does not work. Takes some seconds at most.

    ``config``: its `listen`, `redis` and `state_dir` are those of the running milter.
    """
    if not milter_answers(config.listen):
        yield "milter: does not answer"
    for name, size in journal_sizes(config.state_dir):
        if size >= LARGEST_JOURNAL:
            most = journal.LARGEST // 2**20
            yield f"journal {name}: {size // 2**20} of {most} MiB are used"
    try:
        yield from _backlogs(config, store)
    except StoreUnavailable:
        yield "redis: does not answer"


def milter_answers(listen: str) -> bool:
    """Whether a worker of the milter negotiates, as with Postfix."""
    try:
        with connected(listen, values.inet_place(listen), MILTER_TIMEOUT) as client:
            client.sendall(_NEGOTIATE)
            answer = client.recv(5)
            client.sendall(_QUIT)
    except OSError:
        return False
    return answer[4:] == b"O"


def connected(listen: str, place: tuple[str, int] | None, timeout: float) -> socket.socket:
    """A connection to a listen socket. ``place``: its host and port, None for `unix:/PATH`;
    ``timeout``: in seconds. Raises OSError."""
    if place is not None:
        return socket.create_connection((values.connectable(place[0]), place[1]), timeout)
    client = socket.socket(socket.AF_UNIX)
    try:
        client.settimeout(timeout)
        client.connect(listen.removeprefix("unix:"))
    except OSError:
        client.close()
        raise
    return client


def _backlogs(config: Config, store: Store) -> Iterator[str]:
    store.ping()
    events = EventLog(store)
    for each in config.events.destinations if config.events else ():
        oldest = events.progress(each.name).oldest
        waiting = time.time() - oldest / 1000 if oldest else 0.0
        if waiting > OLDEST_WAITING:
            yield f"destination {each.name}: an event has been waiting for {waiting:.0f} seconds"
