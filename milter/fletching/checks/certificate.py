"""The TLS certificate of a tracking host, as the mail programs of recipients see it."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator

from fletching.checks.lookups import Lookups
from fletching.lint.rule import Finding
from fletching.lint.rules import found

_PATIENCE = 10
_DAY = 86400
_SOON = 14 * _DAY


def check_certificate(host: str, port: int, lookups: Lookups) -> Iterator[Finding]:
    """All findings about the certificate of ``host``, a name or an IP address."""
    addresses = sorted(lookups.addresses(host) or ()) if not _is_address(host) else [host]
    if not addresses:
        if host.lower() not in lookups.failed:
            yield found("tracking-tls", f"{host} has no address")
        return
    try:
        expires = _expiry(addresses[0], host, port)
    except ssl.SSLCertVerificationError as wrong:
        yield found("tracking-tls", f"{host}: {wrong.verify_message}")
    except OSError as wrong:
        yield found("tracking-tls", f"{host}, port {port}: {wrong.strerror or wrong}")
    else:
        days = (expires - time.time()) / _DAY
        if days * _DAY < _SOON:
            yield found(
                "tracking-tls-expires", f"the certificate of {host} expires in {days:.0f} days"
            )


def _expiry(address: str, host: str, port: int) -> float:
    """When the certificate expires, in unix seconds. Raises OSError and SSLError."""
    context = ssl.create_default_context()
    with (
        socket.create_connection((address, port), timeout=_PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        certificate = secure.getpeercert() or {}
    return ssl.cert_time_to_seconds(str(certificate["notAfter"]))


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
