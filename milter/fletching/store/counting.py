"""Counts events: the counters of each campaign are written by one run of a script.

Here lives what each type of event counts as.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial

from fletching import events
from fletching.events import Event
from fletching.store import keys
from fletching.store.counts import HOUR, cell
from fletching.store.script import Script
from fletching.store.writing import EventBatch, JournalLine, Write
from fletching.traces import link_digest

_KINDS = {
    events.UNSUBSCRIBE: "unsubscribes",
    events.COMPLAINT: "complaints",
    events.SEED: "seeds",
}
_BOUNCES = {"h": "bounces_hard", "s": "bounces_soft"}


class Counting:
    """Makes the writes that count events."""

    def __init__(self) -> None:
        self._script = Script("count.lua")

    def writes(self, batch: EventBatch) -> Iterator[Write]:
        """The writes for the events of a batch, one for each campaign."""
        of_campaign: dict[str, list[str]] = defaultdict(list)
        for line in batch.lines:
            # A mail that was sent while Redis was unavailable belongs to no campaign.
            if line.event.facts.campaign and (kind := _kind(line.event)):
                of_campaign[line.event.facts.campaign] += _words(kind, line)
        for campaign, words in of_campaign.items():
            used = [
                *(keys.campaign(campaign), keys.counts(campaign), keys.links(campaign)),
                *(keys.counted(campaign), keys.seen(campaign)),
            ]
            run = partial(self._script.run, keys=used, arguments=[*batch.journal_and_runs, *words])
            yield Write(used[0], run)


def _kind(event: Event) -> str:
    """What the event counts as; empty if it is not counted."""
    if event.type == events.BOUNCE:
        return _BOUNCES.get(str(event.details.get("bounce_type")), "")
    if event.type == events.DELIVERY:
        return "delivered" if event.details.get("status") == "success" else ""
    if event.type == events.OPEN:
        if event.details.get("is_bot"):
            return "bot_opens"
        return "privacy_opens" if event.details.get("is_privacy_open") else "opens"
    if event.type == events.CLICK:
        return "bot_clicks" if event.details.get("is_bot") else "clicks"
    return _KINDS.get(event.type, "")


def _words(kind: str, line: JournalLine) -> Iterator[str]:
    """The event as arguments of count.lua."""
    event, facts = line.event, line.event.facts
    yield str(line.sequence)
    yield kind
    yield cell(event.milliseconds // 1000 // HOUR, facts.mtaid, facts.listid)
    yield str(facts.number)
    url = str(events.text(event.details["click_url"])) if event.type == events.CLICK else ""
    yield link_digest(url) if url else ""
    yield url
