"""The signs of life of the daemons of a host, and what health makes of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fletching.daemons.health import findings
from fletching.daemons.health.findings import Level
from fletching.daemons.intake.journal import Journal, waiting_since
from fletching.daemons.process import presence
from fletching.daemons.process.presence import Mark, State
from fletching.events import CLICK, Event
from fletching.tokens import Facts

from sandbox.processes import wait_until

RUNS = frozenset({"run"})
FACTS = Facts("abcdefghijkl", 7, "News", "01", "T100", "u|s", "r@example.org", "bulk", 1)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[int]:
    """A process that runs as the courier of this host."""
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        mark = Mark(tmp_path, "courier")

        def stop(*_: object) -> None:
            mark.end()
            os._exit(0)

        signal.signal(signal.SIGUSR1, stop)
        while True:
            signal.pause()
    wait_until("it does not begin", lambda: bool(_version(tmp_path)))
    yield pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _version(state_dir: Path) -> str:
    found = presence.read(state_dir).get("courier")
    return found.version if found else ""


def state(state_dir: Path) -> State | None:
    found = presence.read(state_dir).get("courier")
    return found.state if found else None


def test_running_daemon_has_begin_and_version(tmp_path: Path, process: int) -> None:
    found = presence.read(tmp_path)["courier"]
    assert abs(found.since - time.time()) < 60
    assert found.version
    assert findings.of_daemon("courier", found, True).level is Level.OK


@pytest.mark.parametrize(
    ("number", "after", "is_needed", "level"),
    [
        (signal.SIGKILL, State.DIED, True, Level.ERROR),
        (signal.SIGKILL, State.DIED, False, Level.ERROR),
        (signal.SIGUSR1, State.STOPPED, True, Level.ERROR),
        (signal.SIGUSR1, State.STOPPED, False, Level.OK),
    ],
    ids=["killed", "killed, not needed", "stopped", "stopped, not needed"],
)
def test_end_of_a_daemon_is_noticed(
    tmp_path: Path, process: int, number: int, after: State, is_needed: bool, level: Level
) -> None:
    os.kill(process, number)
    os.waitpid(process, 0)
    found = presence.read(tmp_path)["courier"]
    assert found.state is after
    assert findings.of_daemon("courier", found, is_needed).level is level


def test_daemon_without_a_sign_of_life_hangs(tmp_path: Path, process: int) -> None:
    long_ago = time.time() - findings.LONGEST_SILENCE - 10
    os.utime(tmp_path / "daemons" / "courier", (long_ago, long_ago))
    found = findings.of_daemon("courier", presence.read(tmp_path)["courier"], True)
    assert found.level is Level.ERROR
    assert found.line.startswith("courier: hangs: no sign of life for 7")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"since": "x"}', b"\xff" * 9000])
def test_damaged_file_is_that_of_a_dead_daemon(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "daemons").mkdir()
    (tmp_path / "daemons" / "courier").write_bytes(content)
    assert state(tmp_path) is State.DIED


def test_mark_without_a_folder_is_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mark = Mark(tmp_path / "missing", "courier")
    mark.beat()
    mark.end()
    assert "state_write_failed" in capfd.readouterr().err


def event() -> Event:
    return Event(CLICK, 1_790_000_000_000, f"id{time.time_ns()}", "host", FACTS)


@pytest.mark.parametrize(
    ("change", "waits"),
    [
        (lambda journal: None, False),
        (lambda journal: journal.append([event()]), True),
        (lambda journal: appended(journal).note(journal.end, RUNS), False),
    ],
    ids=["all is in Redis", "the last one is not in Redis", "the last one is in Redis, too"],
)
def test_journal_knows_since_when_an_event_waits(
    tmp_path: Path, change: Callable[[Journal], object], waits: bool
) -> None:
    journal = Journal(tmp_path, 3600)
    journal.append([event()])
    journal.note(journal.end, RUNS)
    change(journal)
    since = waiting_since(tmp_path)
    assert (since is not None) == waits
    assert since is None or abs(since - time.time()) < 60
    journal.close()


def appended(journal: Journal) -> Journal:
    journal.append([event()])
    return journal


def test_folder_without_a_journal_waits_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "0000000000000001-000000000000.recent").write_bytes(b"\0" * 100)
    assert waiting_since(tmp_path) is None
