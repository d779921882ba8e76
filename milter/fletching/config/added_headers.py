"""The options of header fields that are added to mail: `add_headers` and `repair`.

Declared as in `model.py`. `policy/added_headers.py` decides what a mail gets. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator

from fletching.config import templates
from fletching.config.fields import Frozen, OptionType, Switch
from fletching.config.sections import Options

_CONTROL = ("x-greenarrow-", "x-fletching-")
_OURS = (*_CONTROL, "content-")
_NEVER_ADDED = frozenset(
    (
        *("bcc", "resent-bcc", "received", "return-path", "mime-version", "dkim-signature"),
        *("list-unsubscribe", "list-unsubscribe-post", "x-mailer-info"),
    )
)
_NEVER_REMOVED = frozenset(("from", "mime-version"))


def field_name(value: str) -> str:
    """The name of a header field (RFC 5322 section 3.6.8)."""
    if not re.fullmatch(r"[!-9;-~]{1,100}", value):
        raise ValueError("must be the name of a header field, such as X-Priority")
    return value


def added_name(value: str) -> str:
    """The name of a field that may be added: none that Fletching or Postfix handles itself."""
    if field_name(value).lower().startswith(_OURS) or value.lower() in _NEVER_ADDED:
        raise ValueError("must not be a header that Fletching, Postfix or MIME defines")
    return value


def alias_name(value: str) -> str:
    """The name of a field that may be an alias: none that is a control header or private itself."""
    if field_name(value).lower().startswith(_CONTROL):
        raise ValueError("must not be a header that Fletching defines")
    return value


def removed_name(value: str) -> str:
    """The name of a field that may be removed: none without which the mail could not be read."""
    if field_name(value).lower().startswith("content-") or value.lower() in _NEVER_REMOVED:
        raise ValueError("must not be From, or a header that MIME defines")
    return value


def different_names(value: Mapping[str, object]) -> Mapping[str, object]:
    """Header fields by name."""
    if len({name.lower() for name in value}) < len(value):
        raise ValueError("must not have a header twice (names are case-insensitive)")
    return value


def not_empty(value: str) -> str:
    """Text that is not only blanks."""
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _value(value: str) -> str:
    return templates.check(not_empty(value), templates.CLASS_NAMES)


AddedName = Annotated[str, AfterValidator(added_name), OptionType("header name")]
RemovedName = Annotated[str, AfterValidator(removed_name), OptionType("header name")]
AddedHeaders = Annotated[
    Mapping[
        AddedName,
        Annotated[str, AfterValidator(_value), OptionType("text with placeholders")],
    ],
    Frozen,
    AfterValidator(different_names),
]


def no_headers() -> Mapping[str, str]:
    """The default of `add_headers`."""
    return MappingProxyType({})


class Repair(Options):
    """Which missing header fields are added to mail that has a Mail Class."""

    date: Switch = True
    """Add a missing Date, with the time in `timezone`."""
    message_id: Switch = True
    """Add a missing Message-ID, in the domain of From."""


class ClassRepair(Options):
    """Which missing header fields are added to mail of this class."""

    date: Switch | None = None
    """Whether a missing Date is added; overrides the global setting."""
    message_id: Switch | None = None
    """Whether a missing Message-ID is added; overrides the global setting."""
