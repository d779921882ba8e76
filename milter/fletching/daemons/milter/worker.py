"""One worker process of the milter: what its connections share, and its life from fork to end.

Here live clock and chance, the store, the counters and the configuration in force. Of libmilter it
knows that it runs until the process ends.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from fletching import log
from fletching.config.model import Config
from fletching.daemons.milter.afterwards import Afterwards, Answered, warnings_of
from fletching.daemons.milter.mail import InHand, Mail
from fletching.daemons.process.fork import (
    END_WORKER,
    RELOAD_WORKER,
    Bell,
    Signals,
    keep_memory,
)
from fletching.daemons.process.handover import Inbox
from fletching.daemons.process.listener import Listener
from fletching.events import PREPARED, Event, unique_id
from fletching.mail.envelope import Envelope
from fletching.metrics import Metrics
from fletching.numbering import Numbered, Question
from fletching.outgoing.flow import Outcome, carry
from fletching.outgoing.text_parts import TextPartCache
from fletching.paused import Watch
from fletching.policy.setup import Setup
from fletching.policy.store_question import STORE_UNAVAILABLE
from fletching.policy.verdict import Verdict
from fletching.startup import host_name, stamp, zone
from fletching.store.campaigns import Campaigns
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.events import EventLog
from fletching.store.sent import Sent
from fletching.store.warnings import Warnings
from fletching.tokens import Facts

PATIENCE = 8.0
"""Seconds at a stop for mails in hand to end."""

_ANSWER_LEAVES = 0.2

_LOOK_EVERY = 0.2
_QUIET = 0.5
"""Seconds without a connection after which a worker that retires ends. The connection that came at
the last moment is on its way through accept() for far less."""

# Python computes in one thread at a time. With few mails computing at once, those that have begun
# are soon done, and the processor's caches hold what they need; a second one goes on while the
# first has its signature made, which is not Python's, if there is a CPU for it. With short turns, a
# thread that only takes a piece of a mail in, or that Redis has answered, waits little: with 60 at
# once and Python's own 5 ms, one question in eight had its answer too late.
_AT_ONCE = 2
_SECONDS_A_TURN = 0.001


class Worker:
    """What the connections of one worker share. To be made after the fork.

    ``share`` is the worker's part of `worker_max_messages`.
    """

    def __init__(self, setup: Setup, place: int, share: Callable[[int], int]) -> None:
        self.in_hand = InHand()
        self.place = place
        self.answered = 0
        self.when_done: Callable[[], None] = lambda: None
        self._share = share
        self._state_dir = setup.config.state_dir
        self._store = _Store.of(setup.config, self._state_dir)
        self._paused = Watch(self._state_dir)
        self._setup = setup
        self._text_parts = TextPartCache()
        self._changing = threading.Lock()
        self._computing = threading.Semaphore(_AT_ONCE)
        self._afterwards = Afterwards(self._write)
        self._metrics: Metrics | None = None
        try:
            self._metrics = Metrics(self._state_dir, place)
        except OSError as error:
            log.state_write_failed("metrics", error)

    def setup(self) -> Setup:
        """The configuration in force, with the VirtualMTAs that are paused now."""
        names = self._paused.names()
        with self._changing:
            if names != self._setup.paused:
                self._setup = replace(self._setup, paused=names)
            return self._setup

    def take(self, setup: Setup) -> None:
        """Another configuration, for mails that begin from now on."""
        with self._changing:
            new, old = setup.config, self._setup.config
            if (new.redis, new.stats_retention) != (old.redis, old.stats_retention):
                self._store = _Store.of(new, self._state_dir)
            self._setup = setup

    def carry(self, mail: Mail, envelope: Envelope) -> Outcome:
        """Everything that is to happen to a mail; nothing has happened yet."""
        with self._computing:
            now = stamp(zone(mail.setup.config))
            outcome = carry(
                *(mail.message(), envelope, mail.setup, self._campaign_of, now, self._text_parts)
            )
        if mail.keeps_body is False and (outcome.plan.mail_class or outcome.plan.signatures):
            raise RuntimeError("a body was not kept that is needed")
        facts = outcome.facts
        if facts is None or not facts.campaign or not _tells_of_mails(mail.setup.config):
            return outcome
        return self._told(outcome, facts, mail.setup.config)

    def _told(self, outcome: Outcome, facts: Facts, config: Config) -> Outcome:
        """The outcome, with `message_prepared` in the stream; else as without the store."""
        milliseconds = time.time_ns() // 1_000_000
        id = unique_id(milliseconds, os.urandom(10))
        event = Event(PREPARED, milliseconds, id, host_name(config), facts)
        try:
            self._store.events.append([event])
        except StoreUnavailable as error:
            if not outcome.plan.untracked_without_store:
                return outcome.refused(STORE_UNAVAILABLE)
            log.state_write_failed(PREPARED, error)
        return outcome

    def _campaign_of(self, question: Question) -> Numbered | None:
        # Others compute meanwhile: where Redis is away, each would wait for all before it, too.
        self._computing.release()
        try:
            return self._store.campaigns.campaign_of(question)
        finally:
            self._computing.acquire()

    def was_answered(self, answered: Answered) -> None:
        """A mail has its answer as soon as this returns; what is left to tell of it is not lost."""
        with self._changing:
            self.answered += 1
            enough = self.answered == self._most()
        if enough:
            self.when_done()
        self._afterwards.add(answered)

    def finish(self) -> None:
        """Writes the log lines and counts of all mails that were answered."""
        self._afterwards.finish()

    def _write(self, batch: Sequence[Answered]) -> bool:
        """Of mails that were answered: log lines, counts, and the warnings of their campaigns.

        Whether Redis is still to get some of what was sent.
        """
        log.mails(
            (each.queue_id, each.verdict is not Verdict.ACCEPT, each.facts)
            for each in batch
            if each.facts
        )
        if (metrics := self._metrics) is not None:
            for each in batch:
                metrics.mail(each.mail_class, each.verdict, each.seconds)
                metrics.warnings(each.warnings)
                if each.untracked:
                    metrics.untracked()
        store = self._store
        for each in batch:
            if each.verdict is Verdict.ACCEPT and each.message is not None:
                store.sent.add(each.message)
        # These mails have their numbers; where Redis is away since, the log has their warnings.
        with contextlib.suppress(StoreUnavailable):
            for campaign, warnings in warnings_of(batch).items():
                store.warnings.count(campaign, warnings)
        return store.sent.write()

    def is_done(self) -> bool:
        """Whether it has answered as many mails as it is to answer."""
        with self._changing:
            return 0 < self._most() <= self.answered

    def _most(self) -> int:
        return self._share(self._setup.config.worker_max_messages)


@dataclass(frozen=True, slots=True)
class _Store:
    """What a worker asks of Redis, and tells it."""

    campaigns: Campaigns
    events: EventLog
    warnings: Warnings
    sent: Sent

    @classmethod
    def of(cls, config: Config, state_dir: Path) -> _Store:
        store = Store(config.redis, state_dir)
        return cls(
            Campaigns(store, config.stats_retention), EventLog(store), Warnings(store), Sent(store)
        )


def _tells_of_mails(config: Config) -> bool:
    """Whether a destination asks for them by name: an event for each mail takes room in Redis."""
    destinations = config.events.destinations if config.events else ()
    return any(PREPARED in (each.types or ()) for each in destinations)


class Retirement:
    """The end of a worker that has answered its mails, from its last new connection on.

    Postfix has a connection for each SMTP session, so they all end by themselves.
    """

    def __init__(self, listener: Listener, bell: Bell) -> None:
        self.begun = False
        self._listener = listener
        self._bell = bell
        self._quiet_since: float | None = None

    def begin(self) -> None:
        """Asks the parent for another worker."""
        self.begun = True
        self._bell.ring()

    def is_over(self) -> bool:
        """To be asked from time to time."""
        now = time.monotonic()
        if self._quiet_since is None:
            # Not before the first question: by now another one serves, and no session waits.
            self._listener.stop_accepting()
            self._quiet_since = now
        elif self._listener.connections():
            self._quiet_since = now
        return now - self._quiet_since >= _QUIET


def live(
    worker: Worker,
    listen: Callable[[], None],
    inbox: Inbox[Setup],
    retirement: Retirement,
) -> NoReturn:
    """Serves until its parent ends it, or it has retired.

    ``listen`` is libmilter's main loop, which must not run in the main thread: it has a thread of
    its own, and another of libmilter waits for SIGHUP, SIGTERM and SIGINT. Each of them would stop
    it at once, mails in hand or not, and which thread gets a signal is the kernel's choice. So all
    workers ignore them, and their parent has other signals.
    """
    keep_memory()
    sys.setswitchinterval(_SECONDS_A_TURN)
    signals = Signals((END_WORKER, RELOAD_WORKER))
    worker.when_done = signals.wake
    threading.Thread(target=_listen, args=(listen,), name="milter", daemon=True).start()
    _until_over(worker, signals, inbox, retirement)
    if in_hand := worker.in_hand.close():
        log.draining(in_hand)
    if left := worker.in_hand.wait(PATIENCE):
        log.mails_interrupted(left)
    # The last answers may still be on their way out of libmilter. It is not told to stop: that
    # takes it up to 5 seconds and gives nothing that the end of the process does not give.
    time.sleep(_ANSWER_LEAVES)
    worker.finish()
    os._exit(0)


def _until_over(
    worker: Worker,
    signals: Signals,
    inbox: Inbox[Setup],
    retirement: Retirement,
) -> None:
    while END_WORKER not in (got := signals.wait(_LOOK_EVERY if retirement.begun else None)):
        if RELOAD_WORKER in got and (setup := inbox.latest()) is not None:
            worker.take(setup)
        if not retirement.begun and worker.is_done():
            log.worker_recycled(worker.place, worker.answered)
            retirement.begin()
        elif retirement.begun and retirement.is_over():
            return


def _listen(listen: Callable[[], None]) -> None:
    try:
        listen()
    except Exception as error:  # noqa: BLE001 this thread's edge: there is nobody above it
        log.crashed("milter", error)
    finally:
        os._exit(1)
