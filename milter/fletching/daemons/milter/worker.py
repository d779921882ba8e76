"""One worker process of the milter: what its connections share, and its life from fork to end.

Here live the clock, randomness, the store, the counters and the configuration in force. libmilter
is only known as a function that runs until the process ends.
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

from fletching import log, source_addresses
from fletching.config.model import Config
from fletching.daemons.milter import shadow
from fletching.daemons.milter.afterwards import (
    Answered,
    AnsweredQueue,
    accepted,
    count_warnings,
    record_holds,
    warnings_by_kind,
    would,
)
from fletching.daemons.milter.archiving import ArchiveQueue, Copy
from fletching.daemons.milter.mail import Mail, OpenMails
from fletching.daemons.milter.seeding import SeedClaims, passing
from fletching.daemons.milter.sent_file import SentFile
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
from fletching.metrics.mails import Mails
from fletching.numbering import Numbered, Question
from fletching.outgoing.flow import Outcome, carry
from fletching.outgoing.text_parts import TextPartCache
from fletching.paused import Watch
from fletching.policy.setup import Setup
from fletching.policy.store_question import STORE_UNAVAILABLE
from fletching.policy.verdict import Verdict
from fletching.startup import host_name, stamp, turns, zone
from fletching.store.campaigns import Campaigns
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.events import EventLog
from fletching.store.seeds import Seeds
from fletching.store.sent import Sent
from fletching.store.shadow import ShadowCounts
from fletching.store.warned import WarnedMails
from fletching.store.warnings import Warnings
from fletching.store.write_traces import AcceptedTraces
from fletching.tokens import Facts

STOP_TIMEOUT = 8.0
"""Seconds for open mails to end at a stop."""

_REPLY_SENT = 0.2
"""Seconds for libmilter to send the last replies."""

_ARCHIVE_TIMEOUT = 1.0
"""Seconds for the archive at a stop."""

_CHECK_EVERY = 0.2
_QUIET = 0.5
"""Seconds without a connection after which a retiring worker ends. A connection that arrives at the
last moment takes far less to get through accept()."""

# Python runs one thread at a time. With few mails computing at once, each is soon done and its data
# stays in the CPU's caches; a second one runs while the first is being signed, outside of Python.
# With short turns, a thread that only collects a piece of a mail, or has an answer from Redis,
# waits little: with 60 sessions and Python's default of 5 ms, one request in eight timed out.
_AT_ONCE = 2
_SWITCH_EVERY = 0.001


class Worker:
    """What the connections of one worker share. Make it after the fork.

    ``counter``: the number of its metrics file. ``share``: its part of `worker_max_messages`.
    """

    def __init__(self, setup: Setup, counter: int, share: Callable[[int], int]) -> None:
        self.open_mails = OpenMails()
        self.counter = counter
        self.answered = 0
        self.when_done: Callable[[], None] = lambda: None
        self._share = share
        self._state_dir = setup.config.state_dir
        self._store = _Store.of(setup.config, self._state_dir)
        self._paused = Watch(self._state_dir)
        self._addresses = source_addresses.Watch()
        self._setup = setup
        self._text_parts = TextPartCache()
        self._turns = turns()
        self._changing = threading.Lock()
        self._counting = threading.Lock()
        self._computing = threading.Semaphore(_AT_ONCE)
        self._claims = SeedClaims()
        self._uncounted = SentFile(self._state_dir, counter)
        for counted in self._uncounted.read():
            self._store.sent.add_left(counted)
        self._answered = AnsweredQueue(self._write, left=not self._store.sent.is_written)
        self._metrics: Mails | None = None
        try:
            self._metrics = Mails(self._state_dir, counter)
        except OSError as error:
            log.state_write_failed("metrics", error)
        self._archive = ArchiveQueue(setup.config, self._count_archived)

    def setup(self) -> Setup:
        """The configuration in force, and the VirtualMTAs that no new mail may use now."""
        paused, vanished = self._paused.names(), self._addresses.vanished(self._setup.config)
        with self._changing:
            if (paused, vanished) != (self._setup.paused, self._setup.vanished):
                self._setup = replace(self._setup, paused=paused, vanished=vanished)
            return self._setup

    def take(self, setup: Setup) -> None:
        """Puts another configuration in force, for mails that begin from now on."""
        with self._changing:
            new, old = setup.config, self._setup.config
            if _of_store(new) != _of_store(old):
                self._change_store(_Store.of(new, self._state_dir))
            self._setup = setup
        self._archive.take(setup.config)

    def _change_store(self, store: _Store) -> None:
        """Uses another store. It gets the counts that the old one has not written yet."""
        with self._counting:
            for counted in self._store.sent.unwritten():
                store.sent.add_left(counted)
            self._store = store
        self._answered.write_again()

    def carry(self, mail: Mail, envelope: Envelope) -> Outcome:
        """Decides what happens to a mail; nothing is sent yet. Raises what went wrong before."""
        if mail.failure is not None:
            now = stamp(zone(mail.setup.config), next(self._turns))
            return shadow.uncollected(mail, envelope, now, mail.failure)
        with self._computing:
            now = stamp(zone(mail.setup.config), next(self._turns))
            message = mail.message()
            try:
                outcome = carry(
                    *(message, envelope, mail.setup, self._campaign_of, now, self._text_parts)
                )
            except Exception as error:  # noqa: BLE001 raised again unless the mail is in shadow
                return shadow.unharmed(message, envelope, mail.setup, now, error)
        if mail.keeps_body is False and (outcome.plan.mail_class or outcome.plan.signatures):
            raise RuntimeError("the body is needed, but was not collected")
        if (copy := outcome.plan.seed_copy) is not None:
            outcome = passing(outcome, copy, self._store.seeds, mail.setup.link_keys)
        facts = outcome.facts
        if facts is not None and facts.campaign and _wants_prepared(mail.setup.config):
            outcome = self._with_event(outcome, facts, mail.setup.config)
        mail.due_seeds = self._claims.due(outcome, message, envelope)
        return outcome

    def _with_event(self, outcome: Outcome, facts: Facts, config: Config) -> Outcome:
        """Adds `message_prepared` to the stream; the outcome, or a refusal if Redis is
        unavailable.
        """
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
        # Other mails compute meanwhile: else, while Redis is down, each would wait for all before
        # it.
        self._computing.release()
        try:
            return self._store.campaigns.campaign_of(question)
        finally:
            self._computing.acquire()

    def add_answered(self, answered: Answered, copy: Copy | None = None) -> None:
        """Queues what to write about a mail, and its copy for the archive. Postfix gets its reply
        as soon as this returns."""
        with self._changing:
            self.answered += 1
            enough = self.answered == self._most()
        if enough:
            self.when_done()
        self._count_sent(answered)
        if copy is not None:
            self._archive.add(copy)
        self._answered.add(answered)

    def _count_sent(self, answered: Answered) -> None:
        """Counts an accepted mail, on disk before Postfix gets the reply."""
        message = answered.message
        if answered.verdict is not Verdict.ACCEPT or message is None or message.seed:
            return
        with self._counting:
            counted = self._store.sent.add(message)
            if counted is not None:
                self._uncounted.append(counted)

    def finish(self) -> None:
        """Writes everything that is queued."""
        self._answered.finish()
        self._archive.finish(_ARCHIVE_TIMEOUT)

    def _count_archived(self, written: int, lost: int) -> None:
        if self._metrics is not None:
            self._metrics.archive(written, lost)

    def _write(self, batch: Sequence[Answered]) -> bool:
        """Writes log lines, counters, traces, and the warnings of campaigns.

        Returns whether counts or traces of sent messages are left for Redis.
        """
        log.mails(
            (each.queue_id, each.verdict is not Verdict.ACCEPT, each.facts)
            for each in batch
            if each.facts
        )
        record_holds(batch, self._setup.config.state_dir)
        if (metrics := self._metrics) is not None:
            for each in batch:
                metrics.mail(each.mail_class, each.verdict, each.seconds)
                metrics.warnings(each.warnings)
                if each.over_limit:
                    metrics.over_limit()
                if each.untracked:
                    metrics.untracked()
                if each.shadow is not None:
                    metrics.shadow(would(each.shadow))
        store = self._store
        now = int(time.time())
        for each in batch:
            if each.shadow is not None:
                store.shadow.add(now, each.shadow)
            if each.verdict is Verdict.ACCEPT and each.message is not None:
                store.traces.add(accepted(each, each.message))
        # These mails are sent. If Redis is down since, their warnings are in the log only.
        with contextlib.suppress(StoreUnavailable):
            for campaign, warnings in count_warnings(batch).items():
                store.warnings.count(campaign, warnings)
            if kinds := warnings_by_kind(batch, host_name(self._setup.config), now):
                store.warned.count(kinds, now)
        for each in batch:
            if each.verdict is Verdict.ACCEPT and each.seeds is not None:
                self._claims.claim(each.seeds, store.seeds, self._setup.link_keys)
        # Each of them, whatever is left of the others.
        left = [store.traces.write(), store.sent.write(), store.shadow.write()]
        with self._counting:
            if self._store.sent.is_written:
                self._uncounted.clear()
        return any(left)

    def is_done(self) -> bool:
        """Whether it has answered its share of mails."""
        with self._changing:
            return 0 < self._most() <= self.answered

    def _most(self) -> int:
        return self._share(self._setup.config.worker_max_messages)


@dataclass(frozen=True, slots=True)
class _Store:
    """What a worker uses of Redis."""

    campaigns: Campaigns
    events: EventLog
    warnings: Warnings
    warned: WarnedMails
    sent: Sent
    traces: AcceptedTraces
    seeds: Seeds
    shadow: ShadowCounts

    @classmethod
    def of(cls, config: Config, state_dir: Path) -> _Store:
        store = Store(config.redis, state_dir)
        return cls(
            Campaigns(store, config.stats_retention),
            EventLog(store),
            Warnings(store),
            WarnedMails(store),
            Sent(store),
            AcceptedTraces(store, config.trace_memory),
            Seeds(store),
            ShadowCounts(store),
        )


def _of_store(config: Config) -> tuple[object, ...]:
    """What `_Store` is made of."""
    return config.redis, config.stats_retention, config.trace_memory


def _wants_prepared(config: Config) -> bool:
    return config.events is not None and PREPARED not in config.events.unlisted


class Retirement:
    """How a worker ends that has answered its share of mails.

    Postfix has a connection for each SMTP session, so all connections end by themselves.
    """

    def __init__(self, listener: Listener, bell: Bell) -> None:
        self.begun = False
        self._listener = listener
        self._bell = bell
        self._quiet_since: float | None = None

    def begin(self) -> None:
        """Has the parent start a successor."""
        self.begun = True
        self._bell.ring()

    def is_over(self) -> bool:
        """Whether all connections have ended. Call it from time to time."""
        now = time.monotonic()
        if self._quiet_since is None:
            # Not before the first call: by now the successor accepts, and no session waits.
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
    """Serves until the parent ends it, or it has retired.

    ``listen`` is libmilter's main loop, which must not run in the main thread: it has a thread of
    its own, and another of libmilter waits for SIGHUP, SIGTERM and SIGINT. Each of them would stop
    it at once, open mails or not, and the kernel chooses the thread that gets a signal. So workers
    ignore them, and their parent uses other signals.
    """
    keep_memory()
    sys.setswitchinterval(_SWITCH_EVERY)
    signals = Signals((END_WORKER, RELOAD_WORKER))
    worker.when_done = signals.wake
    threading.Thread(target=_listen, args=(listen,), name="milter", daemon=True).start()
    _until_over(worker, signals, inbox, retirement)
    if left := worker.open_mails.close():
        log.draining(left)
    if left := worker.open_mails.wait(STOP_TIMEOUT):
        log.mails_interrupted(left)
    # libmilter may still be sending the last replies. It is not stopped, which takes up to 5
    # seconds: the end of the process does the same.
    time.sleep(_REPLY_SENT)
    worker.finish()
    os._exit(0)


def _until_over(
    worker: Worker,
    signals: Signals,
    inbox: Inbox[Setup],
    retirement: Retirement,
) -> None:
    while END_WORKER not in (got := signals.wait(_CHECK_EVERY if retirement.begun else None)):
        if RELOAD_WORKER in got and (setup := inbox.latest()) is not None:
            worker.take(setup)
        if not retirement.begun and worker.is_done():
            log.worker_recycled(worker.counter, worker.answered)
            retirement.begin()
        elif retirement.begun and retirement.is_over():
            return


def _listen(listen: Callable[[], None]) -> None:
    try:
        listen()
    except Exception as error:  # noqa: BLE001 the edge of this thread
        log.crashed("milter", error)
    finally:
        os._exit(1)
