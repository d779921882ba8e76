"""The journal on disk: what was appended is there, in order, for as long as it is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fletching import events
from fletching.daemons.intake import journal as module
from fletching.daemons.intake.journal import (
    START,
    Journal,
    Position,
    journal_of,
    prepare,
    restored,
)
from fletching.events import Event
from fletching.store.writing import JournalLine
from fletching.tokens import Facts
from hypothesis import given, settings
from hypothesis import strategies as st

KEPT = 7 * 86400
FACTS = Facts("abcdefghijkl", 7, "News", "0101", "T100", "uid|sid", "r@example.org", "bulk", 12345)


def event(number: int, type: str = events.CLICK) -> Event:
    facts = replace(FACTS, number=number)
    told = events.unique_id(number, bytes(10))
    return Event(type, 1_700_000_000_000 + number, told, "mx1", facts, {"click_url": "ü"})


def event_line(**wrong: object) -> bytes:
    """An event in JSON with other values."""
    return json.dumps(json.loads(event(1).json()) | wrong).encode()


def some(numbers: Iterable[int]) -> list[Event]:
    return [event(number) for number in numbers]


def numbers(found: Sequence[JournalLine]) -> list[int]:
    return [line.event.facts.number for line in found]


def lines_of(
    journal: Journal, at: Position = START, at_once: int = 3
) -> list[tuple[str, JournalLine]]:
    """All lines behind a position, and their writers."""
    found: list[tuple[str, JournalLine]] = []
    while True:
        writer, lines, at = journal.read(at, at_once)
        if not lines:
            assert at >= journal.end
            return found
        found += [(writer, line) for line in lines]


def read(journal: Journal, at: Position = START, at_once: int = 3) -> list[int]:
    return numbers([line for _, line in lines_of(journal, at, at_once)])


def sequences(journal: Journal) -> list[int]:
    return [line.sequence for _, line in lines_of(journal)]


def segments(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.recent"), *folder.glob("*.kept")])


def grow_old(folder: Path, seconds: float) -> None:
    for path in segments(folder):
        at = path.stat().st_mtime - seconds
        os.utime(path, (at, at))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return journal_of(tmp_path / "journal", 0)


TEXT = st.text() | st.text(st.characters(categories=["Cs"]))


@given(
    kind=st.sampled_from(events.TYPES),
    at=st.integers(0, 4_000_000_000_000),
    texts=st.lists(TEXT, min_size=7, max_size=7),
    number=st.integers(0, 2**40),
    details=st.dictionaries(
        st.sampled_from(["click_url", "engine_ip", "is_bot", "bounce_code"]),
        TEXT | st.booleans() | st.integers(),
    ),
)
def test_event_read_from_disk_is_the_same(
    kind: str, at: int, texts: list[str], number: int, details: dict[str, str | int | bool]
) -> None:
    campaign, mail_class, instance, listid, click, email, mtaid = texts
    facts = Facts(campaign, number, mail_class, instance, listid, click, email, mtaid, 99)
    was = Event(kind, at, events.unique_id(at, bytes(10)), "mx1", facts, details)
    again = restored(was.json().encode())
    assert again.json() == was.json()
    assert again.milliseconds == at


@pytest.mark.parametrize(
    "line",
    [
        event_line(message_number="x"),
        event_line(message_number=None),
        event_line(mail_class=5),
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"event_type":"engine_click"}',
        b"\0" * 40,
        b"\xff",
    ],
)
def test_json_that_is_not_an_event_is_rejected(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 whose message is json's, or ours
        restored(line)


def test_lines_are_read_in_order(folder: Path) -> None:
    journal = Journal(folder, KEPT)
    assert read(journal) == []
    journal.append(some([1, 2]))
    middle = journal.end
    journal.append(some([3]))
    assert read(journal) == [1, 2, 3]
    assert read(journal, middle) == [3]
    assert read(journal, journal.end) == []


def test_read_returns_what_was_appended(folder: Path) -> None:
    journal = Journal(folder, KEPT)
    appended = journal.append([event(1), event(2, events.UNSUBSCRIBE)])
    found = lines_of(journal)
    assert [(line.sequence, line.json) for _, line in found] == [
        (line.sequence, line.json) for line in appended
    ]
    assert {writer for writer, _ in found} == {journal.writer}


def test_next_writer_has_earlier_lines_and_a_new_name(
    folder: Path,
) -> None:
    first = Journal(folder, KEPT)
    first.append(some([1, 2]))
    second = Journal(folder, KEPT)
    second.append(some([3]))
    assert lines_of(second)[0][0] == first.writer
    assert lines_of(second)[2][0] == second.writer != first.writer
    assert read(second) == [1, 2, 3]


def test_note_is_read_at_the_next_start(folder: Path) -> None:
    journal = Journal(folder, KEPT)
    journal.append(some(range(4)))
    place = journal.end
    journal.note(place, frozenset("ab"))
    journal.append(some([4]))
    again = Journal(folder, KEPT)
    assert (again.done, again.runs) == (place, frozenset("ab"))
    assert read(again, again.done) == [4]


@pytest.mark.parametrize("note", [b"", b"x", b"- 0", b"x 5 a", b"\0" * 60, b"\xff"])
def test_unreadable_note_replays_everything(folder: Path, note: bytes) -> None:
    journal = Journal(folder, KEPT)
    journal.append(some([1, 2]))
    journal.note(journal.end, frozenset("a"))
    (folder / "done").write_bytes(note)
    again = Journal(folder, KEPT)
    assert (again.done, again.runs) == (START, frozenset())
    assert read(again, again.done) == [1, 2]


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.integers(1, 5), min_size=1, max_size=6), data=st.data())
def test_truncated_segment_is_read_up_to_the_cut(
    tmp_path_factory: pytest.TempPathFactory, batches: list[int], data: st.DataObject
) -> None:
    folder, count = tmp_path_factory.mktemp("cut"), 0
    journal = Journal(folder, KEPT)
    for size in batches:
        journal.append(some(range(count, count + size)))
        count += size
    (path,) = segments(folder)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    again = Journal(folder, KEPT)
    found = read(again)
    assert found == list(range(len(found)))
    assert len(found) >= whole[:cut].count(b"\n")
    again.append(some([1000]))
    assert read(again) == [*found, 1000]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_changed_bytes_cost_only_their_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    Journal(folder, KEPT).append(some(range(5)))
    (path,) = segments(folder)
    octets = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(octets) - 2))
    octets[at] ^= data.draw(st.integers(1, 255))
    hit = bytes(octets[:at]).count(b"\n")
    path.write_bytes(octets)
    found = read(Journal(folder, KEPT))
    # A line end that is gone, or a new one, makes no third line wrong.
    assert set(range(5)) - {hit, hit + 1} <= set(found)
    assert found == sorted(found)
    assert len(found) >= 3


def test_lost_block_costs_only_its_lines(folder: Path) -> None:
    journal = Journal(folder, KEPT)
    journal.append(some([1, 2, 3]))
    (path,) = segments(folder)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0" * (len(lines[1]) - 1) + b"\n" + lines[2])
    assert read(Journal(folder, KEPT), at_once=1) == [1, 3]


CLOCKS = st.lists(st.integers(-(10**7), 10**7), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(jumps=CLOCKS, lives=st.lists(st.booleans(), min_size=12, max_size=12))
def test_sequence_numbers_grow_whatever_the_clock_does(
    tmp_path_factory: pytest.TempPathFactory, jumps: list[int], lives: list[bool]
) -> None:
    folder, now = tmp_path_factory.mktemp("clock"), 1_700_000_000
    journal = Journal(folder, KEPT)
    with pytest.MonkeyPatch.context() as patch:
        for count, (jump, is_next) in enumerate(zip(jumps, lives, strict=False)):
            now += jump
            patch.setattr(time, "time_ns", lambda now=now: now * 1_000_000_000)
            if is_next:
                journal = Journal(folder, KEPT)
            journal.append(some([count]))
    found = [(writer, line.sequence) for writer, line in lines_of(journal)]
    for name in {writer for writer, _ in found}:
        of_writer = [sequence for writer, sequence in found if writer == name]
        assert of_writer == sorted(set(of_writer))
    assert read(journal) == list(range(len(jumps)))


def test_full_journal_keeps_the_oldest_events(folder: Path) -> None:
    journal = Journal(folder, KEPT, largest=1500)
    journal.append(some([1, 2]))
    with pytest.raises(OSError, match="has reached its 1500 bytes"):
        journal.append(some([3, 4]))
    assert read(journal) == [1, 2]


def opened(folder: Path, largest: int = module.LARGEST) -> Journal:
    """A journal in which each append begins a new segment."""
    return Journal(folder, KEPT, largest=largest, segment=1)


class TestTidy:
    """What is deleted and when, and what stays. Each append makes a segment of its own."""

    def test_events_in_redis_are_deleted_after_an_hour(self, folder: Path) -> None:
        journal = opened(folder)
        journal.append(some([1]))
        journal.append(some([2]))
        journal.tidy(journal.end)
        assert read(journal) == [1, 2]
        grow_old(folder, module.KEPT + 1)
        journal.append(some([3]))
        journal.tidy(journal.end)
        assert read(journal) == [3]

    def test_events_that_redis_lacks_stay(self, folder: Path) -> None:
        journal = opened(folder, largest=4000)
        journal.append(some([1]))
        done = journal.end
        for number in range(2, 7):
            journal.append(some([number]))
        grow_old(folder, 10 * KEPT)
        journal.tidy(done)
        assert read(journal) == [2, 3, 4, 5, 6]

    def test_oldest_events_are_deleted_when_room_is_short(self, folder: Path) -> None:
        journal = opened(folder, largest=4000)
        for number in range(7):
            journal.append(some([number]))
        journal.tidy(journal.end)
        left = read(journal)
        assert left == list(range(7))[-len(left) :]
        assert 1 < len(left) < 7
        assert sum(path.stat().st_size for path in segments(folder)) <= 2000
        journal.append(some([7]))

    @pytest.mark.parametrize("type", [events.UNSUBSCRIBE, events.COMPLAINT, events.BAD_ADDRESS])
    def test_suppressing_events_stay_longer(self, folder: Path, type: str) -> None:
        journal = opened(folder)
        for number in range(0, 6, 2):
            journal.append([event(number), event(number + 1, type)])
        was = dict(zip(read(journal), sequences(journal), strict=True))
        grow_old(folder, module.KEPT + 1)
        journal.append(some([6]))
        journal.tidy(journal.end)
        assert read(journal) == [1, 3, 5, 6]
        assert sequences(journal)[:3] == [was[1], was[3], was[5]]
        again = opened(folder)
        assert read(again) == [1, 3, 5, 6]
        grow_old(folder, KEPT + 1)
        again.append(some([7]))
        again.tidy(again.end)
        assert read(again) == [7]

    def test_truncated_line_costs_no_suppressing_event(self, folder: Path) -> None:
        journal = opened(folder)
        for number in (1, 3):
            journal.append([event(number, events.UNSUBSCRIBE)])
            grow_old(folder, module.KEPT + 1)
            journal.append(some([number + 1]))
            journal.tidy(journal.end)
            for kept in folder.glob("*.kept"):
                kept.write_bytes(kept.read_bytes() + b'1234567890123456!0badc0de{"event')
        assert read(journal) == [1, 3, 4]

    @settings(max_examples=30, deadline=None)
    @given(
        kinds=st.lists(
            st.lists(st.sampled_from([events.CLICK, events.UNSUBSCRIBE]), min_size=1, max_size=4),
            min_size=1,
            max_size=8,
        ),
        lives=st.lists(st.booleans(), min_size=8, max_size=8),
        tidies=st.lists(st.booleans(), min_size=8, max_size=8),
    )
    def test_suppressing_events_are_never_lost_and_stay_in_order(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        kinds: list[list[str]],
        lives: list[bool],
        tidies: list[bool],
    ) -> None:
        folder, number, wanted = tmp_path_factory.mktemp("tidy"), 0, []
        journal = opened(folder)
        for types, is_next, is_tidied in zip(kinds, lives, tidies, strict=False):
            journal = opened(folder) if is_next else journal
            batch = [event(number + at, type) for at, type in enumerate(types)]
            number += len(types)
            wanted += [each.facts.number for each in batch if each.type == events.UNSUBSCRIBE]
            journal.append(batch)
            if is_tidied:
                grow_old(folder, module.KEPT + 1)
                journal.tidy(journal.end)
        found = lines_of(journal)
        assert [n for n in numbers([line for _, line in found]) if n in wanted] == wanted
        of_writer = [line.sequence for writer, line in found if writer == journal.writer]
        assert of_writer == sorted(set(of_writer))


class TestPrepared:
    """Journals of processes that are no more."""

    def test_first_process_inherits_journals_of_removed_processes(self, folder: Path) -> None:
        for place in range(4):
            journal = Journal(journal_of(folder.parent, place), KEPT)
            journal.append(some(range(place * 10, place * 10 + 3)))
            journal.note(journal.end, frozenset("a"))
        (folder.parent / "notes").write_text("mine")
        prepare(folder.parent, 2, KEPT)
        first = Journal(folder, KEPT)
        assert first.done == START
        assert read(first) == [0, 1, 2, 20, 21, 22, 30, 31, 32]
        assert len({writer for writer, _ in lines_of(first)}) == 3
        assert {each.name for each in folder.parent.iterdir()} == {"0", "1", "notes"}

    def test_foreign_files_do_not_prevent_the_start(self, folder: Path) -> None:
        others = folder.parent / "3"
        Journal(others, KEPT).append(some([1]))
        (others / "core").write_text("theirs")
        (folder.parent / "7").write_text("theirs")
        for _ in range(2):
            prepare(folder.parent, 1, KEPT)
            first = Journal(folder, KEPT)
            assert read(first) == [1]
            first.note(first.end, frozenset("a"))
        prepare(folder.parent, 1, KEPT)
        assert Journal(folder, KEPT).done == first.end
        assert (others / "core").exists()

    def test_journals_stay_if_the_number_of_processes_stays(self, folder: Path) -> None:
        journal = Journal(folder, KEPT)
        journal.append(some([1]))
        journal.note(journal.end, frozenset("a"))
        prepare(folder.parent, 1, KEPT)
        assert Journal(folder, KEPT).done == journal.end


KEEPS_WRITING = """
import sys
from pathlib import Path
from fletching.daemons.intake.journal import Journal
from tests.test_journal import KEPT, some
journal = Journal(Path(sys.argv[1]), KEPT)
for number in range(10**9):
    journal.append(some([number]))
    print(number, flush=True)
"""


def test_killed_writer_loses_nothing(folder: Path) -> None:
    argv = [sys.executable, "-c", KEEPS_WRITING, str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent) as writer:
        assert writer.stdout is not None
        for _ in range(200):
            said = writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        said = (writer.stdout.read() or said).splitlines()[-1]
    found = read(Journal(folder, KEPT), at_once=100)
    assert found == list(range(len(found)))
    assert len(found) > int(said)


def test_suppressing_event_is_synced_before_append_returns(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(folder, KEPT)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    journal.append(some([1]))
    assert synced == []
    journal.append([event(2), event(3, events.UNSUBSCRIBE)])
    assert len(synced) == 1
