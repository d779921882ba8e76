"""The files that the option `redis` names: passwords, certificates, keys.

A daemon does not start if one of them cannot be read, and a reload keeps the old configuration.
Their contents are read for each connection, by `store/connection.py`.
"""

from __future__ import annotations

import os

from fletching.config.faults import named_by
from fletching.config.model import Config
from fletching.config.redis_url import parse


def open_redis_files(config: Config) -> None:
    """Raises UnusableError."""
    with named_by("redis", fault=OSError):
        for file in parse(config.redis).files:
            os.close(os.open(file, os.O_RDONLY | os.O_NONBLOCK))
