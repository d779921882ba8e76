"""Questions to Redis on the operator's behalf, and the one sentence where it does not answer.

Here lives the error that commands tell. What is asked is in the files beside this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from fletching.config.model import Config
from fletching.store.connection import Limits, Store, StoreUnavailable

PATIENT = Limits(answer=3.0, socket=2.5)
"""Nobody's mail waits for an operator's command, and some ask for much."""


class NoAnswer(Exception):
    """Redis did not answer. Says so in one line."""


def store(config: Config) -> Store:
    """The Redis of a configuration, one for all that a command asks."""
    return _opened(config.redis, config.state_dir)


@lru_cache(1)
def _opened(url: str, state_dir: Path) -> Store:
    return Store(url, state_dir, PATIENT)


@contextmanager
def asking() -> Iterator[None]:
    """Round a question, or a function that asks: raises NoAnswer in place of StoreUnavailable."""
    try:
        yield
    except StoreUnavailable as error:
        raise NoAnswer(f"redis: does not answer: {' '.join(str(error).split())}") from None
