"""Questions to Redis on the operator's behalf, and the one sentence where it does not answer.

Here lives the error that commands tell. What is asked is in the files beside this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fletching.store.connection import StoreAway


class NoAnswer(Exception):
    """Redis did not answer. Says so in one line."""


@contextmanager
def asking() -> Iterator[None]:
    """Round a question, or a function that asks: raises NoAnswer in place of StoreAway."""
    try:
        yield
    except StoreAway as error:
        raise NoAnswer(f"redis: does not answer: {' '.join(str(error).split())}") from None
