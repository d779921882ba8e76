"""Validates names, addresses, hosts and URL domains, for the configuration and control headers.

Each function returns the value, normalized if two spellings mean the same, or raises ValueError
with the rule, never with the value, which may contain a password. No option or header is known
here. Pure.
"""

from __future__ import annotations

import re
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import re2

from fletching.domains import a_labels

# The VERP tag has 32 characters and follows a delimiter; a local part has at most 64 bytes
# (RFC 5321 section 4.5.3.1.1).
BOUNCE_LOCAL_PART = 64 - 32 - 1

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")


def host(value: str) -> str:
    """A host name or an IPv4 address, in lower case; an international name as A-labels."""
    rule = "must be a host name such as www.example.com"
    if len(value) > 253:
        raise ValueError(rule)
    try:
        value = a_labels(value)
    except ValueError:
        raise ValueError(rule) from None
    if len(value) > 253 or not _HOST.fullmatch(value):
        raise ValueError(rule)
    if value.rpartition(".")[2].isdigit():
        # Browsers read a name that ends in a number as an IPv4 address, or refuse it.
        try:
            IPv4Address(value)
        except AddressValueError:
            raise ValueError("must be a host name or a complete IPv4 address") from None
    return value.lower()


def host_pattern(value: str) -> str:
    """A host, or `*.` and a host for all its subdomains; in lower case."""
    below = value.startswith("*.")
    try:
        name = host(value.removeprefix("*."))
    except ValueError:
        rule = "must be a host such as www.example.com, or *.example.com for all its subdomains"
        raise ValueError(rule) from None
    return f"*.{name}" if below else name


def url_domain(value: str) -> str:
    """Scheme, host and optional port of tracking links; scheme and host in lower case."""
    rule = "must be http:// or https://, a host and optionally a port, without a path"
    scheme, mark, rest = value.partition("://")
    if not mark or scheme.lower() not in ("http", "https"):
        raise ValueError(rule)
    try:
        return f"{scheme.lower()}://{authority(rest)}"
    except ValueError:
        raise ValueError(rule) from None


def authority(value: str) -> str:
    """`host`, `host:port`, `[IPv6]` or `[IPv6]:port`, in lower case."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(:[0-9]{1,5})?", value)
    if not found:
        raise ValueError("must be a host and optionally a port")
    name, number = found.groups(default="")
    name = f"[{IPv6Address(name[1:-1])}]" if name.startswith("[") else host(name)
    return f"{name}:{port(number[1:])}" if number else name


def port(value: str) -> int:
    """A TCP port."""
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 1 <= int(value) <= 65535:
        raise ValueError("must be a port from 1 to 65535")
    return int(value)


def address(value: str) -> str:
    """A mail address for an envelope: no quoted local part, no address literal.

    An international domain is returned as A-labels, so that the address needs no SMTPUTF8.
    """
    rule = "must be a mail address such as name@example.com"
    local, _, domain = value.rpartition("@")
    try:
        ascii_domain = host(domain)
    except ValueError:
        raise ValueError(rule) from None
    written = value if domain.isascii() else f"{local}@{ascii_domain}"
    if len(written) > 254 or len(local) > 64 or not _LOCAL_PART.fullmatch(local):
        raise ValueError(rule)
    return written


def class_name(value: str) -> str:
    """The name of a Mail Class."""
    if not re.fullmatch(r"[A-Za-z_]{1,64}", value):
        raise ValueError("must be 1 to 64 letters (A to Z, a to z) and underscores")
    return value


def list_id(value: str) -> str:
    """A ListID."""
    if not re.fullmatch(r"[A-Za-z0-9_+]{1,20}", value):
        raise ValueError("must be 1 to 20 of A to Z, a to z, 0 to 9, _ and +")
    return value


def virtual_mta_name(value: str) -> str:
    """The name of a VirtualMTA."""
    if not re.fullmatch(r"[ -~]{1,200}", value) or re.search(r"[,#@]|^ | $", value):
        raise ValueError(
            "must be 1 to 200 printable ASCII characters without commas, # and @, and"
            " without leading or trailing spaces"
        )
    return value


def pattern(value: str) -> str:
    """A regular expression of RE2 between slashes; without them."""
    if len(value) < 3 or not value.startswith("/") or not value.endswith("/"):
        raise ValueError("must be a regular expression between slashes, such as /quota/")
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(value[1:-1], options)
    except re2.error:
        raise ValueError(
            "must be a regular expression of RE2 (no lookaround, no backreferences)"
        ) from None
    return value[1:-1]


def service(value: str) -> str:
    """The name of a service in Postfix's master.cf."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise ValueError("must be the name of a master.cf service: letters, digits, _ and -")
    return value


def daemon_name(value: str) -> str:
    """The name of an smtpd service in Postfix's ``{daemon_name}``."""
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,255}", value):
        raise ValueError("must be a milter_macro_daemon_name: letters, digits, . _ : -")
    return value


def label(value: str) -> str:
    """A short name, such as that of a seed list or of a destination of events."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise ValueError("must be 1 to 64 letters, digits, _ and -")
    return value


def login(value: str) -> str:
    """An SMTP AUTH login."""
    if not 1 <= len(value) <= 255 or not value.isprintable():
        raise ValueError("must be 1 to 255 printable characters")
    return value


def server_id(value: str) -> str:
    """The name of a host in events."""
    if not re.fullmatch(r"[!-~]{1,255}", value):
        raise ValueError("must be 1 to 255 printable ASCII characters without spaces")
    return value


def time_zone(value: str) -> str:
    """The form of an IANA time zone name. Only the host knows whether that zone exists."""
    if not re.fullmatch(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}", value):
        raise ValueError("must be an IANA time zone name such as Europe/Berlin")
    return value


def delimiter(value: str) -> str:
    """The character between a bounce mailbox and the VERP tag."""
    if len(value) != 1 or value not in "+-=_.~#":
        raise ValueError("must be one of + - = _ . ~ #")
    return value


def selector(value: str) -> str:
    """A DKIM selector (RFC 6376 section 3.1), in lower case."""
    if len(value) > 200 or not _HOST.fullmatch(value):
        raise ValueError("must be a DKIM selector: letters, digits, - and _, separated by dots")
    return value.lower()


def network(value: object) -> IPv4Network | IPv6Network:
    """A network in CIDR notation; a single address is a network of one host."""
    rule = "must be a network such as 192.0.2.0/24 or 2001:db8::/32"
    if not isinstance(value, str) or "%" in value:
        raise ValueError(rule)
    try:
        found = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(rule) from None
    base, _, _ = value.partition("/")
    if ip_address(base) != found.network_address:
        raise ValueError(f"host bits are set: must be {found} or a single address")
    return found


def ip(value: object) -> IPv4Address | IPv6Address:
    """An IP address."""
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        return ip_address(value)
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address") from None


_ENDS_A_PATH = " ,{}$"
"""Characters that end a path in a list of milters (postconf(5), smtpd_milters)."""


def milter_socket(value: str) -> str:
    """The milter's listen socket in libmilter's notation."""
    if value.startswith("unix:"):
        path = socket_path(value.removeprefix("unix:"))
        if not path.isprintable() or any(sign in path for sign in _ENDS_A_PATH):
            raise ValueError(
                "must have a path without spaces, control characters and , { } $ after unix:"
            )
        return f"unix:{path}"
    rule = (
        "must be unix:/PATH, inet:PORT@HOST or inet6:PORT@[ADDRESS], such as inet:8899@127.0.0.1"
        " or inet6:8899@[::1]"
    )
    family, _, rest = value.partition(":")
    number, mark, name = rest.partition("@")
    try:
        if family == "inet" and mark:
            return f"inet:{port(number)}@{host(name)}"
        if family == "inet6" and mark and "%" not in name:
            bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
            return f"inet6:{port(number)}@[{IPv6Address(bare)}]"
    except ValueError:
        pass
    raise ValueError(rule)


def inet_place(listen: str) -> tuple[str, int] | None:
    """Host (IPv6 without brackets) and port of a `milter_socket`; None for a Unix socket."""
    family, _, rest = listen.partition(":")
    if family == "unix":
        return None
    number, _, name = rest.partition("@")
    return name.strip("[]"), int(number)


def server_socket(value: str) -> str:
    """The listen socket of a web or LMTP server."""
    if value.startswith("unix:"):
        return "unix:" + socket_path(value.removeprefix("unix:"))
    try:
        if ":" not in value.rpartition("]")[2]:
            raise ValueError
        return authority(value)
    except ValueError:
        raise ValueError("must be unix:/PATH or HOST:PORT, such as 127.0.0.1:8090") from None


def smtp_server(value: str) -> str:
    """The SMTP server that takes mail of ours."""
    try:
        if ":" not in value.rpartition("]")[2]:
            raise ValueError
        return authority(value)
    except ValueError:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:25") from None


def imap_server(value: str) -> str:
    """An IMAP server. Without TLS (`imap://`), a password must not leave this host."""
    scheme, separator, place = value.rstrip("/").partition("://")
    rule = "must be imaps://HOST or imap://HOST, with an optional port"
    if not separator or scheme not in ("imaps", "imap"):
        raise ValueError(rule)
    try:
        return f"{scheme}://{authority(place)}"
    except ValueError:
        raise ValueError(rule) from None


def line(value: str) -> str:
    """A text on one line."""
    if not 1 <= len(value) <= 255 or not value.isprintable():
        raise ValueError("must be 1 to 255 printable characters")
    return value


def host_and_port(place: str) -> tuple[str, int] | None:
    """Host (IPv6 without brackets) and port of a `server_socket` or `smtp_server`; None for a Unix
    socket.
    """
    if place.startswith("unix:"):
        return None
    host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port)


def connectable(host: str) -> str:
    """The address at which this host reaches a server of its own that listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def is_of_this_host(listen: str) -> bool:
    """Whether only programs on this host can reach a listen socket of `server_socket`."""
    place = host_and_port(listen)
    if place is None or place[0] == "localhost":
        return True
    try:
        return ip_address(place[0]).is_loopback
    except ValueError:
        return False


def socket_path(value: str) -> str:
    """The path of a Unix socket; the kernel allows 107 bytes."""
    if not value.startswith("/") or "\0" in value:
        raise ValueError("must have an absolute path after unix:")
    if len(value.encode("utf-8", "surrogatepass")) > 107:
        raise ValueError("must have a path of at most 107 bytes after unix:")
    return value


def sql_url(value: str) -> str:
    """A SQLAlchemy URL. It may contain a password, so no error may show it."""
    if not re.fullmatch(r"[a-z0-9_]+(?:\+[a-z0-9_]+)?://[!-~]*", value):
        raise ValueError("must be a SQLAlchemy URL, such as postgresql+psycopg://HOST/DATABASE")
    return value
