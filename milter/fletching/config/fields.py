"""The types of options: each with its validation, and its description in the reference.

No option is known here. Pure.
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
class OptionType:
    """How the reference describes a type, and formats a default of it."""

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
    """A path; if relative, from the directory of the configuration file."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be a path")
    folder = (info.context or {}).get("folder")
    return Path(value) if folder is None else Path(folder, value)


def _inner_path(value: object) -> Path:
    if not isinstance(value, str) or not value or "\0" in value or ".." in Path(value).parts:
        raise ValueError("must be a path without ..")
    return Path(value)


def _nothing(value: object) -> object:
    """A section whose lines are all commented out is an empty section."""
    return {} if value is None else value


def _postfix_log(value: object, info: ValidationInfo) -> Path | Literal["journal"]:
    try:
        return "journal" if value == "journal" else _path(value, info)
    except ValueError:
        raise ValueError("must be a path, or journal") from None


def _no_items(value: object) -> object:
    return () if value is None else value


def _all_different(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(items)) < len(items):
        raise ValueError("must not contain duplicates")
    return items


def frozen(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """A read-only copy."""
    return MappingProxyType(dict(mapping))


Empty = BeforeValidator(_nothing)
Frozen = AfterValidator(frozen)
Several = BeforeValidator(_no_items)
Different = AfterValidator(_all_different)

Switch = Annotated[bool, Strict(), OptionType("true or false")]
Share = Annotated[float, Strict(), Field(ge=0, le=1), OptionType("number from 0 to 1")]
Count = Annotated[int, Strict(), Field(ge=1, le=1_000_000_000), OptionType("whole number from 1")]
Weight = Annotated[
    int, Strict(), Field(ge=1, le=1_000_000), OptionType("whole number, 1 to 1000000")
]
Messages = Annotated[int, PlainValidator(_messages), OptionType("whole number, 0 to 1000000000")]
Workers = Annotated[
    int | Literal["auto"],
    PlainValidator(_workers),
    OptionType("`auto`, or a whole number, 1 to 1024"),
]
Duration = Annotated[
    int,
    PlainValidator(units.duration),
    OptionType("duration, 1s to 366d (units s, m, h, d)", units.show_duration),
]
DurationOrZero = Annotated[
    int,
    PlainValidator(units.duration_or_zero),
    OptionType("0, or a duration, 1s to 366d (units s, m, h, d)", units.show_duration),
]
Retention = Annotated[
    int,
    PlainValidator(units.retention),
    OptionType("duration, 1s to 3660d (units s, m, h, d)", units.show_duration),
]
Size = Annotated[
    int,
    PlainValidator(units.size),
    OptionType("size, 0 to 1GiB (bytes, or with KiB, MiB, GiB)", units.show_size),
]

File = Annotated[Path, PlainValidator(_path), OptionType("path")]
PostfixLog = Annotated[
    Path | Literal["journal"], PlainValidator(_postfix_log), OptionType("path, or `journal`")
]
InnerPath = Annotated[Path, PlainValidator(_inner_path), OptionType("path")]
Network = Annotated[
    IPv4Network | IPv6Network, PlainValidator(values.network), OptionType("network (CIDR)")
]
Networks = Annotated[tuple[Network, ...], Several, OptionType("list of networks (CIDR)")]
IpAddress = Annotated[
    IPv4Address | IPv6Address, PlainValidator(values.ip), OptionType("IP address")
]

Address = Annotated[str, AfterValidator(values.address), OptionType("mail address")]
Host = Annotated[str, AfterValidator(values.host), OptionType("host name")]
HostPattern = Annotated[str, AfterValidator(values.host_pattern), OptionType("host or `*.host`")]
UrlDomain = Annotated[
    str,
    AfterValidator(values.url_domain),
    OptionType("`http://` or `https://`, host, optional port"),
]
ClassName = Annotated[
    str,
    AfterValidator(values.class_name),
    OptionType("name of a Mail Class: 1 to 64 letters and underscores"),
]
ListId = Annotated[str, AfterValidator(values.list_id), OptionType("1 to 20 of `A-Z a-z 0-9 _ +`")]
MtaName = Annotated[
    str, AfterValidator(values.virtual_mta_name), OptionType("name of a VirtualMTA")
]
Pattern = Annotated[
    str, AfterValidator(values.pattern), OptionType("regular expression of RE2, `/.../`")
]
Service = Annotated[str, AfterValidator(values.service), OptionType("name of a master.cf service")]
DaemonName = Annotated[
    str,
    AfterValidator(values.daemon_name),
    OptionType("`milter_macro_daemon_name` of an smtpd service"),
]
Label = Annotated[
    str, AfterValidator(values.label), OptionType("name: 1 to 64 letters, digits, `_`, `-`")
]
Login = Annotated[str, AfterValidator(values.login), OptionType("SMTP AUTH login")]
ServerId = Annotated[str, AfterValidator(values.server_id), OptionType("text without spaces")]
TimeZone = Annotated[str, AfterValidator(values.time_zone), OptionType("IANA time zone")]
Delimiter = Annotated[str, AfterValidator(values.delimiter), OptionType("one of `+ - = _ . ~ #`")]
Selector = Annotated[str, AfterValidator(values.selector), OptionType("DKIM selector")]
MilterSocket = Annotated[
    str,
    AfterValidator(values.milter_socket),
    OptionType("`unix:/PATH`, `inet:PORT@HOST` or `inet6:PORT@[ADDRESS]`"),
]
ServerSocket = Annotated[
    str, AfterValidator(values.server_socket), OptionType("`unix:/PATH` or `HOST:PORT`")
]
SmtpServer = Annotated[str, AfterValidator(values.smtp_server), OptionType("`HOST:PORT`")]
ImapServer = Annotated[
    str, AfterValidator(values.imap_server), OptionType("`imaps://HOST` or `imap://HOST`, port")
]
Text = Annotated[str, AfterValidator(values.line), OptionType("text")]
RedisUrl = Annotated[str, AfterValidator(redis_url), OptionType("`embedded`, or a Redis URL")]
WebUrl = Annotated[str, AfterValidator(http_values.web_url), OptionType("http or https URL")]
ProxyUrl = Annotated[str, AfterValidator(http_values.proxy_url), OptionType("`http://HOST:PORT`")]
HeaderName = Annotated[str, AfterValidator(http_values.header_name), OptionType("header name")]
HeaderValue = Annotated[str, AfterValidator(http_values.header_value), OptionType("text")]
SqlUrl = Annotated[str, AfterValidator(values.sql_url), OptionType("SQLAlchemy URL")]
