"""`fletching mta list` with limits, over a real Redis."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from fletching.config.load import load
from fletching.numbering import Candidate, Question
from fletching.policy import limits
from fletching.startup import stamp, zone
from fletching.store.campaigns import Campaigns
from fletching.usage import warm_up

from sandbox.redis_server import RedisServer
from tests.host import Host
from tests.stores import open_store

LIMITED = """\
  hourly: {transport: vmta-h, relay: "[smtp.example.net]:587", limits: {hour: 500, day: 4000}}
  warm: {transport: vmta-w, warmup: {since: %s, start: 100, growth: 2, until: 1000, per: all}}
"""
SINCE = date.today() - timedelta(days=2)


@pytest.fixture
def limited(host: Host) -> Host:
    text = host.config.read_text()
    host.config.write_text(text.replace("virtual_mtas:\n", f"virtual_mtas:\n{LIMITED % SINCE}"))
    return host


def take(host: Host, redis: RedisServer, name: str, **counted: int) -> None:
    """Counts recipients by provider, as for a mail."""
    config = load(host.config)
    mta = config.virtual_mta(name)
    assert mta is not None
    candidate = Candidate(name, limits.periods(mta, stamp(zone(config)).time))
    question = Question("a1", "a", "1", "", 0, 86400, "a" * 12, (), 86400)
    question = replace(question, candidates=(candidate,), counted=tuple(counted.items()))
    numbered = Campaigns(open_store(redis.url)).campaign_of(question)
    assert numbered is not None
    assert numbered.route == name


def limits_of(host: Host, name: str) -> list[dict[str, object]]:
    (row,) = (row for row in host.json("mta", "list")["virtual_mtas"] if row["name"] == name)
    found: list[dict[str, object]] = row["limits"]
    return found


def test_limits_and_what_is_used_of_them(limited: Host, redis: RedisServer) -> None:
    take(limited, redis, "hourly", google=3, other=5)
    take(limited, redis, "warm", google=7, other=1)
    found = limits_of(limited, "hourly")
    shown = [[each[key] for key in ("period", "per", "provider", "used", "cap")] for each in found]
    assert shown == [
        ["hour", "provider", "other", 5, 500],
        ["hour", "provider", "google", 3, 500],
        ["day", "provider", "other", 5, 4000],
        ["day", "provider", "google", 3, 4000],
    ]
    (warm,) = limits_of(limited, "warm")
    assert (warm["per"], warm["provider"], warm["used"], warm["cap"]) == ("all", None, 8, 400)
    turns_over = datetime.fromisoformat(str(warm["turns_over"]))
    assert timedelta(0) < turns_over - datetime.now(turns_over.tzinfo) <= timedelta(hours=25)


def test_limits_before_the_first_mail(limited: Host) -> None:
    assert [(each["provider"], each["used"]) for each in limits_of(limited, "hourly")] == [
        (None, 0),
        (None, 0),
    ]


def test_limits_are_a_table_of_their_own(limited: Host, redis: RedisServer) -> None:
    take(limited, redis, "hourly", google=3)
    mtas, used = limited.run("mta", "list").stdout.split("\n\n")
    assert "[smtp.example.net]:587" in mtas
    assert "turns_over" in used.splitlines()[0]
    assert any(line.split()[:6] == ["hourly", "hour", "provider", "google", "3", "500"]
               for line in used.splitlines())  # fmt: skip


def test_list_without_redis_has_the_caps_and_a_warning(away: Host) -> None:
    assert away.run("mta", "list").stderr == ""
    text = away.config.read_text()
    away.config.write_text(text.replace("virtual_mtas:\n", f"virtual_mtas:\n{LIMITED % SINCE}"))
    result = away.run("mta", "list")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: what is used of the limits is unknown: redis: ")
    assert any(line.split()[:6] == ["hourly", "hour", "provider", "-", "-", "500"]
               for line in result.stdout.splitlines())  # fmt: skip
    result = away.run("mta", "list", "--json")
    assert "unknown" in result.stderr
    limits = [limit for row in json.loads(result.stdout)["virtual_mtas"] for limit in row["limits"]]
    assert [(each["used"], each["cap"]) for each in limits] == [
        (None, 500),
        (None, 4000),
        (None, 400),
    ]


def test_curve_of_a_warm_up(limited: Host, redis: RedisServer) -> None:
    take(limited, redis, "warm", google=7, other=1)
    config = load(limited.config)
    mta = config.virtual_mta("warm")
    assert mta is not None
    days = warm_up(mta, open_store(redis.url), stamp(zone(config)).time)
    assert [(day.cap, day.used) for day in days] == [
        (100, 0), (200, 0), (400, 8), (800, 0), (1000, 0), (None, 0),
    ]  # fmt: skip
    assert days[0].date == str(SINCE)
