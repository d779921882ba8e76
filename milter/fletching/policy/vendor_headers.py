"""Dialects applied to a mail: headers of other vendors become offers, warnings and removals.

The vendors' tables are in `dialects/`; what a control may be set to is in `grammar.py`. Work is
linear in the size of the header, however many dialects are on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from fletching.config import values
from fletching.mail.message import Header, Message
from fletching.policy import grammar, offers
from fletching.policy.dialects import DIALECTS, json_header
from fletching.policy.dialects.table import (
    Dialect,
    Key,
    Labels,
    Lacks,
    NamesRun,
    Row,
    Sets,
    VendorError,
    Wish,
)
from fletching.policy.grammar import CONTROLS, Allowed, InvalidError
from fletching.policy.offers import (
    Asked,
    DkimRequest,
    InvalidValue,
    Offer,
    Offers,
    Setting,
    SourceKind,
)

MOST_UNKNOWN = 10
"""Unknown headers of one vendor that a mail's warnings name."""


def _dkim(text: str) -> tuple[DkimRequest, ...]:
    try:
        return (DkimRequest(domain=values.host(text)),)
    except ValueError:
        raise InvalidError("domain must be a DNS name") from None


_switch = CONTROLS["click_tracking"].check
_ALLOWED: Mapping[str, Allowed] = {
    **CONTROLS,
    "clicks": Allowed((offers.CLICKS,), _switch),
    "opens": Allowed((offers.OPENS,), _switch),
    "text": Allowed((offers.TEXT,), _switch),
    "list_unsubscribe": Allowed((offers.LIST_UNSUBSCRIBE,), _switch),
    "dkim_domain": Allowed((offers.DKIM,), _dkim),
}
_TRACKING_ID = CONTROLS["click_tracking_id"]


def read(message: Message, names: tuple[str, ...]) -> tuple[Asked, ...]:
    """What the vendor headers of a mail ask for, one `Asked` for each dialect in it, strongest
    first.

    ``names``: the dialects that are on. Raises nothing, whatever the headers contain.
    """
    if not names:
        return ()
    index = _index(names)
    found: dict[Dialect, dict[Row | None, list[Header]]] = {}
    for header in message.headers:
        place = index.place(header.key)
        if place is not None:
            found.setdefault(place.dialect, {}).setdefault(place.row, []).append(header)
    dialects = (DIALECTS[name] for name in names) if found else ()
    return tuple(_of_dialect(each, found[each]) for each in dialects if each in found)


def is_asked(headers: Iterable[Header], names: tuple[str, ...]) -> bool:
    """Whether a header is one of these dialects, and so may set the Mail Class."""
    index = _index(names)
    return bool(names) and any(index.place(header.key) for header in headers)


def _of_dialect(dialect: Dialect, fields: Mapping[Row | None, list[Header]]) -> Asked:
    """What the headers of one dialect ask for. ``fields`` of None are in no row of its table."""
    reading = _Reading()
    for row in dialect.rows:
        if row in fields:
            reading.take_row(row, fields[row])
    if None in fields:
        reading.take_unknown(dialect.namespace or "", fields[None])
    return reading.asked()


class _Place(NamedTuple):
    dialect: Dialect
    row: Row | None


@dataclass(frozen=True, slots=True)
class _Index:
    """The rows of several dialects by the names of their headers, in lower case."""

    single: Mapping[bytes, _Place]
    prefixes: tuple[tuple[bytes, _Place], ...]
    begins: tuple[bytes, ...]

    def place(self, key: bytes) -> _Place | None:
        """Where the header of that name belongs; None if it is no vendor's."""
        found = self.single.get(key)
        if found is None and key.startswith(self.begins):
            return next(place for prefix, place in self.prefixes if key.startswith(prefix))
        return found


@lru_cache(maxsize=16)  # A pure function of the option.
def _index(names: tuple[str, ...]) -> _Index:
    single: dict[bytes, _Place] = {}
    prefixes: list[tuple[bytes, _Place]] = []
    for name in names:
        dialect = DIALECTS[name]
        for row in dialect.rows:
            place = _Place(dialect, row)
            if row.prefix is None:
                single[row.header.lower().encode()] = place
            else:
                prefixes.append((row.prefix.lower().encode(), place))
        if dialect.namespace is not None:
            prefixes.append((dialect.namespace.lower().encode(), _Place(dialect, None)))
    return _Index(single, tuple(prefixes), tuple(prefix for prefix, _ in prefixes))


class _Reading:
    """Collects what the headers of one dialect ask for, the strongest first."""

    def __init__(self) -> None:
        self._general: dict[Setting[Any], Offer[Any]] = {}
        self._found: dict[Setting[Any], Offer[Any]] = {}
        self._labels: list[Offer[str]] = []
        self._invalid: list[InvalidValue] = []
        self._warnings: list[str] = []
        self._remove: set[int] = set()

    def take_row(self, row: Row, fields: list[Header]) -> None:
        """Takes the headers of one row."""
        if not row.kept:
            self._remove.update(each.position for each in fields if each.position is not None)
        source = f"{row.header[:-1]}..." if row.prefix else row.header
        if row.several in ("first", "last") and len({each.text for each in fields}) > 1:
            self._warnings.append(f"{source}: only the {row.several} one counts")
        try:
            text = _one_text(row, fields)
            if not row.keys:
                self._take(source, row.read(text))
                return
            entries = json_header.entries(text, row.keys)
        except (InvalidError, VendorError) as error:
            self._refuse(source, str(error), _about(row, row.example))
            return
        for path, key, value in entries:
            place = f"{source} {path}" if path else source
            if key is None:
                self._warnings.append(f"{place}: unknown key")
                continue
            try:
                self._take(place, key.read(value))
            except VendorError as error:
                self._refuse(place, str(error), _about(key, key.value))

    def take_unknown(self, prefix: str, headers: list[Header]) -> None:
        """Takes headers with a vendor's prefix that are in no table. They stay in the mail."""
        for header in headers[:MOST_UNKNOWN]:
            name = header.name[:64].decode("ascii", "replace").rstrip()
            self._warnings.append(f"{name}: unknown vendor header")
        if len(headers) > MOST_UNKNOWN:
            self._warnings.append(f"{prefix}...: more than {MOST_UNKNOWN} unknown vendor headers")

    def asked(self) -> Asked:
        """All that was taken."""
        self._decide_label()
        found = self._general | self._found
        for setting in (offers.CLICKS, offers.OPENS):
            # What is on by itself must not fail because both together are off.
            if setting in self._found and self._found[setting].value:
                found[offers.CLICK_TRACKING] = self._found[setting]
        return Asked(
            Offers(SourceKind.DIALECT, found),
            tuple(self._invalid),
            frozenset(self._remove),
            tuple(self._warnings),
        )

    def _take(self, source: str, wishes: Iterable[Wish]) -> None:
        for wish in wishes:
            match wish:
                case Sets(control, text):
                    self._set(source, control, text)
                case Labels(text):
                    self._labels.append(Offer(text, source))
                case NamesRun(text):
                    self._name_run(source, text)
                case Lacks(what, strict):
                    place = f"{source} {what}" if what else source
                    if strict:
                        self._refuse(place, "no counterpart", None)
                    else:
                        self._warnings.append(f"{place}: no counterpart")

    def _set(self, source: str, control: str, text: str) -> None:
        allowed = _ALLOWED[control]
        try:
            found = allowed.offer(text, source)
        except InvalidError as error:
            self._invalid.append(allowed.invalid(SourceKind.DIALECT, source, error))
            return
        into = self._general if control == "click_tracking" else self._found
        for setting, offer in found.items():
            first = into.setdefault(setting, offer)
            if first.value != offer.value:
                self._warnings.append(f"{source}: ignored, since {first.source} is given")
                break

    def _name_run(self, source: str, text: str) -> None:
        try:
            self._found |= CONTROLS["instance_id"].offer(text, source)
        except InvalidError as error:
            self._warnings.append(f"{source}: not used as InstanceID: {error}")
            self._labels.append(Offer(text, source))

    def _decide_label(self) -> None:
        """The first valid label is the Click-Tracking-ID."""
        for text, source in self._labels:
            first = self._found.get(offers.CLICK_TRACKING_ID)
            if first is not None:
                rule = f"the Click-Tracking-ID is {first.source}"
                self._warnings.append(f"{source}: not recorded: {rule}")
                continue
            try:
                self._found |= _TRACKING_ID.offer(text, source)
            except InvalidError as error:
                self._warnings.append(f"{source}: not recorded: {error}")

    def _refuse(self, source: str, rule: str, setting: Setting[Any] | None) -> None:
        self._invalid.append(InvalidValue(SourceKind.DIALECT, source, setting, rule))


def _about(row: Row | Key, example: Any) -> Setting[Any] | None:
    """The setting that a row is about, which its example shows."""
    for wish in () if isinstance(row, Row) and row.keys else row.read(example):
        match wish:
            case Sets(control):
                return _ALLOWED[control].settings[0]
            case Labels():
                return offers.CLICK_TRACKING_ID
            case NamesRun():
                return offers.INSTANCE_ID
    return None


def _one_text(row: Row, fields: list[Header]) -> str:
    """The text of a row's headers. Raises InvalidError."""
    match row.several:
        case "same":
            return grammar.single({each.text for each in fields})
        case "first":
            return grammar.as_ascii(fields[0].text)
        case "last":
            return grammar.as_ascii(fields[-1].text)
        case "joined":
            return ",".join(grammar.as_ascii(each.text) for each in fields)
        case "object":
            start = len(row.header) - 1
            texts = {
                grammar.as_ascii(each.name)[start:].rstrip(): each.text.decode("utf-8", "replace")
                for each in fields
            }
            return json.dumps(texts, separators=(",", ":"))
