"""Campaigns: which one a message belongs to, its number there, what its bounce is attributed to.

Here lives the answer to `grouping.Question`. All hosts of a fleet share one Redis; what must be one
step there is a Lua script beside this file. Suppression lists are only read.

Redis may forget any key of a campaign: what this process knows of it outlives that
(docs/decisions/0019).
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from fletching import log
from fletching.numbering import Numbered, Question, opened_at, opened_before
from fletching.store import keys
from fletching.store.connection import TROUBLE, Ask, Lines, Store, StoreAway, lent
from fletching.store.script import Script
from fletching.store.suppression import reason_in, where

RECORDS_PER_KEY = 64
KEPT_LONGER = 400 * 86400
"""Seconds that a campaign outlives its window and its bounces, with all that was counted of it."""

LED_FOR = 600.0
REMEMBERED_AT_MOST = 4096
_CHANCE_BITS = 16
# Compact ASCII; octets that are no UTF-8 survive as \udcXX.
_as_json = json.JSONEncoder(separators=(",", ":")).encode
_AT_ONCE = 16


class Campaigns:
    """The campaigns of a fleet. Any number of threads may ask; to be made after a fork."""

    def __init__(
        self,
        store: Store,
        retention: int = KEPT_LONGER,
        *,
        led_for: float = LED_FOR,
        most: int = REMEMBERED_AT_MOST,
    ) -> None:
        """``led_for``: seconds until it is asked again where a SendID leads. ``most``: campaigns
        that are remembered."""
        self._retention = retention
        self._store = store
        self._limit = store.limits.answer
        self._lines = Lines(store)
        self._asking = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="store")
        self._begun = Script("begin.lua")
        self._opening = Script("open.lua")
        self._number = Script("number.lua")
        self._known = _Known(led_for, most)
        self._outage = _Outage()

    def campaign_of(self, question: Question) -> Numbered | None:
        """A message's campaign and number; None if Redis does not say within `Limits.answer`."""
        asked_at = time.monotonic()
        numbered = self._at_once(question, asked_at + self._limit)
        if numbered is None:
            try:
                numbered = self._the_long_way(question, asked_at + self._limit)
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
        campaign = self._known.led_to(question.sendid.lower())
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
        if question.suppress != "off" and time.monotonic() > deadline - self._store.limits.socket:
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
            raise self._too_late() from None

    def _answer(self, question: Question, deadline: float) -> Numbered:
        line = self._lines.open()
        if line is None:
            return self._heeding(self._store.client().execute_command, question, deadline)
        with lent(line, self._lines.keep):
            return self._heeding(line.ask, question, deadline)

    def _heeding(self, ask: Ask, question: Question, deadline: float) -> Numbered:
        """The place of a message, unless suppression refuses it."""
        suppressed = _suppressed(ask, question)
        if suppressed and question.suppress == "refuse":
            return _no_place(suppressed)
        self._in_time(deadline)
        return replace(self._numbered(ask, question, deadline), suppressed=suppressed)

    def _numbered(self, ask: Ask, question: Question, deadline: float) -> Numbered:
        """Joins or opens campaigns until one gives a number."""
        sendid = question.sendid.lower()
        while True:
            campaign = self._known.led_to(sendid)
            if campaign is None:
                campaign = self._led_to(ask, sendid, question, deadline)
            self._in_time(deadline)
            number = self._next_number(ask, campaign, question)
            if number is not None:
                return Numbered(campaign, number)
            self._begin_again(ask, campaign, question)
            self._known.ask_again(sendid)

    def _led_to(self, ask: Ask, sendid: str, question: Question, deadline: float) -> str:
        """The campaign of a SendID. Of one that Redis has and one that we remember, the first."""
        found, ours = self._open(ask, sendid), self._known.remembered(sendid)
        if ours is not None:
            while found is None or opened_before(ours.campaign, found.campaign):
                found = self._open(ask, sendid, ours, found.campaign if found else "")
            if ours.campaign != found.campaign:
                # Its mails are out, and what comes back of them is counted.
                self._begin_again(ask, ours.campaign, question)
        elif found is None:
            self._in_time(deadline)
            new = _Led(question.candidate, _now() + question.window)
            self._begin(ask, new.campaign, question)
            found = self._open(ask, sendid, new)
            if found is not None and found.campaign != new.campaign:
                ask("DEL", keys.campaign(new.campaign))
        assert found is not None, "a candidate is taken where there is no other"
        ask("ZADD", keys.CAMPAIGNS, "NX", _opened(found.campaign, question), found.campaign)
        self._known.put(sendid, found)
        return found.campaign

    def _open(
        self, ask: Ask, sendid: str, candidate: _Led | None = None, gives_way: str = ""
    ) -> _Led | None:
        asked_at, words = _now(), [gives_way, "", "0"]
        if candidate is not None:
            left = max(1, round(1000 * (candidate.end - asked_at)))
            words[1:] = [candidate.campaign, str(left)]
        found = self._opening.run(ask, [keys.sendid(sendid)], words)
        return None if found is None else _Led(str(found[0]), asked_at + found[1] / 1000)

    def _begin(self, ask: Ask, campaign: str, question: Question, *more: str) -> None:
        fields: list[str | int] = [
            *("sendid", question.sendid),
            *("mail_class", question.mail_class),
            *("instance_id", question.instance_id),
            *("monitor", question.monitor),
            *("opened", _opened(campaign, question)),
            *more,
        ]
        self._begun.run(ask, [keys.campaign(campaign)], [self._kept(question), *fields])

    def _begin_again(self, ask: Ask, campaign: str, question: Question) -> None:
        """A campaign that Redis may have lost. Then nobody may know all numbers that it had."""
        self._begin(ask, campaign, question, "run", "lost")
        ask("ZADD", keys.CAMPAIGNS, "NX", _opened(campaign, question), campaign)

    def _next_number(self, ask: Ask, campaign: str, question: Question) -> int | None:
        sendid = question.sendid.lower()
        number: int | None = self._number.run(
            ask,
            [keys.campaign(campaign), keys.bounces(campaign)],
            [
                _as_json(dict(question.remember)) if question.remember else "",
                question.bounce_memory,
                RECORDS_PER_KEY,
                self._known.highest(sendid, campaign),
                secrets.randbits(_CHANCE_BITS),
            ],
        )
        if number is not None:
            self._known.saw(sendid, campaign, number)
        return number

    def bounce_record(self, campaign: str, number: int) -> dict[str, str] | None:
        """What was remembered of a message; None where nothing is, or no longer."""
        block, wanted = divmod(number, RECORDS_PER_KEY)
        for found in self._read("LRANGE", f"{keys.bounces(campaign)}{block}", 0, -1):
            at, _, record = str(found).partition(" ")
            if int(at) == wanted:
                return dict(json.loads(record))
        return None

    def campaign(self, campaign: str) -> dict[str, str] | None:
        """The fields of a campaign as text; None for one that is not known."""
        found = self._read("HGETALL", keys.campaign(campaign))
        return dict(found) if found else None

    def _in_time(self, deadline: float) -> None:
        """No further step for a mail that has had its answer: a number would be lost."""
        if time.monotonic() >= deadline:
            raise self._too_late()

    def _too_late(self) -> StoreAway:
        return StoreAway(f"no answer within {self._limit * 1000:.0f} ms")

    def _kept(self, question: Question) -> int:
        """Seconds that a campaign is kept."""
        return question.window + question.bounce_memory + self._retention

    def _read(self, *command: str | int) -> Any:
        return self._store.ask(lambda client: client.execute_command(*command))


def _suppressed(ask: Ask, question: Question) -> str:
    """Why its list must not write to the recipient; empty where it may, or nobody asks."""
    if question.suppress == "off":
        return ""
    return reason_in(ask("HGET", *where(question.listid, question.email)))


def _no_place(suppressed: str) -> Numbered:
    return Numbered("", 0, suppressed)


def _opened(campaign: str, question: Question) -> int:
    """Unix seconds of a campaign's first message, which may be this one."""
    return question.now if campaign == question.candidate else opened_at(campaign)


def _now() -> float:
    """Seconds on a clock that goes on while a virtual machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class _Led:
    """The campaign that a SendID leads to, and the end of its window on the clock of `_now`.

    ``ask_again``: when it is to be asked again where the SendID leads. ``highest``: the highest
    number that this process had of the campaign.
    """

    campaign: str
    end: float
    ask_again: float = 0.0
    highest: int = 0


class _Known:
    """The campaigns that this process was told of: it need not ask for each mail.

    They are remembered until their window ends, should Redis forget them; those that had no message
    for the longest time may be left out.
    """

    def __init__(self, led_for: float, most: int) -> None:
        self._led_for = led_for
        self._most = most
        self._led: dict[str, _Led] = {}
        self._lock = threading.Lock()

    def led_to(self, sendid: str) -> str | None:
        """The campaign of a SendID; None where it is time to ask."""
        with self._lock:
            led = self._led.get(sendid)
        return led.campaign if led is not None and _now() < led.ask_again else None

    def remembered(self, sendid: str) -> _Led | None:
        """The campaign of a SendID while its window lasts, whatever Redis says."""
        with self._lock:
            led = self._led.get(sendid)
        return led if led is not None and _now() < led.end else None

    def put(self, sendid: str, led: _Led) -> None:
        # Another host may remember one that was opened before.
        again = min(led.end, _now() + self._led_for)
        with self._lock:
            before = self._led.pop(sendid, led)
            highest = before.highest if before.campaign == led.campaign else 0
            self._led[sendid] = replace(led, ask_again=again, highest=highest)
            if len(self._led) > self._most:
                del self._led[next(iter(self._led))]

    def ask_again(self, sendid: str) -> None:
        """Where the SendID leads is to be asked before its next message."""
        with self._lock:
            if led := self._led.get(sendid):
                self._led[sendid] = replace(led, ask_again=0.0)

    def highest(self, sendid: str, campaign: str) -> int:
        """The highest number that this process had of a campaign; 0 for none."""
        with self._lock:
            led = self._led.get(sendid)
        return led.highest if led is not None and led.campaign == campaign else 0

    def saw(self, sendid: str, campaign: str, number: int) -> None:
        """A number of the campaign."""
        with self._lock:
            led = self._led.get(sendid)
            if led is not None and led.campaign == campaign:
                # The last one used is the last to be left out.
                del self._led[sendid]
                self._led[sendid] = replace(led, highest=max(led.highest, number))


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
            log.redis_unavailable(reason)

    def over(self) -> None:
        """A question had its answer."""
        with self._lock:
            self._last_answer = time.monotonic()
            news, self._lasts = self._lasts, False
        if news:
            log.redis_available()
