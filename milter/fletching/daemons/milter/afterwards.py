"""What is written about a mail after Postfix has the reply: log line, counters, warnings.

Here lives the batching: one thread of a worker writes for all mails of the last moment, so that no
reply waits for it, and the warnings of a campaign take one request to Redis and not one per mail.
The writing itself is in `log.py`, `metrics/` and the store.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fletching import held, log
from fletching.daemons.milter.seeding import DueSeeds
from fletching.policy.verdict import Verdict
from fletching.shadow_counts import VERDICT, Counted
from fletching.store.warned import Example, Warned
from fletching.tokens import Facts
from fletching.traces import Accepted

GATHER = 0.2
"""Seconds between a mail and its batch. A crash loses at most the log lines and traces of that time
(`sent_file.py` has what was sent)."""

RETRY_AFTER = 1.0
"""Seconds after which a batch that could not be written completely is tried again."""

MOST = 1000
"""Mails in a batch; the reply to one more waits until they are written."""


_LONGEST = 255
"""Characters of a warning that are kept."""

_OF_INVENTED_NAMES = ("unknown control header", "unknown vendor header", "unknown key")
_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|<[^<>]*>|[^\s@<>,;:]+@[^\s@<>,;:]+")


@dataclass(frozen=True, slots=True)
class Answered:
    """What to write about one mail. ``facts``: for its log line; empty if that is written already.

    ``message`` is None for a mail without a Mail Class. ``seconds``: from its end to the reply.
    ``message_id``: the field's value. ``recipients``: or what stands for them. ``hold``: why it is
    on hold. ``seeds``: those to claim for it. ``shadow``: what is counted of a mail in shadow.
    """

    queue_id: str
    verdict: Verdict
    seconds: float
    facts: tuple[tuple[str, object], ...] = ()
    mail_class: str = ""
    message: Facts | None = None
    warnings: tuple[str, ...] = ()
    over_limit: bool = False
    untracked: bool = False
    message_id: bytes = b""
    hold: str | None = None
    recipients: tuple[str, ...] = ()
    seeds: DueSeeds | None = None
    shadow: Counter[Counted] | None = None


class AnsweredQueue:
    """Passes answered mails to ``write``, in batches.

    ``write`` is called by one thread at a time. If it returns that something is left, it is called
    again, even without mails. ``gather`` and ``retry_after`` are seconds. ``left``: whether there
    is something from a worker before this one.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Answered]], bool],
        *,
        gather: float = GATHER,
        retry_after: float = RETRY_AFTER,
        left: bool = False,
    ) -> None:
        self._gather, self._retry_after = gather, retry_after
        self._write = write
        self._answered: deque[Answered] = deque()
        self._left = left
        self._wake = threading.Event()
        self._writing = threading.Lock()
        threading.Thread(target=self._run, name="afterwards", daemon=True).start()

    def add(self, answered: Answered) -> None:
        """Adds a mail."""
        self._answered.append(answered)
        if not self._wake.is_set():
            self._wake.set()
        if len(self._answered) > MOST:
            self.finish()

    def write_again(self) -> None:
        """Calls ``write`` soon, even without mails."""
        self._left = True
        self._wake.set()

    def finish(self) -> None:
        """Writes everything that is there now."""
        with self._writing:
            batch = [self._answered.popleft() for _ in range(len(self._answered))]
            try:
                if batch or self._left:
                    self._left = self._write(batch)
            except Exception as error:  # noqa: BLE001 an edge: these mails have their replies
                log.logging_failed(len(batch), error)

    def _run(self) -> None:
        while True:
            self._wake.wait(self._retry_after if self._left else None)
            self._wake.clear()
            time.sleep(self._gather)
            self.finish()


def accepted(answered: Answered, message: Facts) -> Accepted:
    """What the trace of an accepted mail begins with."""
    return Accepted(
        campaign=message.campaign,
        number=message.number,
        seconds=message.sent,
        queue_id=answered.queue_id,
        message_id=answered.message_id.strip(b"<>").decode("utf-8", "surrogateescape"),
        names=answered.recipients,
        mtaid=message.mtaid,
        warnings=("seed copy", *answered.warnings) if message.seed else answered.warnings,
    )


def record_holds(batch: Sequence[Answered], state_dir: Path) -> None:
    """Notes why mails are on hold, for `fletching held`. The log has the reasons, too."""
    now = int(time.time())
    holds = [
        held.Hold(each.queue_id, now, each.hold)
        for each in batch
        if each.hold is not None and each.verdict is Verdict.ACCEPT
    ]
    if holds:
        try:
            held.record(state_dir, holds)
        except OSError as error:
            log.state_write_failed(held.FILE, error)


def count_warnings(batch: Sequence[Answered]) -> dict[str, Counter[str]]:
    """How often each warning occurred, by campaign."""
    counts: dict[str, Counter[str]] = {}
    for answered in batch:
        message = answered.message
        if message is not None and message.campaign and answered.warnings:
            counts.setdefault(message.campaign, Counter()).update(answered.warnings)
    return counts


def would(counts: Iterable[Counted]) -> str:
    """What would have happened to a mail in shadow, by its counts."""
    return next(each.name for each in counts if each.topic == VERDICT)


def warnings_by_kind(batch: Sequence[Answered], host: str, now: int) -> list[Warned]:
    """The warnings of all mails, also of refused ones, each kind with its last mail.

    ``now``: unix time.
    """
    counts: Counter[str] = Counter()
    examples: dict[str, Example] = {}
    for answered in batch:
        is_sent = answered.verdict is Verdict.ACCEPT and answered.message is not None
        campaign = answered.message.campaign if is_sent and answered.message else ""
        for kind, text in {kind_of(text): text for text in answered.warnings}.items():
            counts[kind] += 1
            examples[kind] = Example(text[:_LONGEST], answered.queue_id, now, host, campaign)
    return [Warned(kind, mails, examples[kind]) for kind, mails in counts.items()]


def kind_of(warning: str) -> str:
    """A warning without what differs in each mail: quoted values, addresses, and the names of
    unknown headers, which clients invent.
    """
    _, _, rule = warning.partition(": ")
    if rule in _OF_INVENTED_NAMES:
        return rule
    return _VALUES.sub("\N{HORIZONTAL ELLIPSIS}", warning)[:_LONGEST]
