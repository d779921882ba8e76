"""What the log reader knows survives its end, and only one process has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fletching.daemons.intake.journal import START, Position
from fletching.daemons.logtail import memory as memory_module
from fletching.daemons.logtail.memory import (
    FORGOTTEN_AFTER,
    MOST_ARRIVALS,
    InQueue,
    Memory,
    Noted,
)
from fletching.postfix.logline import Attempt

ATTEMPT = Attempt(
    *("4jdT9k6120zCXPc", "deferral", "ann@example.org", "", "vmta-a", "remote", "mx", "::1"),
    *(0.5, "dane", "4.2.2", 452, "452 4.2.2 Full", "RCPT"),
)
MAIL = InQueue("a" * 12, 7, "bounces+tag@example.com", 1)
DEFERRED = InQueue("b" * 12, 2**40, "bounces+tag@example.com", 3, {"digest": ATTEMPT})
NOTED = Noted('[1, 2, "x", 3]', Position("0001-abc.recent", 17))


def test_what_is_noted_is_there_again(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "db", "/var/log/mail.log")
    assert memory.noted() == Noted("", START)
    memory.note(NOTED, {"one": MAIL, "two": DEFERRED}, ["three"], 1000)
    memory.close()
    again = Memory(tmp_path / "db", "/var/log/mail.log")
    assert again.noted() == NOTED
    assert again.in_queue(["one", "two", "four"]) == {"one": MAIL, "two": DEFERRED}
    assert again.arrived(["one", "three"]) == {"three"}
    again.note(NOTED, {"one": None}, [], 1000)
    assert again.in_queue(["one", "two"]) == {"two": DEFERRED}
    again.close()
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o600


def test_each_log_has_a_position_of_its_own(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "db", "/var/log/mail.log")
    memory.note(NOTED, {}, [], 1000)
    memory.close()
    other = Memory(tmp_path / "db", "journal")
    assert other.noted() == Noted("", START)
    other.close()


def test_many_queue_ids_are_asked_for_at_once(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "db", "log")
    known: dict[str, InQueue | None] = {f"id{number}": MAIL for number in range(3000)}
    memory.note(NOTED, known, known, 1000)
    assert memory.in_queue(known).keys() == known.keys()
    assert memory.arrived(known) == known.keys()
    memory.close()


def test_old_knowledge_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MOST_ARRIVALS", 10)
    memory = Memory(tmp_path / "db", "log")
    memory.note(NOTED, {"old": MAIL}, [f"id{number}" for number in range(25)], 1000)
    memory.note(NOTED, {"new": MAIL}, [], 1001)
    memory.tidy(1001 + FORGOTTEN_AFTER)
    assert memory.in_queue(["old", "new"]).keys() == {"new"}
    assert memory.arrived([f"id{number}" for number in range(25)]) == {
        f"id{number}" for number in range(15, 25)
    }
    memory.close()
    assert MOST_ARRIVALS == 50_000


def test_second_process_is_locked_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "_LOCKED", 0.1)
    memory = Memory(tmp_path / "db", "log")
    memory.note(NOTED, {}, [], 1000)
    with pytest.raises(OSError, match="db: database is locked"):
        Memory(tmp_path / "db", "log")
    memory.close()
    Memory(tmp_path / "db", "log").close()


@pytest.mark.parametrize("data", [b"not a database" * 100, b"SQLite format 3\0" + bytes(5000)])
def test_damaged_file_is_reported_with_the_cure(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "db").write_bytes(data)
    with pytest.raises(OSError, match="delete it; the log is then read from its beginning"):
        Memory(tmp_path / "db", "log")
