"""Network connections to Redis servers, and when one of them must be closed.

redis-py closes a connection after a time-out or a network error. Here lives what redis-py does not
do: close a connection to a server that is not a master, and, behind sentinels, one to a server that
is no longer the master.
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
"""Seconds after which a connection asks its server again whether it is a master."""

# Errors of a replica, and of a master that is cut off from its replicas. If a server is loading its
# data, or rejects the password, redis-py closes the connection itself.
_NOT_THE_MASTER = ("UNBLOCKED", "NOREPLICAS")


class _Own(_Redis):
    """A connection that is closed when the server answers that it is not a master.

    Its host name or proxy may lead to the master by then.
    """

    ready = True
    """Whether a command is sent at once, without a check of the server before."""

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
    """To a server at a given address."""


def read_tickets(connection: AbstractConnection) -> None:
    """Reads the session tickets that a server with TLS 1.3 sends after the handshake.

    redis-py would take them for an answer that nobody has read, and not use the connection.
    """
    connection.send_command("PING", check_health=False)  # type: ignore[no-untyped-call]
    connection.read_response()


class TlsConnection(_Own, SSLConnection):
    """To a server at a given address, with TLS."""

    def on_connect_check_health(self, check_health: bool = True) -> None:
        super().on_connect_check_health(check_health)
        read_tickets(self)


class UnixConnection(_Own, UnixDomainSocketConnection):
    """To a server on this host."""


class MasterConnection(_Own, Connection):
    """To the master of a service, for as long as it is the master."""

    def __init__(self, *, master: Master, **options: Any) -> None:
        self._master = master
        self._term = -1
        self._sure_until = 0.0
        super().__init__(**options)  # type: ignore[no-untyped-call]

    @property
    def ready(self) -> bool:  # type: ignore[override]
        """Whether the master is certainly the same, and a command is sent at once."""
        return self._term == self._master.term and time.monotonic() < self._sure_until

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if check_health and self._sock is not None:
            self._close_if_demoted()
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]

    def _close_if_demoted(self) -> None:
        """Closes it if its server is no longer the master. The next command connects again."""
        if self._term != self._master.term:
            self.disconnect()  # type: ignore[no-untyped-call]
        elif time.monotonic() >= self._sure_until:
            try:
                self._check_role()
            except ConnectionError:
                self.disconnect()  # type: ignore[no-untyped-call]

    def _connect(self) -> Any:
        self._term, (self.host, self.port) = self._master.now()
        # The handshake comes first, and ends with the question for the role.
        self._sure_until = time.monotonic() + ROLE_SURE
        return super()._connect()  # type: ignore[no-untyped-call]

    def on_connect_check_health(self, check_health: bool = True) -> None:
        super().on_connect_check_health(check_health)
        self._check_role()

    def _check_role(self) -> None:
        """Raises ConnectionError if the server is not a master, and TimeoutError."""
        self.send_command("ROLE", check_health=False)  # type: ignore[no-untyped-call]
        try:
            role = self.read_response()[0]
        except NoPermissionError:
            role = "master"  # only the sentinels can tell
        if role != "master":
            raise ConnectionError(f"{self.host}:{self.port} is no longer a master")
        self._sure_until = time.monotonic() + ROLE_SURE


class MasterTlsConnection(MasterConnection, SSLConnection):
    """The same with TLS."""
