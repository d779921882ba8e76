"""Postal's headers."""

from __future__ import annotations

from collections.abc import Iterable

from fletching.policy.dialects import values
from fletching.policy.dialects.table import Dialect, Row, Sets, Wish


def _skip(text: str) -> Iterable[Wish]:
    return [Sets("click_tracking", "no")] if text == "skip" else []


DIALECT = Dialect(
    title="Postal",
    namespace="X-Postal-",
    rows=(
        Row(
            "X-Postal-Tag",
            "tag; the last one counts",
            "Click-Tracking-ID",
            "welcome",
            values.label,
            several="last",
            kept=True,
        ),
        Row(
            "X-AMP",
            "`skip`: track nothing",
            "Click-Tracking-Do: no",
            "skip",
            _skip,
            several="last",
            kept=True,
        ),
    ),
    sources=("https://github.com/postalserver/postal (`message_dequeuer`), and its documentation",),
    notes=("Postal leaves its headers in the mail, so they stay here, too.",),
)
