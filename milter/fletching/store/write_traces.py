"""Writes traces: the lines of accepted mails and of events, and the index that finds them.

Here lives where lines and index entries are kept. Their form is in `traces.py`; they are read in
`find_traces.py`. Nobody waits for a trace: what cannot be written for a minute is dropped.

The lines of a block of messages are one list in Redis. The index consists of 64 lists a day: a name
(a recipient, a queue id, a Message-ID) is in the list that its digest chooses. So each list is long
enough for Redis to keep it compactly, also at a site with little mail, and a search reads a 64th of
the index. An entry has several names of one campaign, of mails that were written together:

    3 bytes     `campaign_mark` of the campaign
    4 bytes     rest of the digest                } for each name
    varint      message number * 4 + `NameKind`   }
"""

from __future__ import annotations

import enum
import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

from fletching import log
from fletching.encoding import from_base32, varint
from fletching.store import keys
from fletching.store.connection import Store, StoreUnavailable
from fletching.store.script import Script
from fletching.store.sending import SilentNodes, answers
from fletching.store.trace_texts import TraceTexts, end_of_day
from fletching.store.writing import EventBatch, Write, command
from fletching.traces import (
    DAY,
    PER_BLOCK,
    Accepted,
    HeadAndContent,
    accepted_line,
    event_line,
)

INDEXES = 64
"""Lists of the index in a day."""

CAMPAIGN_BYTES, DIGEST_BYTES = 3, 4

CROWDED = 1024
"""Entries of a block above which a message gets no more than `MOST_LINES`."""

MOST_LINES = 100

AT_ONCE = 1000
"""Mails in one round trip."""

NumberedLine = tuple[int, HeadAndContent]
"""The line of a message, with its number."""

_MOST_WAITING = 10_000
_MOST_ATTEMPTS = 60


class NameKind(enum.IntEnum):
    """What a name in the index is."""

    QUEUE_ID = 0
    MESSAGE_ID = 1
    RECIPIENT = 2


class EventTraces:
    """Makes the writes that add events to traces. Any number of threads may use it.

    ``keep``: seconds for which a trace is kept; 0 for no traces.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._script = Script("trace.lua")
        self._texts = TraceTexts(keep)
        self._encoding = threading.Lock()

    def writes(self, batch: EventBatch) -> Iterator[Write]:
        """The writes for the events of a batch: those for each campaign, and for common texts."""
        if not self._keep:
            return
        lines: dict[str, list[NumberedLine]] = defaultdict(list)
        with self._encoding:
            for event in (line.event for line in batch.lines):
                facts, seconds = event.facts, event.milliseconds // 1000
                # Whoever opens an old mail must not begin its trace again.
                if facts.sent and seconds - facts.sent > self._keep:
                    continue
                if line := event_line(event, self._texts.encoder(seconds)):
                    lines[facts.campaign].append((facts.number, line))
            texts = list(self._texts.writes())
        yield from texts
        yield from lines_written(self._script, lines, self._keep, begins=False)

    def forget(self) -> None:
        """A write has failed: common texts are written again with the next lines."""
        with self._encoding:
            self._texts.forget()


class AcceptedTraces:
    """The traces of the mails that one process accepted. For one thread at a time.

    ``keep``: seconds for which a trace is kept; 0 for no traces.
    """

    def __init__(self, store: Store, keep: int) -> None:
        self._store, self._keep = store, keep
        self._script = Script("trace.lua")
        self._texts = TraceTexts(keep)
        self._waiting: list[Accepted] = []
        self._attempts = 0

    def add(self, mail: Accepted) -> None:
        """Adds a mail. One that belongs to no campaign has no trace."""
        if self._keep and mail.number and len(self._waiting) < _MOST_WAITING:
            self._waiting.append(mail)

    def write(self) -> bool:
        """Writes what was added; True if some of it is to be tried again."""
        while self._waiting:
            batch = self._waiting[:AT_ONCE]
            error = self._error(batch)
            if error is not None:
                self._texts.forget()
                self._attempts += 1
                if self._attempts < _MOST_ATTEMPTS:
                    return True
                log.state_write_failed("traces", error)
            self._attempts = 0
            del self._waiting[: len(batch)]
        return False

    def _error(self, batch: Sequence[Accepted]) -> Exception | None:
        writes = list(self._writes(batch))
        try:
            found = self._store.ask(partial(answers, writes=writes, silent=SilentNodes()))
        except StoreUnavailable as unavailable:
            return unavailable
        return next((answer for answer in found if isinstance(answer, Exception)), None)

    def _writes(self, batch: Sequence[Accepted]) -> Iterator[Write]:
        lines: dict[str, list[NumberedLine]] = defaultdict(list)
        for mail in batch:
            line = accepted_line(mail, self._texts.encoder(mail.seconds))
            lines[mail.campaign].append((mail.number, line))
        yield from self._texts.writes()
        yield from lines_written(self._script, lines, self._keep, begins=True)
        for (index, day), entries in _entries(batch).items():
            key = keys.trace_names(index, day)
            left = max(1, end_of_day(day) + self._keep - int(time.time()))
            yield Write(key, command("RPUSH", key, *entries))
            yield Write(key, command("EXPIRE", key, left))


def lines_written(
    script: Script, lines: dict[str, list[NumberedLine]], keep: int, begins: bool
) -> Iterator[Write]:
    """The writes of lines by campaign. ``begins``: their blocks are kept from now on."""
    for campaign, numbered in lines.items():
        begin = keys.trace(campaign)
        used: dict[str, int] = {}
        words: list[str | int | bytes] = [keep * 1000, "1" if begins else "", CROWDED, MOST_LINES]
        for number, line in numbered:
            block = f"{begin}{number // PER_BLOCK}"
            words += [used.setdefault(block, len(used) + 1), *line]
        run = partial(script.run, keys=list(used), arguments=words)
        # Named unlike the campaign's other targets, since each may fall behind by itself.
        yield Write(begin, run)


def name_digest(name: str) -> tuple[int, bytes]:
    """The list of the index that has a name, and what its entry there begins with.

    Names are compared without case.
    """
    data = name.lower().encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(data, digest_size=DIGEST_BYTES + 1).digest()
    return digest[0] % INDEXES, digest[1:]


@lru_cache(1024)
def campaign_mark(campaign: str) -> bytes:
    """The last bits of a campaign's id, which are random."""
    try:
        number = from_base32(campaign)
    except ValueError:
        number = 0
    return (number % (1 << 8 * CAMPAIGN_BYTES)).to_bytes(CAMPAIGN_BYTES, "big")


def _names(mail: Accepted) -> Iterator[tuple[NameKind, str]]:
    yield NameKind.QUEUE_ID, mail.queue_id
    yield NameKind.MESSAGE_ID, mail.message_id
    for name in mail.names:
        yield NameKind.RECIPIENT, name


def _entries(batch: Sequence[Accepted]) -> dict[tuple[int, int], list[bytes]]:
    """The entries of the index, by list and day."""
    by_campaign: dict[tuple[int, int, str], list[bytes]] = defaultdict(list)
    for mail in batch:
        day, campaign, number = mail.seconds // DAY, mail.campaign, mail.number << 2
        for kind, name in _names(mail):
            if name:
                index, digest = name_digest(name)
                by_campaign[index, day, campaign].append(digest + varint(number | kind))
    entries: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    for (index, day, campaign), found in by_campaign.items():
        entries[index, day].append(campaign_mark(campaign) + b"".join(found))
    return entries
