"""Which server is the master of a service, as its sentinels say.

One thread for each sentinel listens there: a planned failover leaves the old master writable for
some ten seconds, and what it takes then is lost. What each sentinel says is kept with the epoch of
its configuration. The highest epoch counts: the sentinel that carries a failover out knows of it
before the others do.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError, RedisError, TimeoutError

Address = tuple[str, int]
"""Host and port."""

_PAUSE = 1.0
"""Seconds between two questions to a sentinel that has no news, or that does not answer."""
_FORGOTTEN = 10.0
"""Seconds without an answer after which the last one of a sentinel counts no more."""
# In a failover, the first comes when the new master is one, the second some seconds later where
# there are more replicas.
_CHANNELS = ("+failover-state-reconf-slaves", "+switch-master")


class Master:
    """The master of a service. Any number of threads may ask; nothing connects before that."""

    def __init__(self, sentinels: Sequence[Redis], service: str) -> None:
        self._service = service
        self._sentinels = sentinels
        self._answers: dict[int, tuple[int, Address]] = {}
        self._address: Address | None = None
        self._term = 0
        self._process = 0
        self._lock = threading.Lock()

    @property
    def term(self) -> int:
        """Another number for each master: what was opened in an earlier term leads elsewhere."""
        return self._term

    def now(self) -> tuple[int, Address]:
        """The term, and where the master is. Raises ConnectionError where no sentinel names it."""
        if self._process != os.getpid():
            self._start()
        why = "" if self._address else self._ask_around()
        with self._lock:
            if self._address is None:
                raise ConnectionError(f"no sentinel names a master of {self._service}: {why}")
            return self._term, self._address

    def _start(self) -> None:
        """The threads of a process: those of a parent do not come along at a fork."""
        with self._lock:
            if self._process == os.getpid():
                return
            self._process = os.getpid()
        for number, sentinel in enumerate(self._sentinels):
            threading.Thread(
                target=_listen,
                args=(weakref.ref(self), number, sentinel, self._service),
                name=f"sentinel-{number}",
                daemon=True,
            ).start()

    def _ask_around(self) -> str:
        """Why the last of the sentinels does not name a master; empty where one does."""
        why = ""
        for number, sentinel in enumerate(self._sentinels):
            try:
                self.heed(number, _answer(sentinel, self._service))
            except (RedisError, OSError) as error:
                why = str(error)
            else:
                return ""
        return why

    def heed(self, sentinel: int, answer: tuple[int, Address]) -> None:
        """A sentinel says this now: the epoch, and where the master is."""
        with self._lock:
            self._answers[sentinel] = answer
            self._decide()

    def forget(self, sentinel: int) -> None:
        """A sentinel has been away for long. The last answer of all stays."""
        with self._lock:
            if len(self._answers) > 1:
                self._answers.pop(sentinel, None)
                self._decide()

    def _decide(self) -> None:
        _, address = max(self._answers.values(), key=lambda answer: answer[0])
        if address != self._address:
            self._address = address
            self._term += 1


def _answer(sentinel: Redis, service: str) -> tuple[int, Address]:
    # The address before the epoch: where a failover comes between, news of it follow, and the
    # question is asked again.
    address: Any = sentinel.sentinel_get_master_addr_by_name(service)
    if address is None:
        raise ConnectionError(f"a sentinel does not know {service}")
    state: Any = sentinel.sentinel_master(service)
    return int(state["config-epoch"]), (str(address[0]), int(address[1]))


def _listen(master: weakref.ref[Master], number: int, sentinel: Redis, service: str) -> None:
    """Tells a `Master` what one sentinel says, for as long as anybody else has that."""
    answered = time.monotonic()
    while master() is not None:
        # Whatever went wrong: nobody would hear of a failover where this thread ended.
        with suppress(Exception), closing(_news(sentinel)) as news:
            for _ in news:
                answer = _answer(sentinel, service)
                answered = time.monotonic()
                if (known := master()) is None:
                    return
                known.heed(number, answer)
                del known  # a thread that waits keeps nothing alive
        if time.monotonic() > answered + _FORGOTTEN and (known := master()) is not None:
            known.forget(number)
            del known
        time.sleep(_PAUSE)


def _news(sentinel: Redis) -> Generator[None, None, None]:
    """Yields once it listens, after each message about a failover, and each second."""
    connection: Any = sentinel.connection_pool.get_connection()
    try:
        connection.send_command("SUBSCRIBE", *_CHANNELS)
        while True:
            yield
            with suppress(TimeoutError):
                connection.read_response(timeout=_PAUSE, disconnect_on_error=False)
    finally:
        connection.disconnect()
        sentinel.connection_pool.release(connection)
