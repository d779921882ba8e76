"""`fletching bench`: each part is measured, and what cannot be measured is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from fletching.admin import bench
from fletching.config.load import load

from sandbox.redis_server import RedisServer
from tests.host import Host

pytestmark = pytest.mark.slow


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(bench, "SECONDS", 0.05)
    return Host(tmp_path)


@pytest.fixture
def with_redis(host: Host, redis: RedisServer) -> Host:
    host.edit("redis://127.0.0.1:1/0", redis.unix_url)
    return host


def test_each_part_is_measured(with_redis: Host, redis: RedisServer) -> None:
    found = with_redis.json("bench")
    assert [(each["of"], each["part"]) for each in found["parts"]] == [
        ("mail", "signature (r1 of example.com)"),
        ("mail", "decisions and rewriting"),
        ("mail", "one round trip to Redis"),
        ("click", "one round trip to Redis"),
        ("click", "one write to the disk of state_dir"),
    ]
    assert all(0 < each["median_ms"] <= each["p99_ms"] for each in found["parts"])
    assert found["mails_per_second"] > 0
    assert len(found["slowest"]) == 2
    assert found["skipped"] == []


def test_no_key_is_written(with_redis: Host, redis: RedisServer) -> None:
    before = redis.client.dbsize()
    assert with_redis.run("bench").exit_code == 0
    assert redis.client.dbsize() == before


def test_redis_that_does_not_answer_is_named(host: Host) -> None:
    result = host.run("bench")
    assert result.exit_code == 0
    assert "not measured: redis:" in result.stderr
    assert "slowest: " in result.stdout


def test_own_mail(host: Host) -> None:
    result = host.run("bench", str(host.mail))
    assert f"One mail of {host.mail.stat().st_size:,} bytes" in result.stdout


def test_mail_that_is_not_processed(host: Host) -> None:
    host.mail.write_text("X-GreenArrow-MailClass: nosuch\nSubject: a\n\ntext\n")
    result = host.run("bench", str(host.mail))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the mail is not processed: " in result.stderr


def test_newsletter_is_tracked_and_signed(host: Host) -> None:
    host.edit("mail_classes:", "default_mail_class: newsletter\nmail_classes:")
    host.mail.write_bytes(bench.newsletter(load(host.config)))
    found = host.json("explain", str(host.mail))
    (part,) = found["parts"]
    assert [link["rewritten"] for link in part["links"]] == [True] * 40
    assert [each["domain"] for each in found["signatures"]] == ["example.com"]
