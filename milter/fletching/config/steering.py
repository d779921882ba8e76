"""The options by which other headers than ours steer a mail: aliases, dialects.

Declared as in `model.py`. The names of the controls are those of `policy/grammar.py`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator

from fletching.config.added_headers import alias_name, different_names, removed_name
from fletching.config.fields import Empty, Frozen, OptionType, Switch
from fletching.config.sections import Options

Control = Literal[
    "mail_class",
    "instance_id",
    "list_id",
    "virtual_mta",
    "bounce_mailbox",
    "obscured_email",
    "url_domain",
    "click_tracking",
    "click_tracking_id",
    "list_unsubscribe_url",
    "list_unsubscribe_post",
    "tracker_format",
    "seed",
    "seed_progress",
]
"""What a header can set, by the name of its option."""

DialectName = Literal[
    "powermta", "mailgun", "sendgrid", "sparkpost", "mandrill", "postmark", "ses", "postal"
]
"""A vendor whose headers are read; `policy/dialects` has the tables."""


def _short(value: object) -> object:
    """`X-Job: instance_id` is short for `X-Job: {control: instance_id}`."""
    return {"control": value} if isinstance(value, str) else value


class Alias(Options):
    """A header of another system that stands for a control header. A bare name of a control is
    short for it."""

    control: Control
    """The control that the header sets."""
    remove: Switch = False
    """Remove the header from mail that has a Mail Class."""


def _removable(aliases: Mapping[str, Alias]) -> Mapping[str, Alias]:
    """No alias removes a field without which the mail could not be read."""
    for name, alias in aliases.items():
        if alias.remove and not _is_removable(name):
            raise ValueError(f"{name} must not have remove: true: mail cannot do without it")
    return aliases


def _is_removable(name: str) -> bool:
    try:
        removed_name(name)
    except ValueError:
        return False
    return True


HeaderAliases = Annotated[
    Mapping[
        Annotated[str, AfterValidator(alias_name), OptionType("header name")],
        Annotated[Alias, BeforeValidator(_short)],
    ],
    Empty,
    Frozen,
    AfterValidator(different_names),
    AfterValidator(_removable),
]
