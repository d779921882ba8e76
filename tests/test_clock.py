"""How old events are for a courier when clocks jump: Redis', the courier's own, or both."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from fletching.store import keys
from fletching.store.clock import JUMP, Clock, Reading
from fletching.store.events import EventLog
from hypothesis import given
from hypothesis import strategies as st

from sandbox.processes import program, wait_until
from sandbox.redis_server import RedisServer
from tests.courier_setting import Courier, Receiver, Reply, event
from tests.stores import open_store

HOUR, DAY = 3_600_000, 86_400_000
T = 1_800_000_000_000
YEARS = 3650 * DAY


@pytest.mark.parametrize(
    ("name", "now", "jumps", "since", "age"),
    [
        ("no jump", T + DAY, (), T, DAY),
        ("a jump after it", T + YEARS + DAY, ((T + HOUR, T + YEARS),), T, HOUR + DAY),
        ("a jump before it", T + DAY, ((T - YEARS, T - HOUR),), T, DAY),
        ("in the moment before", T + YEARS, ((T, T + YEARS),), T, 0),
        (
            "two jumps",
            T + 9 * DAY,
            ((T + DAY, T + 3 * DAY), (T + 4 * DAY, T + 8 * DAY)),
            T,
            3 * DAY,
        ),
        ("there and back", T + DAY, ((T, T + YEARS), (T + YEARS + HOUR, T + HOUR)), T, DAY),
        (
            "queued in between, or after it went back",
            T + DAY,
            ((T, T + YEARS), (T + YEARS + HOUR, T + HOUR)),
            T + YEARS + HOUR,
            DAY - YEARS - HOUR,
        ),
    ],
)
def test_age_excludes_jumps(
    name: str, now: int, jumps: tuple[tuple[int, int], ...], since: int, age: int
) -> None:
    assert Reading(now, jumps).age(since) == age


@given(st.lists(st.integers(1, YEARS), max_size=12), st.integers(0, YEARS), st.booleans())
def test_before_is_the_inverse_of_age(steps: list[int], age: int, ends_with_a_wait: bool) -> None:
    """Waits and jumps forward in turn."""
    at, jumps = T, []
    for number, step in enumerate(steps):
        if number % 2:
            jumps.append((at, at + step))
        at += step
    reading = Reading(at, tuple(jumps))
    assert reading.age(reading.before(age)) == age


def test_event_after_a_clock_went_back_is_not_trimmed_early() -> None:
    """It has the id from which the clock went back, until the clock is there again."""
    last_id = T + YEARS
    for now in (T + DAY, T + 9 * DAY, T + YEARS):
        assert Reading(now, ((last_id, T),)).before(8 * DAY) < last_id
    assert Reading(T + YEARS + 9 * DAY, ((last_id, T),)).before(8 * DAY) > last_id


# Against Redis


def seen_before(redis: RedisServer, milliseconds: int) -> None:
    """A courier has looked, and since then Redis' clock went on by so much."""
    seconds, micro = redis.client.time()
    now = seconds * 1000 + micro // 1000
    redis.client.hset(keys.CLOCK, "seen", str(now - milliseconds))


@pytest.mark.parametrize(
    ("name", "milliseconds", "is_jump"),
    [
        ("forward", YEARS, True),
        ("just over an hour", JUMP + 60_000, True),
        ("under an hour", JUMP - 60_000, False),
        ("back", -YEARS, True),
        ("set right a little", -1000, False),
    ],
)
def test_jump_is_logged_once_and_ages_no_event(
    redis: RedisServer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    name: str,
    milliseconds: int,
    is_jump: bool,
) -> None:
    redis.client.flushall()
    seen_before(redis, milliseconds)
    queued = int(redis.client.hget(keys.CLOCK, "seen") or 0)
    readings = [Clock(open_store(redis.url)).read() for _ in range(3)]
    assert capfd.readouterr().err.count("clock_jumped from=") == is_jump
    assert [len(reading.jumps) for reading in readings] == [int(is_jump)] * 3
    if milliseconds > 0:
        age = readings[-1].age(queued)
        assert age < 60_000 if is_jump else age >= milliseconds


def test_first_reading_is_not_a_jump(redis: RedisServer, tmp_path: Path) -> None:
    redis.client.flushall()
    assert Clock(open_store(redis.url)).read().jumps == ()


def test_time_without_redis_is_not_a_jump(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.client.flushall()
    passed = 0.0
    monkeypatch.setattr("fletching.store.clock.time.monotonic", lambda: passed)
    clock = Clock(open_store(redis.url))
    clock.read()
    passed = 5 * 3600
    seen_before(redis, 5 * HOUR)
    assert clock.read().jumps == ()


def test_newest_20_jumps_are_kept(redis: RedisServer, tmp_path: Path) -> None:
    redis.client.flushall()
    for _ in range(30):
        seen_before(redis, 2 * HOUR)
        reading = Clock(open_store(redis.url)).read()
    assert len(reading.jumps) == 20
    assert all(to - start >= 2 * HOUR for start, to in reading.jumps)


# With clocks that are wrong


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What changes the clock of a program that it is loaded into."""
    made = tmp_path_factory.mktemp("clock") / "wrong_clock.so"
    source = Path(__file__).with_name("wrong_clock.c")
    compiler = program("cc", "gcc")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", made, source], check=True)
    return made


@dataclass(frozen=True, slots=True)
class WrongClock:
    """A clock that is off, for the programs that have its environment."""

    environment: Mapping[str, str]
    file: Path

    def set(self, days: int) -> None:
        """Off by so much from now on, at once and whole."""
        new = self.file.with_suffix(".new")
        new.write_text(str(days * 86400))
        new.rename(self.file)


@pytest.fixture
def wrong(library: Path, tmp_path: Path) -> WrongClock:
    """One that is right as yet."""
    file = tmp_path / "wrong-clock"
    return WrongClock({"LD_PRELOAD": str(library), "WRONG_CLOCK": str(file)}, file)


def refused(receiver: Receiver, times: int) -> None:
    """Waits until so many more attempts have failed."""
    more = len(receiver.requests) + times
    wait_until("no further attempt", lambda: len(receiver.requests) >= more)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        running.answer = lambda _: Reply(503)
        yield running


def arrives(courier: Courier, receiver: Receiver, stream: EventLog) -> None:
    """Nothing was buried: when the destination works again, it gets what it has still to get."""
    assert courier.lines("dead_lettered") == []
    receiver.answer = lambda _: Reply(204)
    wait_until("it does not arrive", lambda: stream.progress("shop").undone == 0)
    assert stream.progress("shop").dead == 0
    assert stream.length() == 1


def section(receiver: Receiver) -> str:
    return f"{{keep: 1h, destinations: [{{name: shop, webhook: '{receiver.url}'}}]}}"


@pytest.mark.slow
def test_wrong_clock_of_a_courier_dead_letters_nothing(
    redis: RedisServer, receiver: Receiver, wrong: WrongClock, tmp_path: Path
) -> None:
    redis.client.flushall()
    stream = EventLog(open_store(redis.url))
    stream.append([event(1)])
    wrong.set(3650)
    with Courier(tmp_path / "a", redis.url, section(receiver), wrong.environment) as courier:
        refused(receiver, 3)
        arrives(courier, receiver, stream)
        assert courier.lines("clock_jumped") == []


@pytest.mark.slow
@pytest.mark.parametrize("restarts", [False, True], ids=["while it runs", "while it is down"])
def test_jump_of_redis_clock_dead_letters_nothing(
    receiver: Receiver, wrong: WrongClock, tmp_path: Path, restarts: bool
) -> None:
    with (
        RedisServer(environment=wrong.environment) as redis,
        Courier(tmp_path / "a", redis.url, section(receiver)) as courier,
    ):
        stream = EventLog(open_store(redis.url))
        stream.append([event(1)])
        refused(receiver, 2)
        wait_until("nobody looks", lambda: bool(redis.client.exists(keys.CLOCK)))
        if restarts:
            courier.stop()
        wrong.set(30)
        if restarts:
            courier.start()
        wait_until("it is not seen", lambda: bool(courier.lines("clock_jumped")))
        refused(receiver, 2)
        arrives(courier, receiver, stream)
        assert len(courier.lines("clock_jumped")) == 1
