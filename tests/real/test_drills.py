"""The failure drills: one runs as a whole, with few mails, and its judge sees what is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.drills import drill
from bench.drills.drill import Amount
from bench.drills.fleet import servers
from bench.drills.judge import CLICK
from bench.drills.scenarios import SCENARIOS

pytestmark = pytest.mark.slow


def test_a_restart_of_redis_breaks_nothing() -> None:
    with servers() as running:
        scenario = SCENARIOS["redis-restart"]
        seen = drill.run(running, scenario, 0, Amount(mails=60, seconds=4), lambda _: None)
    assert seen.findings.broken == {}, seen
    assert seen.findings.accepted == 60
    assert min(seen.findings.clicks, seen.findings.unsubscribes) > 0
    first = next(event for event in seen.kept.events if event["event_type"] == CLICK)
    fewer = [event for event in seen.kept.events if event["email"] != first["email"]]
    lossy = replace(seen, kept=replace(seen.kept, events=fewer))
    assert lossy.findings.broken["clicks_missing"] == 1
