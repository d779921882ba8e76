"""Control headers: the `X-GreenArrow-*` fields of a mail, read and checked (docs/headers.md).

Here are their names and their grammar, and nothing else: no configuration is known here, and
nothing is decided. A valid field becomes an offer (`offers.py`) and an invalid one an
`InvalidValue`. A rule says what is allowed and never repeats the value, since it is sent to clients
and written to logs.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from fletching.config import values
from fletching.mail.message import Header
from fletching.policy import offers
from fletching.policy.offers import DkimRequest, InvalidValue, Offer, Offers, Setting, SourceKind

PREFIX = b"x-greenarrow-"
ROUTE_HEADER = b"X-Fletching-Route"
"""The private field that tells Postfix the transport. One that a client sends is a forgery."""

LONGEST_URI = 998 - len("List-Unsubscribe: <>,")
"""Bytes of a URI that fits on one line: Postfix breaks longer lines, and a URI with them."""

MOST_SIGNATURES = 10
MOST_FIELDS = 100
"""Control headers and forged routes of one mail: each is removed by an edit of its own."""

_DKIM_FIELD_BYTES = 4096
_NOTHING = Offers(SourceKind.HEADER, {})


@dataclass(frozen=True, slots=True)
class Control:
    """What the control headers of one mail ask for.

    ``remove``: the positions of the fields to remove, in the mail as received. ``count``: how many
    fields there are that a client may use, so without forged routes.
    """

    offers: Offers = _NOTHING
    invalid: tuple[InvalidValue, ...] = ()
    remove: frozenset[int] = field(default_factory=frozenset)
    count: int = 0


class _InvalidError(Exception):
    """A value breaks its header's rule. The message is the rule."""


def _matching(pattern: str, rule: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise _InvalidError(rule)
        return value

    return check


def _as_option(option: Callable[[str], str]) -> Callable[[str], str]:
    """The check of the option that has the same values."""

    def check(value: str) -> str:
        try:
            return option(value)
        except ValueError as error:
            raise _InvalidError(str(error)) from None

    return check


def _switch(value: str) -> bool:
    known = {"yes": True, "1": True, "no": False, "0": False}
    if value.lower() not in known:
        raise _InvalidError("must be yes, no, 1 or 0")
    return known[value.lower()]


def _instance_id(value: str) -> str:
    if not "0" <= value[:1] <= "9":
        raise _InvalidError("must start with a digit")
    if not re.fullmatch(r"[0-9A-Za-z]{1,20}", value):
        raise _InvalidError("must be at most 20 ASCII letters and digits")
    return value


def _progress(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,20})?", value) or float(value) > 100:
        raise _InvalidError("must be a decimal number from 0 to 100")
    return float(value)


def _format(value: str) -> str:
    if value.lower() not in ("a", "b", "c"):
        raise _InvalidError("must be a, b or c")
    return value.lower()


def _unsubscribe_url(value: str) -> str:
    if not re.fullmatch(r"(?i:https?)://[\w.\[%-][!-+\--;=?-~]*", value):
        raise _InvalidError(
            "must be an http or https URL without spaces, control characters, <, > and commas"
        )
    if len(value) > LONGEST_URI:
        raise _InvalidError(f"must be at most {LONGEST_URI} characters long")
    return value


class _Field(NamedTuple):
    """A control header that may be given once. ``settings``: what its value is offered for."""

    name: str
    settings: tuple[Setting[Any], ...]
    check: Callable[[str], Any]
    strict: bool = True


_PRINTABLE = _matching(r"[ -~]{1,255}", "must be 1 to 255 printable ASCII characters")
_TRACKING_ID = _matching(r"[ -~]{0,300}", "must be at most 300 printable ASCII characters")
_TRACKING = (offers.CLICK_TRACKING, offers.CLICKS, offers.OPENS)
_URL, _POST = "List-Unsubscribe-HTTP-URL", "List-Unsubscribe-HTTP-URL-Post"

_FIELDS: Mapping[bytes, _Field] = {
    PREFIX + each.name.lower().encode(): each._replace(name=f"X-GreenArrow-{each.name}")
    for each in (
        _Field("MailClass", (offers.MAIL_CLASS,), _as_option(values.class_name)),
        _Field("InstanceID", (offers.INSTANCE_ID,), _instance_id),
        _Field("ListID", (offers.LIST_ID,), _as_option(values.list_id)),
        _Field("MtaID", (offers.VIRTUAL_MTA,), _as_option(values.virtual_mta_name)),
        _Field("BounceMailboxOverride", (offers.BOUNCE_MAILBOX,), _as_option(values.address)),
        _Field("Obscured-Email", (offers.OBSCURED_EMAIL,), _PRINTABLE),
        # An invalid one is ignored even where every other invalid header refuses the mail.
        _Field("URL-Domain", (offers.URL_DOMAIN,), _as_option(values.url_domain), strict=False),
        _Field("Click-Tracking-Do", _TRACKING, _switch),
        _Field("Click-Tracking-ID", (offers.CLICK_TRACKING_ID,), _TRACKING_ID),
        _Field(_URL, (offers.LIST_UNSUBSCRIBE_URL,), _unsubscribe_url),
        _Field(_POST, (offers.LIST_UNSUBSCRIBE_POST,), _PRINTABLE),
        _Field("Tracker-Format", (offers.TRACKER_FORMAT,), _format),
        _Field("SeedDo", (offers.SEED,), _switch),
        _Field("SeedProgress", (offers.SEED_PROGRESS,), _progress),
    )
}
_DKIM, _DKIM_NAME = b"x-greenarrow-dkim", "X-GreenArrow-DKIM"


def read(headers: tuple[Header, ...]) -> Control:
    """Reads the control headers among a mail's fields. Raises nothing, whatever they contain."""
    fields: dict[bytes, list[Header]] = defaultdict(list)
    remove: set[int] = set()
    for header in headers:
        key = header.key
        is_control = key.startswith(PREFIX)
        if (is_control or key == ROUTE_HEADER.lower()) and header.position is not None:
            remove.add(header.position)
        if is_control:
            fields[key].append(header)
    if not fields:
        return Control(remove=frozenset(remove))
    count = sum(map(len, fields.values()))
    invalid: list[InvalidValue] = []
    found: dict[Setting[Any], Offer[Any]] = {}
    requests = _dkim(fields.pop(_DKIM, []), invalid)
    if requests is not None:
        found[offers.DKIM] = Offer(requests, _DKIM_NAME)
    for key, same in fields.items():
        _read_field(key, same, found, invalid)
    if offers.LIST_UNSUBSCRIBE_POST in found and offers.LIST_UNSUBSCRIBE_URL not in found:
        _, source = found.pop(offers.LIST_UNSUBSCRIBE_POST)
        rule = f"requires a valid X-GreenArrow-{_URL}"
        invalid.append(_invalid(source, offers.LIST_UNSUBSCRIBE_POST, rule))
    return Control(Offers(SourceKind.HEADER, found), tuple(invalid), frozenset(remove), count)


def _read_field(
    key: bytes,
    same: list[Header],
    found: dict[Setting[Any], Offer[Any]],
    invalid: list[InvalidValue],
) -> None:
    """Reads the fields of one name, which may be given once."""
    known = _FIELDS.get(key)
    if known is None:
        name = _printable(same[0].name)
        invalid.append(_invalid(name, None, "unknown control header", strict=False))
        return
    try:
        value = known.check(_single(same))
    except _InvalidError as error:
        setting = known.settings[0]
        invalid.append(_invalid(known.name, setting, str(error), known.strict))
        return
    for setting in known.settings:
        found[setting] = Offer(value, known.name)


def _invalid(
    name: str, setting: Setting[Any] | None, rule: str, strict: bool = True
) -> InvalidValue:
    return InvalidValue(SourceKind.HEADER, name, setting, rule, strict)


def _printable(name: bytes) -> str:
    """The name of a field that no one defined, safe to print."""
    return name[:64].decode("ascii", "replace").rstrip()


def _single(same: list[Header]) -> str:
    texts = {header.text for header in same}
    if len(texts) > 1:
        raise _InvalidError("must not be given twice with different values")
    return _ascii(texts.pop())


def _ascii(text: bytes) -> str:
    try:
        return text.decode("ascii")
    except UnicodeDecodeError:
        raise _InvalidError("must be ASCII") from None


def _dkim(fields: list[Header], invalid: list[InvalidValue]) -> tuple[DkimRequest, ...] | None:
    """The requests of all X-GreenArrow-DKIM fields together, in order.

    None if no field is valid: then the default key signs.
    """
    requests: list[DkimRequest] = []
    for header in fields:
        try:
            requests += _requests(header)
        except _InvalidError as error:
            invalid.append(_invalid(_DKIM_NAME, offers.DKIM, str(error)))
    if len(requests) > MOST_SIGNATURES:
        rule = f"must request at most {MOST_SIGNATURES} signatures"
        invalid.append(_invalid(_DKIM_NAME, offers.DKIM, rule))
        return None
    return tuple(requests) or None


def _requests(header: Header) -> list[DkimRequest]:
    """The requests of one field."""
    if len(header.text) >= _DKIM_FIELD_BYTES:
        raise _InvalidError("must be shorter than 4 KB")
    try:
        content = json.loads(_ascii(header.text), parse_constant=_no_json)
    except (ValueError, RecursionError):
        raise _InvalidError("must be valid JSON") from None
    objects = content if isinstance(content, list) else [content]
    if not 1 <= len(objects) <= MOST_SIGNATURES:
        raise _InvalidError(f"must be an object or an array of 1 to {MOST_SIGNATURES} objects")
    return [_request(entry) for entry in objects]


def _no_json(constant: str) -> NoReturn:
    """NaN and the infinities, which Python's parser accepts."""
    raise ValueError(constant)


def _request(entry: object) -> DkimRequest:
    if not isinstance(entry, dict):
        raise _InvalidError(f"must be an object or an array of 1 to {MOST_SIGNATURES} objects")
    known = ("domain", "from_domain", "selector", "use_key_from", "allow_duplicate")
    if not entry.keys() <= set(known):
        raise _InvalidError(f"must have only the keys {', '.join(known)}")
    request = DkimRequest(
        domain=_dns_name(entry, "domain", values.host),
        from_domain=_flag(entry, "from_domain"),
        selector=_dns_name(entry, "selector", values.selector),
        use_key_from=_key_source(entry),
        allow_duplicate=_flag(entry, "allow_duplicate"),
    )
    if request.use_key_from and not request.selector:
        raise _InvalidError("must have selector if it has use_key_from")
    return request


def _dns_name(entry: dict[str, Any], key: str, check: Callable[[str], str]) -> str | None:
    """A domain or a selector; null counts as not given."""
    value = entry.get(key)
    if value is None:
        return None
    rule = f"{key} must be a DNS name"
    if not isinstance(value, str):
        raise _InvalidError(rule)
    try:
        return check(value)
    except ValueError:
        raise _InvalidError(rule) from None


def _key_source(entry: dict[str, Any]) -> str | None:
    value = entry.get("use_key_from")
    if value is None:
        return None
    rule = "use_key_from must be DOMAIN or DOMAIN/SELECTOR"
    if not isinstance(value, str):
        raise _InvalidError(rule)
    domain, slash, selector = value.partition("/")
    try:
        return values.host(domain) + (slash and "/" + values.selector(selector))
    except ValueError:
        raise _InvalidError(rule) from None


def _flag(entry: dict[str, Any], key: str) -> bool:
    """JSON true, or a number of at least 1; null counts as not given."""
    value = entry.get(key)
    if value is None:
        return False
    if isinstance(value, (bool, int, float)):
        return value >= 1
    raise _InvalidError(f"{key} must be true, false or a number")
