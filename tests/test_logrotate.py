"""deploy/logrotate: the real logrotate moves event files while events are written to them."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from fletching.destinations.answers import Verdict
from fletching.destinations.lines import JsonLines

from sandbox.processes import program
from tests.courier_setting import event, queued

SHIPPED = Path(__file__).parent.parent / "deploy/logrotate/fletching"
ROUNDS = 6
BATCHES = 40
"""Events that are written while logrotate runs once."""


def rotation(folder: Path, names: str) -> list[str]:
    """logrotate's command line, for files in a folder of the test.

    ``names`` replaces dateext: all runs of a test are on one day.
    """
    text = SHIPPED.read_text().replace("/var/log/fletching", f"{folder}/log")
    text = text.replace("su fletching fletching", "su root root").replace("\tdateext\n", names)
    config = folder / "logrotate.conf"
    config.write_text(text)
    config.chmod(0o644)
    return [program("logrotate", "logrotate"), "--force", f"--state={folder}/state", str(config)]


def lines(folder: Path) -> Iterator[str]:
    for file in folder.iterdir():
        data = file.read_bytes()
        yield from (gzip.decompress(data) if file.suffix == ".gz" else data).decode().splitlines()


def test_no_event_is_lost_or_written_twice_while_logrotate_moves_the_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    argv = rotation(tmp_path, names="")
    file = JsonLines(log / "events.jsonl", None)
    count = 0
    for _ in range(ROUNDS):
        assert file.deliver(queued(event(count)), 1).verdict is Verdict.DELIVERED
        count += 1
        mover = subprocess.Popen(argv, stderr=subprocess.PIPE)
        for _ in range(BATCHES):
            assert file.deliver(queued(event(count), event(count + 1)), 1).verdict
            count += 2
        _, errors = mover.communicate(timeout=60)
        assert (mover.returncode, errors) == (0, b"")
    file.close()
    found = sorted(json.loads(line)["event_unique_id"] for line in lines(log))
    assert found == [f"id{number:06}" for number in range(count)]
    names = {each.name for each in log.iterdir()}
    assert len([name for name in names if name.endswith(".gz")]) == ROUNDS - 1
    assert all(each.stat().st_uid == os.getuid() for each in log.iterdir())


def test_own_rotation_and_logrotate_do_not_rename_the_files_of_each_other(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    file = JsonLines(log / "events.jsonl", 10)
    for number in range(4):
        file.deliver(queued(event(2 * number)), 1)
        file.deliver(queued(event(2 * number + 1)), 1)
        day = f"\tdateext\n\tdateformat -2026120{number}\n"
        subprocess.run(rotation(tmp_path, names=day), check=True, timeout=60)
    file.close()
    found = sorted(json.loads(line)["event_unique_id"] for line in lines(log))
    assert found == [f"id{number:06}" for number in range(8)]
