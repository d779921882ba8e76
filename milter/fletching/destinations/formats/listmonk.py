"""The bounce webhook of listmonk, `/webhooks/bounce`: hard and soft bounces, and complaints.

listmonk counts bounces itself and decides when to block a subscriber, so `bounce_bad_address` is
left out: it would count a bounce twice.
"""

from __future__ import annotations

import re

from fletching.destinations.formats.post import Fields, one
from fletching.events import BOUNCE, COMPLAINT

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_IDS = re.compile(rf"({_UUID})\|({_UUID})", re.IGNORECASE)
_TYPES = {"h": "hard", "s": "soft"}


def bounce(event: Fields) -> Fields | None:
    """The bounce in listmonk's fields; None if the event has no counterpart.

    A Click-Tracking-ID that is the UUIDs of campaign and subscriber with a `|` between names both.
    """
    kind = "complaint" if event["event_type"] == COMPLAINT else ""
    if event["event_type"] == BOUNCE:
        kind = _TYPES.get(str(event.get("bounce_type")), "")
    ids = _IDS.fullmatch(str(event.get("click_tracking_id", "")))
    # listmonk rejects an obscured address.
    has_address = "@" in event.get("email", "")
    if not kind or not (has_address or ids):
        return None
    found = {
        "type": kind,
        "source": "fletching",
        "created_at": event.get("timestamp", ""),
        "meta": dict(event),
    }
    if has_address:
        found["email"] = event.get("email", "")
    if ids:
        found |= {"campaign_uuid": ids[1].lower(), "subscriber_uuid": ids[2].lower()}
    return found


LISTMONK = one(bounce)
