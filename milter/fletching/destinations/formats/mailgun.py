"""Mailgun's webhooks: `event-data` with a signature by the webhook signing key.

Receivers take a permanent failure for a hard bounce, so a soft bounce is a temporary one, even if
Postfix has given up.
"""

from __future__ import annotations

import hmac
from typing import Any

from fletching.destinations.formats.post import (
    Fields,
    Post,
    Signing,
    as_json,
    digest,
    message_id,
    metadata,
    one,
)
from fletching.events import BOUNCE, CLICK, COMPLAINT, DELIVERY, OPEN, UNSUBSCRIBE

_EVENTS = {
    CLICK: "clicked",
    OPEN: "opened",
    UNSUBSCRIBE: "unsubscribed",
    COMPLAINT: "complained",
    BOUNCE: "failed",
}
_ATTEMPTS = {"success": "delivered", "deferral": "failed"}


def converted(event: Fields) -> Fields | None:
    """The `event-data`; None if the event has no counterpart."""
    name = _EVENTS.get(event["event_type"])
    if event["event_type"] == DELIVERY:
        name = _ATTEMPTS.get(str(event.get("status")))
    if name is None:
        return None
    return {
        "event": name,
        "timestamp": float(event.get("event_time", 0)),
        "id": event.get("event_unique_id", ""),
        "log-level": "info",
        "recipient": event.get("email", ""),
        "recipient-domain": str(event.get("email", "")).rpartition("@")[2],
        "message": {"headers": {"message-id": message_id(event), "to": event.get("email", "")}},
        "user-variables": metadata(event),
        "tags": [event.get("mail_class", "")],
        **_details(event),
    }


def _details(event: Fields) -> dict[str, Any]:
    """The fields that not all events have."""
    match event["event_type"]:
        case "bounce_all":
            is_hard = event.get("bounce_type") == "h"
            return {**_failure(permanent=is_hard), **_status(event, event.get("bounce_text", ""))}
        case "delivery_attempt":
            failure = {} if event.get("status") == "success" else _failure(permanent=False)
            return {**failure, **_status(event, event.get("message", ""))}
        case "engine_click" | "engine_open":
            client = {"user-agent": event.get("user_agent", "")}
            url = {"url": event.get("click_url", "")} if event["event_type"] == CLICK else {}
            return {"ip": event.get("engine_ip", ""), "client-info": client, **url}
    return {}


def _failure(*, permanent: bool) -> dict[str, Any]:
    if permanent:
        return {"severity": "permanent", "reason": "bounce", "log-level": "error"}
    return {"severity": "temporary", "reason": "generic", "log-level": "warn"}


def _status(event: Fields, text: str) -> dict[str, Any]:
    status = {
        "code": event.get("bounce_code", 250),
        "enhanced-code": event.get("bounce_status", ""),
        "message": text,
        "description": event.get("bounce_reason", ""),
        "mx-host": event.get("mx_hostname", ""),
    }
    return {"delivery-status": status}


def signature(event: Fields, signing: Signing) -> Fields:
    """The `signature`: HMAC-SHA256 over time and token. The token is the same in each attempt."""
    token = digest(event, 25).hex()
    signed = f"{signing.seconds}{token}".encode("ascii")
    code = hmac.new(signing.secret or b"", signed, "sha256").hexdigest()
    return {"timestamp": str(signing.seconds), "token": token, "signature": code}


def _signed(event: Fields, found: Fields, signing: Signing) -> Post:
    return Post(as_json({"signature": signature(event, signing), "event-data": found}))


MAILGUN = one(converted, _signed)
