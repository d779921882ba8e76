"""Redis Cluster in the place of a single Redis, for tests that do not hurt it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from tests import redis_cluster
from tests.redis_server import emptied

from .processes import Server


class Cluster(Server):
    """Redis Cluster of three masters on loopback."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._stores: redis_cluster.Stores | None = None

    @property
    def running(self) -> bool:
        """Whether it was started."""
        return self._stores is not None

    @property
    def unix_url(self) -> str:
        """How a configuration names it, in place of the socket of a single Redis."""
        assert self._stores is not None
        return self._stores.url

    def nodes(self) -> list[Any]:
        """A client of each node."""
        assert self._stores is not None
        return [server.client for server in self._stores.servers]

    def client(self) -> Any:
        """A client that knows all of its nodes."""
        assert self._stores is not None
        return redis_cluster.client(self._stores.servers, decode_responses=False)

    def start(self) -> None:
        """Start all nodes."""
        self._stores = self._stack.enter_context(redis_cluster.running("cluster"))

    def stop(self) -> None:
        """End all nodes."""
        self._stack.close()
        self._stores = None

    def reset(self) -> None:
        """Empty."""
        assert self._stores is not None
        for server in self._stores.servers:
            emptied(server.client)
