"""Amazon SES's notifications by mail, through SNS: a JSON object in the text.

Source: docs.aws.amazon.com/ses, "Amazon SNS notification contents". Here lives what they say about
each recipient, as a status notification would. Nothing raises for any text, and the work is linear
in the size.
"""

from __future__ import annotations

import json
from typing import Any

from fletching.returning.status_reports import Report, addressed

LONGEST = 2**16
"""Characters of a notification that are read."""
MOST = 100
"""Recipients of one notification that are read."""

_MARK = "notificationType"


def reports(text: str) -> list[Report]:
    """What a notification says, one recipient after another; nothing if the text has none."""
    if _MARK not in text[:LONGEST] and '"eventType"' not in text[:LONGEST]:
        return []
    # Sendmail breaks long lines with "!", a line end and a blank.
    outer = _object(text[:LONGEST].replace("!\n ", ""))
    inner = _object(_text(outer, "Message")) or outer
    match _text(inner, "notificationType") or _text(inner, "eventType"):
        case "Bounce":
            return [_bounced(each) for each in _objects(_in(inner, "bounce"), "bouncedRecipients")]
        case "Delivery":
            delivery = _in(inner, "delivery")
            named = delivery.get("recipients")
            return [
                Report(addressed(each), "delivered", "", _text(delivery, "smtpResponse"))
                for each in (named if isinstance(named, list) else [])[:MOST]
                if isinstance(each, str)
            ]
    return []


def _bounced(recipient: dict[str, Any]) -> Report:
    diagnostic = _text(recipient, "diagnosticCode")
    kind, mark, words = diagnostic.partition(";")
    return Report(
        addressed(_text(recipient, "emailAddress")),
        _text(recipient, "action").lower() or "failed",
        _text(recipient, "status"),
        words.strip() if mark and kind.lower() == "smtp" else diagnostic,
    )


def _object(text: str) -> dict[str, Any]:
    """The first JSON object in a text; empty without one."""
    start = text.find("{")
    if start < 0:
        return {}
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(text, start)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _in(outer: dict[str, Any], name: str) -> dict[str, Any]:
    found = outer.get(name)
    return found if isinstance(found, dict) else {}


def _objects(outer: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = outer.get(name)
    return [
        each for each in (found if isinstance(found, list) else [])[:MOST] if isinstance(each, dict)
    ]


def _text(outer: dict[str, Any], name: str) -> str:
    found = outer.get(name)
    return found if isinstance(found, str) else ""
