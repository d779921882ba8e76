"""Redis as the operator's commands use it: longer time limits, and one error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from fletching.config.model import Config
from fletching.store.connection import Limits, Store, StoreUnavailable

PATIENT = Limits(socket=2.5)
"""Nobody's mail waits for an operator's command, and some ask for much."""


class NoAnswer(Exception):
    """Redis did not answer. Its text is one line."""


def store(config: Config) -> Store:
    """The Redis of a configuration, one for all that a command asks."""
    return _opened(config.redis, config.state_dir)


@lru_cache(1)
def _opened(url: str, state_dir: Path) -> Store:
    return Store(url, state_dir, PATIENT)


@contextmanager
def asking() -> Iterator[None]:
    """Around code that queries Redis, or as a decorator: turns StoreUnavailable into NoAnswer."""
    try:
        yield
    except StoreUnavailable as error:
        raise NoAnswer(f"redis: does not answer: {' '.join(str(error).split())}") from None
