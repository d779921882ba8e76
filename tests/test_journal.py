"""The spool on disk, and the recorder that goes round by it while Redis is away."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fletching import events
from fletching.daemons.recorder import MOST_AT_ONCE, Recorder
from fletching.daemons.spool import Spool, prepare, restored, spool_of
from fletching.events import Event
from fletching.store.connection import StoreAway
from fletching.tokens import Facts
from hypothesis import given
from hypothesis import strategies as st

from tests.real.processes import wait_until

FACTS = Facts("abcdefghijkl", 7, "News", "0101", "T100", "uid|sid", "r@example.org", "bulk", 12345)


def event(number: int) -> Event:
    facts = replace(FACTS, number=number)
    told = events.unique_id(number, bytes(10))
    return Event(events.CLICK, 1_700_000_000_000 + number, told, "mx1", facts, {"click_url": "ü"})


def event_line(**wrong: object) -> bytes:
    """An event in JSON with other values."""
    return json.dumps(json.loads(event(1).json()) | wrong).encode()


def numbers(found: Sequence[Event]) -> list[int]:
    return [each.facts.number for each in found]


def drained(spool: Spool, at_once: int = 3) -> list[int]:
    found = []
    while spool:
        found += numbers(spool.first(at_once))
        spool.forget()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return spool_of(tmp_path / "spool", 0)


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
def test_an_event_from_disk_is_the_same(
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
def test_what_is_no_event(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 whose message is json's, or ours
        restored(line)


def test_first_in_first_out(path: Path) -> None:
    spool = Spool(path)
    assert not spool
    assert spool.append([event(1), event(2)]) == 0
    assert spool.append([event(3)]) == 0
    assert numbers(spool.first(2)) == [1, 2]
    assert not spool.gave_all
    spool.forget()
    spool.append([event(4)])
    assert numbers(spool.first(10)) == [3, 4]
    assert spool.gave_all
    spool.forget()
    assert not spool
    assert path.stat().st_size == 0


def test_what_was_not_forgotten_is_there_again(path: Path) -> None:
    spool = Spool(path)
    spool.append([event(number) for number in range(9)])
    spool.first(3)
    spool.forget()
    spool.first(3)
    spool.close()
    assert drained(Spool(path)) == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("left", [b"{", b'{"event_type":"engine_click","ev', b"x" * 100_000])
def test_half_a_last_line_is_dropped(path: Path, left: bytes) -> None:
    spool = Spool(path)
    spool.append([event(1), event(2)])
    spool.close()
    with path.open("ab") as file:
        file.write(left)
    again = Spool(path)
    again.append([event(3)])
    assert drained(again) == [1, 2, 3]


def test_nothing_but_half_a_line(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"{" * 200_000)
    assert not Spool(path)


def test_a_lost_block_costs_its_own_lines(path: Path) -> None:
    spool = Spool(path)
    spool.append([event(1), event(2), event(3)])
    spool.close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0" * (len(lines[1]) - 1) + b"\n" + lines[2])
    assert drained(Spool(path), 1) == [1, 3]


@pytest.mark.parametrize("place", [b"", b"x", b"-5", b"99999999999", b"\0" * 20])
def test_a_place_that_is_none_gives_all_again(path: Path, place: bytes) -> None:
    spool = Spool(path)
    spool.append([event(1), event(2)])
    spool.close()
    path.with_suffix(".at").write_bytes(place)
    assert drained(Spool(path)) == [1, 2]


def test_the_place_is_on_the_disk_before_the_file_is_emptied(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a place from before a power failure would skip what came into the emptied file."""
    spool = Spool(path)
    spool.append([event(1), event(2)])
    spool.first(1)
    spool.forget()
    done: list[str] = []
    names = {os.stat(name).st_ino: name.suffix for name in (path, path.with_suffix(".at"))}

    def noted(what: str, file: int) -> None:
        done.append(f"{names[os.fstat(file).st_ino]} {what}")

    monkeypatch.setattr(os, "fdatasync", lambda file: noted("synced", file))
    monkeypatch.setattr(os, "ftruncate", lambda file, size: noted("emptied", file))
    spool.first(1)
    spool.forget()
    assert done == [".at emptied", ".at synced", ".events emptied"]


def test_full_keeps_the_oldest(path: Path) -> None:
    size = len(event(1).json()) + 1
    spool = Spool(path, largest=size * 3 + 1)
    assert spool.append([event(1), event(2)]) == 0
    assert spool.append([event(3), event(4), event(5)]) == 2
    assert spool.append([event(6)]) == 1
    assert drained(spool) == [1, 2, 3]
    assert spool.append([event(7)]) == 0


def test_files_of_processes_that_are_no_more(path: Path) -> None:
    for place in range(4):
        spool = Spool(spool_of(path.parent, place))
        spool.append([event(place * 10 + number) for number in range(3)])
        spool.close()
    (path.parent / "notes.events").write_text("mine")
    prepare(path.parent, 2)
    assert drained(Spool(path)) == [0, 1, 2, 20, 21, 22, 30, 31, 32]
    assert {each.name for each in path.parent.iterdir()} == {
        "0.events", "0.at", "1.events", "1.at", "notes.events",
    }  # fmt: skip


def test_what_others_left_behind_has_room_whatever_is_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spool.__init__, "__defaults__", (1,))
    for place in range(2):
        left = Spool(spool_of(path.parent, place), largest=10_000)
        left.append([event(place * 10 + number) for number in range(3)])
        left.close()
    prepare(path.parent, 1)
    assert drained(Spool(path)) == [0, 1, 2, 10, 11, 12]


def test_a_page_of_broken_lines_does_not_end_it(path: Path) -> None:
    path.parent.mkdir()
    spool_of(path.parent, 1).write_text("broken\n" * 1500 + event(1).json() + "\n")
    prepare(path.parent, 1)
    assert drained(Spool(path)) == [1]


KEEPS_WRITING = """
import sys
from pathlib import Path
from fletching.daemons import spool
from fletching.daemons.spool import Spool
from tests.test_spool import event
spool = Spool(Path(sys.argv[1]))
for number in range(10**9):
    spool.append([event(number)])
    print(number, flush=True)
"""


def test_nothing_is_lost_by_a_kill(path: Path) -> None:
    argv = [sys.executable, "-c", KEEPS_WRITING, str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent) as writer:
        assert writer.stdout is not None
        for _ in range(200):
            said = writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        said = (writer.stdout.read() or said).splitlines()[-1]
    found = drained(Spool(path), 100)
    assert found == list(range(len(found)))
    assert len(found) > int(said)


# The recorder


class Store:
    """Stands in for Redis, which real tests have: away when told so, and remembers what it got."""

    def __init__(self) -> None:
        self.away = False
        self.batches: list[list[int]] = []
        self.let_in = threading.Event()
        self.let_in.set()

    def append(self, events: Sequence[Event]) -> None:
        self.let_in.wait()
        if self.away:
            raise StoreAway("away")
        self.batches.append(numbers(events))

    @property
    def got(self) -> list[int]:
        return list(itertools.chain(*self.batches))


@pytest.fixture
def store() -> Store:
    return Store()


async def record(recorder: Recorder, found: Sequence[Event]) -> None:
    await asyncio.gather(*(recorder.record(each) for each in found))


def in_a_loop(act: Callable[[], object]) -> None:
    async def loop() -> None:
        await act()  # type: ignore[misc]

    asyncio.run(loop())


def test_events_of_a_moment_go_together(store: Store, path: Path) -> None:
    async def act() -> None:
        recorder = Recorder(store, lambda: Spool(path))
        store.let_in.clear()
        first = asyncio.create_task(recorder.record(event(0)))
        rest = asyncio.create_task(record(recorder, [event(number) for number in range(1, 1200)]))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not first.done()
        store.let_in.set()
        await asyncio.gather(first, rest)
        recorder.close()

    in_a_loop(act)
    assert store.got == list(range(1200))
    assert [len(batch) for batch in store.batches][1:] == [MOST_AT_ONCE, MOST_AT_ONCE, 199]


def test_redis_goes_and_comes_back(
    store: Store, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def act() -> None:
        recorder = Recorder(store, lambda: Spool(path))
        await recorder.record(event(0))
        store.away = True
        for number in range(1, 1001):
            await recorder.record(event(number))
        assert store.got == [0]
        store.away = False
        for number in range(1001, 1101):
            await recorder.record(event(number))
        while len(store.got) < 1101:
            await asyncio.sleep(0.01)
        recorder.close()

    in_a_loop(lambda: asyncio.wait_for(act(), 60))
    assert store.got == list(range(1101))
    said = capfd.readouterr().err.splitlines()
    assert said[0] == "store_away reason=away"
    assert said[-1].startswith("spool_drained events=")
    assert said[-1].endswith("lost=0")


def test_what_waits_at_the_end_comes_at_the_next_start(store: Store, path: Path) -> None:
    async def away() -> None:
        store.away = True
        recorder = Recorder(store, lambda: Spool(path))
        await record(recorder, [event(number) for number in range(10)])
        recorder.close()

    async def back() -> None:
        store.away = False
        recorder = Recorder(store, lambda: Spool(path))
        await recorder.record(event(10))
        while len(store.got) < 11:
            await asyncio.sleep(0.01)
        recorder.close()

    in_a_loop(away)
    assert store.got == []
    in_a_loop(lambda: asyncio.wait_for(back(), 60))
    assert store.got == list(range(11))


def test_no_room_is_said_and_the_reader_is_answered(
    store: Store, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def act() -> None:
        store.away = True
        recorder = Recorder(store, lambda: Spool(path, largest=1000))
        await record(recorder, [event(number) for number in range(10)])
        recorder.close()

    in_a_loop(act)
    kept = len(drained(Spool(path)))
    assert 0 < kept < 10
    assert f"events_lost count={10 - kept}" in capfd.readouterr().err.splitlines()


def test_what_nobody_expected_loses_no_event(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def append(self, events: Sequence[Event]) -> None:
            raise RuntimeError("broken")

    async def act() -> None:
        recorder = Recorder(Broken(), lambda: Spool(path))
        for number in range(3):
            await recorder.record(event(number))
        recorder.close()

    in_a_loop(act)
    assert 'not_recorded error="RuntimeError: broken"' in capfd.readouterr().err
    assert drained(Spool(path)) == [0, 1, 2]


def test_a_fault_of_ours_keeps_nobody_waiting(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader hears of it, and the next one is served."""
    real = Spool.append

    def broken(self: Spool, events: Sequence[Event]) -> int:
        monkeypatch.setattr(Spool, "append", real)
        raise RuntimeError("broken")

    async def act() -> None:
        recorder = Recorder(store, lambda: Spool(path))
        monkeypatch.setattr(Spool, "append", broken)
        store.away = True
        with pytest.raises(RuntimeError, match="broken"):
            await recorder.record(event(1))
        store.away = False
        await asyncio.wait_for(recorder.record(event(2)), 30)
        recorder.close()

    in_a_loop(act)


def test_a_reader_who_does_not_wait_loses_nothing(store: Store, path: Path) -> None:
    async def act() -> None:
        recorder = Recorder(store, lambda: Spool(path))
        store.let_in.clear()
        gone = asyncio.create_task(recorder.record(event(1)))
        await asyncio.sleep(0)
        gone.cancel()
        store.let_in.set()
        await recorder.record(event(2))
        recorder.close()

    in_a_loop(act)
    wait_until("the store has both", lambda: store.got == [1, 2])
