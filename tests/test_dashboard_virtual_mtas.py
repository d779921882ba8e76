"""VirtualMTAs on the dashboard: their state, their limits, the curve of a warm-up."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import html5lib  # type: ignore[import-untyped]
import pytest
from fletching import paused
from fletching.numbering import Candidate, Question
from fletching.policy import limits
from fletching.startup import stamp, zone
from fletching.store.campaigns import Campaigns

from sandbox.redis_server import RedisServer
from tests.dashboard_numbers import Numbers, served
from tests.setting import config
from tests.stores import shared_store
from tests.test_dashboard import body
from tests.test_dashboard_traces import words

pytestmark = pytest.mark.slow

BERLIN = ZoneInfo("Europe/Berlin")
SINCE = datetime.now(BERLIN).date() - timedelta(days=2)
SITE = """\
timezone: Europe/Berlin
state_dir: %s
virtual_mtas:
  a: {transport: vmta-a, address: 127.0.0.9}
  <b>: {transport: vmta-b, address: 192.0.2.9, fallback: a}
  far: {transport: relay, relay: "[smtp.example.net]:587", limits: {hour: 500}}
  warm: {transport: vmta-w, warmup: {since: %s, start: 100, growth: 2, until: 1000}}
  later: {transport: vmta-l, warmup: {since: 2099-01-01, start: 100, growth: 2, until: 1000}}
  bulk: {pool: {a: 3, warm: 1}}
"""


def page(port: int) -> str:
    found = body(port, "/virtual-mtas")
    html5lib.HTMLParser(strict=True).parse(found)
    return found


def test_states_limits_and_curve(redis: RedisServer, tmp_path: Path) -> None:
    redis.client.flushall()
    text = SITE % (tmp_path, SINCE)
    paused.write(tmp_path, frozenset({"a"}))
    site = config(text)
    for name in ("far", "warm"):
        mta = site.virtual_mta(name)
        assert mta is not None
        candidate = Candidate(name, limits.periods(mta, stamp(zone(site)).time))
        question = Question(
            *("a1", "a", "1", "", 0, 86400, "a" * 12, (), 86400),
            candidates=(candidate,),
            counted=(("google", 20),),
        )
        assert Campaigns(shared_store(redis.url)).campaign_of(question)
    with served(Numbers(), redis=redis.url, site=text) as port:
        found = page(port)
    shown = words(found)
    assert "a vmta-a paused" in shown
    assert "<b> vmta-b a address 192.0.2.9 has vanished" in shown
    assert "far relay to [smtp.example.net]:587 active" in shown
    assert "later vmta-l warm-up begins on 2099-01-01" in shown
    assert "bulk pool of a (3), warm (1) active" in shown
    assert "far google, this hour 20 500 4 %" in shown
    assert "warm google, this day 20 400 5 %" in shown
    assert f"{SINCE}: 0 of 100, {SINCE + timedelta(1)}: 0 of 200, " in found
    assert f"{SINCE + timedelta(2)}: 20 of 400, " in found
    assert '<a href="/virtual-mtas" aria-current="page">' in found


def test_without_virtual_mtas_there_is_nothing_to_show() -> None:
    with served(Numbers()) as port:
        assert words(page(port)) == "VirtualMTAs No VirtualMTAs are configured."
