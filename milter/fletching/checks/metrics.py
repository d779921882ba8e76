"""Checks `metrics.listen`: who can reach it, and whether it is the milter that answers there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from fletching.checks.finding import Finding, error, ok, warning
from fletching.config import values
from fletching.config.model import Config
from fletching.daemons.health.milter_socket import connected

_PLACE = "metrics.listen"
_PATIENCE = 5.0
_LONGEST = 2**24
"""Bytes that are read of an answer; another program may never end its own."""

_OURS = b"# TYPE fletching_metrics_updated_seconds "


def check_metrics(config: Config) -> Iterator[Finding]:
    """All findings; none without `metrics`."""
    if config.metrics is None:
        return
    listen = config.metrics.listen
    if not values.is_of_this_host(listen):
        yield warning(
            _PLACE,
            f"{listen} is not a loopback address: anyone who can connect sees the names of Mail"
            " Classes and destinations, and how much is sent; listen on 127.0.0.1, or restrict"
            " access to Prometheus with a firewall",
        )
    try:
        answer = _asked(listen)
    except PermissionError:
        yield warning(_PLACE, f"cannot test whether the milter answers: no access to {listen}")
        return
    if answer is None:
        yield warning(
            _PLACE,
            f"nothing accepts connections at {listen}: start the milter, or restart it if"
            " metrics.listen is new (systemctl restart fletching)",
        )
    elif _OURS not in answer:
        yield error(
            _PLACE,
            f"another program answers at {listen}, so the milter cannot start: choose another"
            " port, or stop that program",
        )
    else:
        yield ok(_PLACE, f"the milter answers at {listen}")


def _asked(listen: str) -> bytes | None:
    """The answer to a request for the metrics; None if nothing accepts connections.

    Raises PermissionError for a Unix socket of other users.
    """
    try:
        client = connected(listen, values.host_and_port(listen), _PATIENCE)
    except PermissionError:
        raise
    except OSError:
        return None
    answer = b""
    with client, suppress(OSError):
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        while _OURS not in answer and len(answer) < _LONGEST and (more := client.recv(65536)):
            answer += more
    return answer
