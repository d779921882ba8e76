"""The kinds of option: a type, its check, and the words that the reference uses for it.

Here values meet pydantic. It knows no option. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, Strict, ValidationInfo

from fletching.config import http_values, units, values
from fletching.config.redis_url import redis_url


@dataclass(frozen=True, slots=True)
class Kind:
    """What the reference calls a type, and how it shows a default of it."""

    words: str
    show: Callable[[Any], str] | None = None


def _workers(value: object) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1024:
        return value
    raise ValueError("must be auto or a whole number from 1 to 1024")


def _messages(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000_000_000:
        return value
    raise ValueError("must be a whole number from 0 to 1000000000")


def _path(value: object, info: ValidationInfo) -> Path:
    """A relative path is meant from the folder of the configuration file."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be a path")
    folder = (info.context or {}).get("folder")
    return Path(value) if folder is None else Path(folder, value)


def _inner_path(value: object) -> Path:
    if not isinstance(value, str) or not value or "\0" in value or ".." in Path(value).parts:
        raise ValueError("must be a path without ..")
    return Path(value)


def _nothing(value: object) -> object:
    """A section of which every line is commented out is an empty one."""
    return {} if value is None else value


def _no_items(value: object) -> object:
    return () if value is None else value


def _all_different(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(items)) < len(items):
        raise ValueError("must not contain duplicates")
    return items


def frozen(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration does not change once it is read."""
    return MappingProxyType(dict(mapping))


Empty = BeforeValidator(_nothing)
Frozen = AfterValidator(frozen)
Several = BeforeValidator(_no_items)
Different = AfterValidator(_all_different)

Switch = Annotated[bool, Strict(), Kind("true or false")]
Share = Annotated[float, Strict(), Field(ge=0, le=1), Kind("number from 0 to 1")]
Count = Annotated[int, Strict(), Field(ge=1, le=1_000_000_000), Kind("whole number from 1")]
Weight = Annotated[int, Strict(), Field(ge=1, le=1_000_000), Kind("whole number, 1 to 1000000")]
Messages = Annotated[int, PlainValidator(_messages), Kind("whole number, 0 to 1000000000")]
Workers = Annotated[
    int | Literal["auto"], PlainValidator(_workers), Kind("`auto`, or a whole number, 1 to 1024")
]
Duration = Annotated[
    int,
    PlainValidator(units.duration),
    Kind("duration, 1s to 366d (units s, m, h, d)", units.show_duration),
]
Retention = Annotated[
    int,
    PlainValidator(units.retention),
    Kind("duration, 1s to 3660d (units s, m, h, d)", units.show_duration),
]
Size = Annotated[
    int,
    PlainValidator(units.size),
    Kind("size, 0 to 1GiB (bytes, or with KiB, MiB, GiB)", units.show_size),
]

File = Annotated[Path, PlainValidator(_path), Kind("path")]
InnerPath = Annotated[Path, PlainValidator(_inner_path), Kind("path")]
Network = Annotated[
    IPv4Network | IPv6Network, PlainValidator(values.network), Kind("network (CIDR)")
]
Networks = Annotated[tuple[Network, ...], Several, Kind("list of networks (CIDR)")]
IpAddress = Annotated[IPv4Address | IPv6Address, PlainValidator(values.ip), Kind("IP address")]

Address = Annotated[str, AfterValidator(values.address), Kind("mail address")]
Host = Annotated[str, AfterValidator(values.host), Kind("host name")]
HostPattern = Annotated[str, AfterValidator(values.host_pattern), Kind("host or `*.host`")]
UrlDomain = Annotated[
    str, AfterValidator(values.url_domain), Kind("`http://` or `https://`, host, optional port")
]
ClassName = Annotated[
    str,
    AfterValidator(values.class_name),
    Kind("name of a Mail Class: 1 to 64 letters and underscores"),
]
ListId = Annotated[str, AfterValidator(values.list_id), Kind("1 to 20 of `A-Z a-z 0-9 _ +`")]
MtaName = Annotated[str, AfterValidator(values.virtual_mta_name), Kind("name of a VirtualMTA")]
Service = Annotated[str, AfterValidator(values.service), Kind("name of a master.cf service")]
DaemonName = Annotated[
    str, AfterValidator(values.daemon_name), Kind("`milter_macro_daemon_name` of an smtpd service")
]
Label = Annotated[
    str, AfterValidator(values.label), Kind("name: 1 to 64 letters, digits, `_`, `-`")
]
Login = Annotated[str, AfterValidator(values.login), Kind("SMTP AUTH login")]
ServerId = Annotated[str, AfterValidator(values.server_id), Kind("text without blanks")]
TimeZone = Annotated[str, AfterValidator(values.time_zone), Kind("IANA time zone")]
Delimiter = Annotated[str, AfterValidator(values.delimiter), Kind("one of `+ - = _ . ~ #`")]
Selector = Annotated[str, AfterValidator(values.selector), Kind("DKIM selector")]
MilterSocket = Annotated[
    str,
    AfterValidator(values.milter_socket),
    Kind("`unix:/PATH`, `inet:PORT@HOST` or `inet6:PORT@[ADDRESS]`"),
]
ServerSocket = Annotated[
    str, AfterValidator(values.server_socket), Kind("`unix:/PATH` or `HOST:PORT`")
]
RedisUrl = Annotated[str, AfterValidator(redis_url), Kind("`embedded`, or a Redis URL")]
WebUrl = Annotated[str, AfterValidator(http_values.web_url), Kind("http or https URL")]
ProxyUrl = Annotated[str, AfterValidator(http_values.proxy_url), Kind("`http://HOST:PORT`")]
HeaderName = Annotated[str, AfterValidator(http_values.header_name), Kind("header name")]
HeaderValue = Annotated[str, AfterValidator(http_values.header_value), Kind("text")]
SqlUrl = Annotated[str, AfterValidator(values.sql_url), Kind("SQLAlchemy URL")]
