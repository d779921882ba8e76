"""GreenArrow's legacy form: one event as application/x-www-form-urlencoded. Pure.

Here lives only how a value becomes text of a form. Names are those of the event (docs/events.md,
"Legacy form post"), so that a receiver made for GreenArrow, such as MailWizz's `/dswh/drh`, accepts
it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode


def encoded(fields: Mapping[str, Any]) -> bytes:
    """The body of the request."""
    return urlencode({name: _text(value) for name, value in fields.items()}).encode("ascii")


def _text(value: Any) -> str:
    """PHP and its like take `1` and `0` for yes and no, and `false` for yes."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
