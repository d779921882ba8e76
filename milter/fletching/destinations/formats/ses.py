"""Amazon SES by SNS: a notification about a bounce, complaint, delivery, open or click.

There is no signature, which would need a certificate of Amazon's. Bounces, complaints and
deliveries are in the format of SES's notifications (`notificationType`), opens and clicks in that
of its event publishing (`eventType`): only that has them.
"""

from __future__ import annotations

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
from fletching.events import OPEN

TOPIC = "arn:aws:sns:us-east-1:000000000000:fletching"
"""Not a topic of Amazon's: there is no account 0."""

_TYPES = {"h": "Permanent", "s": "Transient", "o": "Undetermined"}
_SUBTYPES = {
    "Permanent": {"user_unknown": "NoEmail"},
    "Transient": {
        "mailbox_full": "MailboxFull",
        "too_big": "MessageTooLarge",
        "content": "ContentRejected",
        "spam": "ContentRejected",
        "virus": "AttachmentRejected",
    },
    "Undetermined": {"other": "Undetermined"},
}


def message(event: Fields) -> Fields | None:
    """The message of the notification; None if the event has no counterpart."""
    found = _notification(event)
    return None if found is None else {**found, "mail": _mail(event)}


def _notification(event: Fields) -> dict[str, Any] | None:
    to, at = event.get("email", ""), {"timestamp": event.get("timestamp", "")}
    match event["event_type"]:
        case "bounce_all":
            return {"notificationType": "Bounce", "bounce": {**at, **_bounce(event)}}
        case "scomp":
            complaint = {
                "complainedRecipients": [{"emailAddress": to}],
                "feedbackId": event.get("event_unique_id", ""),
                "complaintFeedbackType": event.get("feedback_type") or None,
            }
            return {"notificationType": "Complaint", "complaint": {**at, **complaint}}
        case "delivery_attempt" if event.get("status") == "success":
            delivery = {
                "recipients": [to],
                "processingTimeMillis": round(1000 * event.get("delay", 0)),
                "smtpResponse": event.get("message", ""),
                "reportingMTA": event.get("server_id", ""),
                "remoteMtaIp": event.get("mx_ip", ""),
            }
            return {"notificationType": "Delivery", "delivery": {**at, **delivery}}
        case "engine_open" | "engine_click":
            visit = {"ipAddress": event.get("engine_ip"), "userAgent": event.get("user_agent")}
            if event["event_type"] == OPEN:
                return {"eventType": "Open", "open": {**at, **visit}}
            return {
                "eventType": "Click",
                "click": {**at, **visit, "link": event.get("click_url", "")},
            }
    return None


def _bounce(event: Fields) -> Fields:
    kind = _TYPES.get(str(event.get("bounce_type")), "Undetermined")
    recipient = {
        "emailAddress": event.get("email", ""),
        "action": "failed",
        "status": event.get("bounce_status", ""),
        "diagnosticCode": f"smtp; {event.get('bounce_text', '')}",
    }
    return {
        "bounceType": kind,
        "bounceSubType": _SUBTYPES[kind].get(str(event.get("bounce_reason")), "General"),
        "bouncedRecipients": [recipient],
        "feedbackId": event.get("event_unique_id", ""),
        "reportingMTA": f"dns; {event.get('server_id', '')}",
    }


def _mail(event: Fields) -> Fields:
    """What the notification says about the message; its time is the event's."""
    names = {"X-GreenArrow-Click-Tracking-ID": event.get("click_tracking_id")}
    return {
        "timestamp": event.get("timestamp", ""),
        "messageId": message_id(event),
        "destination": [event.get("email", "")],
        "headersTruncated": False,
        "headers": [{"name": name, "value": value} for name, value in names.items() if value],
        "tags": {name: [value] for name, value in metadata(event).items()},
    }


def _notified(event: Fields, found: Fields, _: Signing) -> Post:
    code = digest(event, 16).hex()
    identifier = "-".join((code[:8], code[8:12], code[12:16], code[16:20], code[20:]))
    body = {
        "Type": "Notification",
        "MessageId": identifier,
        "TopicArn": TOPIC,
        "Message": as_json(found).decode(),
        "Timestamp": event.get("timestamp", ""),
    }
    headers = {
        "x-amz-sns-message-type": "Notification",
        "x-amz-sns-message-id": identifier,
        "x-amz-sns-topic-arn": TOPIC,
    }
    return Post(as_json(body), "text/plain; charset=UTF-8", headers)


SES = one(message, _notified)
