"""Campaigns: which one a message belongs to, its number there, what its bounce is attributed to.

Here lives the answer to `numbering.Question`. All hosts of a fleet share one Redis; what must be
one step there is a Lua script beside this file. Suppression lists are only read here.

Redis may lose any key of a campaign. What this process remembers (`open_campaigns.py`) makes sure
that no message number is given twice even then (docs/decisions/0019).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from fletching.events import text
from fletching.numbering import SHADOW, Numbered, Question, opened_at, opened_before
from fletching.store import keys
from fletching.store.connection import (
    TROUBLE,
    Ask,
    Connection,
    IdleConnections,
    Store,
    StoreUnavailable,
    borrowed,
)
from fletching.store.limits import Limits, Room
from fletching.store.open_campaigns import (
    LOOK_UP_EVERY,
    REMEMBERED,
    OpenCampaign,
    OpenCampaigns,
    now,
)
from fletching.store.outage import Outage
from fletching.store.script import Script
from fletching.store.suppression import entry_key, reason_in

RECORDS_PER_KEY = 64

RETENTION = 400 * 86400
"""Seconds for which a campaign and its counters are kept after its window and its bounces."""

_RANDOM_BITS = 16
_THREADS = 16
# Compact ASCII. Bytes that are not UTF-8 survive as \udcXX.
_as_json = json.JSONEncoder(separators=(",", ":")).encode


class Campaigns:
    """The campaigns of a fleet. Any number of threads may use it; make it after a fork."""

    def __init__(
        self,
        store: Store,
        retention: int = RETENTION,
        *,
        look_up_every: float = LOOK_UP_EVERY,
        remembered: int = REMEMBERED,
    ) -> None:
        self._store = store
        self._retention = retention
        self._idle = IdleConnections(store)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        self._create_script = Script("begin.lua")
        self._open_script = Script("open.lua")
        self._number_script = Script("number.lua")
        self._limits = Limits()
        self._open_campaigns = OpenCampaigns(look_up_every, remembered)
        self._outage = Outage()

    def campaign_of(self, question: Question) -> Numbered | None:
        """A message's campaign and number; None if Redis does not answer within `Limits.answer`.

        A question that only looks is answered by reading, and nothing changes in Redis.
        """
        started = time.monotonic()
        deadline = started + self._store.limits.answer
        room = Room(self._limits, question, self._later)
        numbered = self._by_idle_connection(question, room, deadline)
        if numbered is None:
            try:
                numbered = self._in_other_thread(question, room, deadline)
            except (*TROUBLE, StoreUnavailable) as error:
                room.abandon()
                self._outage.no_answer(started, str(error) or type(error).__name__)
                return None
        self._outage.answered()
        return numbered

    def _later(self, work: Callable[[Ask], None]) -> None:
        def run() -> None:
            with suppress(*TROUBLE):
                work(self._store.client().execute_command)

        self._threads.submit(run)

    def _by_idle_connection(
        self, question: Question, room: Room, deadline: float
    ) -> Numbered | None:
        """The answer if the campaign is known, or need not be, and a connection is idle; None if it
        takes more.

        A connection that fails may have been closed while it was idle, so the caller asks again. If
        Redis did give a number, that number is never used, which does no harm.
        """
        campaign = self._open_campaigns.current(question.sendid.lower())
        if campaign is None and not question.only_looks:
            return None
        connection = self._idle.take()
        if connection is None:
            return None
        try:
            with borrowed(connection, self._idle.keep):
                if campaign is None or question.only_looks:
                    return _looked(connection.ask, question)
                return self._of_known_campaign(connection, campaign, question, room, deadline)
        except TROUBLE:
            return None

    def _of_known_campaign(
        self,
        connection: Connection,
        campaign: str,
        question: Question,
        room: Room,
        deadline: float,
    ) -> Numbered | None:
        ask = connection.ask
        suppressed = _suppressed(ask, question)
        if question.refuses(suppressed):
            return Numbered("", 0, suppressed)
        if question.suppress != "off" and self._may_be_late(deadline):
            return None
        number = self._with_room(connection, campaign, question, room)
        route = room.take(ask)
        if number is None:
            if route == "" and question.needs_room:
                return Numbered("", 0, suppressed, route)
            if route is not None and self._may_be_late(deadline):
                return None
            number = self._next_number(ask, campaign, question, route)
        return None if number is None else Numbered(campaign, number, suppressed, route)

    def _with_room(
        self, connection: Connection, campaign: str, question: Question, room: Room
    ) -> int | None:
        """The number of a message for which the first candidate has room, in one round trip; None
        if it takes more.

        It is only tried where there was plenty of room. If there is none after all, the number is
        never used, which does no harm.
        """
        take = room.command()
        if take is None:
            return None
        numbering = self._numbering(campaign, question, question.candidates[0].name)
        taken, number = connection.ask_all([take, self._number_script.command(*numbering)])
        for answer in (taken, number):
            if isinstance(answer, ResponseError) and not isinstance(answer, NoScriptError):
                raise answer
        if isinstance(taken, NoScriptError) or not room.answered(taken):
            return None
        if number is None or isinstance(number, NoScriptError):
            return None
        self._open_campaigns.received(question.sendid.lower(), campaign, int(number))
        return int(number)

    def _may_be_late(self, deadline: float) -> bool:
        """Whether the next answer could come too late. Another thread can wait for it instead."""
        return time.monotonic() > deadline - self._store.limits.socket

    def _in_other_thread(self, question: Question, room: Room, deadline: float) -> Numbered:
        # A socket's time-out does not cover everything that may hang: a name server, a handshake
        # that arrives byte by byte, sentinels, the nodes of a cluster.
        answer = self._threads.submit(self._answer, question, room, deadline)
        try:
            return answer.result(deadline - time.monotonic())
        except TimeoutError:
            answer.cancel()
            raise self._too_late() from None

    def _answer(self, question: Question, room: Room, deadline: float) -> Numbered:
        connection = self._idle.open()
        if connection is None:
            ask = self._store.client().execute_command
            return self._unless_refused(ask, question, room, deadline)
        with borrowed(connection, self._idle.keep):
            return self._unless_refused(connection.ask, question, room, deadline)

    def _unless_refused(
        self, ask: Ask, question: Question, room: Room, deadline: float
    ) -> Numbered:
        if question.only_looks:
            return _looked(ask, question)
        suppressed = _suppressed(ask, question)
        if question.refuses(suppressed):
            return Numbered("", 0, suppressed)
        self._check(deadline)
        route = room.take(ask)
        if route == "" and question.needs_room:
            return Numbered("", 0, suppressed, route)
        self._check(deadline)
        numbered = self._numbered(ask, question, deadline, route)
        return replace(numbered, suppressed=suppressed, route=route)

    def _numbered(
        self, ask: Ask, question: Question, deadline: float, route: str | None
    ) -> Numbered:
        """Joins or opens campaigns until one gives a number."""
        sendid = question.sendid.lower()
        while True:
            campaign = self._open_campaigns.current(sendid)
            if campaign is None:
                campaign = self._look_up(ask, sendid, question, deadline)
            self._check(deadline)
            number = self._next_number(ask, campaign, question, route)
            if number is not None:
                return Numbered(campaign, number)
            self._create_again(ask, campaign, question)
            self._open_campaigns.look_up_again(sendid)

    def _look_up(self, ask: Ask, sendid: str, question: Question, deadline: float) -> str:
        """The campaign of a SendID, which is opened if there is none.

        If Redis has one and this process remembers another, the one that was opened first wins.
        """
        found, ours = self._open(ask, sendid), self._open_campaigns.remembered(sendid)
        if ours is not None:
            while found is None or opened_before(ours.id, found.id):
                found = self._open(ask, sendid, ours, found.id if found else "")
            if ours.id != found.id:
                # Its mails have left, and their opens and clicks are still counted.
                self._create_again(ask, ours.id, question)
        elif found is None:
            self._check(deadline)
            new = OpenCampaign(question.candidate, now() + question.window)
            self._create(ask, new.id, question)
            found = self._open(ask, sendid, new)
            if found is not None and found.id != new.id:
                ask("DEL", keys.campaign(new.id))
        assert found is not None, "the script opens the candidate if there is no other campaign"
        self._list(ask, found.id, question)
        self._open_campaigns.remember(sendid, found)
        return found.id

    def _open(
        self, ask: Ask, sendid: str, candidate: OpenCampaign | None = None, replaces: str = ""
    ) -> OpenCampaign | None:
        """The campaign of a SendID in Redis: the candidate if there is none, or ``replaces``."""
        started, arguments = now(), [replaces, "", "0"]
        if candidate is not None:
            left = max(1, round(1000 * (candidate.window_end - started)))
            arguments[1:] = [candidate.id, str(left)]
        found = self._open_script.run(ask, [keys.sendid(sendid)], arguments)
        return None if found is None else OpenCampaign(str(found[0]), started + found[1] / 1000)

    def _create(self, ask: Ask, campaign: str, question: Question, *more: str) -> None:
        own = question.monitor == question.candidate
        fields: list[str | int] = [
            *("sendid", question.sendid),
            *("mail_class", question.mail_class),
            *("instance_id", question.instance_id),
            *("monitor", campaign if own else question.monitor),
            *("opened", _opened(campaign, question)),
            *("subject", question.subject),
            *("listid", str(text(question.listid))),
            *more,
        ]
        seconds = question.window + question.bounce_memory
        if question.is_listed:
            seconds += self._retention
        self._create_script.run(ask, [keys.campaign(campaign)], [seconds, *fields])

    def _create_again(self, ask: Ask, campaign: str, question: Question) -> None:
        """A campaign that Redis may have lost, and with it the numbers that it gave."""
        self._create(ask, campaign, question, "run", "lost")
        self._list(ask, campaign, question)

    def _list(self, ask: Ask, campaign: str, question: Question) -> None:
        if question.is_listed:
            ask("ZADD", keys.CAMPAIGNS, "NX", _opened(campaign, question), campaign)

    def _next_number(
        self, ask: Ask, campaign: str, question: Question, route: str | None
    ) -> int | None:
        number: int | None = self._number_script.run(
            ask, *self._numbering(campaign, question, route)
        )
        if number is not None:
            self._open_campaigns.received(question.sendid.lower(), campaign, number)
        return number

    def _numbering(
        self, campaign: str, question: Question, route: str | None
    ) -> tuple[list[str], list[str | int]]:
        """Keys and arguments of number.lua."""
        remembered = question.remembered(route)
        return [keys.campaign(campaign), keys.bounces(campaign)], [
            _as_json(remembered) if remembered else "",
            question.bounce_memory,
            RECORDS_PER_KEY,
            self._open_campaigns.highest(question.sendid.lower(), campaign),
            secrets.randbits(_RANDOM_BITS),
        ]

    def campaign(self, campaign: str) -> dict[str, str] | None:
        """The fields of a campaign as text; None if it is unknown."""
        fields = self._read("HGETALL", keys.campaign(campaign))
        return dict(fields) if fields else None

    def _check(self, deadline: float) -> None:
        """Ends the work for a mail that has had its answer. Another number would be wasted."""
        if time.monotonic() >= deadline:
            raise self._too_late()

    def _too_late(self) -> StoreUnavailable:
        return StoreUnavailable(f"no answer within {self._store.limits.answer * 1000:.0f} ms")

    def _read(self, *command: str | int) -> Any:
        return self._store.ask(lambda client: client.execute_command(*command))


def _suppressed(ask: Ask, question: Question) -> tuple[str, ...]:
    """Why each recipient is suppressed; empty if none is, or if suppression is off."""
    if question.suppress == "off":
        return ()
    found = ask("HMGET", *entry_key(question.listid, *question.recipients))
    reasons = tuple(map(reason_in, found))
    return reasons if any(reasons) else ()


def _looked(ask: Ask, question: Question) -> Numbered:
    """The answer to a question that only looks."""
    if question.suppress == "off":
        # One round trip in any case: the time that a mail takes includes that of Redis.
        ask("EXISTS", keys.sendid(question.sendid.lower()))
    suppressed = _suppressed(ask, question)
    if question.refuses(suppressed):
        return Numbered("", 0, suppressed)
    route = question.candidates[0].name if question.candidates else None
    return Numbered(SHADOW, 1, suppressed, route)


def _opened(campaign: str, question: Question) -> int:
    """Unix seconds of a campaign's first message, which may be this one."""
    return question.now if campaign == question.candidate else opened_at(campaign)
