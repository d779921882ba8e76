"""Counts events: the counters of each campaign are written by one run of a script.

Here lives what each type of event counts as (docs/decisions/0029). The script counts each message
once for each kind, by a bit of its number. Only deliveries of a message whose recipient is not
recorded are all counted: it may have several recipients, and Postfix delivers to each of them once.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache, lru_cache, partial
from importlib.resources import files

from fletching import events
from fletching.events import Event
from fletching.providers import Providers
from fletching.server_words import group
from fletching.store import keys
from fletching.store.counts import HOUR, STEPPED, cell, step
from fletching.store.script import Script
from fletching.store.writing import EventBatch, JournalLine, Write
from fletching.traces import link_digest

_KINDS = {
    events.UNSUBSCRIBE: "unsubscribes",
    events.COMPLAINT: "complaints",
    events.SEED: "seeds",
}
_BOUNCES = {"h": "bounces_hard", "s": "bounces_soft", "o": "bounces_other"}
_DELIVERIES = {"success": "delivered", "deferral": "deferred"}
_FAILURES = {*_BOUNCES.values(), "deferred"}
_BY_PROVIDER = {*_FAILURES, "delivered", "complaints"}


ProvidersOf = Callable[[], Providers | None]
"""The mailbox providers of the configuration in force; None: the built-in table."""


class Counting:
    """Makes the writes that count events.

    ``providers``: the mailbox providers; None for the built-in table.
    """

    def __init__(self, providers: ProvidersOf | None = None) -> None:
        self._script = Script("count.lua")
        self._providers = providers

    def writes(self, batch: EventBatch) -> Iterator[Write]:
        """The writes for the events of a batch, one for each campaign."""
        of_campaign: dict[str, list[str]] = defaultdict(list)
        providers = (self._providers and self._providers()) or _built_in()
        for line in batch.lines:
            # A mail that was sent while Redis was unavailable belongs to no campaign.
            if line.event.facts.campaign and (kind := _kind(line.event)):
                of_campaign[line.event.facts.campaign] += _words(kind, line, providers)
        for campaign, words in of_campaign.items():
            used = [
                *(keys.campaign(campaign), keys.counts(campaign), keys.links(campaign)),
                *(keys.counted(campaign), keys.seen(campaign)),
                *(keys.providers(campaign), keys.reasons(campaign), keys.steps(campaign)),
            ]
            run = partial(self._script.run, keys=used, arguments=[*batch.journal_and_runs, *words])
            yield Write(used[0], run)


def _kind(event: Event) -> str:
    """What the event counts as; empty if it is not counted. Of a seed copy, only its sending is."""
    if event.facts.seed and event.type != events.SEED:
        return ""
    if event.type == events.BOUNCE:
        return _BOUNCES.get(str(event.details.get("bounce_type")), "")
    if event.type == events.DELIVERY:
        # A failed delivery comes with a bounce of its own.
        return _DELIVERIES.get(str(event.details.get("status")), "")
    if event.type == events.OPEN:
        if event.details.get("is_bot"):
            return "bot_opens"
        return "privacy_opens" if event.details.get("is_privacy_open") else "opens"
    if event.type == events.CLICK:
        return "bot_clicks" if event.details.get("is_bot") else "clicks"
    return _KINDS.get(event.type, "")


def _words(kind: str, line: JournalLine, providers: Providers) -> Iterator[str]:
    """The event as arguments of count.lua."""
    event, facts = line.event, line.event.facts
    seconds = event.milliseconds // 1000
    yield str(line.sequence)
    yield kind
    yield cell(seconds // HOUR, facts.mtaid, facts.listid)
    yield step(facts.campaign, seconds) if kind in STEPPED else ""
    yield "" if kind == "delivered" and not facts.email else str(facts.number)
    if kind in _FAILURES:
        reason = str(event.details.get("bounce_reason") or "other")
        words = _server_words(event)
        yield from (_digest(f"{reason} {words}"), words, _provider(event, providers), reason)
        return
    url = str(events.text(event.details["click_url"])) if event.type == events.CLICK else ""
    yield from (link_digest(url) if url else "", url)
    yield from (_provider(event, providers) if kind in _BY_PROVIDER else "", "")


@lru_cache(4096)
def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _server_words(event: Event) -> str:
    field = "bounce_text" if event.type == events.BOUNCE else "message"
    return group(str(events.text(event.details.get(field, ""))), event.facts.email)


def _provider(event: Event, providers: Providers) -> str:
    """Whose mailbox it is. Of an Obscured-Email it may be known by the server alone."""
    domain = event.details.get("recipient_domain") or event.facts.email.rpartition("@")[2]
    return providers.provider(str(domain), str(event.details.get("mx_hostname", "")))


@cache
def _built_in() -> Providers:
    return Providers(files("fletching").joinpath("providers.txt").read_text("ascii"))
