"""A thread of the courier that works while it holds a lease, so that one courier of all hosts does.

Here live its start and end, the lease, and what happens when the work fails. What the work is, the
subclasses know.
"""

from __future__ import annotations

import contextlib
import threading

from fletching import log
from fletching.store.connection import StoreUnavailable
from fletching.store.lease import Lease


class LeasedThread:
    """Calls `process` every ``check_every`` seconds, while no other courier has the lease."""

    awaited = True
    """Whether a stop of the courier waits for the work in hand."""

    def __init__(self, name: str, lease: Lease, check_every: float) -> None:
        self.name = name
        self._lease = lease
        self._check_every = check_every
        self._holding = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def process(self) -> None:
        """Does what is due; returns at the latest after `end`. Raises StoreUnavailable."""
        raise NotImplementedError

    def begin(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def end(self) -> None:
        """Ends it after the work in hand; does not wait for that."""
        self._ended.set()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, within that time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def renew(self) -> None:
        """Renews the lease, however long the work in hand takes. Raises StoreUnavailable.

        Call it more often than a lease lasts, from another thread.
        """
        with self._holding:
            if self._lease.held:
                self._lease.acquire()

    def _may_continue(self) -> bool:
        return self._lease.held and not self._ended.is_set()

    def _after_error(self, error: Exception) -> None:
        """What follows an unexpected error, before `process` is called again."""
        log.courier_failed(self.name, error)

    def _close(self) -> None:
        """What is done at the end, before the lease is released."""

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with self._holding:
                    is_ours = self._lease.acquire()
                if is_ours:
                    self.process()
            except StoreUnavailable:
                pass  # the courier logs it, once for all its threads
            except Exception as error:  # noqa: BLE001 the edge of this thread
                self._after_error(error)
            self._ended.wait(self._check_every)
        self._close()
        with self._holding, contextlib.suppress(StoreUnavailable):
            # Otherwise it expires.
            self._lease.release()
