"""GreenArrow's two formats: batches of events as a JSON array, and the legacy form post.

Names and values of the fields are those of the event, so nothing is left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from fletching.destinations.formats.post import Fields, Format, Post, Signing, as_json

_FORM = "application/x-www-form-urlencoded"


def _array(events: Sequence[Fields], _: Signing) -> Post:
    return Post(as_json(list(events)))


def _form(events: Sequence[Fields], _: Signing) -> Post:
    """One event, for a receiver that was written for GreenArrow, such as MailWizz's `/dswh/drh`."""
    (event,) = events
    fields = {name: _form_value(value) for name, value in event.items()}
    return Post(urlencode(fields).encode("ascii"), _FORM)


def _form_value(value: Any) -> str:
    """PHP and similar languages read `1` and `0` as yes and no, but `false` as yes."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


ARRAY = Format(_array, most=100)
FORM = Format(_form, says_ok=True)
