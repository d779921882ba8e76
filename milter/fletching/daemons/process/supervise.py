"""Supervising child processes: one that dies is replaced, and all end with their parent.

Here lives the loop of a parent: it waits for signals, restarts children, with growing pauses if
they keep dying, starts a successor for one that retires, and ends them all. The first process of a
daemon uses it for its workers, `fletching run` for the daemons.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fletching import log
from fletching.daemons.process.fork import Signals

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
STABLE_AFTER = 10.0
"""Seconds of life after which the next pause is the first one again."""

ENDS = frozenset({signal.SIGTERM, signal.SIGINT})


@dataclass(slots=True, eq=False)
class Child:
    """A process that should always run. ``start`` starts it and returns its process id.

    ``ended_by`` and ``reloaded_by`` are the signals that end and reload it. A child that can retire
    has a ``successor``, which is started as soon as ``retires`` is true; the child then ends by
    itself.
    """

    name: str
    start: Callable[[], int]
    ended_by: int = signal.SIGTERM
    reloaded_by: int = signal.SIGHUP
    retires: Callable[[], bool] = lambda: False
    successor: Callable[[], Child] | None = None
    retiring: bool = False
    pid: int = 0
    began: float = 0.0
    pause: float = FIRST_PAUSE
    due: float = 0.0
    status: int | None = None

    def begin(self) -> None:
        self.began = time.monotonic()
        self.pid = self.start()

    def reap(self) -> bool:
        """Whether it has died since the last call."""
        if not self.pid:
            return False
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return False
        self.pid, self.status = 0, os.waitstatus_to_exitcode(status)
        return True

    @property
    def gone(self) -> bool:
        """Whether it has retired and ended."""
        return self.retiring and not self.pid

    def died(self) -> str:
        """How it died: the name of a signal, or an exit status."""
        if self.status is not None and self.status < 0:
            return signal.Signals(-self.status).name
        return f"exit {self.status}"

    def signal(self, number: int) -> None:
        if self.pid:
            os.kill(self.pid, number)


class Supervisor:
    """The loop of a parent. ``reload`` returns whether to reload the children, too.

    ``children`` is kept up to date: successors are added, and retired children removed.
    """

    def __init__(
        self,
        signals: Signals,
        children: list[Child],
        *,
        reload: Callable[[], bool] = lambda: True,
        tick: Callable[[], None] = lambda: None,
        every: float | None = None,
    ) -> None:
        self._signals = signals
        self._children = children
        self._reload = reload
        self._tick = tick
        self._every = every

    def run(self) -> signal.Signals:
        """Runs until SIGTERM or SIGINT; which of them it was."""
        next_tick = time.monotonic() + self._every if self._every else None
        while True:
            # Before waiting for a signal, too: a child may have died since it was started.
            for child in tuple(self._children):
                self._check(child)
            if next_tick is not None and self._every and time.monotonic() >= next_tick:
                next_tick = time.monotonic() + self._every
                self._tick()
            got = self._signals.wait(self._time_left(next_tick))
            if ending := got & ENDS:
                return signal.Signals(min(ending))
            if signal.SIGHUP in got and self._reload():
                for child in self._children:
                    child.signal(child.reloaded_by)

    def _check(self, child: Child) -> None:
        # Before it is reaped: a child that retires may have ended already.
        if child.successor is not None and not child.retiring and child.retires():
            child.retiring = True
            successor = child.successor()
            self._children.append(successor)
            self._begin(successor)
        if child.reap():
            self._died(child)
        if child.gone:
            self._children.remove(child)
        elif not child.pid and time.monotonic() >= child.due:
            self._begin(child)

    def _begin(self, child: Child) -> None:
        try:
            child.begin()
        except OSError as error:
            self._restart_later(child, str(error))

    def _died(self, child: Child) -> None:
        if child.retiring:
            if child.status != 0:
                log.child_died(child.name, child.died(), None)
            return
        if time.monotonic() - child.began >= STABLE_AFTER:
            child.pause = FIRST_PAUSE
        self._restart_later(child, child.died())

    def _restart_later(self, child: Child, why: str) -> None:
        log.child_died(child.name, why, child.pause)
        child.due = time.monotonic() + child.pause
        child.pause = min(child.pause * 2, LONGEST_PAUSE)

    def _time_left(self, next_tick: float | None) -> float | None:
        times = [child.due for child in self._children if not child.pid]
        times += [next_tick] if next_tick is not None else []
        return max(0.0, min(times) - time.monotonic()) if times else None


def end(signals: Signals, children: Sequence[Child], deadline: float) -> None:
    """Ends the children, and kills those that are left at the deadline (monotonic time)."""
    for child in children:
        child.signal(child.ended_by)
    while any(child.pid for child in children):
        for child in children:
            child.reap()
        left = [child for child in children if child.pid]
        if left and time.monotonic() >= deadline:
            for child in left:
                log.child_killed(child.name, child.pid)
                child.signal(signal.SIGKILL)
                os.waitpid(child.pid, 0)
                child.pid = 0
        elif left:
            signals.wait(deadline - time.monotonic())
