"""Events of an input that comes again are recorded once, whatever was killed in between."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fletching import events
from fletching.daemons.intake.journal import Journal
from fletching.daemons.intake.once import Once, entropy, recorded, suffix
from fletching.daemons.intake.recorder import NotSafeError, Recorder
from fletching.events import Event
from fletching.store.events import EventLog
from fletching.tokens import Facts

from tests.stores import open_store

NOWHERE = "redis://127.0.0.1:1/0"
FACTS = Facts("a" * 12, 1, "News", "1", "t100", "", "r@example.net", "bulk", 0)
_time = iter(range(1_795_259_482_236, 2_000_000_000_000))


def event(name: str) -> Event:
    """An event made of the input of that name, at another time at each call."""
    time = next(_time)
    id = events.unique_id(time, entropy(name.encode()))
    return Event(events.BOUNCE, time, id, "mx1", replace(FACTS, campaign=""), {"name": name})


class Daemon:
    """A process that records, without Redis, in a folder; it can be begun anew."""

    def __init__(self, folder: Path, largest: int = 2**20, most: int = 1000) -> None:
        self.folder = folder
        self.recorder = Recorder(
            EventLog(open_store(NOWHERE)),
            lambda: Journal(folder, 3600, largest=largest, sync=True),
            repeatable=True,
        )
        self.once = Once(self.recorder, recorded(folder), most)

    def record(self, *names: str) -> list[int]:
        async def all_of_them() -> list[int]:
            return await asyncio.gather(*(self.once.record(event(name)) for name in names))

        return asyncio.run(all_of_them())

    def names(self) -> list[str]:
        journal = Journal(self.folder, 3600)
        _, lines, _ = journal.read(journal.done, 1000)
        journal.close()
        return [str(line.event.details["name"]) for line in lines]


@pytest.fixture
def daemons() -> Iterator[list[Daemon]]:
    """Those that a test begins; they end after it."""
    begun: list[Daemon] = []
    yield begun
    for daemon in begun:
        daemon.recorder.close()


def test_entropy_is_of_the_parts_and_of_nothing_else() -> None:
    assert entropy(b"a", b"b") == entropy(b"a", b"b")
    found = {entropy(*parts) for parts in ([b"ab"], [b"a", b"b"], [b"b", b"a"], [b"ab", b""], [])}
    assert len(found) == 5
    assert suffix(event("a").id) == suffix(event("a").id) != suffix(event("b").id)


def test_repeated_input_is_recorded_once(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemon = Daemon(tmp_path / "journal")
    daemons.append(daemon)
    assert daemon.record("a", "b") == [1, 1]
    assert daemon.record("b", "c", "a") == [0, 1, 0]
    assert sorted(daemon.names()) == ["a", "b", "c"]


def test_repeated_input_is_recorded_once_after_a_restart(
    tmp_path: Path, daemons: list[Daemon]
) -> None:
    for names, new in ((["a", "b"], 2), (["c", "b"], 1), (["a", "b", "c"], 0)):
        daemons.append(Daemon(tmp_path / "journal"))
        assert sum(daemons[-1].record(*names)) == new


def test_same_input_at_the_same_time_is_recorded_once(
    tmp_path: Path, daemons: list[Daemon]
) -> None:
    daemons.append(Daemon(tmp_path / "journal"))
    assert sorted(daemons[0].record("a", "a", "a")) == [0, 0, 1]
    assert daemons[0].names() == ["a"]


def test_input_of_a_client_that_went_away_is_recorded_once(
    tmp_path: Path, daemons: list[Daemon]
) -> None:
    daemons.append(daemon := Daemon(tmp_path / "journal"))

    async def twice() -> int:
        client = asyncio.create_task(daemon.once.record(event("a")))
        await asyncio.sleep(0)
        client.cancel()
        return await daemon.once.record(event("a"))

    assert asyncio.run(twice()) == 0
    assert daemon.names() == ["a"]


def test_event_whose_line_was_cut_off_is_recorded_again(
    tmp_path: Path, daemons: list[Daemon]
) -> None:
    daemons.append(Daemon(tmp_path / "journal"))
    daemons[0].record("a")
    daemons[0].record("b")
    (segment,) = (tmp_path / "journal").glob("*.recent")
    os.truncate(segment, segment.stat().st_size - 5)
    daemons.append(Daemon(tmp_path / "journal"))
    assert daemons[1].record("a", "b") == [0, 1]


def test_only_events_since_the_position_are_known(tmp_path: Path, daemons: list[Daemon]) -> None:
    daemons.append(daemon := Daemon(tmp_path / "journal"))
    daemon.record("a")
    position = daemon.recorder.position
    daemon.record("b")
    assert recorded(tmp_path / "journal", position) == [suffix(event("b").id)]
    assert len(recorded(tmp_path / "journal")) == 2
    assert recorded(tmp_path / "elsewhere") == []


def test_events_that_are_nowhere_safe_are_an_error_and_not_known(
    tmp_path: Path, daemons: list[Daemon]
) -> None:
    daemons.append(Daemon(tmp_path / "journal", largest=10))
    for _ in range(2):
        with pytest.raises(NotSafeError):
            daemons[0].record("a")


def test_inputs_that_cannot_be_repeated_are_forgotten(
    tmp_path: Path, daemons: list[Daemon]
) -> None:
    daemons.append(daemon := Daemon(tmp_path / "journal"))
    assert daemon.record("a", "b") == [1, 1]
    assert daemon.record("b") == [0]
    daemon.once.forget()
    assert daemon.record("a", "b") == [1, 1]
