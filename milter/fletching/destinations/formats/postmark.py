"""Postmark's webhooks: bounce, spam complaint, delivery, open, click, subscription change.

Receivers act on the type of a bounce. Only types that receivers agree about are used: some take a
`SpamNotification` for a complaint.
"""

from __future__ import annotations

from typing import Any

from fletching.destinations.formats.post import Fields, digest, message_id, metadata, one

_BOUNCES = {
    "h": ("HardBounce", 1, "Hard bounce"),
    "s": ("SoftBounce", 4096, "Soft bounce"),
    "o": ("Unknown", 2048, "Unknown"),
}
"""Type, type code and name of a bounce."""

_COMPLAINT = ("SpamComplaint", 100001, "Spam complaint")


def converted(event: Fields) -> Fields | None:
    """An event in Postmark's fields; None if it has no counterpart."""
    found = _record(event)
    if found is None:
        return None
    common = {
        "MessageID": message_id(event),
        "MessageStream": "broadcast",
        "Tag": event.get("mail_class", ""),
        "Metadata": metadata(event),
    }
    return {**common, **found}


def _record(event: Fields) -> dict[str, Any] | None:
    to, at = event.get("email", ""), event.get("timestamp", "")
    match event["event_type"]:
        case "bounce_all":
            kind = _BOUNCES.get(str(event.get("bounce_type")), _BOUNCES["o"])
            return _bounce("Bounce", kind, event)
        case "scomp":
            return _bounce("SpamComplaint", _COMPLAINT, event)
        case "delivery_attempt" if event.get("status") == "success":
            details = event.get("message", "")
            return {
                "RecordType": "Delivery",
                "Recipient": to,
                "DeliveredAt": at,
                "Details": details,
            }
        case "engine_open" | "engine_click":
            return {"Recipient": to, "ReceivedAt": at, **_visit(event)}
        case "engine_unsub":
            change = {"SuppressSending": True, "SuppressionReason": "ManualSuppression"}
            origin = {"RecordType": "SubscriptionChange", "Origin": "Recipient"}
            return {"Recipient": to, "ChangedAt": at, **change, **origin}
    return None


def _bounce(record: str, kind: tuple[str, int, str], event: Fields) -> dict[str, Any]:
    name, code, title = kind
    return {
        "RecordType": record,
        # A number of 48 bits, which every language can read.
        "ID": int.from_bytes(digest(event, 6), "big"),
        "Type": name,
        "TypeCode": code,
        "Name": title,
        "Description": event.get("bounce_reason", ""),
        "Details": event.get("bounce_text", ""),
        "Email": event.get("email", ""),
        "BouncedAt": event.get("timestamp", ""),
        "DumpAvailable": False,
        "Inactive": False,
        "CanActivate": False,
    }


def _visit(event: Fields) -> Fields:
    agent = {"UserAgent": event.get("user_agent", "")}
    if event["event_type"] == "engine_open":
        return {"RecordType": "Open", **agent}
    place = "Text" if event.get("html_or_text") == "text" else "HTML"
    link = {"OriginalLink": event.get("click_url", ""), "ClickLocation": place}
    return {"RecordType": "Click", **link, **agent}


POSTMARK = one(converted)
