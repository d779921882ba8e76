"""What libraries log, in our log: they tell of failures there that reach nobody else.

Here lives what of it is heard, and how much. asyncio reports there what went wrong in a callback,
uvicorn what went wrong between it and the application, SQLAlchemy and redis-py what they gave up.
Few lines a minute are written, and the others counted: some of it comes from outside.
"""

from __future__ import annotations

import logging
import sys
import threading

from fletching import log
from fletching.daemons.process.seldom import Seldom

EVERY = 60.0
"""Seconds between two lines of one library."""

# They warn of what any client may send.
_ERRORS_ONLY = ("uvicorn.error", "asyncio")


class Libraries(logging.Handler):
    """Writes one line a minute for each logger, with the number of those left out."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: dict[str, Seldom] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`, under a lock of the handler."""
        said = self._said.setdefault(record.name, Seldom(EVERY))
        if not said.is_due():
            return
        error = record.exc_info[1] if record.exc_info else None
        is_error = record.levelno >= logging.ERROR
        log.library(record.name, _message(record), error, said.taken(), is_error=is_error)


def take(daemon: str) -> None:
    """From now on that is heard, and what ends a thread or the process. Once, at a start."""
    logging.getLogger().handlers = [Libraries()]
    for name in _ERRORS_ONLY:
        logging.getLogger(name).setLevel(logging.ERROR)
    # Python would write it without the priority of an error.
    sys.excepthook = lambda _kind, error, _trace: log.crashed(daemon, error)
    threading.excepthook = lambda told: _thread_ended(daemon, told)


def _thread_ended(daemon: str, told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None:
        log.crashed(daemon, told.exc_value)


def _message(record: logging.LogRecord) -> str:
    """Its first line; asyncio adds the traceback of where a thing was made."""
    try:
        return record.getMessage().strip().partition("\n")[0]
    except (TypeError, ValueError):
        # Arguments that do not fit.
        return str(record.msg)
