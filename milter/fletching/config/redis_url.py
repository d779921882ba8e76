"""Parses Redis URLs: servers, a database, credentials, TLS.

The configuration and the client use the same grammar. No error message contains any part of the
URL, since it may be a password. Pure.

    redis://[USER:PASSWORD@]HOST[:PORT][/DB]               rediss://: with TLS
    unix://[USER:PASSWORD@]/PATH[?db=DB]
    redis+sentinel://[USER:PASSWORD@]HOST:PORT,.../SERVICE[/DB]      rediss+sentinel://
    redis+cluster://[USER:PASSWORD@]HOST:PORT,...                    rediss+cluster://

Credentials are for the data servers; the sentinels have their own options.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote

from fletching.config import values

Kind = Literal["embedded", "server", "unix", "sentinel", "cluster"]

_PORT = 6379
_KINDS: Mapping[str, tuple[Kind, bool]] = {
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("unix", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}

# Parameters allowed after "?": none that changes time-outs, retries or the form of answers, and
# none that costs a round trip.
_CREDENTIALS = {"username": r".+", "password": r".+", "password_file": r"/.+"}
_DATABASE = {"db": r"[0-9]{1,5}"}
_SENTINELS = {
    "sentinel_username": r".+",
    "sentinel_password": r".+",
    "sentinel_password_file": r"/.+",
    "sentinel_ssl": r"true|false",
}
_TLS = {
    "ssl_ca_certs": r"/.+",
    "ssl_ca_path": r"/.+",
    "ssl_certfile": r"/.+",
    "ssl_keyfile": r"/.+",
    "ssl_password": r".+",
    "ssl_ciphers": r".+",
    "ssl_cert_reqs": r"none|optional|required",
    "ssl_check_hostname": r"true|false",
}
_OPTIONS: Mapping[Kind, Mapping[str, str]] = {
    "embedded": {},
    "server": _CREDENTIALS | _DATABASE,
    "unix": _CREDENTIALS | _DATABASE,
    "sentinel": _CREDENTIALS | _SENTINELS,
    "cluster": _CREDENTIALS,
}

_FORM = (
    "must be embedded or a URL: redis://HOST:PORT/DB, unix:///PATH,"
    " redis+sentinel://HOST:PORT[,HOST:PORT]/SERVICE[/DB] or redis+cluster://HOST:PORT[,HOST:PORT];"
    " with TLS rediss://, rediss+sentinel:// and rediss+cluster://"
)
_ALLOWED = (
    "must have only these parameters after ?, each once: username=, password= or"
    " password_file=/PATH; with redis:// and unix:// db=NUMBER; with sentinels sentinel_username=,"
    " sentinel_password= or sentinel_password_file=/PATH, sentinel_ssl=true|false; with TLS"
    " ssl_ca_certs=, ssl_ca_path=, ssl_certfile= and ssl_keyfile= (absolute paths), ssl_password=,"
    " ssl_ciphers= (not in a cluster), ssl_cert_reqs=none|optional|required,"
    " ssl_check_hostname=true|false"
)

# User and password; host, path or nodes; query. Separators inside one of these, and non-ASCII
# characters, are percent-encoded.
_URL = re.compile(
    r"([a-z+]+)://(?:([^\x00- /?#@\x7f-\U0010ffff]*)@)?([!-\x22$->A-~]*)(?:\?([!-~]+))?"
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user, and a password or the file that contains it; None: not given."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: str | None = None


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """``nodes``: the server, the sentinels, or nodes of a cluster. ``path``: of a Unix socket.

    ``tls``: whether the data servers use TLS; ``sentinel_tls``: whether the sentinels do.
    ``tls_options`` are for both, by redis-py's names.
    """

    kind: Kind
    nodes: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    database: int = 0
    credentials: Credentials = Credentials()
    tls: bool = False
    tls_options: Mapping[str, str | bool] = field(default_factory=dict, repr=False)
    sentinel_credentials: Credentials = Credentials()
    sentinel_tls: bool = False

    @property
    def secret_files(self) -> tuple[str, ...]:
        """The files that contain passwords and private keys."""
        named = (
            self.credentials.password_file,
            self.sentinel_credentials.password_file,
            self.tls_options.get("ssl_keyfile"),
        )
        return tuple(str(file) for file in named if file)

    @property
    def files(self) -> tuple[str, ...]:
        """All files and directories that a client opens."""
        public = (
            self.tls_options.get(f"ssl_{each}") for each in ("ca_certs", "ca_path", "certfile")
        )
        return (*self.secret_files, *(str(file) for file in public if file))


def redis_url(value: str) -> str:
    """The value itself, if it is `embedded` or a Redis URL. Raises ValueError."""
    parse(value)
    return value


def parse(value: str) -> RedisUrl:
    """The parts of a URL, or of `embedded`. Raises ValueError with the rule."""
    if value == "embedded":
        return RedisUrl("embedded")
    found = _URL.fullmatch(value)
    if not found or found[1] not in _KINDS:
        raise ValueError(_FORM)
    scheme, before, place, query = found.groups()
    kind, tls = _KINDS[scheme]
    options = _options(kind, tls, query)
    username, _, password = (before or "").partition(":")
    hosts, _, tail = place.partition("/")
    service, _, database = tail.partition("/") if kind == "sentinel" else ("", "", tail)
    if not _fits(kind, hosts, tail):
        raise ValueError(_FORM)
    return RedisUrl(
        kind,
        nodes=tuple(map(_node, hosts.split(","))) if hosts else (),
        path=f"/{unquote(tail)}" if kind == "unix" else "",
        service=service,
        database=int(options.get("db") or (database if kind != "unix" else "") or 0),
        credentials=_credentials(options, "", unquote(username), unquote(password)),
        tls=tls,
        tls_options={
            name: text == "true" if name == "ssl_check_hostname" else text
            for name, text in options.items()
            if name in _TLS
        },
        sentinel_credentials=_credentials(options, "sentinel_"),
        sentinel_tls=kind == "sentinel" and options.get("sentinel_ssl", str(tls).lower()) == "true",
    )


def _options(kind: Kind, tls: bool, query: str | None) -> dict[str, str]:
    if query is None:
        return {}
    # A plus sign means itself, as everywhere else in the URL.
    pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, max_num_fields=64)
    tls = tls or ("sentinel_ssl", "true") in pairs
    allowed = {**_OPTIONS[kind], **(_TLS if tls else {})}
    if kind == "cluster":
        allowed.pop("ssl_ciphers", None)  # redis-py does not support it
    right = [name in allowed and re.fullmatch(allowed[name], text) for name, text in pairs]
    if not all(right) or len(dict(pairs)) < len(query.split("&")):
        raise ValueError(_ALLOWED)
    return dict(pairs)


def _credentials(
    options: Mapping[str, str], prefix: str, username: str = "", password: str = ""
) -> Credentials:
    found = {
        name: options.get(f"{prefix}{name}", given) or None
        for name, given in (("username", username), ("password", password), ("password_file", ""))
    }
    if found["password"] and found["password_file"]:
        raise ValueError("must have a password or a password_file, not both")
    return Credentials(**found)


def _fits(kind: Kind, hosts: str, tail: str) -> bool:
    """Whether host and path have the form that this kind of URL requires."""
    match kind:
        case "embedded":
            return False  # not a URL
        case "unix":
            return hosts == "" and tail != ""
        case "server":
            return _is_node(hosts) and re.fullmatch(r"[0-9]{0,5}", tail) is not None
        case "sentinel":
            service = re.fullmatch(r"[A-Za-z0-9._-]+(/[0-9]{1,5})?", tail)
            return service is not None and _are_nodes(hosts)
        case "cluster":
            return tail == "" and _are_nodes(hosts)


def _are_nodes(hosts: str) -> bool:
    return all(":" in node.rpartition("]")[2] and _is_node(node) for node in hosts.split(","))


def _is_node(node: str) -> bool:
    try:
        return bool(values.authority(node))
    except ValueError:
        return False


def _node(text: str) -> tuple[str, int]:
    host, mark, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    return (host if mark else text).strip("[]"), int(port) if mark else _PORT
