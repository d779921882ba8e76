"""Control headers: the `X-GreenArrow-*` fields of a mail, read and checked (docs/headers.md).

Here are their names, and the form of X-GreenArrow-DKIM; `grammar.py` checks the other values. No
configuration is known here, and nothing is decided. A valid field becomes an offer (`offers.py`)
and an invalid one an `InvalidValue`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from fletching.config import values
from fletching.mail.message import Header
from fletching.policy import grammar, offers
from fletching.policy.grammar import InvalidError
from fletching.policy.offers import DkimRequest, InvalidValue, Offer, Offers, Setting, SourceKind

PREFIX = b"x-greenarrow-"
ROUTE_HEADER = b"X-Fletching-Route"
"""The private field that tells Postfix the transport. One that a client sends is a forgery."""
SEED_HEADER = b"X-Fletching-Seed"
"""The private field of a seed copy, which authenticates it (`seed_copy.py`)."""
CHECK_HEADER = b"X-Fletching-Check"
"""The private field of a check mail, which authenticates it (`check_mail.py`)."""

_PRIVATE = (ROUTE_HEADER.lower(), SEED_HEADER.lower(), CHECK_HEADER.lower())

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


def positions(headers: tuple[Header, ...]) -> frozenset[int]:
    """The positions of all control headers and private fields."""
    return frozenset(
        each.position
        for each in headers
        if each.position is not None and (each.key.startswith(PREFIX) or each.key in _PRIVATE)
    )


_URL, _POST = "List-Unsubscribe-HTTP-URL", "List-Unsubscribe-HTTP-URL-Post"

_CONTROLS = {
    "MailClass": "mail_class",
    "InstanceID": "instance_id",
    "ListID": "list_id",
    "MtaID": "virtual_mta",
    "BounceMailboxOverride": "bounce_mailbox",
    "Obscured-Email": "obscured_email",
    "URL-Domain": "url_domain",
    "Click-Tracking-Do": "click_tracking",
    "Click-Tracking-ID": "click_tracking_id",
    _URL: "list_unsubscribe_url",
    _POST: "list_unsubscribe_post",
    "Tracker-Format": "tracker_format",
    "SeedDo": "seed",
    "SeedProgress": "seed_progress",
}
_FIELDS: Mapping[bytes, tuple[str, grammar.Allowed]] = {
    PREFIX + name.lower().encode(): (f"X-GreenArrow-{name}", grammar.CONTROLS[control])
    for name, control in _CONTROLS.items()
}
_DKIM, _DKIM_NAME = b"x-greenarrow-dkim", "X-GreenArrow-DKIM"


def read(headers: tuple[Header, ...]) -> Control:
    """Reads the control headers among a mail's fields. Raises nothing, whatever they contain."""
    fields: dict[bytes, list[Header]] = defaultdict(list)
    remove: set[int] = set()
    for header in headers:
        key = header.key
        is_control = key.startswith(PREFIX)
        if (is_control or key in _PRIVATE) and header.position is not None:
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
    if key not in _FIELDS:
        name = _printable(same[0].name)
        invalid.append(_invalid(name, None, "unknown control header", strict=False))
        return
    name, control = _FIELDS[key]
    try:
        found.update(control.offer(grammar.single({each.text for each in same}), name))
    except InvalidError as error:
        invalid.append(control.invalid(SourceKind.HEADER, name, error))


def _invalid(
    name: str, setting: Setting[Any] | None, rule: str, strict: bool = True
) -> InvalidValue:
    return InvalidValue(SourceKind.HEADER, name, setting, rule, strict)


def _printable(name: bytes) -> str:
    """The name of a field that no one defined, safe to print."""
    return name[:64].decode("ascii", "replace").rstrip()


def _dkim(fields: list[Header], invalid: list[InvalidValue]) -> tuple[DkimRequest, ...] | None:
    """The requests of all X-GreenArrow-DKIM fields together, in order.

    None if no field is valid: then the default key signs.
    """
    requests: list[DkimRequest] = []
    for header in fields:
        try:
            requests += _requests(header)
        except InvalidError as error:
            invalid.append(_invalid(_DKIM_NAME, offers.DKIM, str(error)))
    if len(requests) > MOST_SIGNATURES:
        rule = f"must request at most {MOST_SIGNATURES} signatures"
        invalid.append(_invalid(_DKIM_NAME, offers.DKIM, rule))
        return None
    return tuple(requests) or None


def _requests(header: Header) -> list[DkimRequest]:
    """The requests of one field."""
    if len(header.text) >= _DKIM_FIELD_BYTES:
        raise InvalidError("must be shorter than 4 KB")
    try:
        content = json.loads(grammar.as_ascii(header.text), parse_constant=_no_json)
    except (ValueError, RecursionError):
        raise InvalidError("must be valid JSON") from None
    objects = content if isinstance(content, list) else [content]
    if not 1 <= len(objects) <= MOST_SIGNATURES:
        raise InvalidError(f"must be an object or an array of 1 to {MOST_SIGNATURES} objects")
    return [_request(entry) for entry in objects]


def _no_json(constant: str) -> NoReturn:
    """NaN and the infinities, which Python's parser accepts."""
    raise ValueError(constant)


def _request(entry: object) -> DkimRequest:
    if not isinstance(entry, dict):
        raise InvalidError(f"must be an object or an array of 1 to {MOST_SIGNATURES} objects")
    known = ("domain", "from_domain", "selector", "use_key_from", "allow_duplicate")
    if not entry.keys() <= set(known):
        raise InvalidError(f"must have only the keys {', '.join(known)}")
    request = DkimRequest(
        domain=_dns_name(entry, "domain", values.host),
        from_domain=_flag(entry, "from_domain"),
        selector=_dns_name(entry, "selector", values.selector),
        use_key_from=_key_source(entry),
        allow_duplicate=_flag(entry, "allow_duplicate"),
    )
    if request.use_key_from and not request.selector:
        raise InvalidError("must have selector if it has use_key_from")
    return request


def _dns_name(entry: dict[str, Any], key: str, check: Callable[[str], str]) -> str | None:
    """A domain or a selector; null counts as not given."""
    value = entry.get(key)
    if value is None:
        return None
    rule = f"{key} must be a DNS name"
    if not isinstance(value, str):
        raise InvalidError(rule)
    try:
        return check(value)
    except ValueError:
        raise InvalidError(rule) from None


def _key_source(entry: dict[str, Any]) -> str | None:
    value = entry.get("use_key_from")
    if value is None:
        return None
    rule = "use_key_from must be DOMAIN or DOMAIN/SELECTOR"
    if not isinstance(value, str):
        raise InvalidError(rule)
    domain, slash, selector = value.partition("/")
    try:
        return values.host(domain) + (slash and "/" + values.selector(selector))
    except ValueError:
        raise InvalidError(rule) from None


def _flag(entry: dict[str, Any], key: str) -> bool:
    """JSON true, or a number of at least 1; null counts as not given."""
    value = entry.get(key)
    if value is None:
        return False
    if isinstance(value, (bool, int, float)):
        return value >= 1
    raise InvalidError(f"{key} must be true, false or a number")
