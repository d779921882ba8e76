"""The grammar of control values: which settings a control can set, and how a value is checked.

A control is named as its option in `header_aliases` and rules, such as `mail_class`. Control
headers, aliases, dialects and rules all check their values here, so each accepts what the others
accept. A rule says what is allowed and never repeats the value, since it is sent to clients and
written to logs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from fletching.config import control_values, values
from fletching.policy import offers
from fletching.policy.offers import InvalidValue, Offer, Setting, SourceKind

T = TypeVar("T")

LONGEST_URI = control_values.LONGEST_URI


class InvalidError(Exception):
    """A value breaks the rule of its control. The message is the rule."""


def _matching(pattern: str, rule: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise InvalidError(rule)
        return value

    return check


def _as_option(option: Callable[[str], T]) -> Callable[[str], T]:
    """The check of the configuration for the same values."""

    def check(value: str) -> T:
        try:
            return option(value)
        except ValueError as error:
            raise InvalidError(str(error)) from None

    return check


def _progress(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,20})?", value) or float(value) > 100:
        raise InvalidError("must be a decimal number from 0 to 100")
    return float(value)


class Allowed(NamedTuple):
    """What a control may be set to. ``settings``: what its value is offered for.

    ``strict``: `on_invalid_header: reject` refuses a mail with an invalid value.
    """

    settings: tuple[Setting[Any], ...]
    check: Callable[[str], Any]
    strict: bool = True

    def offer(self, text: str, source: str) -> dict[Setting[Any], Offer[Any]]:
        """The offers of a value. Raises InvalidError."""
        value = self.check(text)
        return {setting: Offer(value, source) for setting in self.settings}

    def invalid(self, kind: SourceKind, source: str, rule: object) -> InvalidValue:
        """What becomes of a value that breaks the rule."""
        return InvalidValue(kind, source, self.settings[0], str(rule), self.strict)


_PRINTABLE = _matching(r"[ -~]{1,255}", "must be 1 to 255 printable ASCII characters")
_TRACKING = (offers.CLICK_TRACKING, offers.CLICKS, offers.OPENS)

CONTROLS: Mapping[str, Allowed] = {
    "mail_class": Allowed((offers.MAIL_CLASS,), _as_option(values.class_name)),
    "instance_id": Allowed((offers.INSTANCE_ID,), _as_option(control_values.instance_id)),
    "list_id": Allowed((offers.LIST_ID,), _as_option(values.list_id)),
    "virtual_mta": Allowed((offers.VIRTUAL_MTA,), _as_option(values.virtual_mta_name)),
    "bounce_mailbox": Allowed((offers.BOUNCE_MAILBOX,), _as_option(values.address)),
    "obscured_email": Allowed((offers.OBSCURED_EMAIL,), _PRINTABLE),
    # An invalid one is ignored even where every other invalid value refuses the mail.
    "url_domain": Allowed((offers.URL_DOMAIN,), _as_option(values.url_domain), strict=False),
    "click_tracking": Allowed(_TRACKING, _as_option(control_values.switch)),
    "click_tracking_id": Allowed(
        (offers.CLICK_TRACKING_ID,), _as_option(control_values.click_tracking_id)
    ),
    "list_unsubscribe_url": Allowed(
        (offers.LIST_UNSUBSCRIBE_URL,), _as_option(control_values.unsubscribe_url)
    ),
    "list_unsubscribe_post": Allowed((offers.LIST_UNSUBSCRIBE_POST,), _PRINTABLE),
    "tracker_format": Allowed((offers.TRACKER_FORMAT,), _as_option(control_values.tracker_format)),
    "seed": Allowed((offers.SEED,), _as_option(control_values.switch)),
    "seed_progress": Allowed((offers.SEED_PROGRESS,), _progress),
}
"""By name of the control. `click_tracking` switches clicks and opens together."""


def single(texts: set[bytes]) -> str:
    """The one value of a header that may be given once. Raises InvalidError."""
    if len(texts) > 1:
        raise InvalidError("must not be given twice with different values")
    return as_ascii(next(iter(texts)))


def as_ascii(text: bytes) -> str:
    """The text of a value. Raises InvalidError."""
    try:
        return text.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidError("must be ASCII") from None
