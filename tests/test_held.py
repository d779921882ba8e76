"""held.py and `fletching held`: why mails are on hold."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from fletching import held
from fletching.cli.main import main
from fletching.held import Hold


def test_reasons_by_queue_id(tmp_path: Path) -> None:
    held.record(tmp_path, [Hold("4A", 10, "ask Anna"), Hold("4B", 11, 'a "quoted" one')])
    held.record(tmp_path, [Hold("4A", 12, "again")])
    assert held.read(tmp_path) == {
        "4A": Hold("4A", 12, "again"),
        "4B": Hold("4B", 11, 'a "quoted" one'),
    }


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert held.read(tmp_path) == {}


def test_lines_that_were_cut_are_skipped(tmp_path: Path) -> None:
    held.record(tmp_path, [Hold("4A", 10, "ask Anna")])
    with (tmp_path / held.FILE).open("a") as file:
        file.write('["4B", 11\n{}\n[1]\nnull\n["4C", "x", "y"]\n\xff\n["4E", 1e999, ""]\n')
        file.write(f"{'[' * 100_000}\n")
    held.record(tmp_path, [Hold("4D", 13, "b")])
    assert set(held.read(tmp_path)) == {"4A", "4D"}


def test_the_files_are_bounded_and_keep_the_newest(tmp_path: Path) -> None:
    reason = "x" * 200
    count = 3 * held.LARGEST // 200
    for start in range(0, count, 1000):
        held.record(tmp_path, [Hold(f"Q{n}", n, reason) for n in range(start, start + 1000)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["holds", "holds.1"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3 * held.LARGEST
    found = held.read(tmp_path)
    assert "Q0" not in found
    assert f"Q{count - 1}" in found


def test_workers_lose_no_line_while_the_file_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "LARGEST", 40_000)

    def work(worker: int) -> None:
        for number in range(200):
            held.record(tmp_path, [Hold(f"{worker}-{number}", 1, "a reason of some length")])

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held.read(tmp_path)) == 800


def test_the_file_is_no_link(tmp_path: Path) -> None:
    (tmp_path / held.FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        held.record(tmp_path, [Hold("4A", 1, "a")])


# The command.

QUEUE = [
    {"queue_name": "active", "queue_id": "A1", "arrival_time": 5, "message_size": 9,
     "forced_expire": False, "sender": "x@example.com", "recipients": []},
    {"queue_name": "hold", "queue_id": "B2", "arrival_time": 2000, "message_size": 100,
     "forced_expire": False, "sender": "shop@example.com",
     "recipients": [{"address": "ada@gmail.example"}, {"address": "b\u001b@gmail.example"}]},
    {"queue_name": "hold", "queue_id": "A3", "arrival_time": 1000, "message_size": 7,
     "forced_expire": False, "sender": "MAILER-DAEMON", "recipients": []},
]  # fmt: skip


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, and a postqueue that prints QUEUE."""
    program = tmp_path / "bin" / "postqueue"
    program.parent.mkdir()
    listing = "\n".join(map(json.dumps, QUEUE))
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{listing}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    (tmp_path / "state").mkdir()
    path = tmp_path / "fletching.yaml"
    path.write_text("state_dir: state\n")
    return path


def shown(config: Path) -> list[dict[str, object]]:
    result = CliRunner().invoke(main, ["held", "--json", "--config", str(config)])
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, object]] = json.loads(result.stdout)["mails_on_hold"]
    return found


def test_held_mails_with_their_reasons(config: Path) -> None:
    held.record(config.parent / "state", [Hold("B2", 2003, "ask Anna")])
    first, second = shown(config)
    assert (first["queue_id"], first["reason"]) == ("A3", None)
    assert second == {
        "queue_id": "B2",
        "arrived": "1970-01-01T00:33:20Z",
        "size": 100,
        "sender": "shop@example.com",
        "recipients": ["ada@gmail.example", "b\u001b@gmail.example"],
        "reason": "ask Anna",
    }


OTHER_MAIL = {"an hour after its arrival": 2000 + 3601, "before its arrival": 1900}


@pytest.mark.parametrize("seconds", OTHER_MAIL.values(), ids=OTHER_MAIL)
def test_a_reason_of_another_mail_with_that_queue_id_is_not_shown(
    config: Path, seconds: int
) -> None:
    held.record(config.parent / "state", [Hold("B2", seconds, "ask Anna")])
    assert [each["reason"] for each in shown(config)] == [None, None]


def test_table(config: Path) -> None:
    held.record(config.parent / "state", [Hold("B2", 2003, "ask Anna")])
    result = CliRunner().invoke(main, ["held", "--config", str(config)])
    head, first, second = result.stdout.splitlines()
    assert head.split() == ["queue_id", "arrived", "size", "sender", "recipients", "reason"]
    assert first.split()[0] == "A3"
    assert second.endswith("ask Anna")
    assert "\x1b" not in result.stdout


def test_postfix_that_does_not_answer_is_an_error(config: Path) -> None:
    (config.parent / "bin" / "postqueue").write_text("#!/bin/sh\necho '{'\n")
    result = CliRunner().invoke(main, ["held", "--config", str(config)])
    assert result.exit_code == 2
    assert "postqueue: not understood" in result.stderr


def test_reasons_are_not_where_the_web_service_holds_events(tmp_path: Path) -> None:
    (tmp_path / "held").mkdir()
    held.record(tmp_path, [held.Hold("4F1A", 1, "a rule")])
    assert held.read(tmp_path)["4F1A"].reason == "a rule"
