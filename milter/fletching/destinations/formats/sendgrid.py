"""SendGrid's Event Webhook: a JSON array of events.

A soft bounce is a `bounce` of the type `blocked`, after which SendGrid does not suppress the
address. Our own fields stand beside SendGrid's, as its unique arguments do.
"""

from __future__ import annotations

from collections.abc import Sequence

from fletching.destinations.formats.post import (
    Fields,
    Format,
    Post,
    Signing,
    as_json,
    is_for_others,
    message_id,
    metadata,
)
from fletching.events import BOUNCE, CLICK, COMPLAINT, DELIVERY, OPEN, PREPARED, UNSUBSCRIBE

_EVENTS = {
    CLICK: "click",
    OPEN: "open",
    UNSUBSCRIBE: "unsubscribe",
    COMPLAINT: "spamreport",
    BOUNCE: "bounce",
    PREPARED: "processed",
}
_ATTEMPTS = {"success": "delivered", "deferral": "deferred"}
_CLASSES = {
    **dict.fromkeys(("user_unknown", "domain_unknown", "moved"), "Invalid Address"),
    **dict.fromkeys(
        ("mailbox_full", "mailbox_disabled", "recipient_filtered"), "Mailbox Unavailable"
    ),
    **dict.fromkeys(("content", "spam", "virus", "too_big"), "Content"),
    **dict.fromkeys(("blocked", "policy", "auth_failure", "sender_rejected"), "Reputation"),
    "rate_limited": "Frequency or Volume Too High",
    **dict.fromkeys(
        ("network", "system", "protocol", "expired", "no_mail_service", "relay_denied"), "Technical"
    ),
}
"""`bounce_classification` by our reason."""


def converted(event: Fields) -> Fields | None:
    """An event in SendGrid's fields; None if it has no counterpart."""
    name = _EVENTS.get(event["event_type"])
    if event["event_type"] == DELIVERY:
        name = _ATTEMPTS.get(str(event.get("status")))
    if name is None:
        return None
    return {
        **metadata(event),
        "email": event.get("email", ""),
        "timestamp": event.get("event_time", 0),
        "event": name,
        "sg_event_id": event.get("event_unique_id", ""),
        "sg_message_id": message_id(event),
        "smtp-id": f"<{message_id(event)}>",
        "category": [event.get("mail_class", "")],
        **_details(event),
    }


def _details(event: Fields) -> Fields:
    """The fields that not all events have."""
    match event["event_type"]:
        case "bounce_all":
            return {
                "reason": event.get("bounce_text", ""),
                "status": event.get("bounce_status", ""),
                "type": "bounce" if event.get("bounce_type") == "h" else "blocked",
                "bounce_classification": _CLASSES.get(
                    str(event.get("bounce_reason")), "Unclassified"
                ),
            }
        case "delivery_attempt":
            ip = {"ip": event.get("mx_ip", "")} if event.get("mx_ip") else {}
            return {"response": event.get("message", ""), **ip}
        case "engine_click" | "engine_open":
            click = {"url": event.get("click_url", "")} if event["event_type"] == CLICK else {}
            machine = {"sg_machine_open": bool(event.get("is_privacy_open"))}
            return {
                "useragent": event.get("user_agent", ""),
                "ip": event.get("engine_ip", ""),
                **(click or machine),
            }
    return {}


def _post(events: Sequence[Fields], _: Signing) -> Post | None:
    found = [each for each in map(converted, filter(is_for_others, events)) if each is not None]
    return Post(as_json(found)) if found else None


SENDGRID = Format(_post, most=100)
