"""Requests to the tracking host as mail programs make them, and to the web service beside it.

TLS is verified with the certificates of the system. No redirect is followed.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from fletching.config.values import host_and_port
from fletching.daemons.health.milter_socket import connected

PATIENCE = 10.0
"""Seconds for each step of a request."""

AGENT = "Mozilla/5.0 (compatible; Fletching check)"
ONE_CLICK = b"List-Unsubscribe=One-Click"
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Response:
    """Names of header fields are in lower case. ``source``: the IP address the request came from,
    as this host sees it; empty for a Unix socket."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    source: str

    @property
    def location(self) -> str:
        return self.headers.get("location", "")


class Unreachable(Exception):
    """No answer. Says why."""


class BadCertificate(Exception):
    """The certificate is not valid. Says why."""


def ask(url: str, addresses: Sequence[str], body: bytes | None = None) -> Response:
    """GET, or POST with a body, at the first address that accepts a connection.

    Raises Unreachable and BadCertificate.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        client = _connected(addresses, port)
        with client:
            if secure:
                client = ssl.create_default_context().wrap_socket(client, server_hostname=host)
            return _asked(client, url, body)
    except ssl.SSLCertVerificationError as wrong:
        raise BadCertificate(wrong.verify_message) from None
    except (OSError, http.client.HTTPException) as wrong:
        raise Unreachable(_why(wrong)) from None


def ask_service(listen: str, url: str, body: bytes | None = None) -> Response:
    """The same of the web service itself, without a proxy. Raises Unreachable."""
    try:
        with connected(listen, host_and_port(listen), PATIENCE) as client:
            return _asked(client, url, body)
    except (OSError, http.client.HTTPException) as wrong:
        raise Unreachable(_why(wrong)) from None


def _connected(addresses: Sequence[str], port: int) -> socket.socket:
    trouble: OSError = OSError("it has no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), PATIENCE)
        except OSError as wrong:
            trouble = wrong
    raise trouble


def _asked(client: socket.socket, url: str, body: bytes | None) -> Response:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", timeout=PATIENCE)
    connection.sock = client
    target = url[url.index(parts.netloc) + len(parts.netloc) :]
    headers = {"Host": parts.netloc, "User-Agent": AGENT, "Connection": "close"}
    if body is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request("GET" if body is None else "POST", target, body, headers)
    found = connection.getresponse()
    named = {name.lower(): value for name, value in found.getheaders()}
    own = client.getsockname()
    source = str(own[0]) if isinstance(own, tuple) else ""
    return Response(found.status, named, found.read(_LONGEST), source)


def _why(wrong: Exception) -> str:
    if isinstance(wrong, TimeoutError):
        return f"no answer within {PATIENCE:.0f} s"
    return str(getattr(wrong, "strerror", None) or wrong) or type(wrong).__name__
