"""Control headers: the `X-GreenArrow-*` fields of a mail, read and checked (docs/headers.md).

Here live their names and their grammar, and nothing else: no configuration is known here, and
nothing is decided. What is wrong with a field is a value, too. A rule names what is allowed and
never repeats what was given, since it goes back to clients and into logs.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from fletching.config import values
from fletching.mail.message import Header

PREFIX = b"x-greenarrow-"
ROUTE_HEADER = b"X-Fletching-Route"
"""The private field that tells Postfix the transport. One that a client sends is a forgery."""

LONGEST_URI = 998 - len("List-Unsubscribe: <>,")
"""Octets of a URI that stays on one line: Postfix breaks longer lines, and a URI with them."""

MOST_SIGNATURES = 10
MOST_FIELDS = 100
"""Control headers and forged routes of one mail: each is removed by an edit of its own."""

_DKIM_FIELD_OCTETS = 4096


@dataclass(frozen=True, slots=True)
class DkimWish:
    """One object of X-GreenArrow-DKIM (docs/headers.md). None: not given."""

    domain: str | None = None
    from_domain: bool = False
    selector: str | None = None
    use_key_from: str | None = None
    allow_duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """A field that is passed over. ``strict``: `on_invalid_header: reject` refuses the mail."""

    header: str
    rule: str
    strict: bool = True

    def __str__(self) -> str:
        return f"{self.header}: {self.rule}"


@dataclass(frozen=True, slots=True)
class Control:
    """What the control headers of one mail say. None: not given, or not valid.

    ``places`` are the fields to remove, as places in the mail as received; ``given`` counts those
    that a client may use, that is without forged routes.
    """

    mail_class: str | None = None
    instance_id: str | None = None
    list_id: str | None = None
    mta_id: str | None = None
    bounce_mailbox: str | None = None
    obscured_email: str | None = None
    url_domain: str | None = None
    click_tracking: bool | None = None
    click_tracking_id: str | None = None
    unsubscribe_url: str | None = None
    unsubscribe_post: str | None = None
    tracker_format: str | None = None
    seed: bool | None = None
    seed_progress: float | None = None
    dkim: tuple[DkimWish, ...] | None = None
    places: frozenset[int] = field(default_factory=frozenset)
    given: int = 0
    problems: tuple[Problem, ...] = ()


class _InvalidError(Exception):
    """A value breaks its header's rule. The message is the rule."""


def _matching(pattern: str, rule: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise _InvalidError(rule)
        return value

    return check


def _by(rule_of: Callable[[str], str]) -> Callable[[str], str]:
    def check(value: str) -> str:
        try:
            return rule_of(value)
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


_PRINTABLE = "must be 1 to 255 printable ASCII characters"
_CONTROLS: Mapping[bytes, tuple[str, str, Callable[[str], Any]]] = {
    b"x-greenarrow-" + name.lower().encode(): (f"X-GreenArrow-{name}", attribute, check)
    for name, attribute, check in (
        ("MailClass", "mail_class", _by(values.class_name)),
        ("InstanceID", "instance_id", _instance_id),
        ("ListID", "list_id", _by(values.list_id)),
        ("MtaID", "mta_id", _by(values.virtual_mta_name)),
        ("BounceMailboxOverride", "bounce_mailbox", _by(values.address)),
        ("Obscured-Email", "obscured_email", _matching(r"[ -~]{1,255}", _PRINTABLE)),
        ("URL-Domain", "url_domain", _by(values.url_domain)),
        ("Click-Tracking-Do", "click_tracking", _switch),
        (
            "Click-Tracking-ID",
            "click_tracking_id",
            _matching(r"[ -~]{0,300}", "must be at most 300 printable ASCII characters"),
        ),
        ("List-Unsubscribe-HTTP-URL", "unsubscribe_url", _unsubscribe_url),
        (
            "List-Unsubscribe-HTTP-URL-Post",
            "unsubscribe_post",
            _matching(r"[ -~]{1,255}", _PRINTABLE),
        ),
        ("Tracker-Format", "tracker_format", _format),
        ("SeedDo", "seed", _switch),
        ("SeedProgress", "seed_progress", _progress),
    )
}
_DKIM, _DKIM_NAME = b"x-greenarrow-dkim", "X-GreenArrow-DKIM"
_URL_DOMAIN = b"x-greenarrow-url-domain"


def read(headers: tuple[Header, ...]) -> Control:
    """Reads the control headers among a mail's fields. Raises nothing, whatever they hold."""
    fields: dict[bytes, list[Header]] = defaultdict(list)
    places: set[int] = set()
    for header in headers:
        key = header.key
        ours = key.startswith(PREFIX)
        if (ours or key == ROUTE_HEADER.lower()) and header.place is not None:
            places.add(header.place)
        if ours:
            fields[key].append(header)
    given = sum(map(len, fields.values()))
    problems: list[Problem] = []
    wishes = _dkim(fields.pop(_DKIM, []), problems)
    found = _values(fields, problems)
    if "unsubscribe_post" in found and "unsubscribe_url" not in found:
        del found["unsubscribe_post"]
        name = "X-GreenArrow-List-Unsubscribe-HTTP-URL"
        problems.append(Problem(f"{name}-Post", f"must stand with a valid {name}"))
    return Control(
        **found, dkim=wishes, places=frozenset(places), given=given, problems=tuple(problems)
    )


def _values(fields: Mapping[bytes, list[Header]], problems: list[Problem]) -> dict[str, Any]:
    """The values of the headers that may be given once, by the names of `Control`."""
    found: dict[str, Any] = {}
    for key, same in fields.items():
        if key not in _CONTROLS:
            problems.append(Problem(_shown(same[0].name), "unknown control header", False))
            continue
        name, attribute, check = _CONTROLS[key]
        try:
            found[attribute] = check(_single(same))
        except _InvalidError as error:
            problems.append(Problem(name, str(error), key != _URL_DOMAIN))
    return found


def _shown(name: bytes) -> str:
    """A field name that a client made up, fit to be shown."""
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
        raise _InvalidError("must be in ASCII") from None


def _dkim(fields: list[Header], problems: list[Problem]) -> tuple[DkimWish, ...] | None:
    """The wishes of all X-GreenArrow-DKIM fields together, in order.

    None where no field is valid: then the default key signs.
    """
    wishes: list[DkimWish] = []
    for header in fields:
        try:
            wishes += _wishes(header)
        except _InvalidError as error:
            problems.append(Problem(_DKIM_NAME, str(error)))
    if len(wishes) > MOST_SIGNATURES:
        rule = f"must ask for at most {MOST_SIGNATURES} signatures"
        problems.append(Problem(_DKIM_NAME, rule))
        return None
    return tuple(wishes) or None


def _wishes(header: Header) -> list[DkimWish]:
    """The wishes of one field."""
    if len(header.text) >= _DKIM_FIELD_OCTETS:
        raise _InvalidError("must be shorter than 4 KB")
    try:
        content = json.loads(_ascii(header.text), parse_constant=_no_json)
    except (ValueError, RecursionError):
        raise _InvalidError("must be JSON") from None
    objects = content if isinstance(content, list) else [content]
    if not 1 <= len(objects) <= MOST_SIGNATURES:
        raise _InvalidError(f"must be an object or an array of 1 to {MOST_SIGNATURES} objects")
    return [_wish(entry) for entry in objects]


def _no_json(constant: str) -> NoReturn:
    """NaN and the infinities, which Python's parser would take."""
    raise ValueError(constant)


def _wish(entry: object) -> DkimWish:
    if not isinstance(entry, dict):
        raise _InvalidError(f"must be an object or an array of 1 to {MOST_SIGNATURES} objects")
    known = ("domain", "from_domain", "selector", "use_key_from", "allow_duplicate")
    if not entry.keys() <= set(known):
        raise _InvalidError(f"must have no other keys than {', '.join(known)}")
    wish = DkimWish(
        domain=_name(entry, "domain", values.host),
        from_domain=_truth(entry, "from_domain"),
        selector=_name(entry, "selector", values.selector),
        use_key_from=_key_source(entry),
        allow_duplicate=_truth(entry, "allow_duplicate"),
    )
    if wish.use_key_from and not wish.selector:
        raise _InvalidError("must have selector where it has use_key_from")
    return wish


def _name(entry: dict[str, Any], key: str, form: Callable[[str], str]) -> str | None:
    """A domain or selector; null counts as not given."""
    value = entry.get(key)
    if value is None:
        return None
    try:
        return form(value) if isinstance(value, str) else _no_name(key)
    except ValueError:
        return _no_name(key)


def _no_name(key: str) -> NoReturn:
    raise _InvalidError(f"must have a DNS name as {key}")


def _key_source(entry: dict[str, Any]) -> str | None:
    value = entry.get("use_key_from")
    if value is None:
        return None
    rule = "must have domain or domain/selector as use_key_from"
    if not isinstance(value, str):
        raise _InvalidError(rule)
    domain, slash, selector = value.partition("/")
    try:
        return values.host(domain) + (slash and "/" + values.selector(selector))
    except ValueError:
        raise _InvalidError(rule) from None


def _truth(entry: dict[str, Any], key: str) -> bool:
    """JSON true, or a number from 1 on; null counts as not given."""
    value = entry.get(key)
    if value is None:
        return False
    if isinstance(value, (bool, int, float)):
        return value >= 1
    raise _InvalidError(f"must have true, false or a number as {key}")
