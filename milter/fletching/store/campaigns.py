"""Campaigns: which one a message belongs to, its number there, what its bounce is attributed to.

Here live the keys of campaigns in Redis and the answer to `grouping.Question`. All hosts of a fleet
share one Redis; what must be one step there is a Lua script beside this file. Keys:

    fletching:sendid:{<SendID in lower case>}  the id of its campaign; gone after its window
    fletching:campaign:{<id>}                  hash: sendid mail_class instance_id monitor opened
                                               sent (the last message number)
    fletching:bounces:{<id>}:<number // 64>     list: number % 64, a space, record as JSON

and the index of campaigns and the counters of what was sent, which `statistics.py` describes, and
the suppression lists of `suppression.py`, which are only read.

Keys of one campaign share a hash tag and so a slot of Redis Cluster.
"""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from fletching import log
from fletching.grouping import Numbered, Question
from fletching.store.connection import (
    SOCKET_TIMEOUT,
    TROUBLE,
    Ask,
    Connection,
    Lines,
    StoreAway,
    lent,
)
from fletching.store.script import Script
from fletching.store.statistics import INDEX, counts_key, place
from fletching.store.suppression import reason_in, where
from fletching.tokens import next_campaign_id

LIMIT = 0.3
"""Seconds within which a mail has its answer, or none."""

RECORDS_PER_KEY = 64
KEPT_LONGER = 400 * 86400
"""Seconds that a campaign outlives its window and its bounces, with all that was counted of it."""

_TOO_LATE = f"no answer within {LIMIT * 1000:.0f} ms"
_CACHED_FOR = 600.0
_CACHED_AT_MOST = 4096
# Compact ASCII; octets that are no UTF-8 survive as \udcXX.
_as_json = json.JSONEncoder(separators=(",", ":")).encode
_AT_ONCE = 16


class Campaigns:
    """The campaigns of a fleet. Any number of threads may ask; to be made after a fork."""

    def __init__(self, url: str, state_dir: Path, retention: int = KEPT_LONGER) -> None:
        self._retention = retention
        self._connection = Connection(url, state_dir)
        self._lines = Lines(self._connection)
        self._asking = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="store")
        self._begun = Script("begin.lua")
        self._open = Script("open.lua")
        self._number = Script("number.lua")
        self._known = _Known()
        self._outage = _Outage()

    def campaign_of(self, question: Question) -> Numbered | None:
        """A message's campaign and number; None if Redis does not say within 300 ms in all."""
        asked_at = time.monotonic()
        numbered = self._at_once(question, asked_at + LIMIT)
        if numbered is None:
            try:
                numbered = self._the_long_way(question, asked_at + LIMIT)
            except (*TROUBLE, StoreAway) as error:
                self._outage.noticed(asked_at, str(error) or type(error).__name__)
                return None
        self._outage.over()
        return numbered

    def _at_once(self, question: Question, deadline: float) -> Numbered | None:
        """The answer where the campaign is known and a line is open; None where it takes more.

        A line that fails may have closed while nobody used it, so the question is asked again. If
        it had been answered, a number is left out, which harms nobody.
        """
        campaign = self._known.get(question.sendid.lower())
        line = self._lines.idle() if campaign is not None else None
        if campaign is None or line is None:
            return None
        try:
            with lent(line, self._lines.keep):
                return self._in_known(line.ask, campaign, question, deadline)
        except TROUBLE:
            return None

    def _in_known(
        self, ask: Ask, campaign: str, question: Question, deadline: float
    ) -> Numbered | None:
        suppressed = _suppressed(ask, question)
        if suppressed and question.suppress == "refuse":
            return _no_place(suppressed)
        if question.suppress != "off" and time.monotonic() > deadline - SOCKET_TIMEOUT:
            # The second answer could come too late here; the long way does not wait for it.
            return None
        number = self._next_number(ask, campaign, question)
        return None if number is None else Numbered(campaign, number, suppressed)

    def _the_long_way(self, question: Question, deadline: float) -> Numbered:
        # Another thread asks, since no socket time-out bounds everything that may hang: a name
        # server, a handshake that drips, sentinels, the nodes of a cluster.
        answer = self._asking.submit(self._answer, question, deadline)
        try:
            return answer.result(deadline - time.monotonic())
        except TimeoutError:
            answer.cancel()
            raise StoreAway(_TOO_LATE) from None

    def _answer(self, question: Question, deadline: float) -> Numbered:
        line = self._lines.open()
        if line is None:
            return self._heeding(self._connection.client().execute_command, question, deadline)
        with lent(line, self._lines.keep):
            return self._heeding(line.ask, question, deadline)

    def _heeding(self, ask: Ask, question: Question, deadline: float) -> Numbered:
        """The place of a message, unless suppression refuses it."""
        suppressed = _suppressed(ask, question)
        if suppressed and question.suppress == "refuse":
            return _no_place(suppressed)
        _in_time(deadline)
        return replace(self._numbered(ask, question, deadline), suppressed=suppressed)

    def _numbered(self, ask: Ask, question: Question, deadline: float) -> Numbered:
        """Joins or opens campaigns until one gives a number.

        A campaign that a SendID leads to but that is not there was lost by Redis. Nobody but who
        begins a campaign makes its hash, and before others hear of it, so a lost one does not
        begin again at 1; each one that is begun has a new id.
        """
        sendid, candidate, lost = question.sendid.lower(), question.candidate, ""
        while True:
            campaign = self._known.get(sendid)
            if campaign is None:
                campaign = self._join(ask, sendid, question, lost, "")
            if campaign is None:
                _in_time(deadline)
                self._begin(ask, candidate, question)
                campaign = self._join(ask, sendid, question, lost, candidate)
                if campaign != candidate:
                    ask("DEL", _campaign_key(candidate))
                candidate = next_campaign_id(candidate)
            assert campaign is not None, "a candidate is taken where there is no other"
            _in_time(deadline)
            number = self._next_number(ask, campaign, question)
            if number is not None:
                return Numbered(campaign, number)
            self._known.forget(sendid, campaign)
            lost = campaign

    def _begin(self, ask: Ask, candidate: str, question: Question) -> None:
        fields: list[str | int] = [
            *("sendid", question.sendid),
            *("mail_class", question.mail_class),
            *("instance_id", question.instance_id),
            *("monitor", question.monitor),
            *("opened", question.now),
        ]
        self._begun.run(ask, [_campaign_key(candidate)], [self._kept(question), *fields])

    def _join(
        self, ask: Ask, sendid: str, question: Question, lost: str, candidate: str
    ) -> str | None:
        asked_at = time.monotonic()
        key = f"fletching:sendid:{{{sendid}}}"
        found = self._open.run(ask, [key], [lost, candidate, question.window * 1000])
        if found is None:
            return None
        campaign, left = found
        ask("ZADD", INDEX, "NX", question.now, campaign)
        self._known.put(sendid, campaign, asked_at + left / 1000)
        return str(campaign)

    def _next_number(self, ask: Ask, campaign: str, question: Question) -> int | None:
        number: int | None = self._number.run(
            ask,
            [_campaign_key(campaign), _bounce_key(campaign), counts_key(campaign)],
            [
                _as_json(dict(question.remember)) if question.remember else "",
                question.bounce_memory,
                RECORDS_PER_KEY,
                place(question.now // 3600, question.mtaid, question.listid),
            ],
        )
        return number

    def bounce_record(self, campaign: str, number: int) -> dict[str, str] | None:
        """What was remembered of a message; None where nothing is, or no longer."""
        block, wanted = divmod(number, RECORDS_PER_KEY)
        for found in self._read("LRANGE", f"{_bounce_key(campaign)}{block}", 0, -1):
            at, _, record = str(found).partition(" ")
            if int(at) == wanted:
                return dict(json.loads(record))
        return None

    def campaign(self, campaign: str) -> dict[str, str] | None:
        """The fields of a campaign as text; None for one that is not known."""
        found = self._read("HGETALL", _campaign_key(campaign))
        return dict(found) if found else None

    def ping(self) -> None:
        """Raises StoreAway where Redis does not answer."""
        self._read("PING")

    def _kept(self, question: Question) -> int:
        """Seconds that a campaign is kept."""
        return question.window + question.bounce_memory + self._retention

    def _read(self, *command: str | int) -> Any:
        try:
            return self._connection.client().execute_command(*command)  # type: ignore[no-untyped-call]
        except TROUBLE as error:
            raise StoreAway(str(error) or type(error).__name__) from error


def _suppressed(ask: Ask, question: Question) -> str:
    """Why its list must not write to the recipient; empty where it may, or nobody asks."""
    if question.suppress == "off":
        return ""
    return reason_in(ask("HGET", *where(question.listid, question.email)))


def _no_place(suppressed: str) -> Numbered:
    return Numbered("", 0, suppressed)


def _campaign_key(campaign: str) -> str:
    return f"fletching:campaign:{{{campaign}}}"


def _bounce_key(campaign: str) -> str:
    return f"fletching:bounces:{{{campaign}}}:"


def _in_time(deadline: float) -> None:
    """No further step for a mail that has had its answer: a number would be lost."""
    if time.monotonic() >= deadline:
        raise StoreAway(_TOO_LATE)


class _Known:
    """The campaigns that this process was told of: it need not ask for each mail."""

    def __init__(self) -> None:
        self._campaigns: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def get(self, sendid: str) -> str | None:
        with self._lock:
            campaign, end = self._campaigns.get(sendid, (None, 0.0))
        return campaign if time.monotonic() < end else None

    def put(self, sendid: str, campaign: str, end: float) -> None:
        # Not for the whole window: this clock stands still while a virtual machine sleeps.
        end = min(end, time.monotonic() + _CACHED_FOR)
        with self._lock:
            self._campaigns.pop(sendid, None)
            self._campaigns[sendid] = (campaign, end)
            if len(self._campaigns) > _CACHED_AT_MOST:
                del self._campaigns[next(iter(self._campaigns))]

    def forget(self, sendid: str, campaign: str) -> None:
        with self._lock:
            if self._campaigns.get(sendid, ("", 0.0))[0] == campaign:
                del self._campaigns[sendid]


class _Outage:
    """Says once that Redis is away, and once that it is back."""

    def __init__(self) -> None:
        self._lasts = False
        self._last_answer = 0.0
        self._lock = threading.Lock()

    def noticed(self, asked_at: float, reason: str) -> None:
        """A question asked at that time had no answer."""
        with self._lock:
            # One that was asked before the last answer came tells of an outage that is over.
            news = not self._lasts and asked_at > self._last_answer
            self._lasts = self._lasts or news
        if news:
            log.store_away(reason)

    def over(self) -> None:
        """A question had its answer."""
        with self._lock:
            self._last_answer = time.monotonic()
            news, self._lasts = self._lasts, False
        if news:
            log.store_back()
