"""drain.py: the size of batches, the count of events, and how many targets may be behind.

Redis' answers are given here, since no real server fails in the same way each time; with real
servers, the drain is tested in `test_recorder.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from fletching.daemons.intake import drain as module
from fletching.daemons.intake.drain import MOST_AT_ONCE, MOST_BEHIND, TRY_EVERY, Drain
from fletching.daemons.intake.journal import Journal
from fletching.store.connection import StoreUnavailable
from fletching.store.events import EventLog
from fletching.store.writing import EventBatch, StreamState, WriteResult

from tests.test_journal import KEPT, numbers, some

WRITTEN = WriteResult(written=True)


def failed(*targets: str, written: bool = True) -> WriteResult:
    return WriteResult(dict.fromkeys(targets, OSError("away")), written)


class Answers:
    """Stands where an `EventLog` does. ``outcomes``: of the writes, in order."""

    def __init__(self, outcomes: Iterator[WriteResult]) -> None:
        self._outcomes = outcomes
        self.batches: list[list[int]] = []
        self.wanted: Callable[[str], bool] = lambda target: True

    def write(self, batch: EventBatch, wanted: Callable[[str], bool]) -> WriteResult:
        self.batches.append(numbers(batch.lines))
        self.wanted = wanted
        return next(self._outcomes)

    def look(self, writers: Sequence[str]) -> StreamState:
        return StreamState(None, dict.fromkeys(writers, 10**17))

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal", KEPT)
    yield opened
    opened.close()


def drained_by(journal: Journal, *outcomes: WriteResult) -> tuple[Drain, Answers]:
    """A drain that gets these answers, and then only success."""

    def each() -> Iterator[WriteResult]:
        yield from outcomes
        yield from repeat(WRITTEN)

    answers = Answers(each())
    return Drain(journal, cast(EventLog, answers)), answers


def test_batch_size_halves_on_failure_and_doubles_on_success(journal: Journal) -> None:
    journal.append(some(range(1500)))
    drain, answers = drained_by(journal, *[failed("t", written=False)] * 11)
    for _ in range(11):
        with pytest.raises(StoreUnavailable, match="t: away"):
            drain.step()
    assert answers.sizes == [500, 250, 125, 62, 31, 15, 7, 3, 1, 1, 1]
    answers.batches.clear()
    while drain.step():
        pass
    assert answers.sizes == [1, 2, 4, 8, 16, 32, 64, 128, 256, 500, 489]
    assert [number for batch in answers.batches for number in batch] == list(range(1500))
    assert MOST_AT_ONCE == 500


def test_batch_size_stays_if_only_some_targets_fail(journal: Journal) -> None:
    journal.append(some(range(30)))
    answer = [failed("t", written=False)] * 6, [failed("t")] * 3
    drain, answers = drained_by(journal, *answer[0], *answer[1])
    for _ in range(6):
        with pytest.raises(StoreUnavailable):
            drain.step()
    answers.batches.clear()
    drain._next_try = float("inf")
    for _ in range(3):
        assert drain.step()
    assert answers.sizes == [7, 7, 7]


def test_drained_event_is_counted_once(journal: Journal) -> None:
    drain, _ = drained_by(journal)
    journal.append(some(range(700)))
    assert [drain.step(), drain.step(), drain.step()] == [True, True, False]
    assert (drain.drained(), drain.drained()) == (700, 0)
    journal.append(some([700]))
    assert drain.step()
    assert drain.drained() == 1


def test_unwritten_event_is_not_counted(journal: Journal) -> None:
    journal.append(some(range(3)))
    drain, _ = drained_by(journal, failed("t", written=False), WriteResult(lost=True))
    with pytest.raises(StoreUnavailable):
        drain.step()
    assert drain.step()
    assert drain.drained() == 0
    assert drain.step()
    assert drain.drained() == 3


def test_targets_behind_are_retried_after_a_pause(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 1000.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock))
    journal.append(some([1]))
    drain, answers = drained_by(journal, failed("t"), failed("t"), WRITTEN, WRITTEN)
    assert drain.step()
    # The first attempt follows at once.
    journal.append(some([2]))
    assert drain.step()
    assert answers.batches == [[1], [1, 2], [2]]
    assert not drain.is_done
    assert not answers.wanted("t")
    clock += TRY_EVERY - 0.001
    assert not drain.step()
    assert answers.batches == [[1], [1, 2], [2]]
    clock = 1000 + TRY_EVERY
    assert not drain.step()
    assert answers.batches == [[1], [1, 2], [2], [1, 2]]
    assert answers.wanted("t")
    assert not answers.wanted("other")
    assert drain.is_done
    assert drain.drained() == 2


def test_all_targets_wait_if_too_many_are_behind(journal: Journal) -> None:
    """What is known of targets is memory, and has to end."""
    names = [str(number) for number in range(MOST_BEHIND)]
    journal.append(some(range(2 * MOST_AT_ONCE)))
    drain, answers = drained_by(journal, failed(*names), failed("one more"))
    assert drain.step()
    drain._next_try = float("inf")
    with pytest.raises(StoreUnavailable, match="one more: away"):
        drain.step()
    assert drain.drained() == MOST_AT_ONCE
    # It waits before that batch, which is written again.
    assert drain.step()
    assert answers.batches[1] == answers.batches[2]
    assert MOST_BEHIND == 10_000
