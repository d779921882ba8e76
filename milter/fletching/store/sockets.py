"""Connections to servers: when one is closed, and when it may not be used any more.

redis-py closes a connection after a time-out or a network error. Here lives what it does not do:
ending one that leads to a server which is no master, and, behind sentinels, one whose server is the
master no longer. No command of ours is known here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from redis.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import (
    ConnectionError,
    MasterDownError,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
)

from fletching.store.sentinels import Master

if TYPE_CHECKING:
    _Redis = AbstractConnection
else:
    _Redis = object

ROLE_SURE = 1.0
"""Seconds after which a connection asks its server again whether it is the master."""

# What a replica says, and a master that is cut off from its replicas. A server that loads its data
# or wants another password makes redis-py close the connection.
_NOT_THE_MASTER = ("UNBLOCKED", "NOREPLICAS")


class _Own(_Redis):
    """A connection that the answer of a server which is no master ends.

    A name or a proxy may lead to the master meanwhile.
    """

    ready = True
    """Whether a command goes out at once: nothing has to be made sure before."""

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)
        except ResponseError as error:
            if isinstance(error, ReadOnlyError | MasterDownError) or str(error).startswith(
                _NOT_THE_MASTER
            ):
                self.disconnect()  # type: ignore[no-untyped-call]
            raise


class TcpConnection(_Own, Connection):
    """To a server of a known address."""


def read_tickets(connection: AbstractConnection) -> None:
    """Reads what a server with TLS 1.3 sends of its own after the handshake.

    redis-py would take it for an answer that nobody has read, and not use the connection.
    """
    connection.send_command("PING", check_health=False)  # type: ignore[no-untyped-call]
    connection.read_response()


class TlsConnection(_Own, SSLConnection):
    """To a server of a known address, with TLS."""

    def on_connect_check_health(self, check_health: bool = True) -> None:
        super().on_connect_check_health(check_health)
        read_tickets(self)


class UnixConnection(_Own, UnixDomainSocketConnection):
    """To a server of this host."""


class MasterConnection(_Own, Connection):
    """To the master of a service, for as long as it is that."""

    def __init__(self, *, master: Master, **options: Any) -> None:
        self._master = master
        self._term = -1
        self._sure_until = 0.0
        super().__init__(**options)  # type: ignore[no-untyped-call]

    @property
    def ready(self) -> bool:  # type: ignore[override]
        """Whether the master is surely the same, and a command goes out at once."""
        return self._term == self._master.term and time.monotonic() < self._sure_until

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if check_health and self._sock is not None:
            self._stay()
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]

    def _stay(self) -> None:
        """Closes itself where its server is the master no longer; the next command connects."""
        if self._term != self._master.term:
            self.disconnect()  # type: ignore[no-untyped-call]
        elif time.monotonic() >= self._sure_until:
            try:
                self._see_role()
            except ConnectionError:
                self.disconnect()  # type: ignore[no-untyped-call]

    def _connect(self) -> Any:
        self._term, (self.host, self.port) = self._master.now()
        # The handshake comes first, and the question for the role is its end.
        self._sure_until = time.monotonic() + ROLE_SURE
        return super()._connect()  # type: ignore[no-untyped-call]

    def on_connect_check_health(self, check_health: bool = True) -> None:
        super().on_connect_check_health(check_health)
        self._see_role()

    def _see_role(self) -> None:
        """Raises ConnectionError where the server is no master, and TimeoutError."""
        self.send_command("ROLE", check_health=False)  # type: ignore[no-untyped-call]
        try:
            role = self.read_response()[0]
        except NoPermissionError:
            role = "master"  # the sentinels' word must do
        if role != "master":
            raise ConnectionError(f"{self.host}:{self.port} is no master any more")
        self._sure_until = time.monotonic() + ROLE_SURE


class MasterTlsConnection(MasterConnection, SSLConnection):
    """The same with TLS."""
