"""The options by which other headers than ours steer a mail: aliases, dialects.

Declared as in `model.py`. The names of the controls are those of `policy/grammar.py`. Pure.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from fletching.config.fields import Switch
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
    """Remove the header from the mail."""


HeaderAlias = Annotated[Alias, BeforeValidator(_short)]
