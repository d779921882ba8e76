"""Clicks and opens that wait for their verdict: none is lost, whatever ends, and each has its own.

What the verdicts are worth is in `test_bots_labelled.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fletching.daemons.intake.holding import MESSAGES, REMEMBERED, TOUCHES, Holding, KnownTouches
from fletching.daemons.intake.journal import Journal
from fletching.daemons.intake.recorder import Recorder
from fletching.returning import bots
from fletching.returning.bursts import HIDDEN, LINK, Touch
from fletching.store import keys
from fletching.store.events import EventLog
from fletching.store.touches import LARGEST, Touches
from fletching.tokens import Kind

from sandbox.processes import wait_until
from sandbox.redis_server import RedisServer
from tests.stores import open_store
from tests.test_recorder import KEPT, happened
from tests.test_web import Web

pytestmark = pytest.mark.slow

LINKS = [f"https://shop.example/{number}" for number in range(6)]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def web(tmp_path: Path, redis: RedisServer, request: pytest.FixtureRequest) -> Iterator[Web]:
    running = Web(tmp_path, redis.url, getattr(request, "param", {}))
    running.start()
    yield running
    running.daemon.stop()


def follow(web: Web, links: Sequence[str] = LINKS, number: int = 7) -> None:
    """As a program does: all links, a connection each."""
    for link in links:
        assert web.ask("GET", f"/click?{web.token(url=link, number=number)}")[0] == 302


def reasons(web: Web) -> list[str]:
    return [event["bot_reason"] for event in web.recorded()]


def held(web: Web) -> list[Path]:
    return list((web.folder / "state" / "held").glob("*.held"))


MANY = ["many_links_at_once"] * len(LINKS)


@pytest.mark.parametrize("web", [{"workers": 8}], indirect=True)
def test_burst_is_judged_as_one_across_processes(web: Web) -> None:
    web.ask("GET", f"/open?{web.token(Kind.OPEN, '')}")
    follow(web)
    web.ask("GET", f"/click?{web.token(url=LINKS[0], number=8)}")
    verdicts = {(event["message_number"], event["bot_reason"]) for event in web.recorded()}
    assert verdicts == {(7, "many_links_at_once"), (8, "")}
    assert len(web.recorded()) == len(LINKS) + 2


def test_no_click_is_recorded_before_its_verdict(web: Web) -> None:
    follow(web)
    assert held(web) != []
    assert web.events.length() == 0
    assert reasons(web) == MANY


def told(redis: RedisServer, count: int) -> None:
    """Waits until all processes can know of so many links."""
    key = keys.touches("abcdefghijkl:7")
    wait_until("not told", lambda: str(redis.client.get(key)).count("link") == count)


@pytest.mark.parametrize("web", [{"workers": 1}], indirect=True)
def test_first_click_of_a_burst_waits_for_the_last(web: Web, redis: RedisServer) -> None:
    """Also after a silence that is longer than any wait."""
    follow(web, LINKS[:1], number=8)
    assert reasons(web) == [""]
    follow(web, LINKS[:1])
    told(redis, 1)
    follow(web, LINKS[1:])
    assert reasons(web) == ["", *MANY]


def test_stop_judges_held_events(web: Web, redis: RedisServer) -> None:
    follow(web)
    told(redis, len(LINKS))
    assert web.daemon.stop() == 0
    assert held(web) == []
    assert sorted(reasons(web)) == MANY


def test_killed_process_loses_no_held_event(web: Web) -> None:
    follow(web)
    for pid in web.workers:
        os.kill(pid, signal.SIGKILL)
    web.says("child_died")
    wait_until("not all are recorded", lambda: len(web.recorded()) == len(LINKS))
    assert reasons(web) == MANY


def test_held_events_of_removed_processes_are_recorded(web: Web) -> None:
    follow(web)
    web.daemon.kill()
    web.configure({"workers": 1})
    web.start()
    wait_until("not all are recorded", lambda: len(web.recorded()) == len(LINKS))
    assert reasons(web) == MANY


@pytest.mark.parametrize("web", [{"workers": 1}], indirect=True)
def test_process_judges_by_its_own_touches_without_redis(web: Web, redis: RedisServer) -> None:
    redis.stop()
    follow(web)
    web.says("redis_unavailable")
    redis.start()
    wait_until("not all are recorded", lambda: len(web.recorded()) == len(LINKS))
    assert set(reasons(web)) == set(MANY)


@contextmanager
def holding(url: str, folder: Path) -> Iterator[Holding]:
    """That of one process, within an event loop."""
    recorder = Recorder(EventLog(open_store(url)), lambda: Journal(folder / "journal", KEPT))
    yield Holding(recorder, Touches(open_store(url)), bots.NO_LISTS, folder / "held", 0)
    recorder.close()


def test_stop_during_a_turn_leaves_nothing_held(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Touches.add

    async def act() -> None:
        loop = asyncio.get_running_loop()
        with holding(redis.url, tmp_path) as waiting:

            def added(*arguments: Any) -> None:
                loop.call_soon_threadsafe(waiting.hold, happened([2])[0])
                loop.call_soon_threadsafe(waiting.end)
                add(*arguments)

            monkeypatch.setattr(Touches, "add", added)
            waiting.hold(happened([1])[0])
            waiting.note("m", Touch(1, "192.0.2.1", LINK, "0" * 12))
            await waiting.run()

    asyncio.run(act())
    assert EventLog(open_store(redis.url)).length() == 2
    assert list((tmp_path / "held").iterdir()) == []


def test_hanging_redis_is_not_asked_for_each_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would wait for one another's time-outs."""
    asked, of = [], Touches.of

    def of_these(touches: Touches, messages: Sequence[str]) -> list[str]:
        asked.append(messages)
        return of(touches, messages)

    monkeypatch.setattr(Touches, "of", of_these)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"

        async def act() -> None:
            with holding(url, tmp_path) as waiting:
                touch = Touch(1, "192.0.2.1", LINK, "0" * 12)
                for number in range(9):
                    assert not await waiting.is_program(str(number), touch)

        asyncio.run(act())
    assert 0 < len(asked) < 9


NOWHERE = "unix:///no/such/socket"
"""The URL of a Redis that is away: a process judges by its own memory alone."""

HERE, AWAY = "192.0.2.1", "198.51.100.7"
TRAP = Touch(1, HERE, HIDDEN, "0" * 12)


async def is_still_known(waiting: Holding) -> bool:
    """Whether the process still knows that the client of `TRAP` took the hidden link."""
    return await waiting.is_program("m", TRAP)


def test_remembered_touches_of_a_message_are_limited(tmp_path: Path) -> None:
    async def act() -> None:
        with holding(NOWHERE, tmp_path) as waiting:
            waiting.note("m", TRAP)
            for _ in range(1, TOUCHES):
                waiting.note("m", Touch(1, AWAY, LINK, "0" * 12))
            assert await is_still_known(waiting)
            waiting.note("m", Touch(1, AWAY, LINK, "0" * 12))
            assert not await is_still_known(waiting)

    asyncio.run(act())


def test_remembered_messages_are_limited(tmp_path: Path) -> None:
    async def act() -> None:
        with holding(NOWHERE, tmp_path) as waiting:
            waiting.note("m", TRAP)
            for number in range(1, MESSAGES):
                waiting.note(str(number), Touch(1, AWAY, LINK, "0" * 12))
            assert await is_still_known(waiting)
            waiting.note("one more", Touch(1, AWAY, LINK, "0" * 12))
            assert not await is_still_known(waiting)

    asyncio.run(act())


def test_message_without_touches_for_a_while_is_forgotten() -> None:
    now = 0.0
    known = KnownTouches(lambda: now)
    known.add("m", "a")
    known.add("n", "b")
    now = REMEMBERED
    known.add("m", "c")
    assert (known.of("m"), known.of("n")) == (["a", "c"], ["b"])
    now = 2 * REMEMBERED
    known.forget()
    assert (known.of("m"), known.of("n")) == (["a", "c"], ())
    assert len(known) == 1
    now = 9 * REMEMBERED
    known.forget()
    assert len(known) == 0


def test_shared_touches_of_a_message_are_limited(tmp_path: Path, redis: RedisServer) -> None:
    touch = Touch(1, AWAY, LINK, "0" * 12)
    others = "n" * LARGEST

    async def act() -> None:
        with holding(redis.url, tmp_path) as waiting:
            for _ in range(LARGEST):
                waiting.note("m", touch)
            waiting.note(others, touch)
            waiting.end()
            await waiting.run()

    asyncio.run(act())
    lines = -(-LARGEST // len(touch.line))
    assert redis.client.get(keys.touches("m")) == touch.line * lines
    assert redis.client.get(keys.touches(others)) == touch.line


def test_foreign_files_and_lines_are_ignored(tmp_path: Path, redis: RedisServer) -> None:
    (tmp_path / "held" / "0-1.held").mkdir(parents=True)
    whole, other = happened([1, 2])
    whole = replace(whole, details={**whole.details, "engine_ip": "192.0.2.1"})
    (tmp_path / "held" / "0-2.held").write_text(f"{whole.json()}\n{other.json()}")

    async def act() -> None:
        with holding(redis.url, tmp_path) as waiting:
            waiting.end()
            await waiting.run()

    asyncio.run(act())
    assert EventLog(open_store(redis.url)).length() == 1


def test_truncated_line_costs_no_other(web: Web) -> None:
    follow(web)
    web.daemon.kill()
    for path in held(web):
        with path.open("ab") as file:
            file.write(b'\n{"event_type":"engine_cl')
    web.start()
    wait_until("not all are recorded", lambda: len(web.recorded()) == len(LINKS))


@pytest.mark.parametrize("web", [{"unsubscribe_tag": "immediate"}], indirect=True)
def test_program_seen_by_another_process_does_not_unsubscribe(web: Web, redis: RedisServer) -> None:
    follow(web)
    told(redis, len(LINKS))
    target = f"/unsub?{web.token(Kind.UNSUBSCRIBE_HTML, 'https://example.com/bye')}"
    assert web.ask("GET", target)[0] == 200
    other = web.token(Kind.UNSUBSCRIBE_HTML, "https://example.com/bye", 8)
    assert web.ask("GET", f"/unsub?{other}")[0] == 303
    left = [e["message_number"] for e in web.recorded() if e["event_type"] == "engine_unsub"]
    assert left == [8]
