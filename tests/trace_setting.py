"""A site whose mails are accepted and then have events, and the traces of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from fletching.events import Event
from fletching.numbering import Question, campaign_id
from fletching.store.campaigns import Campaigns
from fletching.store.events import EventLog
from fletching.store.find_traces import Trace, Traces
from fletching.store.write_traces import AcceptedTraces
from fletching.store.writing import EventBatch, JournalLine
from fletching.tokens import Facts
from fletching.traces import Accepted

from sandbox.redis_cluster import Stores
from sandbox.redis_server import RedisServer
from tests.stores import shared_store

WEEK = 7 * 86400
NOW = int(time.time())
OPENED = NOW - 100_000
RECIPIENT = "Reader@Example.org"


class Site:
    """A campaign whose mails are accepted and then have events."""

    def __init__(self, store: Stores | RedisServer) -> None:
        self.store = shared_store(store.url)
        self.campaigns = Campaigns(self.store)
        self.traces = AcceptedTraces(self.store, WEEK)
        self.log = EventLog(self.store, trace_memory=WEEK)
        self._events = 0

    def accepted(self, queue_id: str = "4F1A2B3C", **more: Any) -> Facts:
        """Accepts a mail; its facts."""
        email = more.pop("email", RECIPIENT)
        facts = self.numbered(email, more.pop("sendid", "news1"))
        mail = Accepted(
            *(facts.campaign, facts.number, more.pop("seconds", NOW), queue_id),
            message_id=more.pop("message_id", f"{queue_id}@shop.example"),
            names=more.pop("names", (email,)),
            mtaid="vmta-a",
            **more,
        )
        self.traces.add(mail)
        assert not self.traces.write()
        return facts

    def numbered(self, email: str, sendid: str = "news1") -> Facts:
        opened = campaign_id(OPENED, sendid.encode()[-4:])
        record = (("listid", "t100"), ("click_tracking_id", ""), ("email", email))
        question = Question(sendid, "News", "1", "", OPENED, 86400, opened, record, 86400)
        numbered = self.campaigns.campaign_of(question)
        assert numbered is not None
        campaign, number = numbered.campaign, numbered.number
        return Facts(campaign, number, "News", "1", "t100", "", email, "vmta-a", NOW)

    def event(self, facts: Facts, type: str, after: int = 1, **details: Any) -> Event:
        self._events += 1
        milliseconds = (NOW + after) * 1000
        return Event(type, milliseconds, f"id{self._events:08}", "mx1", facts, details)

    def write(self, happened: Sequence[Event], first: int = 1) -> None:
        runs = self.log.state([]).runs
        assert runs
        lines = [JournalLine(at, each, each.json()) for at, each in enumerate(happened, first)]
        assert self.log.write(EventBatch(lines, "a journal", runs)).is_complete

    def find(self, name: str, most: int = 10) -> list[Trace]:
        return Traces(self.store, WEEK).named(name, most)

    def of(self, facts: Facts) -> list[str]:
        """The types of the moments of a message."""
        found = Traces(self.store, WEEK).of([(facts.campaign, facts.number)])
        return [moment.type for trace in found for moment in trace.moments]
