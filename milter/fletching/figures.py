"""Statistics in words: titles of counts, shares, minutes, spans of time, rows of JSON and CSV.

The terminal (`admin/figures.py`) and the dashboard show the same counts by the same names. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, NamedTuple

from fletching.store.counts import Campaign, Counts

TITLES = {
    "sent": "Sent",
    "delivered": "Delivered",
    "deferred": "Deferred",
    "unique_opens": "Unique opens",
    "confirmed_opens": "Confirmed opens",
    "opens": "Opens",
    "privacy_opens": "Privacy opens",
    "unique_clicks": "Unique clicks",
    "clicks": "Clicks",
    "unsubscribes": "Unsubscribes",
    "complaints": "Complaints",
    "bounces_hard": "Hard bounces",
    "bounces_soft": "Soft bounces",
    "bounces_other": "Other bounces",
    "blocked": "Blocked",
    "bot_opens": "Bot opens",
    "bot_clicks": "Bot clicks",
    "seeds": "Seed copies",
}
"""The title of each count."""

OTHER_WORDS = "(other words)"
"""Shown for the words of servers that found no room."""

_COUNTS = tuple(each.name for each in fields(Counts))

# Counts of messages. The others count how often something happened.
OF_SENT = frozenset(
    {
        *("delivered", "deferred", "bounces", "bounces_hard", "bounces_soft", "bounces_other"),
        "blocked",
    }
)
"""Counts of messages that have a share of those sent."""

OF_DELIVERED = frozenset(
    {"unique_opens", "confirmed_opens", "unique_clicks", "unsubscribes", "complaints"}
)
"""Counts of messages that have a share of those delivered, if deliveries are measured."""


class Share(NamedTuple):
    """A count as per cent of another one, ``of``: `sent` or `delivered`."""

    percent: float
    of: str


def share(counted: Counts, name: str) -> Share | None:
    """A count of messages as per cent of those delivered or sent; None for other counts, or if not
    measured.

    None also if there are more: a message to several recipients is delivered to each of them. Then
    opens are a share of the messages sent, too.
    """
    return _share(counted, name, getattr(counted, name))


def _share(counted: Counts, name: str, count: int | None) -> Share | None:
    if name not in OF_SENT | OF_DELIVERED or not counted.sent or count is None:
        return None
    delivered = counted.delivered if name in OF_DELIVERED else None
    by_delivered = delivered is not None and delivered <= counted.sent
    whole = delivered if delivered is not None and by_delivered else counted.sent
    if not whole or count > whole:
        return None
    return Share(100 * count / whole, "delivered" if by_delivered else "sent")


def share_of_all(found: Iterable[Counts], name: str) -> Share | None:
    """The share of a count in several campaigns together: in those that measure it."""
    measured = [each for each in found if getattr(each, name) is not None]
    delivered = [each.delivered for each in measured if each.sent]
    sums = Counts(
        sent=sum(each.sent or 0 for each in measured),
        delivered=None if None in delivered else sum(filter(None, delivered)),
    )
    return _share(sums, name, sum(getattr(each, name) for each in measured))


def share_delivered(counted: Counts) -> float | None:
    """Deliveries as per cent of deliveries and bounces; None if there are none, or not measured."""
    if counted.delivered is None:
        return None
    bounces = (counted.bounces_hard, counted.bounces_soft, counted.bounces_other)
    ended = counted.delivered + sum(count or 0 for count in bounces)
    return 100 * counted.delivered / ended if ended else None


def minute(seconds: float) -> str:
    """Unix time as UTC, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def moment(seconds: float) -> str:
    """Unix time in RFC 3339, UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def counts(counted: Counts) -> dict[str, int | None]:
    """The counts by their names in JSON; None if not measured."""
    return {name: getattr(counted, name) for name in _COUNTS}


def campaign_row(campaign: Campaign) -> dict[str, Any]:
    """A campaign as a row for JSON and CSV. ``opened`` is RFC 3339."""
    named = {
        "campaign": campaign.campaign,
        "sendid": campaign.sendid,
        "mail_class": campaign.mail_class,
    }
    about = {
        "opened": moment(campaign.opened),
        "subject": campaign.subject,
        "listid": campaign.listid,
    }
    return named | counts(campaign) | about


def by_span(counted: Mapping[int, int], begin: int, end: int, span: int) -> list[int]:
    """Counts by unix time as counts of equal spans of time, including empty ones."""
    sums = [0] * ((end - begin) // span + 1)
    for time, count in counted.items():
        sums[(time - begin) // span] += count
    return sums
