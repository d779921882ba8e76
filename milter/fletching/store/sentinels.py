"""Which server is the master of a service, according to its sentinels.

One thread for each sentinel listens for news. Without them, a planned failover would leave the old
master in use for some ten seconds, and what is written there is lost. Each sentinel's answer is
stored with the epoch of its configuration. The highest epoch wins: the sentinel that carries out a
failover knows of it before the others do.
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
"""Seconds between two questions to a sentinel that has no news or does not answer."""
_EXPIRES_AFTER = 10.0
"""Seconds without an answer after which a sentinel's last answer is dropped."""
# In a failover, the first comes when the new master is promoted; the second some seconds later if
# there are more replicas.
_CHANNELS = ("+failover-state-reconf-slaves", "+switch-master")


class Master:
    """The master of a service. Any number of threads may use it. It connects at the first use."""

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
        """Changes with the master. A connection of an earlier term leads to another server."""
        return self._term

    def now(self) -> tuple[int, Address]:
        """The term, and the master's address. Raises ConnectionError if no sentinel knows it."""
        if self._process != os.getpid():
            self._start()
        why = "" if self._address else self._ask_sentinels()
        with self._lock:
            if self._address is None:
                raise ConnectionError(f"no sentinel reports a master for {self._service}: {why}")
            return self._term, self._address

    def _start(self) -> None:
        """Starts the threads. A fork does not copy those of the parent process."""
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

    def _ask_sentinels(self) -> str:
        """Why the last sentinel does not name a master; empty if one of them does."""
        why = ""
        for number, sentinel in enumerate(self._sentinels):
            try:
                self.store_answer(number, _answer(sentinel, self._service))
            except (RedisError, OSError) as error:
                why = str(error)
            else:
                return ""
        return why

    def store_answer(self, sentinel: int, answer: tuple[int, Address]) -> None:
        """Stores the answer of a sentinel: the epoch and the master's address."""
        with self._lock:
            self._answers[sentinel] = answer
            self._decide()

    def drop_answer(self, sentinel: int) -> None:
        """Drops the answer of a sentinel that does not reply, unless it is the only answer."""
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
    # First the address, then the epoch: if a failover happens in between, its news arrive next, and
    # the sentinel is asked again.
    address: Any = sentinel.sentinel_get_master_addr_by_name(service)
    if address is None:
        raise ConnectionError(f"a sentinel does not know {service}")
    state: Any = sentinel.sentinel_master(service)
    return int(state["config-epoch"]), (str(address[0]), int(address[1]))


def _listen(master: weakref.ref[Master], number: int, sentinel: Redis, service: str) -> None:
    """Keeps a `Master` up to date with one sentinel, for as long as something else uses it."""
    answered = time.monotonic()
    while master() is not None:
        # Whatever goes wrong: without this thread, a failover would go unnoticed.
        with suppress(Exception), closing(_news(sentinel)) as news:
            for _ in news:
                answer = _answer(sentinel, service)
                answered = time.monotonic()
                if (known := master()) is None:
                    return
                known.store_answer(number, answer)
                del known  # a waiting thread must not keep it alive
        if time.monotonic() > answered + _EXPIRES_AFTER and (known := master()) is not None:
            known.drop_answer(number)
            del known
        time.sleep(_PAUSE)


def _news(sentinel: Redis) -> Generator[None, None, None]:
    """Yields when it begins to listen, after each message about a failover, and every second."""
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
