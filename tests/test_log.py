"""Log lines, and the file of paused VirtualMTAs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fletching import log, log_lines, paused


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("reader@example.org", "reader@example.org"),
        ("a.b+c/d:e,f%20", "a.b+c/d:e,f%20"),
        (7, "7"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ("line\nline\r\n", r'"line\nline\r\n"'),
        ("\x00\x1b[31m\x7f\x85", r'"\x00\x1b[31m\x7f\x85"'),
        ("\u2028\u202e\udcff", r'"\u2028\u202e\udcff"'),
        ("Grüße", '"Grüße"'),
    ],
)
def test_value_is_plain_or_quoted(value: object, text: str) -> None:
    assert log_lines.value_text(value) == text


def test_every_value_can_be_read_back() -> None:
    """What is quoted is a string in Python's own syntax, so that nothing is lost."""
    every = "".join(map(chr, [*range(0x180), 0x2028, 0x202E, 0xDC80, 0x1F600]))
    for start in range(0, len(every), 40):
        part = "=" + every[start : start + 40]
        quoted = log_lines.value_text(part)
        assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', quoted)
        assert eval(quoted) == part


def test_a_mail_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    facts = (("verdict", "accept"), ("warning", "one two"), ("warning", "three"))
    log.mails([("4Abc", False, facts)])
    line = 'mail queue_id=4Abc verdict=accept warning="one two" warning=three\n'
    assert capfd.readouterr().err == line


def test_a_traceback_has_the_queue_id_on_every_line(capfd: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("bad\nvalue\x1b")
    except ValueError as error:
        log.mail_failed("4Abc", "tempfail", error)
    first, *others = capfd.readouterr().err.splitlines()
    assert first == (
        r'mail_failed queue_id=4Abc verdict=tempfail error="ValueError: bad\nvalue\x1b"'
    )
    assert others[0] == "traceback queue_id=4Abc | Traceback (most recent call last):"
    assert all(line.startswith("traceback queue_id=4Abc | ") for line in others)
    assert others[-1] == r"traceback queue_id=4Abc | value\x1b"


SAY = "from fletching import log; log.redis_unavailable('gone'); log.redis_available()"


def said(stream: str, tmp_path: Path) -> str:
    """What a process says on a stderr, of which JOURNAL_STREAM names device and inode."""
    target = tmp_path / "journal"
    with target.open("wb") as file:
        status = os.fstat(file.fileno())
        place = stream.format(device=status.st_dev, inode=status.st_ino)
        environment = {**os.environ, "JOURNAL_STREAM": place}
        subprocess.run([sys.executable, "-c", SAY], stderr=file, env=environment, check=True)
    return target.read_text()


def test_lines_have_priorities_in_the_journal(tmp_path: Path) -> None:
    assert (
        said("{device}:{inode}", tmp_path)
        == "<3>redis_unavailable reason=gone\n<5>redis_available\n"
    )


@pytest.mark.parametrize("stream", ["", "{device}:1", "not a stream"])
def test_log_lines_have_no_priority_outside_the_journal(stream: str, tmp_path: Path) -> None:
    assert said(stream, tmp_path) == "redis_unavailable reason=gone\nredis_available\n"


FAULT = RuntimeError("x")
LEVELS: dict[str, tuple[int, Callable[[], None]]] = {
    "an internal error of a page": (3, lambda: log.page_failed("web", FAULT)),
    "an internal error of a delivery": (3, lambda: log.delivery_failed("shop", FAULT)),
    "an internal error at Redis": (3, lambda: log.recording_failed(FAULT)),
    "a crash": (3, lambda: log.crashed("child", FAULT)),
    "events that are lost": (3, lambda: log.events_lost(1)),
    "no file descriptors": (3, lambda: log.out_of_file_descriptors(64, 0)),
    "a wrong configuration": (3, lambda: log.cannot_start("f.yaml:1: web: is wrong")),
    "an error of a library": (3, lambda: log.library("x", "y", None, 0, is_error=True)),
    "a warning of a library": (4, lambda: log.library("x", "y", None, 0, is_error=False)),
    "a wrong password": (4, lambda: log.dashboard_refused("192.0.2.9")),
    "a delivery that is put off": (4, lambda: log.destination_failed("shop", "status 503")),
    "events that are given up": (4, lambda: log.dead_lettered("shop", 1, "status 406")),
    "an address that has vanished": (
        3,
        lambda: log.address_changed("a", "192.0.2.1", is_here=False),
    ),
    "an address that is here again": (
        5,
        lambda: log.address_changed("a", "192.0.2.1", is_here=True),
    ),
    "a clock that jumps": (4, lambda: log.clock_jumped(1, 9999)),
    "a file that is not written": (4, lambda: log.state_write_failed("journal", FAULT)),
    "events that are written again": (5, log.journal_replay),
    "a destination that works again": (5, lambda: log.destination_recovered("shop")),
}


@pytest.mark.parametrize("name", LEVELS)
def test_levels(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """All that `journalctl -p warning` is to show is 4 or less, on each line."""
    monkeypatch.setattr(log_lines, "_to_journal", lambda environment: True)
    level, happens = LEVELS[name]
    happens()
    lines = capfd.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith(f"<{level}>") for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("daemon", ["milter", "web", "courier", "run"])
def test_errors_at_start_have_priority_error(daemon: str, tmp_path: Path) -> None:
    (tmp_path / "fletching.yaml").write_text("listen: nowhere\nredish: x\n")
    stderr = tmp_path / "stderr"
    with stderr.open("wb") as file:
        status = os.fstat(file.fileno())
        place = f"{status.st_dev}:{status.st_ino}"
        command = [sys.executable, "-m", "fletching", daemon, "--config", "fletching.yaml"]
        environment = {**os.environ, "JOURNAL_STREAM": place}
        ended = subprocess.run(command, stderr=file, env=environment, cwd=tmp_path, check=False)
    assert ended.returncode == 2
    lines = stderr.read_text().splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("<3>fletching.yaml:") for line in lines)


def test_closed_stderr_does_not_raise() -> None:
    program = f"import os; os.close(2); {SAY}; print('on')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"on\n"


def test_paused_names_are_written_and_read(tmp_path: Path) -> None:
    watch = paused.Watch(tmp_path)
    assert paused.read(tmp_path) == watch.names() == frozenset()
    paused.write(tmp_path, frozenset({"B", "a c"}))
    assert paused.path(tmp_path).read_text() == "a c\nb\n"
    assert paused.read(tmp_path) == watch.names() == {"a c", "b"}
    paused.write(tmp_path, frozenset({"b"}))
    assert watch.names() == {"b"}
    paused.path(tmp_path).unlink()
    assert watch.names() == frozenset()
    assert list(tmp_path.iterdir()) == []


def test_unreadable_pause_file_is_logged_once_and_ignored(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    watch = paused.Watch(tmp_path)
    paused.write(tmp_path, frozenset({"b"}))
    assert watch.names() == {"b"}
    paused.path(tmp_path).unlink()
    paused.path(tmp_path).mkdir()
    assert [watch.names() for _ in range(3)] == [{"b"}] * 3
    assert capfd.readouterr().err.count("state_write_failed") == 1
