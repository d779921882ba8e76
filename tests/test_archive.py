"""The archive: which messages it keeps, its files, and its queue in a worker."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest
from fletching import archive
from fletching.checks.archive import check_archives
from fletching.checks.finding import Level
from fletching.config.model import Config
from fletching.daemons.milter.archiving import ArchiveQueue, Copy, copy_of
from fletching.numbering import Numbered, campaign_id
from fletching.outgoing.flow import Outcome
from fletching.policy.archive import OBSCURED, is_chosen
from hypothesis import given
from hypothesis import strategies as st

from sandbox.processes import wait_until
from tests.cases import for_every
from tests.host import Host
from tests.setting import CAMPAIGN, SITE, Store, carried, config, envelope, mail, reason, setup

ARCHIVED = SITE.replace("crm: {list_id: c1}", "crm: {archive: {sample: 1.0, directory: kept}}")
CRM = "X-GreenArrow-MailClass: crm"
OTHER = campaign_id(1_795_248_000, b"abcd")
NOW = 1_795_248_000.0


def sent(*fields: str, site: str = ARCHIVED, store: Store | None = None) -> Outcome:
    return carried(mail(CRM, *fields), opened=setup(site), store=store)


# Which messages.


@given(
    share=st.integers(0, 10**6).map(lambda part: part / 10**6),
    campaign=st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=12, max_size=12),
    first=st.integers(1, 2**50),
    count=st.integers(1, 2000),
)
def test_share_is_exact_among_any_messages_in_a_row(
    share: float, campaign: str, first: int, count: int
) -> None:
    chosen = sum(is_chosen(campaign, number, share) for number in range(first, first + count))
    assert abs(chosen - share * count) < 1 + 1e-6


@pytest.mark.parametrize(("share", "kept"), [(0.0, 0), (1.0, 1000), (0.5, 500), (0.001, 1)])
def test_share_of_a_thousand_messages(share: float, kept: int) -> None:
    assert sum(is_chosen(CAMPAIGN, number, share) for number in range(1, 1001)) == kept


def test_share_holds_over_many_small_campaigns() -> None:
    campaigns = [campaign_id(1_795_248_000 + number, b"abcd") for number in range(10_000)]
    chosen = sum(is_chosen(campaign, number, 0.01) for campaign in campaigns for number in (1, 2))
    assert 150 <= chosen <= 250


def test_mail_of_an_archived_class_is_archived() -> None:
    outcome = sent()
    assert outcome.plan.archive is not None
    assert outcome.plan.archive.directory == Path("kept")
    assert outcome.warnings == ()
    assert reason(outcome.plan, "archive") == ("1 of the messages", "class crm")


NOT_ARCHIVED = {
    "an obscured address": ("X-GreenArrow-Obscured-Email: 4711", (OBSCURED,)),
    "an empty obscured address": ("X-GreenArrow-Obscured-Email:", (OBSCURED,)),
}


@for_every(NOT_ARCHIVED)
def test_mail_that_hides_its_recipient_is_not_archived(case: tuple[str, tuple[str, ...]]) -> None:
    field, warnings = case
    outcome = sent(field)
    assert outcome.plan.archive is None
    assert set(warnings) <= set(outcome.warnings)


def test_obscured_mail_that_is_not_in_the_share_has_no_warning() -> None:
    site = ARCHIVED.replace("sample: 1.0", "sample: 0.0")
    assert sent("X-GreenArrow-Obscured-Email: 4711", site=site).warnings == ()


def test_mail_without_a_number_is_not_archived() -> None:
    site = ARCHIVED + "on_store_failure: untracked\n"
    assert sent(site=site, store=Store(None)).plan.archive is None


def test_mail_that_a_rule_discards_is_not_archived() -> None:
    site = ARCHIVED + "rules: [{when: {sender: '*'}, do: {discard: true}}]\n"
    assert copy_of(sent(site=site)) is None
    assert copy_of(sent()) is not None


def test_mail_of_another_class_is_not_archived() -> None:
    outcome = carried(mail("X-GreenArrow-MailClass: newsletter"), envelope(), setup(ARCHIVED))
    assert outcome.plan.archive is None


def test_same_messages_are_archived_on_all_hosts() -> None:
    site = ARCHIVED.replace("sample: 1.0", "sample: 0.1")
    kept = [
        number
        for number in range(1, 41)
        if sent(site=site, store=Store(Numbered(CAMPAIGN, number))).plan.archive
    ]
    again = [number for number in range(1, 41) if is_chosen(CAMPAIGN, number, 0.1)]
    assert kept == again
    assert len(kept) == 4


# The files.


def test_file_is_named_by_campaign_and_number(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "archive"
    archive.write(folder, CAMPAIGN, 7, b"A: b\r\n\r\nText\r\n")
    (found,) = archive.files(folder)
    assert (found.campaign, found.number, found.size) == (CAMPAIGN, 7, 14)
    assert found.path == folder / CAMPAIGN / f"{CAMPAIGN}-7.eml"
    assert found.path.read_bytes() == b"A: b\r\n\r\nText\r\n"
    assert [*found.path.parent.iterdir()] == [found.path]


def test_files_are_closed_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        archive.write(tmp_path / "archive", CAMPAIGN, 7, b"")
    finally:
        os.umask(before)
    (found,) = archive.files(tmp_path / "archive")
    modes = [each.stat().st_mode & 0o777 for each in (found.path, *found.path.parents[:2])]
    assert modes == [0o640, 0o750, 0o750]


def test_files_are_in_order(tmp_path: Path) -> None:
    for campaign, number in ((OTHER, 2), (OTHER, 10), (CAMPAIGN, 3), (OTHER, 1)):
        archive.write(tmp_path, campaign, number, b"")
    (tmp_path / "notes.eml").touch()
    (tmp_path / OTHER / "notes.eml").touch()
    found = [(file.campaign, file.number) for file in archive.files(tmp_path)]
    assert found == [*sorted([(CAMPAIGN, 3)]), (OTHER, 1), (OTHER, 2), (OTHER, 10)]
    assert [file.number for file in archive.files(tmp_path, OTHER)] == [1, 2, 10]
    assert [*archive.files(tmp_path / "none")] == []


def test_old_files_are_deleted_and_others_left(tmp_path: Path) -> None:
    for campaign, number, age in ((OTHER, 1, 90), (OTHER, 2, 110), (CAMPAIGN, 1, 110)):
        archive.write(tmp_path, campaign, number, b"")
        file = tmp_path / campaign / f"{campaign}-{number}.eml"
        os.utime(file, (NOW - age, NOW - age))
    others = (tmp_path / "notes.eml", tmp_path / OTHER / "notes.eml")
    dead = tmp_path / OTHER / f".{OTHER}-9.eml.4711"
    for each in (*others, dead):
        each.touch()
        os.utime(each, (NOW - 9000, NOW - 9000))
    assert archive.prune(tmp_path, 100, NOW) == 2
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {f"{OTHER}-1.eml", "notes.eml"}
    assert not (tmp_path / CAMPAIGN).exists()


def test_workers_write_while_one_deletes(tmp_path: Path) -> None:
    raised: list[OSError] = []

    def write() -> None:
        for number in range(1, 1001):
            try:
                archive.write(tmp_path, CAMPAIGN, number, b"x")
            except OSError as error:
                raised.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    deleted = 0
    while writer.is_alive() or any(archive.files(tmp_path)):
        # Everything is old, also in the directory that is being written to.
        deleted += archive.prune(tmp_path, 0, time.time() + 100)
    writer.join()
    assert raised == []
    assert deleted == 1000


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.write(tmp_path, CAMPAIGN, 1, b"")
    monkeypatch.setattr(Path, "replace", no_room)
    with pytest.raises(OSError, match="No space"):
        archive.write(tmp_path, CAMPAIGN, 2, b"x")
    assert [path.name for path in (tmp_path / CAMPAIGN).iterdir()] == [f"{CAMPAIGN}-1.eml"]


def no_room(*_: object) -> None:
    raise OSError(28, "No space left on device")


# The queue of a worker.


class Counts:
    """What the queue counted."""

    def __init__(self) -> None:
        self.written = self.lost = 0

    def __call__(self, written: int, lost: int) -> None:
        self.written += written
        self.lost += lost


def site(folder: Path, keep: str = "30d") -> Config:
    options = f"{{sample: 1.0, directory: kept, keep: {keep}}}"
    text = f"state_dir: {folder}\nmail_classes: {{crm: {{archive: {options}}}}}\n"
    return config(text)


def copy(number: int, size: int = 10) -> Copy:
    return Copy(Path("kept"), CAMPAIGN, number, mail(body="x" * size))


def test_copies_are_written_as_they_left(tmp_path: Path) -> None:
    counts = Counts()
    queue = ArchiveQueue(site(tmp_path), counts)
    for number in range(1, 21):
        queue.add(copy(number))
    queue.finish(10)
    found = [*archive.files(tmp_path / "kept")]
    assert [file.number for file in found] == [*range(1, 21)]
    assert found[0].path.read_bytes() == bytes(copy(1).message)
    assert (counts.written, counts.lost) == (20, 0)


def test_slow_disk_delays_nothing_and_takes_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    counts, gate = Counts(), threading.Event()
    monkeypatch.setattr(archive, "write", lambda *_: gate.wait(30))
    queue = ArchiveQueue(site(tmp_path), counts, most_waiting=5000)
    for number in range(1, 11):
        queue.add(copy(number, 1000))
    assert counts.lost == 6
    assert capfd.readouterr().err.count("not_archived") == 1
    gate.set()
    queue.finish(10)
    queue.add(copy(11, 100_000))
    queue.finish(10)
    wait_until("the last one is counted", lambda: counts.written == 5)


def test_full_disk_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    counts = Counts()
    monkeypatch.setattr(archive, "write", no_room)
    queue = ArchiveQueue(site(tmp_path), counts)
    for number in range(1, 11):
        queue.add(copy(number))
    queue.finish(10)
    assert (counts.written, counts.lost) == (0, 10)
    said = capfd.readouterr().err
    assert said.count('not_archived count=1 reason="No space left on device"') == 1
    assert said.count("\n") == 1


def test_old_files_are_deleted_without_new_mail(tmp_path: Path) -> None:
    archive.write(tmp_path / "kept", CAMPAIGN, 1, b"")
    ArchiveQueue(site(tmp_path, "1s"), Counts())
    wait_until("the file is deleted", lambda: not (tmp_path / "kept" / CAMPAIGN).exists())


def test_old_files_are_deleted_by_one_worker_only(tmp_path: Path) -> None:
    archive.write(tmp_path, CAMPAIGN, 1, b"")
    assert not archive.is_pruned(tmp_path, NOW)
    assert archive.is_pruned(tmp_path, NOW - 3600)


# The command.


def test_archive_is_listed(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.edit("reject}", "reject, archive: {sample: 1.0, directory: kept}}")
    assert host.run("archive").exit_code == 0
    assert host.run("archive").stderr == "no archived messages\n"
    for campaign in (OTHER, CAMPAIGN):
        archive.write(tmp_path / "state" / "kept", campaign, 3, b"four")
    rows = [json.loads(line) for line in host.run("archive", "--json").stdout.splitlines()]
    assert [row["campaign"] for row in rows] == [CAMPAIGN, OTHER]
    assert (rows[0]["message_number"], rows[0]["size"]) == (3, 4)
    assert Path(str(rows[0]["file"])).read_bytes() == b"four"
    table = host.run("archive", OTHER).stdout
    assert table.count(f"{OTHER}-3.eml") == 1
    assert CAMPAIGN not in table


def test_archive_of_an_unknown_campaign_asks_redis(tmp_path: Path) -> None:
    assert Host(tmp_path).run("archive", "crm1").exit_code == 2


def test_check_tries_the_directories(tmp_path: Path) -> None:
    options = site(tmp_path)
    assert [*check_archives(options)] == []
    archive.write(tmp_path / "kept", CAMPAIGN, 1, b"")
    (found,) = check_archives(options)
    assert found.level is Level.OK
    (tmp_path / "kept").rename(tmp_path / "other")
    (tmp_path / "kept").touch()
    (found,) = check_archives(options)
    assert found.level is Level.ERROR
    assert found.place == "mail_classes.crm.archive"
