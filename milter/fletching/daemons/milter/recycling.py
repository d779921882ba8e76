"""When a worker has had its share of mails, and where the one that follows it counts. Pure.

Here live the two rules of replacing workers; how it is done is in `worker.py` and `tending.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import count


def share(most: int, worker: int, workers: int) -> int:
    """After how many mails a worker retires, of so many workers from 0 on; 0 is never.

    From ``most`` down to a little over its half, for each worker another number: they begin
    together and have about as many mails each, and shall not retire together.
    """
    return most - most * worker // (2 * workers)


def free_place(taken: Collection[int]) -> int:
    """The lowest place that no process has: two never write one file of counters."""
    return next(place for place in count() if place not in taken)
