"""Validates the URL, the proxy and the headers of a webhook.

As in `values.py`, each function returns the value, or raises ValueError with the rule, never with
the value. Pure.
"""

from __future__ import annotations

import re

from fletching.config.values import authority, url_domain


def web_url(value: str) -> str:
    """An http or https URL with a host. It may contain a secret, so no error may show it."""
    found = re.fullmatch(r"https?://([^/?#\\]*)(.*)", value, re.DOTALL)
    if not found:
        raise ValueError("must be an http or https URL, such as https://www.example.com/hook")
    host, path = found.groups()
    if "@" in host:
        raise ValueError("must be a URL without user and password: put them in auth_file")
    try:
        ascii_host = authority(host)
    except ValueError:
        rule = "must have a host name or an IP address, and optionally a port, after ://"
        raise ValueError(rule) from None
    if not re.fullmatch(r"[!-~]*", path):
        raise ValueError("spaces and non-ASCII characters must be percent-encoded (%20)")
    if path[:1] in ("#", "\\"):
        raise ValueError("must have / or ? after the host")
    return value if host.isascii() else value.replace(host, ascii_host, 1)


def proxy_url(value: str) -> str:
    """An HTTP proxy."""
    try:
        found = url_domain(value)
        if not found.startswith("http://"):
            raise ValueError
    except ValueError:
        raise ValueError("must be http://HOST:PORT, such as http://127.0.0.1:3128") from None
    return found


_OWN_HEADERS = (
    "Connection Content-Encoding Content-Length Content-Type Expect Host Keep-Alive"
    " Proxy-Authorization Proxy-Connection TE Trailer Transfer-Encoding Upgrade User-Agent"
).lower().split()  # fmt: skip


def header_name(value: str) -> str:
    """The name of an HTTP header that we do not set ourselves (RFC 9110, section 5.1)."""
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", value):
        raise ValueError("must be the name of an HTTP header, such as X-Api-Key")
    if value.lower() in _OWN_HEADERS or value.lower().startswith("x-fletching-"):
        raise ValueError("must not be a header that Fletching or the connection sets")
    return value


def header_value(value: str) -> str:
    """The value of an HTTP header (RFC 9110, section 5.5). It may be a secret."""
    if not re.fullmatch(r"[!-~](?:[ -~\t]{0,3998}[!-~])?", value):
        raise ValueError(
            "must be 1 to 4000 printable ASCII characters without leading or trailing spaces"
        )
    return value
