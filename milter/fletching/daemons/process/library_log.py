"""What libraries log, in our log: some failures are reported nowhere else.

asyncio logs exceptions in callbacks, uvicorn what goes wrong between it and the application,
SQLAlchemy and redis-py what they gave up. Each logger gets one line a minute, and the others are
counted: clients can cause some of them.
"""

from __future__ import annotations

import logging
import sys
import threading

from fletching import log
from fletching.daemons.process.log_limit import LogLimit

EVERY = 60.0
"""Seconds between two lines of one logger."""

# Any client can cause their warnings.
_ERRORS_ONLY = ("uvicorn.error", "asyncio")


class Libraries(logging.Handler):
    """Writes one line a minute for each logger, with the number of lines skipped."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._limits: dict[str, LogLimit] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`, under a lock of the handler."""
        limit = self._limits.setdefault(record.name, LogLimit(EVERY))
        if not limit.is_due():
            return
        error = record.exc_info[1] if record.exc_info else None
        is_error = record.levelno >= logging.ERROR
        log.library(record.name, _message(record), error, limit.take_skipped(), is_error=is_error)


def log_libraries(daemon: str) -> None:
    """Starts to log what libraries report, and exceptions that end a thread or the process."""
    logging.getLogger().handlers = [Libraries()]
    for name in _ERRORS_ONLY:
        logging.getLogger(name).setLevel(logging.ERROR)
    # Python itself would write it without the priority of an error.
    sys.excepthook = lambda _kind, error, _trace: log.crashed(daemon, error)
    threading.excepthook = lambda args: _thread_ended(daemon, args)


def _thread_ended(daemon: str, args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        log.crashed(daemon, args.exc_value)


def _message(record: logging.LogRecord) -> str:
    """Its first line; asyncio appends a traceback of where an object was created."""
    try:
        return record.getMessage().strip().partition("\n")[0]
    except (TypeError, ValueError):
        # Its arguments do not match its format.
        return str(record.msg)
