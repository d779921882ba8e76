"""The log in the systemd journal is read once, from where it was read before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fletching.daemons.logtail.lines import Line
from fletching.daemons.logtail.systemd_journal import FOLLOW, SystemdJournal
from fletching.postfix.logline import Queued, parse

from sandbox.journald import Journald
from sandbox.processes import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def journald(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journald]:
    with Journald(tmp_path_factory.mktemp("journald")) as running:
        yield running


class Reader:
    """A follower, and what it has read."""

    def __init__(self, journald: Journald, cursor: str = "") -> None:
        command = (*FOLLOW, f"--namespace={journald.namespace}")
        self.journal = SystemdJournal(cursor, 1, command)
        self.lines: list[Line] = []
        self.position = cursor
        self.errors: list[str] = []

    def step(self) -> None:
        try:
            batch = self.journal.read()
        except OSError as error:
            self.errors.append(str(error))
            return
        self.lines += batch.lines
        self.position = batch.position

    def wait_for(self, text: str) -> list[str]:
        """The messages up to one that ends with a text."""

        def is_there() -> bool:
            self.step()
            return any(line.text.decode().endswith(text) for line in self.lines)

        wait_until(f"no line {text}", is_there)
        return [line.text.decode().partition("]: ")[2] for line in self.lines]


@pytest.fixture
def readers() -> Iterator[list[Reader]]:
    opened: list[Reader] = []
    yield opened
    for each in opened:
        each.journal.close()


def reader(readers: list[Reader], journald: Journald, cursor: str = "") -> Reader:
    readers.append(Reader(journald, cursor))
    return readers[-1]


def test_entries_are_lines_as_syslogd_writes_them(
    journald: Journald, readers: list[Reader]
) -> None:
    journald.write(b"postfix-out/cleanup[123]: 4jdT9k6120zCXPc: message-id=<one@example.com>")
    found = reader(readers, journald)
    found.wait_for("<one@example.com>")
    says = parse(found.lines[-1].text)
    assert says is not None
    assert says.said == Queued("4jdT9k6120zCXPc")
    assert b"postfix-out/cleanup[123]: " in found.lines[-1].text


def test_new_entries_follow_and_other_facilities_do_not(
    journald: Journald, readers: list[Reader]
) -> None:
    found = reader(readers, journald)
    journald.write(b"postfix/smtp[1]: two")
    found.wait_for("two")
    journald.write(b"cron[1]: no mail", facility=9)
    journald.write(b"postfix/smtp[1]: three")
    assert found.wait_for("three")[-2:] == ["two", "three"]


def test_reading_goes_on_after_the_cursor(journald: Journald, readers: list[Reader]) -> None:
    first = reader(readers, journald)
    journald.write(b"postfix/smtp[1]: four")
    first.wait_for("four")
    first.journal.close()
    journald.write(b"postfix/smtp[1]: five")
    second = reader(readers, journald, first.position)
    assert second.wait_for("five") == ["five"]
    assert first.lines[-1].place != second.lines[-1].place
    again = reader(readers, journald, first.position)
    again.wait_for("five")
    assert again.lines == second.lines


def test_killed_journalctl_is_started_again(journald: Journald, readers: list[Reader]) -> None:
    found = reader(readers, journald)
    journald.write(b"postfix/smtp[1]: six")
    found.wait_for("six")
    assert found.journal.process is not None
    found.journal.process.kill()
    journald.write(b"postfix/smtp[1]: seven")
    messages = found.wait_for("seven")
    assert messages[-2:] == ["six", "seven"]
    assert len(found.errors) == 1
    assert "journalctl ended with status -9" in found.errors[0]


def test_bytes_that_are_not_utf_8(journald: Journald, readers: list[Reader]) -> None:
    found = reader(readers, journald)
    journald.write(b"postfix/smtp[1]: eight \xff\xfe end")
    assert found.wait_for("end")[-1] == "eight \ufffd\ufffd end"


def test_journalctl_that_does_not_run_raises(tmp_path: Path) -> None:
    journal = SystemdJournal("", 1, (str(tmp_path / "none"),))
    with pytest.raises(FileNotFoundError):
        journal.read()
    bad = SystemdJournal("no cursor", 1)
    errors: list[str] = []

    def has_failed() -> bool:
        with suppress(BlockingIOError):
            try:
                bad.read()
            except OSError as error:
                errors.append(str(error))
        return bool(errors)

    wait_until("no error", has_failed)
    assert "journalctl ended with status 1" in errors[0]
