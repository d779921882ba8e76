"""Looking up the messages of returned mails: those that arrive together, in one question to Redis.

Here lives the wait. What is looked up is in `store/bounce_records.py`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from fletching.store.bounce_records import BounceRecords
from fletching.tokens import Facts, MessageKey

MOST_AT_ONCE = 200
"""Messages in one question, so that Redis serves other clients in between."""

_Future = asyncio.Future[Facts | None]


class Lookups:
    """The look-ups of one process. Its methods are for one event loop."""

    def __init__(self, records: BounceRecords) -> None:
        self._records = records
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lookups")
        self._waiting: list[tuple[MessageKey, _Future]] = []
        self._task: asyncio.Task[None] | None = None

    async def facts(self, message: MessageKey) -> Facts | None:
        """The facts of a message; None if Redis no longer has its campaign.

        Raises StoreUnavailable, and unexpected errors.
        """
        found: _Future = asyncio.get_running_loop().create_future()
        self._waiting.append((message, found))
        if self._task is None:
            self._task = asyncio.create_task(self._ask())
        return await found

    def close(self) -> None:
        self._thread.shutdown()

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._waiting[:MOST_AT_ONCE]
            del self._waiting[:MOST_AT_ONCE]
            messages = {message for message, _ in batch}
            try:
                found = await loop.run_in_executor(self._thread, self._records.facts, messages)
            except Exception as error:  # noqa: BLE001 an edge: raised in each `facts`
                _answer(batch, error)
                continue
            for message, future in batch:
                if not future.done():  # the client is still there
                    future.set_result(found.get(message))
        self._task = None


def _answer(batch: list[tuple[MessageKey, _Future]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
