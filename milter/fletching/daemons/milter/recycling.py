"""After how many mails a worker retires, and which counter file its successor has. Pure.

Here live these two rules; how a worker is replaced is in `worker.py` and `process/supervise.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import count


def share(most: int, worker: int, workers: int) -> int:
    """After how many mails a worker retires, of workers numbered from 0; 0 is never.

    From ``most`` down to a little over half of it, a different number for each worker: they start
    together and have about as many mails each, and must not all retire at the same time.
    """
    return most - most * worker // (2 * workers)


def lowest_free(taken: Collection[int]) -> int:
    """The lowest number that no process has: two processes never write one file of counters."""
    return next(number for number in count() if number not in taken)
