"""The archive behind a real Postfix: what is kept is what left, and a full disk delays nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fletching.policy.archive import is_chosen

from sandbox.postfix import Postfix
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink

from .fletching import Fletching, send_until_taken
from .mails import RECIPIENT, SENDER, mail

pytestmark = pytest.mark.slow

needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="a file system is mounted by root")

ALL, SHARE, SMALL = (b"X-GreenArrow-MailClass: " + name for name in (b"all", b"share", b"small"))


@dataclass(frozen=True)
class Site:
    postfix: Postfix
    fletching: Fletching
    sink: Sink

    def send(self, *fields: bytes, body: bytes = b"Hello\r\n", count: int = 1) -> None:
        with self.postfix.client() as smtp:
            for _ in range(count):
                send_until_taken(smtp, mail(*fields, body=body), SENDER, [RECIPIENT])

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """What the command lists once all is written."""
        self.fletching.settled_log()
        printed = self.fletching.command("archive", *arguments, "--json")
        return [json.loads(line) for line in printed.splitlines()]


@pytest.fixture(scope="module")
def site(place: Path, running_redis: RedisServer) -> Iterator[Site]:
    archives = {"all": ("all", 1.0), "share": ("share", 0.1), "small": ("small", 1.0)}
    classes = {
        name: {"archive": {"sample": share, "directory": f"archive/{folder}"}}
        for name, (folder, share) in archives.items()
    }
    names = ("smtp", "relay", "vmta-a", "vmta-b", "vmta-transactional")
    with (
        Sink("all") as sink,
        Fletching(
            place / "archiving", running_redis.unix_url, {"mail_classes": classes}
        ) as fletching,
        Postfix(place / "archived", dict.fromkeys(names, sink.port)) as postfix,
    ):
        fletching.join(postfix)
        yield Site(postfix, fletching, sink)


@pytest.fixture(autouse=True)
def empty(site: Site) -> None:
    site.sink.clear()


def test_archived_mail_is_the_mail_that_left(site: Site) -> None:
    site.send(ALL, b"X-GreenArrow-InstanceID: 1")
    (sunk,) = site.sink.wait()
    (row,) = site.rows("all1")
    kept = Path(row["file"]).read_bytes()
    assert kept == sunk.below_received
    assert b"DKIM-Signature" in kept
    assert b"X-Mailer-Info" in kept
    assert b"GreenArrow" not in kept
    assert row["message_number"] == 1
    assert Path(row["file"]).name == f"{row['campaign']}-1.eml"


def test_share_is_chosen_by_number(site: Site) -> None:
    site.send(SHARE, b"X-GreenArrow-InstanceID: 2", count=100)
    site.sink.wait(100)
    rows = site.rows("share2")
    campaign = rows[0]["campaign"]
    numbers = [row["message_number"] for row in rows]
    highest = max(int(line["number"]) for line in site.fletching.mail_lines() if "number" in line)
    assert numbers == [n for n in range(1, highest + 1) if is_chosen(campaign, n, 0.1)]
    assert 9 <= len(numbers) <= 11


def test_mail_with_an_obscured_address_is_not_archived(site: Site) -> None:
    site.send(ALL, b"X-GreenArrow-InstanceID: 3", b"X-GreenArrow-Obscured-Email: 4711")
    site.sink.wait()
    assert site.rows("all3") == []
    assert 'warning="not archived: the recipient\'s address is obscured"' in site.fletching.log()


@needs_mount
def test_full_disk_is_a_warning_and_delays_no_mail(site: Site) -> None:
    folder = site.fletching.directory / "state" / "archive" / "small"
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=100", "tmpfs", str(folder)]
    subprocess.run(command, check=True)
    try:
        site.send(SMALL, b"X-GreenArrow-InstanceID: 4", body=b"x" * 70 + b"\r\n" * 10_000, count=10)
        site.sink.wait(10)
        site.fletching.settled_log()
        said = re.findall(r"not_archived .*", site.fletching.log())
        assert 1 <= len(said) <= 2, "one for each worker, however many mails"
        assert 'reason="No space left on device"' in said[0]
        kept = len(site.rows("small4"))
        assert 1 <= kept <= 3
        assert not list(folder.rglob(".*.eml*"))
        site.fletching.stop()
        written, lost = (
            counted(site, f"fletching_{name}") for name in ("archived", "not_archived")
        )
        assert lost >= 7
        assert written >= kept
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        if not site.fletching.running:
            site.fletching.start()


def counted(site: Site, name: str) -> float:
    text = (site.fletching.directory / "state" / "metrics.prom").read_text()
    return sum(map(float, re.findall(rf"(?m)^{name}_total (\S+)$", text)))
