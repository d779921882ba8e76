"""`fletching seeds`, with a real Redis."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fletching.store.seeds import Seeds, SeedState

from sandbox.redis_server import RedisServer
from tests.cli_setting import NEW, STEERING, sent
from tests.host import Host
from tests.stores import open_store

LIST = "seed_lists: {main: [s1@example.net, s2@example.net, s3@example.net]}\n"
CLASS = "  news: {seed: {list: main, start: 1, end: 11}}\n"


@pytest.fixture
def seeded(host: Host, redis: RedisServer, tmp_path: Path) -> Host:
    """A campaign of 8 messages: one seed has its copy, and one is refused."""
    host.edit("mail_classes:\n", f"{LIST}mail_classes:\n{CLASS}")
    sent(redis, tmp_path, 8, monitor=NEW)
    seeds = Seeds(open_store(redis.url))
    for number, address in ((1, "s1@example.net"), (6, "s2@example.net")):
        ms = 1_790_000_000_000 + number
        seeds.claim(NEW, [address], b"x", mail=number, list="main", about="", milliseconds=ms)
    one, two = seeds.of_campaign(NEW)
    begun = seeds.submitting(one, ms)
    assert begun is not None
    assert seeds.passes(NEW, 1, one.address, 1, "info", ms)
    seeds.sent(begun, ms)
    seeds.failed(two, f"550 no {STEERING}", ms)
    return host


def test_seeds_of_a_campaign(seeded: Host) -> None:
    for name in (NEW, "news20260921"):
        result = seeded.run("seeds", name)
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert lines[0].split()[:3] == ["seed", "state", "due"]
        assert lines[1].split()[:5] == ["s1@example.net", "sent", "message", "1", "1"]
        assert lines[2].split()[:2] == ["s2@example.net", "failed"]
        assert lines[3].split()[:5] == ["s3@example.net", "not", "due", "message", "11"]
        assert lines[-1] == ("copies sent: 1 of 3, failed: 1, not due before the campaign ended: 1")
        assert "\x1b" not in result.stdout


def test_seeds_of_a_campaign_as_json(seeded: Host) -> None:
    result = seeded.run("seeds", NEW, "--json")
    (found,) = json.loads(result.stdout)["campaigns"]
    assert (found["campaign"], found["list"], found["ended"]) == (NEW, "main", True)
    assert [found[name] for name in ("sent", "waiting", "failed", "not_due")] == [1, 0, 1, 1]
    assert [each["state"] for each in found["seeds"]] == ["sent", "failed", "not due"]
    assert [each["message_number"] for each in found["seeds"]] == [1, 6, None]


def test_campaigns_that_have_seeds(seeded: Host) -> None:
    result = seeded.run("seeds")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split()[0] == NEW
    shown = json.loads(seeded.run("seeds", "--json").stdout)["campaigns"]
    assert [each["campaign"] for each in shown] == [NEW]


def test_campaign_without_seeds(host: Host, redis: RedisServer, tmp_path: Path) -> None:
    sent(redis, tmp_path, 1)
    result = host.run("seeds", NEW)
    assert (result.exit_code, result.stderr) == (
        1,
        f"{NEW}: this campaign has no seeds\n",
    )
    assert host.run("seeds", "unknown").exit_code == 1
    assert host.run("seeds").exit_code == 0


def test_seeds_without_redis(away: Host) -> None:
    assert away.run("seeds").exit_code == 2


def test_states_are_those_of_the_page() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "commands.md").read_text()
    assert all(f"`{state}`" in page for state in (*SeedState, "not due"))
