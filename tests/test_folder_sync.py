"""A new file survives a crash of the machine: its folder is synced to the disk after its creation.

No test can cut the power. What is tested is that fsync(2) is called for the folder, in order.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fletching.daemons.intake import journal as journal_module
from fletching.daemons.intake.journal import Journal
from fletching.destinations.answers import Verdict
from fletching.destinations.lines import JsonLines

from tests.courier_setting import event, queued
from tests.test_journal import KEPT, grow_old, some
from tests.test_journal import event as journal_event


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, frozenset[str]]]:
    """Each file or folder that fsync was called for; of a folder, also the names in it then."""
    calls: list[tuple[Path, frozenset[str]]] = []
    fsync = os.fsync

    def recorded(file: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{file}"))
        calls.append((path, frozenset(os.listdir(path)) if path.is_dir() else frozenset()))
        fsync(file)

    monkeypatch.setattr(os, "fsync", recorded)
    return calls


def test_folder_of_a_journal_is_synced_for_each_new_segment(
    tmp_path: Path, synced: list[tuple[Path, frozenset[str]]]
) -> None:
    journal = Journal(tmp_path, KEPT, segment=1)  # a segment for each append
    for number in (1, 2):
        journal.append(some([number]))
        assert synced[number - 1 :] == [(tmp_path, frozenset({*os.listdir(tmp_path)}))]
    journal.close()


def test_folder_of_a_journal_is_synced_before_a_segment_with_unsubscribes_goes(
    tmp_path: Path, synced: list[tuple[Path, frozenset[str]]]
) -> None:
    journal = Journal(tmp_path, KEPT, segment=1)
    journal.append([journal_event(1, "engine_unsub")])
    (segment,) = tmp_path.glob("*.recent")
    grow_old(tmp_path, journal_module.KEPT + 1)
    synced.clear()
    journal.tidy(journal.end)
    kept = segment.with_suffix(".kept")
    assert [path for path, _ in synced] == [kept, tmp_path]
    assert {segment.name, kept.name} <= synced[1][1]
    assert not segment.exists()
    journal.close()


def test_folder_of_a_file_destination_is_synced_when_the_file_is_made(
    tmp_path: Path, synced: list[tuple[Path, frozenset[str]]]
) -> None:
    path = tmp_path / "events.jsonl"
    file = JsonLines(path, 10)
    assert file.deliver(queued(event(1)), 1).verdict is Verdict.DELIVERED
    assert synced == [(tmp_path, frozenset({path.name})), (path, frozenset())]
    # The second delivery rotates the file and makes a new one.
    assert file.deliver(queued(event(2)), 1).verdict is Verdict.DELIVERED
    assert synced[2:] == [
        (tmp_path, frozenset({path.name, f"{path.name}.1"})),
        (path, frozenset()),
    ]
    file.close()
