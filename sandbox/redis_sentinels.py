"""A Redis behind Sentinel: a master, its replicas and sentinels that watch them.

Here lives how such a set is put together, and what a test does to it. The sentinels keep their own
times but for `down-after`: a planned failover takes about two seconds, and the old master stays
writable for some eight more.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import redis

from sandbox.processes import Server, wait_until
from sandbox.redis_server import RedisServer

SERVICE = "mails"
DOWN_AFTER = 500
"""Milliseconds without an answer after which a sentinel takes a server for dead."""


class Sentinels(Server):
    """One master, replicas and sentinels on loopback.

    ``options``: for each redis-server. The first of `servers` is the master at the start; see
    `master` for who is it now.
    """

    def __init__(self, *options: str, replicas: int = 1, sentinels: int = 3) -> None:
        first = RedisServer(*_SERVER, *options)
        of_first = f"replicaof 127.0.0.1 {first.port}"
        self.servers = [
            first,
            *(RedisServer(*_SERVER, *options, of_first) for _ in range(replicas)),
        ]
        quorum = sentinels // 2 + 1
        watch = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {first.port} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}",
            f"sentinel failover-timeout {SERVICE} 6000",
        )
        self.sentinels = [RedisServer(*watch, sentinel=True) for _ in range(sentinels)]
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """As a configuration names it."""
        nodes = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{nodes}/{SERVICE}"

    def start(self) -> None:
        """Start all; on return a failover can begin."""
        for server in self.servers:
            self._stack.enter_context(server)
        wait_until("the replicas are not in step", self.in_step)
        # Only now: a sentinel asks a master for its replicas at once, and then every ten seconds.
        for sentinel in self.sentinels:
            self._stack.enter_context(sentinel)
        wait_until("the sentinels do not know all", self.at_rest)

    def stop(self) -> None:
        """End all that run, those that hang as well."""
        self._stack.close()

    @property
    def master(self) -> RedisServer:
        """Whom most sentinels that run name."""
        ports = [self._named(each) for each in self.sentinels if each.running]
        port = max(set(ports), key=ports.count)
        return next(server for server in self.servers if server.port == port)

    @property
    def master_of_itself(self) -> RedisServer:
        """The first server that says it is a master, also while the sentinels are away."""
        roles = ((each, each.client.info("replication")["role"]) for each in self.servers)
        return next(server for server, role in roles if role == "master")

    @property
    def replicas(self) -> list[RedisServer]:
        """The servers but the master."""
        master = self.master
        return [server for server in self.servers if server is not master]

    def in_step(self) -> bool:
        """Whether one server is the master, and the others have all that it has."""
        master = self.master_of_itself
        told: dict[str, Any] = master.client.info("replication")
        offset = told["master_repl_offset"]
        others = [told.get(f"slave{place}", {}) for place in range(len(self.servers) - 1)]
        return all(each.get("state") == "online" and each["offset"] == offset for each in others)

    def at_rest(self) -> bool:
        """Whether all runs as at the start: a failover can begin."""
        return self.in_step() and all(map(self._sees_all, self.sentinels))

    def order_failover(self) -> None:
        """SENTINEL FAILOVER, as an administrator gives it; it goes on by itself."""
        ask(self.sentinels[0].client, "SENTINEL FAILOVER", SERVICE)

    def failover(self) -> RedisServer:
        """A planned failover; on return all sentinels name the new master, which is returned."""
        old = self.master
        self.order_failover()
        self.wait_for_another(old)
        return self.master

    def wait_for_another(self, old: RedisServer) -> None:
        """Until every sentinel that runs names another master."""
        running = [each for each in self.sentinels if each.running]
        wait_until(
            "the sentinels name no new master",
            lambda: all(self._named(each) != old.port for each in running),
        )

    def _sees_all(self, sentinel: RedisServer) -> bool:
        of: Any = sentinel.client.sentinel_master(SERVICE)
        replicas: Any = sentinel.client.sentinel_slaves(SERVICE)
        return (
            of["flags"] == "master"
            and of["num-other-sentinels"] == len(self.sentinels) - 1
            and len(replicas) == len(self.servers) - 1
            and all(each["flags"] == "slave" for each in replicas)
            and all(each["master-link-status"] == "ok" for each in replicas)
        )

    def _named(self, sentinel: RedisServer) -> int:
        place: Any = sentinel.client.sentinel_get_master_addr_by_name(SERVICE)
        return int(place[1])


# A first copy is made at once, and not after the five seconds in which others might want it too.
_SERVER = ("repl-diskless-sync-delay 0", "enable-debug-command local")


def ask(client: redis.Redis, *words: object) -> object:
    """A command that redis-py has no method for."""
    return client.execute_command(*words)  # type: ignore[no-untyped-call]
